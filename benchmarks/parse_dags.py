"""How long Airflow takes to read the DAGs of many specs: ``python benchmarks/parse_dags.py [SPECS]``.

Prints one line of JSON: seconds to import ``dags/models.py`` with all its DAGs (Airflow itself is imported before, as
it is in the DAG processor), and seconds for a worker, that needs one of them.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path

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


def measure(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        for number in range(count):
            (models / f"model-{number:03d}.yaml").write_text(SPEC.format(name=f"model-{number:03d}"))
        os.environ |= {"AIRFLOW_HOME": folder, "MODELRAIL_MODELS": str(models), "AIRFLOW__CORE__UNIT_TEST_MODE": "True"}
        from airflow.sdk import DAG
        from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

        sys.path.insert(0, str(PROJECT / "dags"))  # as Airflow does
        cpu_begun = time.process_time()
        begun = time.perf_counter()
        dags = [value for value in runpy.run_path(str(PROJECT / "dags/models.py")).values() if isinstance(value, DAG)]
        all_s, all_cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
        begun = time.perf_counter()
        with _airflow_parsing_context_manager(dag_id="model-000", task_id="clean"):
            runpy.run_path(str(PROJECT / "dags/models.py"))
        one_s = time.perf_counter() - begun
    broken = sum("broken" in dag.tags for dag in dags)
    return {
        "specs": count,
        "dags": len(dags),
        "broken": broken,
        "all_s": round(all_s, 3),
        "all_cpu_s": round(all_cpu_s, 3),
        "worker_s": round(one_s, 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))
