"""One Airflow DAG a spec: the wiring, and nothing else.

While this file is parsed, only specs are read (with pydantic); the work is in ``pipeline.running`` and is imported by
the tasks. A spec that cannot be read becomes a DAG tagged ``broken`` that shows its problems; the others stay as they
are. (An import error would not do: Airflow keeps one a file, and this one file makes every model's DAG.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import (
    DAG,
    BaseOperator,
    BaseOperatorLink,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    get_parsing_context,
)
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException

from pipeline.descriptions import (
    FLOW,
    describe_model,
    describe_plan,
    describe_step,
    guess_name,
    link_owner,
    link_spec,
    name_after_file,
)
from pipeline.errors import InputError, ModelrailError
from pipeline.spec.catalogue import task_of, trainer_name
from pipeline.spec.loading import load_spec

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey

    from pipeline.spec.schema import Spec

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
ENVIRONMENTS = MODELS.parent / "environments"
BY_ITSELF = frozenset({"scheduled", "backfill"})
"""Types of run whose logical date is the as-of date."""

# Only what the code itself calls transient is tried again; a task whose process was killed has no exception to judge
# and is tried again as well. Both are safe: a step can only do less work the second time.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception="pipeline.errors.TransientError", action=RetryAction.RETRY)], default=RetryAction.FAIL
)


class MLflowLink(BaseOperatorLink):
    """From a task to the MLflow run that it has written."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Give the address; Airflow asks in the worker, when the task has ended, and keeps it as an XCom."""
        return getattr(operator, "mlflow_address", "")


class _Task(BaseOperator):
    """What the tasks have in common: a link to MLflow, and errors that read well."""

    operator_extra_links = (MLflowLink(),)
    mlflow_address = ""

    def _link(self, run: str | None) -> None:
        if run and (base := os.environ.get("MODELRAIL_MLFLOW_URL")):
            self.mlflow_address = f"{base}/#/runs/{run}"

    def _opened(self, context: Context) -> dict[str, Any]:
        return context["ti"].xcom_pull(task_ids="plan", key="opened")


class Plan(_Task):
    """Open the run; return the batches of partitions that clean and transform are mapped over."""

    ui_color = "#e8f0fe"

    def __init__(self, *, spec: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec

    def execute(self, context: Context) -> list[list[str]]:
        """Check the params, plan, open the MLflow run."""
        from pipeline import running

        opened = running.open_run(running.RunRequest(spec=self.spec, **read_request(context)))
        context["ti"].xcom_push(key="opened", value=opened)
        self._link(opened["mlflow_run"])
        for line in describe_plan(opened):
            self.log.info(line)
        # one empty batch when all is reused: then the UI shows one task that says so, and what follows still runs
        return opened["batches"] or [[]]


class Step(_Task):
    """Run one step, of the whole or of one batch of partitions."""

    template_fields = ("partitions",)

    def __init__(self, *, partitions: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.partitions = partitions

    def execute(self, context: Context) -> dict[str, Any]:
        """Run it; return its keys and numbers."""
        from pipeline import running

        opened = self._opened(context)
        if self.partitions is not None and not self.partitions:
            self.log.info("%s: every partition is reused", self.task_id)
            return {"step": self.task_id, "action": "reused", "rows": None, "seconds": 0.0, "ran": 0, "reused": 0,
                    "reason": "every partition is reused"}  # fmt: skip
        batch = None if self.partitions is None else list(self.partitions)
        result = running.run_step(self.task_id, opened, batch)
        self._link(result["mlflow_run"] or opened["mlflow_run"])
        for line in describe_step(result):
            self.log.info(line)
        if result["action"] == "skipped":
            raise AirflowSkipException(f"{self.task_id}: {result['reason'] or 'not released'}")
        return result


class NotReleased(_Task):
    """Stand out in the UI when the gate was missed: this task then succeeds, and deploy and verify are skipped."""

    ui_color = "#fff3cd"

    def execute(self, context: Context) -> dict[str, Any]:
        """Say why there is no release; skip when there is one."""
        release = context["ti"].xcom_pull(task_ids="release")
        if release["released"]:
            raise AirflowSkipException("the model was released")
        for line in release.get("verdict", ()):
            self.log.info(line)
        return {"step": "not_released", "action": "ran", "verdict": release.get("verdict", [])}


class Close(_Task):
    """End the MLflow run, whatever happened."""

    def execute(self, context: Context) -> None:
        """Tell how the run ended from the states of its tasks."""
        from pipeline import running

        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
        opened = self._opened(context)
        outcome = judge_outcome(states, ti.xcom_pull(task_ids="release"), computed=opened["mlflow_run"] is not None)
        running.close_run(opened, outcome)
        self.log.info("the run has ended: %s", outcome)


def judge_outcome(
    states: Mapping[str, str | None], release: Mapping[str, Any] | None, *, computed: bool
) -> Literal["released", "not released", "unchanged", "failed"]:
    """Say how a run ended, from its tasks' states, its release step's result and whether anything was computed."""
    if release is None or {"failed", "upstream_failed"} & set(states.values()):
        return "failed"
    if not release["released"]:
        return "not released"
    return "released" if computed else "unchanged"


def read_request(context: Context) -> dict[str, Any]:
    """Read what the run was triggered with.

    Raises
    ------
    InputError
        When its conf has a key that is no param: Airflow lets those through.
    """
    dag_run = context["dag_run"]
    if unknown := sorted(set(dag_run.conf or {}) - set(PARAMS)):
        raise InputError(
            f"the run's conf: found {', '.join(map(repr, unknown[:5]))}; expected only {', '.join(map(repr, PARAMS))}"
        )
    params = {name: context["params"][name] for name in PARAMS}
    run_type = getattr(dag_run.run_type, "value", dag_run.run_type)
    if run_type in BY_ITSELF and not params["as_of"] and dag_run.logical_date:
        params["as_of"] = dag_run.logical_date.date().isoformat()
    return params | {"reason": params["reason"] or "", "trigger": f"Airflow, {run_type} run {dag_run.run_id}"}


def build_dag(path: Path, spec: Spec) -> DAG:
    """Wire one model's steps.

    Parameters
    ----------
    path : Path
        The spec's file; its text is shown with the DAG.
    spec : Spec
        What it says.
    """
    owner = spec.model.owner or "modelrail"
    retrying = {
        "owner": owner,
        "retries": spec.tasks.retries,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(seconds=spec.tasks.timeout_s),
    }
    with DAG(
        dag_id=spec.model.name,
        description=spec.model.description or f"From a data commit to a served {spec.model.name}",
        doc_md=describe_model(path, spec),
        schedule=CronTriggerTimetable(spec.schedule.cron, timezone="UTC") if spec.schedule.cron else None,
        catchup=False,
        max_active_runs=1,
        default_args=retrying,
        owner_links=link_owner(owner),
        tags=sorted({"model", spec.environment.platform, *filter(None, (trainer_name(spec.model), task_of(spec)))}),
    ) as dag:
        _wire(str(path))
    dag.params = ParamsDict(PARAMS)  # set last: every task would copy what its DAG has, a third of the time to parse
    return dag


def _wire(spec: str) -> None:
    def step(name: str) -> Step:
        return Step(task_id=name, doc_md=FLOW[name])

    plan = Plan(task_id="plan", spec=spec, doc_md=FLOW["plan"])
    clean, transform = (
        Step.partial(
            task_id=name, doc_md=FLOW[name], map_index_template="{{ task.partitions | join(', ') or 'all reused' }}"
        ).expand(partitions=plan.output)
        for name in ("clean", "transform")
    )
    normalize, train, evaluate, release, deploy, verify = map(step, list(FLOW)[3:])
    not_released = NotReleased(task_id="not_released", doc_md="Says why, when the model missed its gate.")
    close = Close(task_id="close", doc_md="End the MLflow run, whatever happened.")
    plan >> clean >> transform >> normalize >> train >> evaluate >> release >> deploy >> verify
    release >> not_released
    [verify, not_released] >> close.as_teardown(setups=plan)


def make_params() -> dict[str, Param]:
    """Give the params of every model's DAG: what the trigger form asks for."""
    environments = sorted(path.stem for path in ENVIRONMENTS.glob("*.yaml"))
    return {
        "data_commit": Param(
            None, type=["null", "string"], title="Data commit", pattern=r"^\S{1,200}$",
            description_md="A commit, tag or branch of the data repository. Empty: the newest commit.",
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


class FixTheSpec(BaseOperator):
    """Fail with what is wrong with a spec."""

    ui_color = "#f8d7da"

    def __init__(self, *, problems: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Fail."""
        raise InputError(self.problems)


def build_broken_dag(dag_id: str, path: Path, problems: str) -> DAG:
    """Stand in for a model whose spec cannot be read: its DAG shows why, and cannot do anything."""
    listed = "\n".join(f"- `{line}`" for line in problems.splitlines())
    with DAG(
        dag_id=dag_id,
        dag_display_name=f"⚠ {dag_id}: broken spec",
        description=problems.splitlines()[0][:500],
        doc_md=f"# The spec of {dag_id} cannot be read\n\n{listed}\n\nMend {link_spec(path)}; this page follows.\n",
        schedule=None,
        catchup=False,
        tags=["broken", "model"],
    ) as dag:
        FixTheSpec(task_id="fix_the_spec", problems=problems, doc_md=listed)
    return dag


def build_all(folder: Path, only: str | None = None) -> dict[str, DAG]:
    """Build the DAGs of a folder of specs.

    Parameters
    ----------
    folder : Path
        Its ``*.yaml`` files are specs.
    only : str, optional
        The one DAG that is needed: a worker runs tasks of one.
    """
    dags: dict[str, DAG] = {}
    for path in sorted(folder.glob("*.yaml")):
        guessed = guess_name(path)
        if only is not None and guessed != only:
            continue
        dag = _build(path, guessed)
        if dag.dag_id in dags:
            other = f"{path}: model.name: found {dag.dag_id!r}, which an earlier spec has; expected a name of its own"
            dag = build_broken_dag(f"{dag.dag_id}.{name_after_file(path)}", path, other)
        dags[dag.dag_id] = dag
    return dags


def _build(path: Path, guessed: str) -> DAG:
    try:
        return build_dag(path, load_spec(path).spec)
    except ModelrailError as error:
        return build_broken_dag(guessed, path, str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours in one spec must not hide the other models
        return build_broken_dag(guessed, path, f"{path}: found {type(error).__name__}: {error}; expected a valid spec")


def find_dags(folder: Path) -> dict[str, DAG]:
    """Build every DAG, or in a worker only the one whose task it runs."""
    needed = get_parsing_context().dag_id
    dags = build_all(folder, only=needed)
    # a name that only the full reading finds (an anchor, an unusual layout, a repeated name) costs reading all
    return dags if needed is None or needed in dags else build_all(folder)


PARAMS = make_params()

globals().update(find_dags(MODELS))
