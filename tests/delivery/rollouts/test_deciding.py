from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.delivery.rollouts.analysis import Analysis, Comparison
from pipeline.delivery.rollouts.deciding import Action, Rollout, Seen, after, next_rollout_action
from pipeline.spec.schema.deploy import Canary

PLAN = Canary.model_validate(
    {"steps": [{"weight": 5, "hold_s": 60}, {"weight": 25, "hold_s": 120}], "min_requests": 100, "deadline_s": 1000}
)
BEGUN = Rollout("m@v2.0.0", "m@v1.0.0", "image", began=0.0)
FIRST = replace(BEGUN, step=0, since=10.0)
LAST = replace(BEGUN, step=1, since=100.0, answered=150)
FINE = Comparison("errors", 0.0, 0.01, 0.5, 0.001, "errors: as many")
WORSE = Comparison("errors", 0.05, 0.01, 1e-9, 0.001, "errors: 5 % failed")
DOUBTFUL = Comparison("errors", 0.03, 0.01, 0.02, 0.001, "errors: 3 % failed")
NOTHING = Analysis(0, missing=("errors",))


def seen(requests: int = 0, compared: Comparison | None = FINE, *, ready: bool = True, **more: str) -> Seen:
    return Seen(ready, Analysis(requests, (compared,)) if compared else replace(NOTHING, requests=requests), **more)


@pytest.mark.parametrize(
    ("rollout", "look", "now", "kind", "why"),
    [
        (BEGUN, seen(ready=False), 5, "wait", "the canary was not ready"),
        (BEGUN, seen(ready=False, missing="no gateway"), 5, "wait", "no gateway"),
        (BEGUN, seen(ready=True), 5, "shift", "5 % of the requests"),
        (FIRST, seen(500), 30, "wait", "40 s of the step were left"),
        (FIRST, seen(99), 70, "wait", "99 of 100 requests were answered in the step"),
        (FIRST, seen(100), 70, "shift", "25 % of the requests"),
        (FIRST, seen(100, ready=False), 70, "wait", "the canary was not ready"),
        (FIRST, seen(100, None), 70, "wait", "too little was known of errors"),
        (FIRST, seen(100, WORSE), 30, "abort", "errors: 5 % failed"),
        (FIRST, seen(500, DOUBTFUL), 70, "wait", "more requests had to tell: errors: 3 % failed"),
        (LAST, seen(500, DOUBTFUL), 999, "wait", "more requests had to tell: errors: 3 % failed"),
        (LAST, seen(500, DOUBTFUL), 1000, "abort", "more requests had to tell: errors: 3 % failed when the deadline"),
        (FIRST, seen(0, None, trouble="pod x: found it crashing"), 30, "abort", "pod x: found it crashing"),
        (LAST, seen(249), 500, "wait", "99 of 100 requests were answered in the step"),
        (LAST, seen(250), 500, "promote", "errors: as many"),
        (LAST, seen(250), 2000, "promote", "errors: as many"),
        (LAST, seen(250, WORSE), 500, "abort", "errors: 5 % failed"),
        (FIRST, seen(0, None), 999, "wait", "0 of 100 requests were answered in the step"),
        (FIRST, seen(0, None), 1000, "abort", "0 of 100 requests were answered in the step when the deadline"),
        (FIRST, seen(100), 1000, "abort", "another step was to come when the deadline"),
        (BEGUN, seen(ready=False), 1000, "abort", "the canary was not ready when the deadline"),
        (replace(FIRST, verdict="abort", why="it was slow"), seen(500), 70, "abort", "it was slow"),
        (replace(LAST, verdict="promote"), seen(500, WORSE), 5000, "promote", ""),
    ],
)  # fmt: skip
def test_the_next_action(rollout: Rollout, look: Seen, now: float, kind: str, why: str) -> None:
    found = next_rollout_action(rollout, look, PLAN, now)
    assert found.kind == kind
    assert found.why.startswith(why)


def test_a_rollout_is_written_down_and_read_again_by_whatever_version() -> None:
    written = json.loads(json.dumps(LAST.to_json()))
    assert Rollout.from_json(written | {"what_a_later_version_added": 1}) == LAST


def test_a_step_begins_when_all_of_it_is_ready() -> None:
    shifted = after(BEGUN, Action("shift", "", 5), seen(7), 10.0)
    assert (shifted.step, shifted.since, shifted.answered) == (0, 10.0, 7)
    waiting = after(shifted, Action("wait", ""), seen(20, ready=False), 30.0)
    assert (waiting.since, waiting.answered) == (30.0, 20)
    assert after(waiting, Action("wait", ""), seen(40), 50.0).since == 30.0


def test_only_a_look_that_compared_something_costs_of_the_false_alarms() -> None:
    assert after(FIRST, Action("wait", ""), seen(500), 30.0).looks == 1
    assert after(FIRST, Action("wait", ""), seen(5, None), 30.0).looks == 0


def test_a_verdict_is_written_down_before_it_is_acted_on_and_stands_whatever_comes() -> None:
    decided = after(FIRST, Action("abort", "it was slow"), seen(500, WORSE), 30.0)
    assert next_rollout_action(decided, seen(10_000), PLAN, 40.0) == Action("abort", "it was slow")


def play(looks: list[Seen], every_s: float = 10.0) -> tuple[list[str], Rollout]:
    """Let the decisions run over what is seen, with the process killed and begun anew after each of them."""
    rollout, kinds = BEGUN, []
    for number, look in enumerate(looks):
        action = next_rollout_action(rollout, look, PLAN, number * every_s)
        rollout = Rollout.from_json(json.loads(json.dumps(after(rollout, action, look, number * every_s).to_json())))
        kinds.append(action.kind)
        if rollout.verdict:
            break
    return kinds, rollout


def test_a_good_canary_goes_through_all_steps_and_one_without_data_ends_at_the_deadline() -> None:
    kinds, rollout = play([seen(20 * number) for number in range(100)])
    assert [kind for kind in kinds if kind != "wait"] == ["shift", "shift", "promote"]
    assert rollout.verdict == "promote"
    kinds, rollout = play([seen(0, None) for _ in range(200)])
    assert [kind for kind in kinds if kind != "wait"] == ["shift", "abort"]
    assert len(kinds) == 101
