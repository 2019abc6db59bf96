"""Run by the tests in a process of its own: load ``dags/models.py`` with Airflow and print what came of it as JSON."""

from __future__ import annotations

import json
import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.file import list_py_file_paths

from pipeline.errors import InputError, ModelrailError

HEAVY = {"pandas", "mlflow", "sklearn", "onnx", "kubernetes", "modelrail_pods", "pipeline.runs.running"}


def describe(dag: DAG) -> dict[str, Any]:
    return {
        "tags": sorted(dag.tags),
        "owner": dag.owner,
        "owner_links": dag.owner_links,
        "doc": dag.doc_md,
        "display_name": dag.dag_display_name,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "timetable": type(dag.timetable).__name__,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {task.task_id: describe_task(task) for task in dag.tasks},
        "serialized": len(json.dumps(DagSerialization.to_dict(dag))),
    }


def describe_task(task: Any) -> dict[str, Any]:
    return {
        "upstream": sorted(task.upstream_task_ids),
        "mapped": task.is_mapped,
        "teardown": task.is_teardown,
        "retries": task.retries,
        "timeout_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "links": [link.name for link in task.operator_extra_links],
    }


def judge_retries(policy: Any) -> dict[str, str]:
    from pipeline.errors import DataError, TransientError

    errors = (TransientError("locked"), DataError("bad"), TimeoutError())
    return {type(error).__name__: policy.evaluate(error, 1, 3).action.value for error in errors}


def fail_on_a_full_disk(tasks: Any) -> str:
    class Full(tasks.Task):
        def work(self, context: Any) -> None:
            raise OSError(28, "No space left on device", context["folder"])

    try:
        Full(task_id="full").execute({"folder": "/state/store"})
    except ModelrailError as error:
        return str(error)
    return "no error"


def read_requests(read: Any, params: dict[str, Any]) -> dict[str, Any]:
    def ask(run_type: str, conf: dict[str, Any]) -> Any:
        run = SimpleNamespace(run_id="r1", run_type=run_type, logical_date=datetime(2013, 4, 1, tzinfo=UTC), conf=conf)
        try:
            return read({"dag_run": run, "params": params | conf})
        except InputError as error:
            return f"{type(error).__name__}: {error}"

    return {
        "manual": ask("manual", {}),
        "backfill": ask("backfill", {}),
        "backfill to a date": ask("backfill", {"as_of": "2013-02-01"}),
        "unknown": ask("manual", {"data_comit": "abc"}),
    }


def main(only: str | None) -> dict[str, Any]:
    sys.path.insert(0, "dags")  # as Airflow does
    with _airflow_parsing_context_manager(dag_id=only, task_id="plan" if only else None):
        module = runpy.run_path("dags/models.py")
    import modelrail_tasks

    dags = {value.dag_id: value for value in module.values() if isinstance(value, DAG)}
    params = dict.fromkeys(["data_commit", "spec_commit", "as_of", "environment"]) | {"force": False, "reason": ""}
    return {
        "dag files": sorted(Path(file).name for file in list_py_file_paths("dags")),
        "heavy": sorted(HEAVY & set(sys.modules)),
        "dags": {name: describe(dag) for name, dag in dags.items()},
        "retries": judge_retries(modelrail_tasks.RETRY_POLICY),
        "full disk": fail_on_a_full_disk(modelrail_tasks),
        "requests": read_requests(modelrail_tasks.read_request, params),
        "outcomes": [
            modelrail_tasks.judge_outcome({"train": "failed"}, None, computed=True),
            modelrail_tasks.judge_outcome({"verify": "upstream_failed"}, {"released": True}, computed=True),
            modelrail_tasks.judge_outcome({"verify": "skipped"}, {"released": False}, computed=True),
            modelrail_tasks.judge_outcome({"verify": "success"}, {"released": True}, computed=True),
            modelrail_tasks.judge_outcome({"verify": "success"}, {"released": True}, computed=False),
        ],
    }


print("\n" + json.dumps(main(sys.argv[1] if len(sys.argv) > 1 else None)))
