"""Airflow's REST API, as far as it is needed to run a DAG and see what happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.retries import ATTEMPTS, attempts

_PAGE = 100


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run, as Airflow sees it.

    Attributes
    ----------
    task_id, map_index : str, int
        Which; `map_index` is -1 for a task that is not mapped.
    state : str or None
        Airflow's state; None before the scheduler has looked at it.
    try_number : int
        Counted from 1.
    seconds : float or None
        From start to end (until now).
    label : str
        What a mapped task is called; its batch.
    """

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    seconds: float | None
    label: str


@dataclass
class Airflow:
    """A client that logs in when it must and retries when that can help.

    Parameters
    ----------
    url : str
        Address of the API server, without a slash at the end.
    user, password : str
        The login.
    """

    url: str
    user: str
    password: str
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # no proxies or other settings of the user's: this is loopback
        self._client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any], *, newer_than: datetime | None = None, timeout_s: float = 90
    ) -> str:
        """Start a run of a DAG as soon as Airflow knows the DAG; return the run's identifier.

        Parameters
        ----------
        dag_id : str
            The model's name.
        conf : mapping
            Values of the DAG's params; the others have their defaults.
        newer_than : datetime, optional
            When the spec was last changed: a DAG that was read before is read again first.
        timeout_s : float
            How long to wait for the DAG.

        Raises
        ------
        InputError
            When the DAG stands for a broken spec, or a param is refused.
        ModelrailError
            When Airflow does not know the DAG in time.
        """
        dag = self._wait_for_dag(dag_id, newer_than or datetime.fromtimestamp(0, UTC), timeout_s)
        if any(tag["name"] == "broken" for tag in dag["tags"]):
            raise InputError(f"Airflow: the spec of {dag_id} is broken: {dag['description']}")
        if dag["is_paused"]:
            self.request("PATCH", f"/api/v2/dags/{_quote(dag_id)}", json={"is_paused": False})
        answer = self.request(
            "POST", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", json={"logical_date": None, "conf": dict(conf)}
        )
        return str(answer["dag_run_id"])

    def list_backfills(self, dag_id: str) -> list[dict[str, Any]]:
        """List a DAG's backfills, the newest first: dates, conf, when they were completed."""
        params = {"dag_id": dag_id, "order_by": "-id", "limit": _PAGE}
        return list(self.request("GET", "/api/v2/backfills", params=params)["backfills"])

    def create_backfill(
        self, dag_id: str, first: datetime, last: datetime, conf: Mapping[str, Any], *, runs_at_once: int = 1
    ) -> dict[str, Any]:
        """Run the scheduled dates of a span anew, the oldest first, those that were run before included.

        Raises
        ------
        InputError
            When the DAG has no dates there or no cron schedule, or another of its backfills goes on.
        """
        return self.request("POST", "/api/v2/backfills", json=_backfill(dag_id, first, last, conf, runs_at_once))

    def preview_backfill(self, dag_id: str, first: datetime, last: datetime) -> list[datetime]:
        """List the dates that a backfill would run."""
        answer = self.request("POST", "/api/v2/backfills/dry_run", json=_backfill(dag_id, first, last, {}, 1))
        return [datetime.fromisoformat(each["logical_date"]) for each in answer["backfills"]]

    def list_events(self, since: datetime | None = None, without: Sequence[str] = ()) -> list[dict[str, Any]]:
        """List Airflow's log without some events, oldest first: ``when``, ``owner``, ``event`` and what it is about."""
        params: dict[str, Any] = {"order_by": "when", "limit": _PAGE, "excluded_events": list(without)}
        if since is not None:
            params["after"] = since.isoformat()
        found: list[dict[str, Any]] = []
        while True:
            page = self.request("GET", "/api/v2/eventLogs", params={**params, "offset": len(found)})
            found += page["event_logs"]
            if len(found) >= page["total_entries"] or not page["event_logs"]:
                return found

    def read_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Read a run: its ``state``, ``conf``, ``start_date`` and more."""
        return self.request("GET", _run(dag_id, run_id))

    def find_going(self, dag_id: str) -> list[str]:
        """List the runs of a DAG that have begun and not ended, the oldest first."""
        params = {"state": "running", "order_by": "run_after", "limit": _PAGE}
        found = self.request("GET", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", params=params)["dag_runs"]
        return [str(run["dag_run_id"]) for run in found]

    def give_up(self, dag_id: str, run_id: str, note: str) -> None:
        """End a run: its tasks fail or are skipped, but for the one that closes it; with a note that says why."""
        self.request("PATCH", _run(dag_id, run_id), json={"state": "failed", "note": note})

    def list_tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """List every task instance of a run."""
        found: list[TaskInstance] = []
        while True:
            page = self.request(
                "GET", f"{_run(dag_id, run_id)}/taskInstances", params={"limit": _PAGE, "offset": len(found)}
            )
            found += map(_read_task, page["task_instances"])
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def read_result(self, dag_id: str, run_id: str, task: TaskInstance, key: str = "return_value") -> Any:
        """Read what a task instance has returned (or pushed under `key`); None if nothing."""
        address = f"{_run(dag_id, run_id)}/taskInstances/{_quote(task.task_id)}/xcomEntries/{_quote(key)}"
        answer = self.request("GET", address, params={"map_index": task.map_index}, missing={"value": None})
        value = answer["value"]
        # Airflow gives values back as JSON text
        return json.loads(value) if isinstance(value, str) and value[:1] in {"{", "["} else value

    def read_error(self, dag_id: str, run_id: str, task: TaskInstance) -> str:
        """Read the error with which a task instance has failed from its log: the message, without a traceback."""
        address = f"{_run(dag_id, run_id)}/taskInstances/{_quote(task.task_id)}/logs/{task.try_number}"
        answer = self.request("GET", address, params={"map_index": task.map_index}, missing={"content": []})
        return find_error(answer["content"]) or f"{task.task_id} has failed; its log in Airflow tells more"

    def name_page(self, dag_id: str, run_id: str) -> str:
        """Write the address of a run's page."""
        return f"{self.url}/dags/{_quote(dag_id)}/runs/{_quote(run_id)}"

    def request(
        self, method: str, path: str, *, missing: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Send a request; log in when asked to, and try again when the server is busy or restarting.

        Parameters
        ----------
        method, path : str
            Such as ``GET`` and ``/api/v2/dags``.
        missing : dict, optional
            What to give when the server has no such thing; without it that is an error.
        **options
            ``params`` or ``json``, as httpx takes them.

        Raises
        ------
        InputError
            When the server refuses the request or the login.
        TransientError
            When it does not answer.
        """
        for attempt in attempts(pause_s=0.2):
            with _transient(f"Airflow: {method} {path}", final=attempt == ATTEMPTS - 1):
                answer = self._client.request(method, path, **options)
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    self._log_in()
                    answer = self._client.request(method, path, **options)
                if answer.status_code >= 500:
                    raise httpx.TransportError(f"answered {answer.status_code}: {answer.text[:200]}")
                return _read_answer(answer, f"Airflow: {method} {path}", missing)
        raise TransientError(f"Airflow: {method} {path} got no answer")

    def _wait_for_dag(self, dag_id: str, newer_than: datetime, timeout_s: float) -> dict[str, Any]:
        deadline, asked = time.monotonic() + timeout_s, False
        while time.monotonic() < deadline:
            dag = self.request("GET", f"/api/v2/dags/{_quote(dag_id)}/details", missing={})
            if dag and not dag["is_stale"] and datetime.fromisoformat(dag["last_parsed_time"]) > newer_than:
                return dag
            asked = asked or self._ask_to_parse(dag)
            time.sleep(0.2)
        errors = self.request("GET", "/api/v2/importErrors")["import_errors"]
        said = "; ".join(error["stack_trace"].strip().splitlines()[-1] for error in errors[:5]) or "no error"
        raise ModelrailError(
            f"Airflow: found no DAG {dag_id!r} after {timeout_s:.0f} s, and {said}; "
            "expected a spec with that model.name in the folder of the specs"
        )

    def _ask_to_parse(self, dag: Mapping[str, Any]) -> bool:
        """Ask for the DAG file to be read now rather than at the next round; tell whether it could be asked."""
        some = [dag] if dag else self.request("GET", "/api/v2/dags", params={"limit": 1})["dags"]
        for known in some:
            self.request("PUT", f"/api/v2/parseDagFile/{known['file_token']}", missing={})
        return bool(some)

    def _log_in(self) -> None:
        answer = self._client.post("/auth/token", json={"username": self.user, "password": self.password})
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise InputError(f"Airflow: the login of {self.user} is refused at {self.url}; expected its password")
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


@contextmanager
def _transient(what: str, *, final: bool) -> Iterator[None]:
    """Suppress a failure that a retry can mend; on the final try, raise it."""
    try:
        yield
    except httpx.TransportError as error:
        if final:
            raise TransientError(
                f"{what}: {error or type(error).__name__}; is Airflow up? (modelrail status)"
            ) from error


def _read_answer(answer: httpx.Response, what: str, missing: dict[str, Any] | None) -> dict[str, Any]:
    if answer.status_code == httpx.codes.NOT_FOUND and missing is not None:
        return missing
    if answer.is_error:
        try:
            detail = answer.json().get("detail", answer.text)
        except ValueError:
            detail = answer.text
        wrong_input = answer.status_code in {400, 404, 409, 422}
        raise (InputError if wrong_input else ModelrailError)(f"{what}: answered {answer.status_code}: {detail}")
    return dict(answer.json() or {}) if answer.content else {}


def find_error(content: list[Any]) -> str:
    """Find the message of the last error in a task's log, as the API gives it."""
    for entry in reversed(content):
        details = entry.get("error_detail") if isinstance(entry, dict) else None
        for detail in details or ():
            name, value = detail.get("exc_type", "Error"), str(detail.get("exc_value", "")).strip()
            return value if name.endswith("Error") and value and name in _OURS else f"{name}: {value}"
    lines = [str(entry["event"]) for entry in content if isinstance(entry, dict) and entry.get("level") == "error"]
    return lines[-1] if lines else ""


_OURS = frozenset(
    {
        *("ModelrailError", "InputError", "SpecError", "DataError", "TrainingError", "ReleaseError"),
        *("StoreError", "DeploymentError", "TransientError"),
    }
)
"""Errors whose message is written for users; of others, the name matters as well."""


def _read_task(entry: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        task_id=entry["task_id"],
        map_index=entry["map_index"],
        state=entry["state"],
        try_number=entry["try_number"],
        seconds=entry["duration"],
        label=entry.get("rendered_map_index") or "",
    )


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}"


def _backfill(
    dag_id: str, first: datetime, last: datetime, conf: Mapping[str, Any], runs_at_once: int
) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "from_date": first.isoformat(),
        "to_date": last.isoformat(),
        "dag_run_conf": dict(conf),
        "reprocess_behavior": "completed",
        "max_active_runs": runs_at_once,
    }


def _quote(part: str) -> str:
    return quote(part, safe="")
