"""Run by the tests in a process of its own: read each of several shares of the models, and print their DAGs as JSON."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

from airflow.sdk import DAG
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
from airflow.utils.file import list_py_file_paths

from pipeline.errors import InputError

sys.path.insert(0, "dags")  # as Airflow does
from modelrail_dags import find_dags


def refusal(share: str) -> str:
    try:
        find_dags(share)
    except InputError as error:
        return str(error)
    return "taken"


def read_documented(folder: Path) -> list[str]:
    """Read the DAG file that the document on scale shows, if Airflow finds it."""
    block = Path("docs/scale.md").read_text().partition("```python\n")[2].partition("```")[0]
    folder.mkdir()
    (folder / "first_half.py").write_text(block)
    values = [value for file in list_py_file_paths(str(folder)) for value in runpy.run_path(file).values()]
    return sorted(value.dag_id for value in values if isinstance(value, DAG))


found = {
    "documented": read_documented(Path(os.environ["HOME"]) / "dags"),
    "first half": sorted(find_dags("1/2")),
    "all": sorted(find_dags()),
    "shares": [sorted(find_dags(f"{part}/3")) for part in (1, 2, 3)],
    "refused": [refusal(share) for share in ("0/3", "4/3", "half", "1/0")],
}
with _airflow_parsing_context_manager(dag_id=found["shares"][1][0], task_id="plan"):
    found["worker"] = sorted(find_dags("2/3"))
print("\n" + json.dumps(found))
