"""What others find in the same windows: run by an interpreter of their own, which has one of them installed.

``python benchmarks/watching_peers.py evidently|nannyml FOLDER`` reads ``reference.parquet`` and ``windows/*.parquet``
there, and prints for each window, by its name, the columns that moved, by each peer's own defaults; and the CPU time.
`benchmarks.watching --beside` makes the folder. Evidently 0.7.23 needs pandas below 3, NannyML 0.13.1 statsmodels.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd

Judge = Callable[[pd.DataFrame], "list[str]"]


def with_evidently(reference: pd.DataFrame) -> Judge:
    """Prepare its preset of data drift, each column tested as it sees fit."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    def judge(window: pd.DataFrame) -> list[str]:
        try:
            told = Report([DataDriftPreset()], include_tests=True).run(window, reference).dict()
        except ValueError as error:  # it judges no column without any value; whoever reads the error has found it
            return [name for name in reference.columns if f"empty column '{name}'" in str(error)]
        failed = (each["metric_config"]["params"] for each in told["tests"] if each["status"] == "FAIL")
        return [each["column"] for each in failed if "column" in each]

    return judge


def with_nannyml(reference: pd.DataFrame) -> Judge:
    """Prepare its univariate drift: Jensen and Shannon's distance, the threshold of three deviations."""
    import nannyml

    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_size=1_000)
    calculator.fit(reference)

    def judge(window: pd.DataFrame) -> list[str]:
        told = calculator.calculate(window).filter(period="analysis").to_df()
        return [str(name) for name, _, part in told.columns if part == "alert" and told[(name, _, part)].any()]

    return judge


def main(peer: str, folder: Path) -> None:
    """Judge every window."""
    warnings.filterwarnings("ignore")
    judge = {"evidently": with_evidently, "nannyml": with_nannyml}[peer](pd.read_parquet(folder / "reference.parquet"))
    began, found = time.process_time(), {}
    for path in sorted((folder / "windows").iterdir()):
        found[path.stem] = judge(pd.read_parquet(path))
    print(json.dumps({"found": found, "cpu_s": time.process_time() - began}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
