"""What is stopped in the end: what was started, and nothing that was there before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.delivery.platforms.local.deployments import deploy, deployments, stop_all
from pipeline.orchestration.services import settings
from pipeline.serving.client import predict
from pipeline.ui.commands.hosting import _stop
from tests.serving.bundles import write_bundle


def test_a_model_that_was_live_before_stays_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv(settings.MARKER, str(state))  # as if a DAG of an `up` that was killed had deployed them
    bundle = write_bundle(tmp_path / "bundle")
    try:
        for model in ("earlier", "ours"):
            deploy(bundle, model=model, port=0, state=state, workers=2)
        before = {each.model: each for each in deployments(state)}
        _stop(state, None, {"earlier"})
        assert deployments(state) == (before["earlier"],)
        assert predict(before["earlier"].address, [1]).outputs
        _stop(state, None, set())
        assert deployments(state) == ()
    finally:
        stop_all(state)
