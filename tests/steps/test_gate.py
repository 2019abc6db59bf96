from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from pipeline.spec.schema.spec import Bound
from pipeline.steps.gate import Rows, Verdict, judge


@dataclass(frozen=True)
class Found:
    value: float | None
    low: float | None = None
    high: float | None = None


def judge_one(metric, bound, candidate, champion=None, trouble=""):
    against = None if champion is None else {metric: Found(champion)}
    return judge({metric: Found(candidate)}, against, {metric: Bound(**bound)}, trouble)


@pytest.mark.parametrize(
    ("metric", "bound", "candidate", "champion", "passed", "text"),
    [
        ("roc_auc", {"at_least": 0.7}, 0.7412, None, True, "roc_auc 0.7412 is at least 0.7: passed"),
        ("roc_auc", {"at_least": 0.7}, 0.7, None, True, "roc_auc 0.7 is at least 0.7: passed"),
        ("roc_auc", {"at_least": 0.3}, 0.1 + 0.2, None, True, "roc_auc 0.3 is at least 0.3: passed"),
        ("roc_auc", {"at_least": 0.7}, 0.6999, None, False, "roc_auc 0.6999 is not at least 0.7: failed"),
        ("roc_auc", {"at_least": 0.7}, 0.69999, None, False, "roc_auc 0.69999 is not at least 0.7: failed"),
        ("log_loss", {"at_most": 0.3}, 0.1 + 0.2, None, True, "log_loss 0.3 is at most 0.3: passed"),
        ("log_loss", {"at_most": 0.5}, 0.6, None, False, "log_loss 0.6 is not at most 0.5: failed"),
        ("r2", {"at_least": -0.5}, -0.4, None, True, "r2 -0.4 is at least -0.5: passed"),
        ("mse", {"at_most": 0.0}, 0.0, None, True, "mse 0 is at most 0: passed"),
        (
            "roc_auc", {"behind_champion_at_most": 0.005}, 0.745, 0.75, True,
            "roc_auc 0.745 is 0.005 behind the live release's 0.75; at most 0.005 behind is allowed: passed",
        ),
        (
            "roc_auc", {"behind_champion_at_most": 0.005}, 0.74, 0.75, False,
            "roc_auc 0.74 is 0.01 behind the live release's 0.75; at most 0.005 behind is allowed: failed",
        ),
        (
            "roc_auc", {"behind_champion_at_most": 0.0}, 0.76, 0.75, True,
            "roc_auc 0.76 is 0.01 ahead of the live release's 0.75; at most 0 behind is allowed: passed",
        ),
        (
            "roc_auc", {"behind_champion_at_most": 0.0}, 0.75, 0.75, True,
            "roc_auc 0.75 is level with the live release's 0.75; at most 0 behind is allowed: passed",
        ),
        (
            "rmse", {"behind_champion_at_most": 1.0}, 12.0, 10.0, False,
            "rmse 12 is 2 behind the live release's 10; at most 1 behind is allowed: failed",
        ),
        (
            "rmse", {"ahead_of_champion_at_least": 2.0}, 8.0, 10.0, True,
            "rmse 8 is 2 ahead of the live release's 10; at least 2 ahead is asked for: passed",
        ),
        (
            "f1", {"ahead_of_champion_at_least": 0.1}, 0.4, 0.3, True,
            "f1 0.4 is 0.1 ahead of the live release's 0.3; at least 0.1 ahead is asked for: passed",
        ),
        (
            "f1", {"ahead_of_champion_at_least": 0.1}, 0.2, 0.3, False,
            "f1 0.2 is 0.1 behind the live release's 0.3; at least 0.1 ahead is asked for: failed",
        ),
        (
            "f1", {"ahead_of_champion_at_least": 0.0}, 0.3, 0.3, True,
            "f1 0.3 is level with the live release's 0.3; at least 0 ahead is asked for: passed",
        ),
        (
            "roc_auc", {"behind_champion_at_most": 0.1}, 0.5, None, True,
            "roc_auc: there is no other release to compare with: passed",
        ),
        (
            "roc_auc", {"at_least": 0.7}, None, None, False,
            "roc_auc is undefined on the test rows, so its bound cannot be kept: failed",
        ),
        (
            "roc_auc", {"behind_champion_at_most": 0.1}, None, None, False,
            "roc_auc is undefined on the test rows, so its bound cannot be kept: failed",
        ),
        (
            "mse", {"at_most": 1.0}, float("nan"), None, False,
            "mse is undefined on the test rows, so its bound cannot be kept: failed",
        ),
        (
            "mse", {"at_most": 1.0}, float("inf"), None, False,
            "mse is undefined on the test rows, so its bound cannot be kept: failed",
        ),
    ],
)  # fmt: skip
def test_judge_gives_a_reason_for_each_bound(metric, bound, candidate, champion, passed, text):
    verdict = judge_one(metric, bound, candidate, champion)
    assert [line.text for line in verdict.lines] == [text]
    assert verdict.lines[0].passed is passed
    assert verdict.promote is passed


def test_judge_shows_the_interval():
    verdict = judge({"f1": Found(0.7412, 0.737, 0.745)}, None, {"f1": Bound(at_least=0.7)})
    assert verdict.lines[0].text == "f1 0.7412 [0.737, 0.745] is at least 0.7: passed"


def test_judge_says_what_the_distance_is_in():
    line = judge_one("rmse", {"behind_champion_at_most": 1.0}, 12.0, 10.0).lines[0]
    assert (line.metric, line.rule, line.value, line.limit) == ("rmse", "behind_champion_at_most", 2.0, 1.0)


def test_judge_fails_a_comparison_with_a_release_that_could_not_be_evaluated():
    verdict = judge_one("f1", {"at_least": 0.1, "behind_champion_at_most": 0.1}, 0.5, None, "column 'tail' is gone")
    assert [line.passed for line in verdict.lines] == [True, False]
    assert verdict.lines[1].text == "f1: the live release could not be evaluated (column 'tail' is gone): failed"


def test_judge_fails_a_comparison_with_an_undefined_metric():
    verdict = judge({"f1": Found(0.5)}, {"f1": Found(None)}, {"f1": Bound(behind_champion_at_most=0.1)})
    assert verdict.lines[0].text == "f1 is undefined for the live release: failed"


def test_judge_fails_a_metric_that_was_not_computed():
    verdict = judge({}, None, {"f1": Bound(at_least=0.1)})
    assert verdict.lines[0].text == "f1 was not computed (evaluate.metrics), so its bound cannot be kept: failed"


def test_judge_without_a_gate_promotes_and_says_so():
    verdict = judge({"f1": Found(0.0)}, None, {})
    assert verdict == Verdict(True, (), "there is no gate (evaluate.gate), so any model may be released")


def test_one_missed_bound_keeps_the_model_back():
    gate = {"accuracy": Bound(at_least=0.5, at_most=0.9), "f1": Bound(at_least=0.5)}
    verdict = judge({"accuracy": Found(0.8), "f1": Found(0.4)}, None, gate)
    assert [(line.metric, line.rule, line.passed) for line in verdict.lines] == [
        ("accuracy", "at_least", True),
        ("accuracy", "at_most", True),
        ("f1", "at_least", False),
    ]
    assert not verdict.promote
    assert verdict.summary == "1 of 3 bounds of the gate is missed: not released"


def test_a_verdict_survives_json():
    verdict = judge_one("f1", {"at_least": 0.1, "behind_champion_at_most": 0.1}, 0.5, 0.4)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict


def test_judging_imports_nothing_heavy():
    code = "import sys, pipeline.steps.gate; print({'numpy', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_too_few_test_rows_are_a_missed_bound_with_and_without_a_gate() -> None:
    bare = judge({"f1": Found(0.9)}, None, {}, rows=Rows(1, 10))
    assert not bare.promote
    assert bare.summary == "1 of 1 bounds of the gate is missed: not released"
    assert bare.lines[0].text == "1 test row instead of at least 10 (evaluate.min_rows): failed"
    assert not judge({"f1": Found(0.9)}, None, {"f1": Bound(at_least=0.1)}, rows=Rows(9, 10)).promote
    enough = judge({"f1": Found(0.9)}, None, {}, rows=Rows(10, 10))
    assert (enough.promote, enough.lines) == (True, ())
