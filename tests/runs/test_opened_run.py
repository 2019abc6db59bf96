"""What travels between the tasks of a run: JSON and back, and what another version wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.runs.opened_run import OpenedRun, StepPlan
from pipeline.runs.request import RunRequest
from pipeline.runs.results import DeliveryFacts, StepResult

OPENED = OpenedRun(
    request=RunRequest("models/m.yaml", environment="prod", force=True),
    data_commit="4be1a2c",
    spec_digest="d1",
    run="r1",
    mlflow_run="f00",
    methods={"clean": "c1"},
    model="m",
    spec_path="models/m.yaml",
    spec_commit="5c",
    repository="https://git.example/specs",
    partitions=3,
    batches=(("a", "b"), ("c",)),
    steps=(StepPlan("clean", "run", 3, 0, 0, "it never ran here", None),),
    pods=("clean", "train"),
    led=("train",),
)


def test_an_opened_run_survives_json() -> None:
    assert OpenedRun.from_json(json.loads(json.dumps(OPENED.to_json()))) == OPENED


def test_an_opened_run_is_told_to_others_without_what_only_readers_need() -> None:
    told = json.loads(json.dumps(OPENED.for_others()))
    assert {"batches", "steps", "repository", "pods"}.isdisjoint(told)
    known = OpenedRun.from_json(told)
    assert known == OpenedRun(OPENED.request, "4be1a2c", "d1", "r1", "f00", {"clean": "c1"})


@pytest.mark.parametrize("change", [{"version": 2}, {"version": None}])
def test_an_opened_run_of_another_version_is_refused_with_what_to_do(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"found version (2|None); expected 1: .* start it anew"):
        OpenedRun.from_json(OPENED.to_json() | change)


def test_a_steps_result_survives_json_with_its_facts() -> None:
    facts = DeliveryFacts(released=True, version="v1.0.0", verdict=["rmse 1.0 is at most 2.0"], prediction=0.0)
    result = StepResult("release", "ran", "released", 1.5, key="k", facts=facts)
    told = json.loads(json.dumps(result.to_json()))
    assert (told["version"], told["prediction"]) == ("v1.0.0", 0.0)
    assert "address" not in told
    assert StepResult.from_json(told) == result


def test_a_result_without_facts_says_nothing_of_releases() -> None:
    told = StepResult("clean", "reused", "nothing changed").to_json()
    assert "released" not in told
    assert StepResult.from_json(told).facts == DeliveryFacts()
