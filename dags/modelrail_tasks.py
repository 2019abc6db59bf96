"""The tasks of a model's DAG: thin operators around ``pipeline.runs.running``, which they import when they run.

They lie next to ``models.py`` rather than in ``plugins/``, so that a Git bundle of DAGs brings its own tasks along.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator, BaseOperatorLink, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException, ErrorType

from pipeline.errors import InputError, ModelrailError, explain_os_error
from pipeline.orchestration.mlflow_links import link_run
from pipeline.runs.opened_run import OpenedRun
from pipeline.runs.results import DeliveryFacts, StepResult
from pipeline.runs.wording import describe_plan, describe_step

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey
    from modelrail_pods import StepPod

BY_ITSELF = frozenset({"scheduled", "backfill"})
"""Types of run whose logical date is the as-of date."""
_NOT_YET = ("not_found", "import_errors")

# Only what the code itself calls transient is tried again; a task whose process was killed has no exception to judge
# and is tried again as well. Both are safe: a step can only do less work the second time.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception="pipeline.errors.TransientError", action=RetryAction.RETRY)], default=RetryAction.FAIL
)


class MLflowLink(BaseOperatorLink):
    """From a task to the MLflow run that it has written."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address; Airflow asks in the worker, when the task has ended, and keeps it as an XCom."""
        return getattr(operator, "mlflow_address", "")


class Task(BaseOperator):
    """What the tasks have in common: a link to MLflow, and errors that read well."""

    operator_extra_links = (MLflowLink(),)
    mlflow_address = ""

    def execute(self, context: Context) -> Any:
        """Do the task's work."""
        try:
            return self.work(context)
        except OSError as error:  # a full disk, a folder that may not be written
            raise explain_os_error(error) from error

    def work(self, context: Context) -> Any:
        """Do it; each kind of task says how."""
        raise NotImplementedError

    def _link(self, opened: OpenedRun, run: str | None) -> None:
        if run and (base := os.environ.get("MODELRAIL_MLFLOW_URL")):
            self.mlflow_address = link_run(base, opened.mlflow_experiment, run)

    def _opened(self, context: Context) -> OpenedRun:
        return OpenedRun.from_json(context["ti"].xcom_pull(task_ids="plan", key="opened"))


class Plan(Task):
    """Open the run; return the batches of partitions that clean and transform are mapped over."""

    ui_color = "#e8f0fe"

    def __init__(self, *, spec: str, **kwargs: Any) -> None:
        super().__init__(**kwargs, on_failure_callback=tell_of_failed_plan)
        self.spec = spec

    def work(self, context: Context) -> list[list[str]]:
        """Check the params, plan, open the MLflow run."""
        from pipeline.runs import running

        opened = running.open_run(running.RunRequest(spec=self.spec, **read_request(context)), open_login)
        context["ti"].xcom_push(key="opened", value=opened.to_json())
        self._link(opened, opened.mlflow_run)
        for line in describe_plan(opened):
            self.log.info(line)
        # one empty batch when all is reused: then the UI shows one task that says so, and what follows still runs
        return [list(each) for each in opened.batches] or [[]]


class Step(Task):
    """Run one step, of the whole or of one batch of partitions: in this process, or in a pod where the spec says so."""

    template_fields = ("partitions",)

    def __init__(self, *, partitions: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.partitions = partitions
        self._pod: StepPod | None = None

    def work(self, context: Context) -> dict[str, Any]:
        """Run it; return its keys and numbers."""
        from pipeline.runs import running

        opened = self._opened(context)
        if self.partitions is not None and not self.partitions:
            self.log.info("%s: every partition is reused", self.task_id)
            return StepResult(self.task_id, "reused", "every partition is reused").to_json()
        if self.task_id in opened.pods and not self._is_done(context, opened):
            self._pod = self._make_pod(opened)
            self._pod.start(context)  # usually does not come back: the task is deferred
        found = self._read_result(opened)
        return self._finish(opened, found or running.run_step(self.task_id, opened, self._batch, provider=open_login))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the pod has ended."""
        opened = self._opened(context)
        self._pod = self._make_pod(opened)
        self._pod.go_on(context, event)
        result = self._read_result(opened)
        if result is None:
            raise InputError(f"{self.task_id}: found no result of its pod in the store; expected one (MODELRAIL_STORE)")
        return self._finish(opened, result)

    def on_kill(self) -> None:
        """End the pod, if it was being started or read."""
        if self._pod is not None:
            self._pod.on_kill()

    @property
    def _batch(self) -> list[str] | None:
        return None if self.partitions is None else list(self.partitions)

    def _finish(self, opened: OpenedRun, result: StepResult) -> dict[str, Any]:
        self._link(opened, result.mlflow_run or opened.mlflow_run)
        for line in describe_step(result):
            self.log.info(line)
        if result.action == "skipped":
            raise AirflowSkipException(f"{self.task_id}: {result.reason or 'not released'}")
        return result.to_json()

    def _is_done(self, context: Context, opened: OpenedRun) -> bool:
        """Tell whether no pod is needed: the step before had this one done in its own, or the store has it all."""
        from pipeline.runs import step_elsewhere

        led = self.task_id in opened.led and context["ti"].try_number == 1
        if led and self._read_result(opened) is not None:
            return True
        return step_elsewhere.is_there(opened, self.task_id, self._batch, open_login)

    def _read_result(self, opened: OpenedRun) -> StepResult | None:
        from pipeline.runs import step_elsewhere

        return step_elsewhere.result_of(opened, self.task_id, self._batch) if self.task_id in opened.pods else None

    def _make_pod(self, opened: OpenedRun) -> StepPod:
        from modelrail_pods import StepPod

        from pipeline.runs import step_elsewhere

        spec, manifest = step_elsewhere.pod_of(opened, self.task_id, self._batch)
        return StepPod(task_id=self.task_id, manifest=manifest, run=spec.run, timeout_s=spec.tasks.timeout_s)


class NotReleased(Task):
    """Stand out in the UI when the gate was missed: this task then succeeds, and deploy and verify are skipped."""

    ui_color = "#fff3cd"

    def work(self, context: Context) -> dict[str, Any]:
        """Say why there is no release; skip when there is one."""
        facts = DeliveryFacts.from_json(context["ti"].xcom_pull(task_ids="release"))
        if facts.released:
            raise AirflowSkipException("the model was released")
        for line in facts.verdict:
            self.log.info(line)
        return {"step": "not_released", "action": "ran", "verdict": list(facts.verdict)}


class Close(Task):
    """End the MLflow run and what its pods have left, whatever happened."""

    def work(self, context: Context) -> None:
        """Tell how the run ended from the states of its tasks."""
        from pipeline.runs import running

        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
        opened = self._opened(context)
        outcome = judge_outcome(states, ti.xcom_pull(task_ids="release"), computed=opened.mlflow_run is not None)
        running.close_run(opened, outcome, open_login)
        if opened.pods:
            from modelrail_pods import remove_pods

            from pipeline.runs import step_elsewhere

            for pod in remove_pods(step_elsewhere.spec_of(opened).run, context):
                self.log.info("removed pod %s, which a task that was ended from outside had left", pod)
            step_elsewhere.forget(opened)
        self._tell(context, opened, outcome, states)
        self.log.info("the run has ended: %s", outcome)

    def _tell(self, context: Context, opened: OpenedRun, outcome: str, states: Mapping[str, str | None]) -> None:
        """Tell whom the spec names how it ended."""
        from modelrail_notify import tell_by_airflow

        from pipeline.monitoring import news, telling

        ti, now = context["ti"], time.time()
        slot = telling.slot_of(Path(opened.request.spec), opened.request.environment)
        found = [ti.xcom_pull(task_ids=each) for each in ("train", "release")]
        also = news.refused(slot.model, [StepResult.from_json(each) for each in found if each], now)
        if outcome == "failed":
            steps = ", ".join(sorted(name for name, state in states.items() if state == "failed")) or "its plan"
            also = [news.failed(slot.model, ti.run_id, steps, now)]
        tell_by_airflow(slot, self.log, also)


def tell_of_failed_plan(context: Context) -> None:
    """Tell whom the spec names that a run could not even be planned: no other task of it tells anything."""
    import logging

    from modelrail_notify import tell_by_airflow

    from pipeline.monitoring import news, telling

    task, ti = context["task"], context["ti"]
    with suppress(ModelrailError):  # of a spec that cannot be read nobody knows whom it names
        slot = telling.slot_of(Path(task.spec), context["params"]["environment"])
        also = [news.failed(slot.model, ti.run_id, "plan", time.time())]
        tell_by_airflow(slot, logging.getLogger(__name__), also)


def open_login(connection: str, address: str) -> AbstractContextManager[Mapping[str, str]]:
    """Open the login of an Airflow connection, with which git fetches private data."""
    from modelrail_trigger import git_login  # in plugins/, which a bundle of DAGs need not have

    return git_login(connection, address)


def start_run(dag_id: str, run_id: str, conf: Mapping[str, Any]) -> Literal["started", "exists", "unknown"]:
    """Start a run of a DAG from within a task; an identifier that Airflow has already is refused."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    message = TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf))
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as error:
        answer = error.error
    if not isinstance(answer, ErrorResponse):
        return "started"
    if answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
        return "exists"
    if any(word in json.dumps(answer.detail, default=str) for word in _NOT_YET):
        return "unknown"
    raise AirflowRuntimeError(answer)


def judge_outcome(
    states: Mapping[str, str | None], release: Mapping[str, Any] | None, *, computed: bool
) -> Literal["released", "not released", "unchanged", "failed"]:
    """Say how a run ended, from its tasks' states, its release step's result and whether anything was computed."""
    if release is None or {"failed", "upstream_failed"} & set(states.values()):
        return "failed"
    if not release["released"]:
        return "not released"
    return "released" if computed else "unchanged"


def make_params(environments: Sequence[str]) -> dict[str, Param]:
    """Return the params of every model's DAG: what the trigger form asks for.

    Parameters
    ----------
    environments : sequence of str
        Names of the overlays to choose from.
    """
    return {
        "data_commit": Param(
            None, type=["null", "string"], title="Data commit", pattern=r"^\S{1,200}$",
            description_md="A commit, tag or branch of the data repository. Empty: the newest commit.",
        ),
        "spec_commit": Param(
            None, type=["null", "string"], title="Spec commit", pattern=r"^\S{1,200}$",
            description_md="A commit, tag or branch whose spec is run. Empty: the spec as it lies here now.",
        ),
        "as_of": Param(
            None, type=["null", "string"], format="date", title="As of",
            description_md="Leave out partitions later than this day. Empty: all; for backfills, the run's own date.",
        ),
        "environment": Param(
            None, type=["null", "string"], enum=[None, *environments], title="Environment",
            description_md="Overlay from `environments/`. Empty: the spec as it is.",
        ),
        "force": Param(
            False, type="boolean", title="Compute everything anew", description_md="Reuse nothing from earlier runs."
        ),
        "reason": Param(
            "", type=["null", "string"], maxLength=500, title="Reason",
            description_md="Why this run; recorded in MLflow and with the release.",
        ),
    }  # fmt: skip


_ASKED = tuple(make_params(()))


def read_request(context: Context) -> dict[str, Any]:
    """Read what the run was triggered with.

    Raises
    ------
    InputError
        When its conf has a key that is no param: Airflow lets those through.
    """
    dag_run = context["dag_run"]
    if unknown := sorted(set(dag_run.conf or {}) - set(_ASKED)):
        raise InputError(
            f"the run's conf: found {', '.join(map(repr, unknown[:5]))}; expected only {', '.join(map(repr, _ASKED))}"
        )
    params = {name: context["params"][name] for name in _ASKED}
    run_type = getattr(dag_run.run_type, "value", dag_run.run_type)
    if run_type in BY_ITSELF and not params["as_of"] and dag_run.logical_date:
        params["as_of"] = dag_run.logical_date.date().isoformat()
    params["replay"] = run_type == "backfill"
    return params | {"reason": params["reason"] or "", "trigger": f"Airflow, {run_type} run {dag_run.run_id}"}


class FixTheSpec(BaseOperator):
    """Fail with what is wrong with a spec."""

    ui_color = "#f8d7da"

    def __init__(self, *, problems: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Fail."""
        raise InputError(self.problems)
