"""The DAG ``watch``: a look at each release that is live, as often as ``MODELRAIL_WATCH`` says (a cron expression).

A look that finds something does what ``monitoring.actions`` says, then fails its task, with the diagnosis and what was
done as its error: whoever Airflow tells of failed tasks is told. What a person is to approve becomes a run of the DAG
``watch_approval``, which waits for the answer, so that the looks go on meanwhile. There are no such DAGs where the
variable is not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowFailException
from modelrail_tasks import RETRY_POLICY, open_login, start_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline.delivery.deploying import Slot
    from pipeline.delivery.interventions import Intervention
    from pipeline.monitoring.deciding import Decision
    from pipeline.runs.request import RunRequest

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
_ASKING = "watch_approval"
_RETRYING = {
    "owner": "modelrail",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_policy": RETRY_POLICY,
}


class FindLive(BaseOperator):
    """List where models are live."""

    def execute(self, context: Context) -> list[list[str]]:  # noqa: ARG002
        """Ask Git; return each model with its environment and its spec."""
        from pipeline.monitoring.watching import find_live
        from pipeline.spec.files import list_yaml
        from pipeline.spec.loading.names import by_name
        from pipeline.storage.git.repository import open_repository

        specs = by_name(list_yaml(MODELS))
        slots = find_live(open_repository(MODELS), specs)
        return [[each.model, each.environment, str(specs[each.model])] for each in slots]


class LookAt(BaseOperator):
    """Look at what is live of one model in one environment, and do what is to be done about it."""

    template_fields = ("live",)

    def __init__(self, *, live: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.live = live

    def execute(self, context: Context) -> None:
        """Judge it; what was found is kept as the XCom ``look``."""
        from modelrail_notify import tell_by_airflow

        from pipeline.monitoring.mending import mend
        from pipeline.monitoring.watching import look

        model, environment, spec = self.live
        slot = _find_slot(model, environment, {model: Path(spec)})
        found = look(slot)
        context["ti"].xcom_push(key="look", value=found.to_json())
        lines = found.lines
        for each in mend(slot, start_retraining, provider=open_login):
            lines.append(f"  {each.said}")
            if each.asks and each.decision:
                lines.append(f"  {ask(slot, each.decision)}")
        tell_by_airflow(slot, self.log)
        if not found.is_quiet:
            raise AirflowFailException("\n".join(lines))
        for line in lines:
            self.log.info(line)


class ActApproved(BaseOperator):
    """Do what a person has approved, if it still is to be done."""

    def execute(self, context: Context) -> list[str]:
        """Decide anew: only what was approved is done, in the name of whoever approved it."""
        from modelrail_notify import tell_by_airflow

        from pipeline.monitoring.mending import mend

        asked, answer = context["params"], context["ti"].xcom_pull(task_ids="approval")
        slot = _find_slot(asked["model"], asked["environment"])
        done = mend(slot, start_retraining, provider=open_login, approve=partial(approver_of, asked, answer))
        tell_by_airflow(slot, self.log)
        lines = [each.said for each in done] or ["nothing is to be done any more"]
        for line in lines:
            self.log.info(line)
        return lines


def approver_of(asked: Mapping[str, Any], answer: Mapping[str, Any], decision: Decision) -> str | None:
    """Name who approved a decision; None if it is another than was asked about."""
    if (asked["deed"], asked["signal"]) != (decision.deed, decision.signal):
        return None
    user = answer.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or "somebody in Airflow")


def _find_slot(model: str, environment: str, specs: Mapping[str, Path] | None = None) -> Slot:
    from pipeline.delivery.promotion import find_slot
    from pipeline.storage.git.repository import open_repository

    return find_slot(open_repository(MODELS), model, environment, specs)


def start_retraining(made: Intervention, request: RunRequest) -> str:
    """Start a run of the model's DAG; its name is the intervention's, so there is one, however often this is tried."""
    from pipeline.errors import TransientError

    run_id = f"watch__{made.tag.replace('#', '.')}"
    conf = {"reason": request.reason} | ({"environment": request.environment} if request.environment else {})
    if start_run(made.model, run_id, conf) == "unknown":
        raise TransientError(f"{made.model}: found no such DAG yet; the next look tries again")
    return f"run {run_id}"


def ask(slot: Slot, decision: Decision) -> str:
    """Have a person asked, once for a row of windows."""
    first, last = decision.row[0], decision.row[-1]
    run_id = f"ask__{slot.model}.{slot.environment}.{decision.deed}.{decision.signal}.{first.at:.0f}"
    params = {"model": slot.model, "environment": slot.environment, "deed": decision.deed, "signal": decision.signal}
    started = start_run(_ASKING, run_id, params | {"said": "\n".join(last.lines)[:4_000]})
    return f"asked by {_ASKING}, run {run_id}" + (": no answer yet, or rejected" if started == "exists" else "")


def build(cron: str) -> DAG:
    """Build the DAG that looks."""
    with DAG(
        dag_id="watch",
        description="Whether what is live still does well",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args=_RETRYING | {"execution_timeout": timedelta(minutes=30)},
        tags=["monitoring"],
    ) as made:
        live = FindLive(task_id="find_live", doc_md="Where models are live, by Git.")
        LookAt.partial(
            task_id="look",
            doc_md="Fails if anything is wrong.",
            map_index_template="{{ task.live[:2] | join(' in ') }}",
        ).expand(live=live.output)
    return made


def build_asking() -> DAG:
    """Build the DAG that asks a person before something is done."""
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    name = {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,200}$"}
    with DAG(
        dag_id=_ASKING,
        description="Asks a person before something is done about what a look found",
        schedule=None,
        catchup=False,
        default_args=_RETRYING,
        params={each: Param(**name) for each in ("model", "environment", "deed", "signal")}
        | {"said": Param("", type="string", maxLength=4_000)},
        tags=["monitoring"],
    ) as made:
        approval = ApprovalOperator(
            task_id="approval",
            doc_md="Waits for an answer, under Required Actions; asks again if Airflow loses it.",
            subject="{{ params.model }} in {{ params.environment }}: {{ params.deed }} because of {{ params.signal }}?",
            body="```text\n{{ params.said }}\n```",
            response_timeout=timedelta(days=7),
        )
        approval >> ActApproved(task_id="act", doc_md="Does what was approved, if it still is to be done.")
    return made


if cron := os.environ.get("MODELRAIL_WATCH"):
    dag = build(cron)
    asking = build_asking()
