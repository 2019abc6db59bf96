"""Specs become DAGs of Airflow: what ``models.py``, or a DAG file of one's own, puts into its globals.

While a DAG file is parsed, specs are read, or what is kept of them; the tasks are in ``modelrail_tasks``, their work is
in ``pipeline``. A spec that cannot be read becomes a DAG tagged ``broken`` that shows its problems; the others stay as
they are. (An import error would not do: Airflow keeps one a file, and one file makes many models' DAGs.)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, CronTriggerTimetable, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict
from modelrail_tasks import RETRY_POLICY, Close, FixTheSpec, NotReleased, Plan, Step, make_params

from pipeline.errors import InputError, ModelrailError
from pipeline.home import home
from pipeline.orchestration.dag_facts import DagFacts
from pipeline.orchestration.dag_texts import FLOW, describe_model, guess_name, link_owner, link_spec, name_after_file
from pipeline.orchestration.kept_facts import KeptFacts, digest_of_code
from pipeline.spec.files import list_yaml

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
PARAMS = ParamsDict(make_params([path.stem for path in list_yaml(MODELS.parent / "environments")]))
PARAMS.validate()


def build_dag(path: Path, text: str, facts: DagFacts) -> DAG:
    """Wire one model's steps.

    Parameters
    ----------
    path : Path
        The spec's file.
    text : str
        What it says; shown with the DAG.
    """
    owner = facts.owner or "modelrail"
    retrying = {
        "owner": owner,
        "retries": facts.retries,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(seconds=facts.timeout_s),
    }
    with DAG(
        dag_id=facts.name,
        description=facts.description or f"From a data commit to a served {facts.name}",
        doc_md=describe_model(path, text, facts),
        schedule=CronTriggerTimetable(facts.cron, timezone="UTC") if facts.cron else None,
        catchup=False,
        max_active_runs=1,
        default_args=retrying,
        owner_links=link_owner(owner),
        tags=facts.tags,
    ) as dag:
        _wire(str(path))
    # Set last, since every task copies what its DAG has, and past the setter, which validates the same params for every
    # model: together most of the time that a DAG takes.
    object.__setattr__(dag, "params", ParamsDict(PARAMS))
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


def find_dags(share: str = "1/1", models: Path = MODELS) -> dict[str, DAG]:
    """Build the DAGs of a folder of specs, or in a worker only the one whose task it runs.

    Parameters
    ----------
    share : str
        Which part of the models, and of how many: ``1/2`` and ``2/2`` in two DAG files make all of them together.
        A model's name decides, so a new model moves no other to another file.
    models : Path
        Its YAML files are specs.

    Raises
    ------
    InputError
        If the share is none.
    """
    part, parts = _read_share(share)
    named = {path: guess_name(path) for path in list_yaml(models)}
    mine = {path: name for path, name in named.items() if _part_of(name, parts) == part}
    needed = get_parsing_context().dag_id
    if needed is None:
        return build_all(mine)
    dags = build_all({path: name for path, name in mine.items() if name == needed})
    # a name that only the full reading finds (an anchor, an unusual layout, a repeated name) costs reading all
    return dags if needed in dags else build_all(mine)


def _read_share(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"share: found {text!r}; expected a part and how many there are, such as '1/2'")
    return int(match[1]), int(match[2])


def _part_of(name: str, parts: int) -> int:
    """Say which part a model belongs to: any two files with the same name belong to the same."""
    return int.from_bytes(hashlib.sha256(name.casefold().encode()).digest()[:8], "big") % parts + 1


def build_all(specs: Mapping[Path, str]) -> dict[str, DAG]:
    """Build the DAGs of some specs; the first of two of one name has it.

    Parameters
    ----------
    specs : mapping of Path to str
        Each spec, with the name that its DAG has if it cannot be read.
    """
    dags: dict[str, DAG] = {}
    kept = KeptFacts(home(next(iter(specs), MODELS).parent), digest_of_code())
    for path, guessed in specs.items():
        dag = _build(path, guessed, kept)
        if dag.dag_id in dags:
            other = f"{path}: model.name: found {dag.dag_id!r}, which an earlier spec has; expected a name of its own"
            dag = build_broken_dag(f"{dag.dag_id}.{name_after_file(path)}", path, other)
        dags[dag.dag_id] = dag
    return dags


def _build(path: Path, guessed: str, kept: KeptFacts) -> DAG:
    try:
        facts, text = kept.read(path)
        return build_dag(path, text, facts)
    except ModelrailError as error:
        return build_broken_dag(guessed, path, str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours in one spec must not hide the other models
        return build_broken_dag(guessed, path, f"{path}: found {type(error).__name__}: {error}; expected a valid spec")
