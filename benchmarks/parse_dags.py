"""How long Airflow takes to read the DAGs of many specs: ``python benchmarks/parse_dags.py [SPECS] [PARTS]``.

Prints one line of JSON, of seconds of CPU time and by the clock: to import ``dags/models.py`` with all its DAGs the
first time, and again, when what the specs say is kept; to serialize the DAGs, as Airflow's DAG processor does next; and
for a worker, which needs one of them. Airflow itself is imported before, as it is in the DAG processor. With PARTS the
last of that many shares is read.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PROJECT = Path(__file__).resolve().parents[1]
SPEC = """\
version: 1
model:
  name: {name}
  description: A model among many.
  owner: somebody@example.org
  trainer: hist_gradient_boosting
  params: {{learning_rate: 0.1, max_iter: 100}}
  target: late
data:
  repository: ../flights
  files: flights/{{month}}.csv
  columns:
    month: int
    day: int
    sched_dep_time: {{type: float, range: [0, 2400]}}
    carrier: str
    origin: {{type: str, allowed: [EWR, JFK, LGA]}}
    distance: {{type: float, range: [0, 6000]}}
    arr_delay: float
  derive: {{late: arr_delay > 15}}
  key: [month, day, carrier, origin]
clean: {{duplicates: drop, missing: {{arr_delay: drop, "*": median}}}}
transform: {{sched_dep_time: cyclic, carrier: category, origin: category}}
normalize: {{"*": standard}}
evaluate:
  metrics: [accuracy, roc_auc]
  gate: {{roc_auc: {{at_least: 0.7, behind_champion_at_most: 0.005}}}}
schedule: {{cron: "0 3 1 * *"}}
"""


def measure(count: int, parts: int) -> dict[str, object]:
    """Make the specs, and time reading them."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        for number in range(count):
            (models / f"model-{number:03d}.yaml").write_text(SPEC.format(name=f"model-{number:03d}"))
        file = Path(folder) / "part.py"
        file.write_text(f"from modelrail_dags import find_dags\nglobals().update(find_dags('{parts}/{parts}'))\n")
        own = {"AIRFLOW_HOME": folder, "MODELRAIL_MODELS": str(models), "MODELRAIL_HOME": f"{folder}/state"}
        os.environ |= own | {"AIRFLOW__CORE__UNIT_TEST_MODE": "True"}
        return time_all(file, count)


def time_all(file: Path, count: int) -> dict[str, object]:
    """Time each way in which Airflow reads a DAG file."""
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
    from airflow.serialization.serialized_objects import DagSerialization

    sys.path.insert(0, str(PROJECT / "dags"))  # as Airflow does

    def read() -> list[DAG]:
        return [value for value in runpy.run_path(str(file)).values() if isinstance(value, DAG)]

    dags, first = timed(read)
    _, again = timed(read)
    _, serializing = timed(lambda: [DagSerialization.to_dict(dag) for dag in dags])
    with _airflow_parsing_context_manager(dag_id=dags[0].dag_id, task_id="clean"):
        _, worker = timed(read)
    broken = sum("broken" in dag.tags for dag in dags)
    counts = {"specs": count, "dags": len(dags), "broken": broken}
    return counts | {"first": first, "again": again, "serializing": serializing, "worker": worker}


def timed(action: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """Do it; give what it returns, and the seconds that it took."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    value = action()
    return value, {"s": round(time.perf_counter() - wall_s, 3), "cpu_s": round(time.process_time() - cpu_s, 3)}


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    print(json.dumps(measure(*[*numbers, *(100, 1)[len(numbers) :]])))
