"""The DAG ``watch``: a look at each release that is live, as often as ``MODELRAIL_WATCH`` says (a cron expression).

A look that finds something fails its task, with the diagnosis as its error: whoever Airflow tells of failed tasks is
told. There is no such DAG where the variable is not set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException
from modelrail_tasks import RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")


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
    """Look at what is live of one model in one environment."""

    template_fields = ("live",)

    def __init__(self, *, live: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.live = live

    def execute(self, context: Context) -> None:
        """Judge it; what was found is kept as the XCom ``look``."""
        from pipeline.delivery.promotion import find_slot
        from pipeline.monitoring.watching import look
        from pipeline.storage.git.repository import open_repository

        model, environment, spec = self.live
        found = look(find_slot(open_repository(MODELS), model, environment, {model: Path(spec)}))
        context["ti"].xcom_push(key="look", value=found.to_json())
        if not found.is_quiet:
            raise AirflowFailException("\n".join(found.lines))
        for line in found.lines:
            self.log.info(line)


def build(cron: str) -> DAG:
    """Build the DAG."""
    retrying = {
        "owner": "modelrail",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=5),
    }
    with DAG(
        dag_id="watch",
        description="Whether what is live still does well",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args=retrying,
        tags=["monitoring"],
    ) as made:
        live = FindLive(task_id="find_live", doc_md="Where models are live, by Git.")
        LookAt.partial(
            task_id="look",
            doc_md="Fails if anything is wrong.",
            map_index_template="{{ task.live[:2] | join(' in ') }}",
        ).expand(live=live.output)
    return made


if cron := os.environ.get("MODELRAIL_WATCH"):
    dag = build(cron)
