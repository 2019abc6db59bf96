"""The settings with which each environment was deployed last, kept in the store.

Git says which release should be live. Its settings may change without a release, so they are recorded in the store
whenever they are applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.delivery.releases import Release
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
    content = store.notes(f"deployed/{model}").get(name)
    try:
        facts = json.loads(content or b"")
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and {"release", "spec"} <= facts.keys() else None


def _name(model: str, environment: str) -> str:
    return f"deployed/{model}/{environment}.json"
