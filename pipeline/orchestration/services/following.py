"""Watch a DAG run, step by step, in a terminal or a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from pipeline.orchestration.dag_texts import FLOW
from pipeline.orchestration.services.health import ENDED, Looks
from pipeline.orchestration.services.rest_client import Airflow, TaskInstance

State = Literal["waiting", "running", "retrying", "done", "reused", "refused", "skipped", "failed", "not run"]

_STYLES: Mapping[State, str] = {
    "waiting": "dim",
    "running": "bold yellow",
    "retrying": "yellow",
    "done": "green",
    "reused": "cyan",
    "refused": "yellow",
    "skipped": "dim",
    "failed": "bold red",
    "not run": "dim",
}


@dataclass(frozen=True)
class StepState:
    """One step of the run, over all its tasks.

    Attributes
    ----------
    step : str
        Its name.
    state : str
        ``waiting``, ``running``, ``retrying``, ``done``, ``reused``, ``refused`` (a release), ``skipped``,
        ``failed`` or ``not run`` (since an earlier step has failed).
    rows : int or None
        Rows that it gave.
    seconds : float or None
        From the tasks' start to their end, as Airflow measures it; the longest of a mapped step's.
    ran, reused : int
        Partitions (or the one whole) that were computed, and taken from the store.
    message : str
        What happened.
    """

    step: str
    state: State = "waiting"
    rows: int | None = None
    seconds: float | None = None
    ran: int = 0
    reused: int = 0
    message: str = ""


@dataclass(frozen=True)
class Failure:
    """A task that failed, and the message of its error."""

    task: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Attributes
    ----------
    succeeded : bool
        Whether Airflow counts it as a success; a model that misses its gate is one.
    released : bool
        Whether the model passed its gate.
    seconds : float
        From the first look to the end.
    steps : tuple of StepState
        In order.
    results : mapping
        Step → what ``run_step`` has returned (the last batch's, for mapped steps).
    failures : tuple of Failure
        The tasks that failed by themselves.
    page : str
        Address of the run in Airflow's UI.
    """

    succeeded: bool
    released: bool
    seconds: float
    steps: tuple[StepState, ...]
    results: Mapping[str, Mapping[str, Any]]
    failures: tuple[Failure, ...]
    page: str


def follow(airflow: Airflow, dag_id: str, run_id: str, console: Console | None = None) -> Outcome:
    """Show each step of a run as it goes, until the run has ended.

    On a terminal it is a table that is updated in place, elsewhere a line for each step that has ended.

    Parameters
    ----------
    airflow : Airflow
        Where the run is.
    dag_id, run_id : str
        Which run.
    console : Console, optional
        Where to show it; by default standard output.
    """
    console = console or Console(highlight=False)
    watch = _Watch(airflow, dag_id, run_id, lambda line: console.print(f"[dim]{line}[/]"))
    if not console.is_terminal:
        return watch.until_ended(_line_printer(console))
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        return watch.until_ended(lambda steps: live.update(draw_table(steps)))


@dataclass
class _Watch:
    """A run that is polled; what its tasks have returned is fetched once."""

    airflow: Airflow
    dag_id: str
    run_id: str
    say: Callable[[str], None]
    known: dict[tuple[str, int], Any] = field(default_factory=dict)
    waits: bool = False

    def until_ended(self, show: Callable[[Sequence[StepState]], None]) -> Outcome:
        begun = time.monotonic()
        looks = Looks()
        while True:
            tasks = self.airflow.list_tasks(self.dag_id, self.run_id)
            steps = self._summarize_all(tasks)
            show(steps)
            looks.note(tasks)
            if looks.may_be_over and (state := self._ask_state()) in {"success", "failed"}:
                if not looks.ended:  # given up: what the tasks came to is known only now
                    tasks = self.airflow.list_tasks(self.dag_id, self.run_id)
                    steps = self._summarize_all(tasks)
                    show(steps)
                return self._conclude(state, tasks, steps, time.monotonic() - begun)
            time.sleep(looks.pause_s)

    def _ask_state(self) -> str:
        state = str(self.airflow.read_run(self.dag_id, self.run_id)["state"])
        if state == "queued" and not self.waits and (going := self.airflow.find_going(self.dag_id)):
            self.waits = True
            self.say(f"Waiting for {going[0]}, which goes on: a model has one run at a time")
        return state

    def _summarize_all(self, tasks: Sequence[TaskInstance]) -> list[StepState]:
        for task in tasks:
            self._fetch(task)
        return [self._summarize(step, [task for task in tasks if task.task_id == step]) for step in FLOW]

    def _fetch(self, task: TaskInstance) -> None:
        key = (task.task_id, task.map_index)
        if key in self.known or task.state not in {"success", "failed"}:
            return
        if task.state == "failed":
            self.known[key] = self.airflow.read_error(self.dag_id, self.run_id, task)
        elif task.task_id in FLOW:
            name = "opened" if task.task_id == "plan" else "return_value"
            self.known[key] = self.airflow.read_result(self.dag_id, self.run_id, task, name)

    def _summarize(self, step: str, tasks: Sequence[TaskInstance]) -> StepState:
        found = [self.known.get((task.task_id, task.map_index)) for task in tasks]
        errors = [each for each in found if isinstance(each, str)]
        results = [each for each in found if isinstance(each, dict)]
        seconds = [task.seconds for task in tasks if task.seconds and task.state in ENDED]
        return StepState(
            step,
            _combine([task.state for task in tasks], results),
            _total([result.get("rows") for result in results]),
            max(seconds, default=None),
            sum(result.get("ran", 0) for result in results),
            self._count_reused(step, results),
            errors[0] if errors else _say(step, results),
        )

    def _count_reused(self, step: str, results: Sequence[Mapping[str, Any]]) -> int:
        """Count what was reused; only what must run is in a batch, so the plan says what else was reused."""
        planned = self.known.get(("plan", -1))
        if step in {"clean", "transform"} and results and isinstance(planned, dict):
            total: int = planned["partitions"]
            return total - sum(int(result.get("ran", 0)) for result in results)
        return sum(int(result.get("reused", 0)) for result in results)

    def _conclude(
        self, state: str, tasks: Sequence[TaskInstance], steps: Sequence[StepState], seconds: float
    ) -> Outcome:
        failed = [task for task in tasks if task.state == "failed"]
        failures = (Failure(_name(task), str(self.known[task.task_id, task.map_index])) for task in failed)
        results = {step: value for (step, _), value in sorted(self.known.items()) if isinstance(value, dict)}
        return Outcome(
            succeeded=state == "success",
            released=bool(results.get("release", {}).get("released")),
            seconds=seconds,
            steps=tuple(steps),
            results=results,
            failures=tuple(failures),
            page=self.airflow.name_page(self.dag_id, self.run_id),
        )


def _name(task: TaskInstance) -> str:
    return f"{task.task_id} [{task.label}]" if task.label else task.task_id


def _combine(states: Sequence[str | None], results: Sequence[Mapping[str, Any]]) -> State:
    """Combine the states of a step's tasks into one."""
    if "failed" in states:
        return "failed"
    if states and all(state in ENDED for state in states):
        if "success" not in states:
            return "not run" if "upstream_failed" in states else "skipped"
        if any(result.get("released") is False for result in results):
            return "refused"
        return "reused" if results and all(result.get("action") == "reused" for result in results) else "done"
    if "up_for_retry" in states:
        return "retrying"
    return "running" if {"running", "success", "queued"} & set(states) else "waiting"


def _total(rows: Sequence[int | None]) -> int | None:
    known = [each for each in rows if each is not None]
    return sum(known) if known else None


def _say(step: str, results: Sequence[Mapping[str, Any]]) -> str:
    if step == "plan" and results:
        todo = sum(each["run"] + each["wait"] for each in results[0]["steps"])
        return f"data {results[0]['data_commit'][:10]}, {todo} to compute" if todo else "nothing to compute"
    reasons = dict.fromkeys(str(result["reason"]) for result in results if result.get("reason"))
    return "; ".join(list(reasons)[:2]) if len(results) < 2 else f"{len(results)} batches"


def draw_table(steps: Sequence[StepState]) -> Table:
    """Draw the steps: name, state, rows, seconds, what was reused, message."""
    table = Table(box=None, pad_edge=False, expand=False)
    for name in ("step", "", "rows", "seconds", "reused", "message"):
        table.add_column(name, justify="right" if name in {"rows", "seconds", "reused"} else "left", no_wrap=True)
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    for step in steps:
        style = _STYLES[step.state]
        state = Spinner("dots", text="running", style=style) if step.state == "running" else f"[{style}]{step.state}[/]"
        table.add_row(step.step, state, *_cells(step), f"[{style}]{escape(step.message)}[/]")
    return table


def _cells(step: StepState) -> tuple[str, str, str]:
    rows = "" if step.rows is None else f"{step.rows:,}"
    seconds = "" if step.seconds is None else f"{step.seconds:.1f}"
    return rows, seconds, f"{step.reused} of {step.ran + step.reused}" if step.ran + step.reused else ""


def _line_printer(console: Console) -> Callable[[Sequence[StepState]], None]:
    """Print a line for each step when it has ended or must be tried again."""
    told: dict[str, State] = {}

    def show(steps: Sequence[StepState]) -> None:
        for step in steps:
            if step.state in {"waiting", "running"} or told.get(step.step) == step.state:
                continue
            told[step.step] = step.state
            rows, seconds, reused = _cells(step)
            facts = [
                *([f"{rows} rows"] if rows else []),
                *([f"{seconds} s"] if seconds else []),
                *([f"{reused} reused"] if reused else []),
            ]
            line = f"{step.step:<10} {step.state:<8} {', '.join(facts)}"
            console.print(f"{line}: {step.message}" if step.message else line, markup=False, soft_wrap=True)

    return show
