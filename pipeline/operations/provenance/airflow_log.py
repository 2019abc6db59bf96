"""What people did in Airflow, as its log tells it: a verb, and what was said with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BY_ITSELF = ("removed", "scheduled", "queued", "running", "success", "restarting", "failed", "up_for_retry",
             "up_for_reschedule", "upstream_failed", "skipped", "deferred", "awaiting_input", "cli_api_server",
             "cli_scheduler", "cli_dag_processor", "cli_triggerer")  # fmt: skip
"""Events that nobody caused: tasks on the state that they are in, under the name of their DAG's owner, who did nothing;
and processes that were started."""

_VERBS = {
    "trigger_dag_run": "started",
    "cli_dag_trigger": "started",
    "create_backfill": "backfilled",
    "delete_dag_run": "deleted",
    "clear_dag_run": "cleared",
    "post_clear_task_instances": "cleared",
}
_ANSWERS = {"Approve": "approved", "Reject": "rejected"}
_ABOUT_THE_CALL = frozenset({"method", "host_name", "map_index", "dag_id", "task_id"})


def read_entry(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Read an entry's verb (Airflow's own name, where there is no better), and what was said with it.

    Examples
    --------
    >>> read_entry({"event": "update_hitl_detail", "extra": '{"chosen_options": ["Approve"], "method": "PATCH"}'})
    ('approved', '')
    """
    said = _read_extra(entry.get("extra") or "")
    if isinstance(said, str):
        return _VERBS.get(entry["event"], entry["event"]), said
    verb = _VERBS.get(entry["event"], entry["event"])
    if entry["event"] == "update_hitl_detail":
        verb = _answer(said.pop("chosen_options", None))
    return verb, ", ".join(f"{name} {_in_words(value)}" for name, value in said.items() if value not in (None, {}, []))


def _read_extra(text: str) -> dict[str, Any] | str:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, dict):
        return text
    return {name: each for name, each in found.items() if name not in _ABOUT_THE_CALL}


def _answer(chosen: object) -> str:
    """Name an answer to a task that asked a person (Airflow's ApprovalOperator and its like)."""
    named = [str(each) for each in chosen] if isinstance(chosen, list) else []
    return _ANSWERS.get(named[0], f"answered {named[0]}") if len(named) == 1 else f"answered {', '.join(named)}".strip()


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    return value if isinstance(value, str) else json.dumps(value)
