from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.delivery.platforms.platforms import PLATFORMS, platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Evidence, Release, Version
from pipeline.errors import DeploymentError, InputError
from pipeline.serving.client import predict
from pipeline.spec.schema.spec import Spec
from tests.serving.bundles import write_bundle


def make_spec(platform: str = "local") -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "line", "trainer": "linear_regression", "target": "y"},
            "environment": {"platform": platform},
            "deploy": {"port": 0},
        }
    )


def make_release(version: str = "1.0.0") -> Release:
    evidence = Evidence(
        data_repository=".",
        data_commit="d" * 40,
        spec_commit="5" * 40,
        code="modelrail 0.1.0 at c0de",
        spec_path="models/line.yaml",
        environment=None,
        as_of=None,
        partitions=1,
        artifacts={"train": "a" * 64},
        model_digest="b" * 64,
        recipe="c" * 64,
        signature={},
        metrics={},
        verdict=(),
        mlflow_run=None,
        who="Test",
        why="",
    )
    return Release("line", Version.parse(version), evidence)


def test_a_release_that_is_made_anew_ends_the_live_one_first_and_brings_it_back_if_it_cannot_be_served(
    tmp_path: Path,
) -> None:
    given = make_spec().model_dump(exclude_unset=True)
    given["deploy"] |= {"strategy": "recreate"}
    spec = Spec.model_validate(given)
    target, platform = Target(spec, None, tmp_path / "state"), platform_of(spec)
    first = platform.deploy(target, make_release(), write_bundle(tmp_path / "1"), None)
    try:
        made = platform.deploy(target, make_release("2.0.0"), write_bundle(tmp_path / "2", version="2.0.0"), None)
        assert (made.version, made.replaced) == ("2.0.0", "1.0.0")
        assert platform.deploy(target, make_release("2.0.0"), tmp_path / "2", None).replaced is None
        broken = write_bundle(tmp_path / "3", version="3.0.0")
        (broken / "model.onnx").write_bytes(b"broken")
        with pytest.raises(DeploymentError, match=r"model.onnx.*; version 2.0.0 is live again"):
            platform.deploy(target, make_release("3.0.0"), broken, None)
        now = platform.live(target)
        assert now is not None
        assert predict(now.address, {"x": 2}).version == "2.0.0"
    finally:
        platform.stop(target)
    assert first.version == "1.0.0"


def test_a_release_goes_live_on_this_machine_is_asked_and_stopped(tmp_path: Path) -> None:
    spec = make_spec()
    target, platform = Target(spec, None, tmp_path / "state"), platform_of(spec)
    assert platform.live(target) is None
    made = platform.deploy(target, make_release(), write_bundle(tmp_path / "bundle"), None)
    try:
        assert platform.live(target) == made
        answer = predict(made.address, {"x": 2}, send=platform.post(target))
        assert (answer.outputs, answer.version) == ((5.0,), "1.0.0")
    finally:
        assert platform.stop(target) == made
    assert platform.live(target) is None


def test_a_platform_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"line\.yaml: found 'aws', which .* expected local or") as caught:
        platform_of(make_spec("aws"), "line.yaml")
    assert all(name in str(caught.value) for name in PLATFORMS)
