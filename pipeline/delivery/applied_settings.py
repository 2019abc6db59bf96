"""How each environment was deployed last, kept in the store: with which settings, and what failed since.

Git says which release should be live. Its settings may change without a release, so they are recorded in the store
whenever they are applied; then what failed before is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pipeline.delivery.releases import Release
from pipeline.errors import ModelrailError
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import Store

SECTIONS = ("deploy", "environment", "monitoring")
"""Sections of the spec that decide how a release is served and watched."""


def sections_of(spec: Spec) -> dict[str, Any]:
    """Read what a spec says of a deployment, with defaults filled in."""
    return spec.model_dump(mode="json", include=set(SECTIONS))


def remember(store: Store, release: Release, environment: str, spec: Spec) -> None:
    """Record that a release was deployed to an environment with a spec's settings, unless that is known."""
    facts = {"release": release.tag, "spec": sections_of(spec)}
    if recall(store, release.model, environment) != facts:
        store.write_note(_name(release.model, environment), json.dumps(facts).encode())


def recall(store: Store, model: str, environment: str) -> Mapping[str, Any] | None:
    """Read the tag of the release that was deployed last, and its settings; None if none is recorded."""
    name = _name(model, environment)
    facts = _read(store.notes(f"deployed/{model}").get(name))
    return facts if {"release", "spec"} <= facts.keys() else None


@dataclass(frozen=True)
class Failure:
    """A release that could not be made live, and nothing was made live since.

    Attributes
    ----------
    release : str
        Its tag.
    at : str
        When: ISO 8601, in UTC.
    said : str
        The error's message.
    """

    model: str
    environment: str
    release: str
    at: str
    said: str


def note_failure(store: Store, release: Release, environment: str, said: str) -> None:
    """Record that a release could not be made live."""
    name = _name(release.model, environment)
    failed = {"release": release.tag, "at": datetime.now(UTC).isoformat(timespec="seconds"), "said": said}
    with suppress(OSError, ModelrailError):  # the error itself is the one to tell
        known = _read(store.notes(f"deployed/{release.model}").get(name))
        store.write_note(name, json.dumps({**known, "failed": failed}).encode())


def failures(store: Store, model: str | None = None) -> list[Failure]:
    """List what could not be made live, of one model or of all."""
    notes = store.notes(f"deployed/{model}" if model else "deployed")
    found = ((PurePosixPath(name), _read(content).get("failed")) for name, content in sorted(notes.items()))
    return [Failure(name.parent.name, name.stem, **failed) for name, failed in found if failed]


def _read(content: bytes | None) -> Mapping[str, Any]:
    try:
        facts = json.loads(content or b"")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _name(model: str, environment: str) -> str:
    return f"deployed/{model}/{environment}.json"
