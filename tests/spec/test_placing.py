"""Where steps run, and which share a pod."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.spec.placement import companions, groups, is_led, most_batches, placement, pod_steps
from pipeline.spec.schema.run import Run


def run(**keys: Any) -> Run:
    return Run.model_validate(keys)


def test_steps_run_in_processes_unless_the_spec_says_otherwise() -> None:
    assert pod_steps(run()) == []
    assert pod_steps(run(train="pod")) == ["train"]
    assert pod_steps(run(default="pod", train="process", release="process"))[:4] == [
        "clean",
        "transform",
        "normalize",
        "evaluate",
    ]


def test_a_step_adds_to_what_the_default_says() -> None:
    place = placement(run(default={"where": "pod", "cpu": 1, "memory": "1Gi"}, train={"memory": "8Gi"}), "train")
    assert (place.where, place.cpu, place.memory) == ("pod", 1, "8Gi")


@pytest.mark.parametrize(
    ("fuse", "expected"),
    [
        ([], []),
        (["clean", "transform", "normalize"], [["clean", "transform", "normalize"]]),
        (["transform", "clean", "deploy", "release"], [["clean", "transform"], ["release", "deploy"]]),
    ],
)
def test_neighbours_share_a_pod(fuse: list[str], expected: list[list[str]]) -> None:
    assert groups(run(default="pod", fuse=fuse)) == expected


def test_a_pod_goes_on_with_the_steps_after_its_own() -> None:
    fused = run(default="pod", fuse=["clean", "transform", "normalize"])
    after = {"clean": ["transform", "normalize"], "transform": ["normalize"], "train": []}
    assert {step: companions(fused, step) for step in after} == after
    assert [is_led(fused, step) for step in ("clean", "transform", "train")] == [False, True, False]


def test_partitions_stay_together_where_a_pod_goes_on_with_all_of_them() -> None:
    assert most_batches(run(default="pod", fuse=["clean", "transform"], batches=8)) == 8
    assert most_batches(run(default="pod", fuse=["clean", "transform", "normalize"], batches=8)) == 1
