"""One Airflow DAG a spec: the wiring, and nothing else.

While this file is parsed, only specs are read (with pydantic); the tasks are in ``modelrail_tasks``, their work is in
``pipeline``. A spec that cannot be read becomes a DAG tagged ``broken`` that shows its problems; the others stay as
they are. (An import error would not do: Airflow keeps one a file, and this one file makes every model's DAG.)
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import DAG, CronTriggerTimetable, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict
from modelrail_tasks import RETRY_POLICY, Close, FixTheSpec, NotReleased, Plan, Step, make_params

from pipeline.errors import ModelrailError
from pipeline.orchestration.dag_texts import FLOW, describe_model, guess_name, link_owner, link_spec, name_after_file
from pipeline.spec.catalogue.tasks import task_of
from pipeline.spec.catalogue.trainers import trainer_name
from pipeline.spec.files import list_yaml
from pipeline.spec.loading.loading import load_spec

if TYPE_CHECKING:
    from pipeline.spec.schema.spec import Spec

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
PARAMS = make_params([path.stem for path in list_yaml(MODELS.parent / "environments")])


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
        Its YAML files are specs.
    only : str, optional
        The one DAG that is needed: a worker runs tasks of one.
    """
    dags: dict[str, DAG] = {}
    for path in list_yaml(folder):
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


globals().update(find_dags(MODELS))
