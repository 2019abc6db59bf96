"""Which release scores a batch, and how the release's spec reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from pipeline.delivery.releases import Release, find_release
from pipeline.delivery.stages import current
from pipeline.model.signature import Input, Signature
from pipeline.runs.committed_specs import load_spec_at
from pipeline.spec.files import find_overlay
from pipeline.spec.schema.spec import Column, Data, Environment
from pipeline.steps.clean.reading.unpacking import FORMATS
from pipeline.storage.git.repository import Repository

_PLATFORMS = get_args(Environment.model_fields["platform"].annotation)
"""Names of the environments of runs without an overlay."""


@dataclass(frozen=True)
class Chosen:
    """A release, and why it was chosen."""

    release: Release
    why: str


def choose_release(repository: Repository, reference: str, environment: str | None) -> Chosen:
    """Choose ``MODEL@VERSION``, or of ``MODEL`` the release that is live in the environment, else the newest one.

    Raises
    ------
    InputError
        If there is no such release, or no such environment.
    """
    model, _, version = reference.partition("@")
    if version:
        return Chosen(find_release(repository, reference), "the one asked for")
    for name in _PLATFORMS if environment is None else [environment]:
        if stage := current(repository, model, name):
            return Chosen(find_release(repository, stage.release), f"live in '{name}'")
    newest = find_release(repository, model)
    if environment is None:
        return Chosen(newest, "the newest release, since none is live")
    find_overlay(repository.root / newest.evidence.spec_path, environment)
    return Chosen(newest, f"the newest release, since none is live in '{environment}'")


def read_data_rules(repository: Repository, release: Release) -> Data:
    """Read how the data were read that the release was trained on."""
    evidence = release.evidence
    return load_spec_at(repository, evidence.spec_commit, evidence.spec_path, evidence.environment).data


def rules_for_batch(data: Data, signature: Signature, source: Path) -> Data:
    """Adapt the rules of training data to a batch, which has what the model reads, and may have more.

    A row that breaks the contract is left out, however many there are. Images are in the file itself.
    """
    endings = [each.lower() for each in PurePosixPath(source.name).suffixes]
    known = any(FORMATS.get(each) not in (None, "images") for each in endings)
    return data.model_copy(
        update={
            "columns": {each.name: data.columns.get(each.name) or _as_inferred(each) for each in signature.inputs},
            "extra_columns": "ignore",
            "max_quarantined": 1.0,
            "images": None,
            "format": None if known else data.format,
        }
    )


def _as_inferred(column: Input) -> Column:
    return Column(type=column.type, nullable=column.nullable, format=column.format)
