"""Ask what is live about a real record: the answer must be the one that was computed before the release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.delivery.platforms.target import Live, Platform, Target
from pipeline.delivery.releases import Release
from pipeline.errors import DeploymentError
from pipeline.serving.client import Answer, predict
from pipeline.storage.artifacts import Store

# Largest difference between the served and the expected answer, as for the parity of a conversion.
_TOLERANCE = 1e-5


def sample_of(release: Release, store: Store) -> Mapping[str, Any] | None:
    """Return a real record with the answer that is expected, where the store still has it."""
    artifact = store.find(release.evidence.artifacts.get("evaluate", ""))
    sample: Mapping[str, Any] | None = artifact.manifest.get("example") if artifact else None
    return sample


def ask(platform: Platform, target: Target, release: Release, sample: Mapping[str, Any]) -> tuple[Live, Answer]:
    """Ask what is live about a real record.

    Raises
    ------
    DeploymentError
        If nothing is live, another release answers, or the answer is not what was computed before.
    """
    live = platform.live(target)
    if live is None:
        raise DeploymentError(
            f"verify: found no live deployment of {release.model}; expected {release.tag}: deploy first"
        )
    answer = predict(live.address, sample["record"], send=platform.post(target))
    if answer.version.removeprefix("v") != str(release.version):
        raise DeploymentError(f"verify: {live.address} answers as {answer.version}; expected v{release.version}")
    if not _agree(answer.outputs[0], sample["output"]):
        raise DeploymentError(
            f"verify: {live.address} predicts {answer.outputs[0]} for a test record; expected {sample['output']}"
        )
    return live, answer


def _agree(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return bool(abs(found - expected) <= _TOLERANCE * max(1.0, abs(expected)))
    return bool(found == expected)
