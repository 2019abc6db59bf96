"""How far each export is from what was trained: ``python -m benchmarks.parity [--only xgboost ...]``.

Every trainer of the catalogue learns real rows (flights, with gaps where it learns from them; digits as pixels; rated
texts) for every task that it has, and is written as a graph. The graph is run beside the framework on the held rows, on
training rows and at the limits (each side of a tree's thresholds, the least and the most of each feature):

Differences of numbers are in standard deviations of the target, or of the value where that is larger:

- *exact*: beside the framework computing in double precision, as training itself compares them before a release;
- *alone*: beside the call that the framework's users make, in its own precision (XGBoost, LightGBM, networks); for a
  program in an environment of its own, what it has written as its predictions;
- *raw*: the graph that is released, from raw values on, beside the framework's prediction for the prepared rows.

Then every transformer that ends in the graph is run beside NumPy, scikit-learn or gensim (`transformers`). It needs the
extras, and makes environments for ``container`` and ``mxnet`` once (``--cache``).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import say_machine
from benchmarks.parity.data import Case, cases_of
from benchmarks.parity.transformers import compare_transformers
from benchmarks.parity.witnesses import catching, predict_alone
from benchmarks.project import ROOT
from pipeline.model.graphs import compose, run
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.steps.train.conversion import convert, ensemble_trees
from pipeline.steps.train.graph import INPUT, label_of
from pipeline.steps.train.model_fitting import fit
from pipeline.steps.train.parity import compare, measure_parity, rows_to_compare, spread, unit_of
from pipeline.steps.train.results import Array, Fitted, Parity, Support
from pipeline.steps.train.targets import prepare
from pipeline.steps.train.task import FitRequest, effective_params
from pipeline.steps.train.trees import thresholds_by_column

CACHE = Path.home() / ".cache" / "modelrail-benchmarks"
FOLDER = Path(__file__).parent
ISOLATED = ROOT / "tests" / "isolated"
"""A program for the trainer ``container``, with other versions of libraries than ours."""
_NEIGHBOR_ROWS = 500  # each is compared with every training row


@dataclass(frozen=True)
class Found:
    """The distances of one export; None where there is no such comparison."""

    exact: Parity
    alone: float | None
    raw: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TRAINER", choices=(*TRAINERS, "transformers"))
    parser.add_argument("--cache", type=Path, default=CACHE)
    asked = parser.parse_args()
    wanted = asked.only or (*TRAINERS, "transformers")
    say_machine(["xgboost", "lightgbm", "torch", "keras", "tensorflow-cpu"], timed=False)
    _say("trainer", "what is learnt", "exact", "alone", "raw", "labels", "rows", "s")
    for trainer in (each for each in TRAINERS if each in wanted):
        for case in cases_of(trainer, asked.cache, handles_missing=TRAINERS[trainer].handles_missing):
            if case.task in TRAINERS[trainer].tasks:
                _show(trainer, case, measure(trainer, case, asked.cache))
    if "transformers" in wanted:
        compare_transformers(asked.cache)


def measure(trainer: str, case: Case, cache: Path) -> Found:
    """Train, write the graph, and run both."""
    began = time.perf_counter()
    info = TRAINERS[trainer]
    data = prepare(case.matrix, case.task, flag=case.flag, handles_missing=info.handles_missing)
    params, files = params_of(trainer)
    request = FitRequest(
        trainer,
        case.task,
        effective_params(trainer, case.task, params),
        data.train,
        data.validation,
        columns=case.matrix.columns,
        support=Support(read=lambda name, _: files[name], state=cache / "parity"),
        classes=data.classes,
    )
    with catching(trainer) as caught:
        fitted = fit(request)
    columns, classes = len(case.matrix.columns), len(data.classes or ())
    graph = convert(trainer, case.task, fitted.estimator, columns, classes)
    trees = ensemble_trees(trainer, fitted.estimator, classes)
    rows = rows_to_compare(case.matrix, thresholds_by_column(trees, columns) if trees else [])
    rows = spread(rows, _NEIGHBOR_ROWS) if trainer == "k_neighbors" else rows
    unit = unit_of(data.train.target)
    alone = predict_alone(trainer, case.task, caught, fitted, rows)
    given = _scores(run(graph, {INPUT: rows}))
    return Found(
        measure_parity(graph, fitted.predict, rows, unit),
        _reported(fitted) if alone is None else compare(alone, given, unit=unit).max_difference,
        _from_raw(case, graph, fitted, unit),
        time.perf_counter() - began,
    )


def _from_raw(case: Case, graph: Any, fitted: Fitted, unit: float) -> float:
    found = run(compose(case.preprocess, graph), case.given)
    expected = fitted.predict(case.matrix.validation)
    if "label" not in found:
        return compare(expected, _scores(found), unit=unit).max_difference
    parity = compare(expected, _scores(found), label_of(expected), found["label"])
    return float("inf") if parity.labels_differing else parity.max_difference


def _scores(outputs: Mapping[str, Array]) -> Array:
    return outputs["prediction"] if "prediction" in outputs else outputs["probabilities"]


def _reported(fitted: Fitted) -> float | None:
    """Read what a program's own predictions differ by, which training has noted."""
    said = (re.search(r"its framework and the graph differ by at most (\S+)", note) for note in fitted.notes)
    return next((float(each[1]) for each in said if each), None)


def params_of(trainer: str) -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    """Return parameters with which a trainer ends soon, and the content of the files that they name."""
    framework, _, kind = trainer.partition("_")
    if trainer == "container":
        files = {name: (ISOLATED / name).read_bytes() for name in ("train.py", "requirements.txt")}
        pinned = {name: {"file": name, "sha256": hashlib.sha256(text).hexdigest()} for name, text in files.items()}
        return {"files": [pinned["train.py"]], "requirements": pinned["requirements.txt"]}, files
    if kind == "custom":
        source = (FOLDER / f"own_{framework}.py").read_text("utf-8")
        return {"module": {"file": f"own_{framework}.py", "source": source}, "epochs": 5}, {}
    if framework in {"torch", "tensorflow"}:
        return {"epochs": 5, **_NETWORKS.get(kind, {})}, {}
    return _PARAMS.get(trainer, {}), {}


_NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"layers": [64, 32], "activation": "gelu"},
    "text": {"filters": [16], "layers": [32]},
    "cnn": {"filters": [8, 16], "layers": [32], "shape": [1, 8, 8]},
}
_PARAMS: Mapping[str, Mapping[str, Any]] = {"mxnet": {"layers": [16], "epochs": 5}}


def _show(trainer: str, case: Case, found: Found) -> None:
    measured = (found.exact.max_difference, found.alone, found.raw)
    figures = ("" if each is None else f"{each:.1e}" for each in measured)
    _say(trainer, case.name, *figures, found.exact.labels_differing, f"{found.exact.rows:,}", f"{found.seconds:.1f}")


def _say(*cells: object) -> None:
    print("| " + " | ".join(f"{each!s:{width}}" for each, width in zip(cells, _WIDTHS, strict=True)) + " |", flush=True)


_WIDTHS: Sequence[int] = (22, 26, 8, 8, 8, 6, 6, 6)


if __name__ == "__main__":
    main()
