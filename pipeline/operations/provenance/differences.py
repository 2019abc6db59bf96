"""What differs between two releases of a model: spec, data, metrics, importances, signature, code, artifacts.

The evidence in the tags tells most of it. Specs and data are read from Git at the releases' own commits, importances
and recipes from the store. What is no longer there is named in the notes; the rest is told all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.delivery.releases import Release, Version, breaks_callers, releases
from pipeline.errors import InputError, ModelrailError, SpecError
from pipeline.home import home, store_address
from pipeline.messages import examples, suggest
from pipeline.model.signature import Signature
from pipeline.operations.data_comparison import Difference, compare
from pipeline.operations.provenance.code import CodeChange, compare_code
from pipeline.operations.provenance.metrics import MetricChange, compare_metrics
from pipeline.runs.committed_specs import load_spec_at, read_spec_at
from pipeline.runs.job import SpecSource, resolve
from pipeline.runs.request import RunRequest
from pipeline.spec.comparing import Change
from pipeline.spec.comparing import compare as compare_values
from pipeline.spec.schema.spec import Spec
from pipeline.steps.evaluate.results import Importances
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import list_names

IMPORTANCES = "importances.json"


@dataclass(frozen=True)
class ImportanceChange:
    """How important a column is for the model, before and after; None where it is not among its inputs."""

    column: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class ArtifactChange:
    """An artifact of a step, before and after.

    Attributes
    ----------
    why : tuple of str
        What of its recipe differs, where the store still has both.
    """

    step: str
    before: str
    after: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseDifference:
    """What differs between two releases.

    Attributes
    ----------
    spec : tuple of Change
        By key, defaults filled in and the releases' environments laid over.
    data : Difference or None
        None where the data cannot be read; the notes say why.
    importance_metric : str
        By which importances are measured: loss of quality when a column is shuffled.
    breaks_callers : bool
        Whether a request that the earlier one answers may be refused by the later.
    notes : tuple of str
        What a reader must know.
    """

    before: Release
    after: Release
    spec: tuple[Change, ...]
    data: Difference | None
    metrics: tuple[MetricChange, ...]
    importances: tuple[ImportanceChange, ...]
    importance_metric: str
    signature: tuple[Change, ...]
    breaks_callers: bool
    code: CodeChange
    artifacts: tuple[ArtifactChange, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        return asdict(self) | {"before": _side(self.before), "after": _side(self.after)}


def find_pair(repository: Repository, model: str, before: str | None, after: str | None) -> tuple[Release, Release]:
    """Find two releases of a model: by default the newest, and the one before it.

    Raises
    ------
    InputError
        If there is no such release; the message lists those that there are.
    """
    history = releases(repository, model)
    if not history:
        raise InputError(
            f"diff: found no release of '{model}' in {repository.root}; expected {_released(repository, model)}"
        )
    if len(history) < 2:
        raise InputError(f"diff: found only {history[0].tag}; expected two releases ('modelrail run' makes the next)")
    later = _find(history, model, after) if after else history[-1]
    if before:
        return _find(history, model, before), later
    place = history.index(later)
    if place == 0:
        raise InputError(f"diff: found no release of '{model}' before v{later.version}; expected two versions")
    return history[place - 1], later


def _find(history: list[Release], model: str, wanted: str) -> Release:
    version = Version.parse(wanted.removeprefix(f"{model}@"))
    found = next((each for each in history if each.version == version), None)
    if found is None:
        newest = ", ".join(f"v{each.version}" for each in history[:-6:-1]) or "a release that 'modelrail run' makes"
        raise InputError(
            f"found no release {model}@v{version}; expected one of {newest} ('modelrail releases {model}')"
        )
    return found


def _released(repository: Repository, model: str) -> str:
    names = dict.fromkeys(name.partition("@")[0] for name in list_names(repository, "*@v*"))
    return suggest(model, names, f"one of {examples(names)}") if names else "one that 'modelrail run' has made"


def compare_releases(repository: Repository, before: Release, after: Release) -> ReleaseDifference:
    """Compare two releases of a model."""
    state = home(repository.root)
    store = open_store(store_address(state), state)
    notes: list[str] = []
    one, other = _signature(before), _signature(after)
    importances, metric = _importances(store, before, after, notes)
    return ReleaseDifference(
        before=before,
        after=after,
        spec=tuple(_compare_specs(repository, before, after, notes)),
        data=_told(notes, "the data", lambda: _compare_data(repository, before, after)),
        metrics=tuple(_compare_metrics(before, after, notes)),
        importances=importances,
        importance_metric=metric,
        signature=tuple(compare_values(_by_name(one), _by_name(other))),
        breaks_callers=breaks_callers(one, other),
        code=compare_code(before.evidence.code, after.evidence.code),
        artifacts=tuple(_artifact(step, before, after, store) for step in after.evidence.artifacts),
        notes=tuple(notes),
    )


def _told(notes: list[str], what: str, look: Callable[[], Difference]) -> Difference | None:
    """Compare, or note why that is impossible."""
    try:
        return look()
    except ModelrailError as error:
        notes.append(f"{what} could not be compared: {error}")
        return None


def _compare_specs(repository: Repository, before: Release, after: Release, notes: list[str]) -> list[Change]:
    try:
        one, other = (_spec_of(repository, each).model_dump(mode="json") for each in (before, after))
    except SpecError as error:
        notes.append(f"specs are compared as they are written, since today's Modelrail refuses one of them: {error}")
        one, other = (read_spec_at(repository, *_place_of(each)) for each in (before, after))
    except ModelrailError as error:
        notes.append(f"the specs could not be compared: {error}")
        return []
    return list(compare_values(one, other))


def _spec_of(repository: Repository, release: Release) -> Spec:
    return load_spec_at(repository, *_place_of(release))


def _place_of(release: Release) -> tuple[str, str, str | None]:
    evidence = release.evidence
    return evidence.spec_commit, evidence.spec_path, evidence.environment


def _compare_data(repository: Repository, before: Release, after: Release) -> Difference:
    jobs = []
    for release in (before, after):
        evidence = release.evidence
        source = SpecSource(_spec_of(repository, release), evidence.spec_path, evidence.spec_commit, repository)
        wanted = RunRequest(evidence.spec_path, evidence.environment, evidence.data_commit, evidence.as_of)
        jobs.append(resolve(wanted, source))
    return compare(*jobs)


def _compare_metrics(before: Release, after: Release, notes: list[str]) -> list[MetricChange]:
    if before.evidence.data_commit != after.evidence.data_commit:
        notes.append("each release's metrics are of its own test rows; these may differ, since the data do")
    return compare_metrics(before.evidence.metrics, after.evidence.metrics)


def _importances(
    store: Store, before: Release, after: Release, notes: list[str]
) -> tuple[tuple[ImportanceChange, ...], str]:
    one, other = (_read_importances(store, each, notes) for each in (before, after))
    if one is None or other is None:
        return (), ""
    if one.metric != other.metric:
        notes.append(f"importances are measured by {one.metric} before and by {other.metric} after")
    then, now = ({each.column: each.drop for each in side.columns} for side in (one, other))
    return tuple(ImportanceChange(name, then.get(name), now.get(name)) for name in {**now, **then}), other.metric


def _read_importances(store: Store, release: Release, notes: list[str]) -> Importances | None:
    artifact = store.find(release.evidence.artifacts.get("evaluate", ""))
    if artifact is None or not artifact.has(IMPORTANCES):
        notes.append(f"the importances of {release.tag} are not in this store: 'modelrail rebuild' makes them again")
        return None
    return Importances.from_json(json.loads(Path(artifact.file(IMPORTANCES)).read_bytes()))


def _signature(release: Release) -> Signature:
    return Signature.from_json(dict(release.evidence.signature))


def _by_name(signature: Signature) -> dict[str, Any]:
    """Describe what callers see of a model, with its inputs by name."""
    inputs = {each.name: {key: value for key, value in asdict(each).items() if key != "name"}
              for each in signature.inputs}  # fmt: skip
    classes = list(signature.classes) if signature.classes else None
    return {"task": signature.task, "classes": classes, "inputs": inputs}


def _artifact(step: str, before: Release, after: Release, store: Store) -> ArtifactChange:
    keys = [each.evidence.artifacts.get(step, "") for each in (before, after)]
    why = () if keys[0] == keys[1] else explain_artifacts(*(store.find(key) for key in keys))
    return ArtifactChange(step, keys[0], keys[1], why)


def explain_artifacts(before: Artifact | None, after: Artifact | None) -> tuple[str, ...]:
    """Say what of the recipes of two artifacts of one step differs."""
    if before is None or after is None:
        return ()
    one, other = before.manifest["recipe"], after.manifest["recipe"]
    return (
        *(["its code"] if one["code"] != other["code"] else []),
        *(str(each) for each in compare_values(one["libraries"], other["libraries"])),
        *(each.path for each in compare_values(one["settings"], other["settings"])),
        *_inputs(one["inputs"], other["inputs"]),
    )


def _inputs(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Name the inputs that differ; of many, how many."""
    names = [name for name in {**other, **one} if one.get(name) != other.get(name)]
    return names if len(names) <= 3 else [f"{len(names)} of {len({**one, **other})} inputs"]


def _side(release: Release) -> dict[str, Any]:
    return asdict(release) | {"tag": release.tag, "version": str(release.version)}
