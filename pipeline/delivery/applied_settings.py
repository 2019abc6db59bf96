"""With which settings each environment was deployed last, kept in the store beside what is deployed.

Git says which release should be live. The settings that it is served with may change without a release, so what was
applied is written down when it is applied.
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
    """Return what a spec says of a deployment, defaults filled in."""
    return spec.model_dump(mode="json", include=set(SECTIONS))


def remember(store: Store, release: Release, environment: str, spec: Spec) -> None:
    """Write down that a release was deployed to an environment with a spec's settings, unless that is known."""
    facts = {"release": release.tag, "spec": sections_of(spec)}
    if recall(store, release.model, environment) != facts:
        store.write_note(_name(release.model, environment), json.dumps(facts).encode())


def recall(store: Store, model: str, environment: str) -> Mapping[str, Any] | None:
    """Return the tag of the release that was deployed last, and the settings; None if nobody wrote it down."""
    name = _name(model, environment)
    content = store.notes(f"deployed/{model}").get(name)
    try:
        facts = json.loads(content or b"")
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and {"release", "spec"} <= facts.keys() else None


def _name(model: str, environment: str) -> str:
    return f"deployed/{model}/{environment}.json"
