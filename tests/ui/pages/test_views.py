from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from pipeline.delivery.environments import EnvironmentStatus, judge_status
from pipeline.delivery.platforms.target import Live
from pipeline.delivery.releases import Version
from pipeline.errors import InputError
from pipeline.operations.provenance.partitions import compare_partitions
from pipeline.ui.pages.charts import MAX_POINTS, Measured, chart, nice_ticks, spark
from pipeline.ui.pages.environments import judge_health
from pipeline.ui.pages.evaluations import compare
from pipeline.ui.pages.model import offers_for, walk_forward
from pipeline.ui.pages.promoting import read_reason
from pipeline.ui.pages.rendering import render
from pipeline.ui.pages.run import judge_lines
from pipeline.ui.pages.runs import RunFacts, TaskFacts, steps_of
from pipeline.ui.pages.security import LIFETIME_S, check_token, is_same_origin, make_token
from pipeline.ui.pages.slow_answers import RecentAnswers


def test_a_token_is_good_for_its_user_its_model_and_twelve_hours() -> None:
    token = make_token("secret", "ann", "m", 1000)
    assert check_token(token, "secret", "ann", "m", 1000 + LIFETIME_S)
    assert not check_token(token, "secret", "ann", "m", 1001 + LIFETIME_S)
    for secret, user, model in (("other", "ann", "m"), ("secret", "bob", "m"), ("secret", "ann", "n")):
        assert not check_token(token, secret, user, model, 1000)
    for nonsense in ("", ".", "9.é", "99999999999999999999.x", "x" + token, token + "0"):
        assert not check_token(nonsense, "secret", "ann", "m", 1000)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "http://here:8081", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://here:8081"}, True),
        ({"referer": "http://here:8081/modelrail/models/m/change"}, True),
        ({"origin": "http://here:8081", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://here:8082"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_a_page_of_this_server_may_send_a_form(headers: dict[str, str], expected: object) -> None:
    assert is_same_origin(headers, frozenset({"here:8081"})) is expected


def test_partitions_are_compared_by_content() -> None:
    found = compare_partitions({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"})
    assert found is not None
    assert (found.added, found.changed, found.same, found.removed) == (("c",), ("b",), ("a",), ("d",))
    assert compare_partitions(None, {"a": "1"}) is None


def test_a_place_is_judged_by_what_git_says_and_what_answers() -> None:
    def live(version: str) -> Live:
        return Live("m", version, "http://127.0.0.1:1")

    wanted = Version(1, 2, 0)
    assert judge_status("prod", wanted, live("1.2.0")).state == "live"
    assert judge_status("prod", wanted, live("1.1.0")).said == "another version answers: v1.1.0"
    assert judge_status("prod", wanted, "nothing").state == "down"
    assert judge_status("prod", None, "nothing").said == "waiting for its first release"
    down = judge_status("prod", wanted, "nothing")
    assert judge_health((), [down], "success").word == "nothing answers"
    assert judge_health((), [judge_status("prod", wanted, live("1.2.0"))], "failed").word == "last run failed"
    assert judge_health(("m.yaml:1:1: …",), [], "").word == "broken spec"
    assert judge_health((), [], "").word == "waiting"


def test_earlier_releases_are_rolled_back_to_and_later_ones_promoted() -> None:
    places = [
        EnvironmentStatus("prod", "live", "v1.1.0"),
        EnvironmentStatus("dev", "live", "v1.2.0"),
        EnvironmentStatus("new", "waiting"),
    ]
    offers = [(each.action, each.environment) for each in offers_for(Version(1, 1, 5), places)]
    assert offers == [("promote", "prod"), ("rollback", "dev"), ("promote", "new")]
    assert [each.environment for each in offers_for(Version(1, 1, 0), places)] == ["dev", "new"]


def test_the_steps_of_a_run_say_plan_and_result() -> None:
    opened = {"partitions": 12, "steps": [
        {"step": "clean", "action": "run", "run": 2, "wait": 0, "reuse": 10, "reason": "the data changed",
         "estimate_s": 1},
    ]}  # fmt: skip
    batches = [{"action": "ran", "ran": 1, "reused": 0, "rows": 5, "seconds": 0.5}] * 2
    tasks = [TaskFacts("train", "failed", None, None), TaskFacts("evaluate", "upstream_failed", None, None)]
    run = RunFacts("m", "r", "failed", opened=opened, results={"clean": batches}, tasks=tasks)
    found = {each.step: each for each in steps_of(run)}
    clean = found["clean"]
    assert (clean.planned, clean.reason, clean.happened) == (
        "2 to run, 10 reused",
        "the data changed",
        "2 ran, 10 reused",
    )
    assert (clean.rows, clean.seconds, clean.state) == (10, 1.0, "ran")
    assert (found["train"].state, found["evaluate"].state, found["release"].state) == ("failed", "not run", "not run")


def test_a_walk_forward_takes_the_newest_run_of_each_date() -> None:
    def run(as_of: str, value: float) -> RunFacts:
        metrics = {"r2": {"value": value, "low": None, "high": None}}
        return RunFacts("m", f"r{value}", "success", "backfill", opened={"request": {"as_of": as_of}},
                        results={"release": [{"metrics": metrics}]})  # fmt: skip

    drawn = walk_forward("r2", [run("2013-02-01", 0.9), run("2013-01-01", 0.8), run("2013-02-01", 0.1)])
    assert drawn is not None
    assert [(dot.measured.label, dot.measured.value) for dot in drawn.dots] == [
        ("2013-01-01", 0.8),
        ("2013-02-01", 0.9),
    ]
    assert walk_forward("r2", [run("2013-02-01", 0.9)]) is None


def test_charts_hold_undefined_equal_and_many_values() -> None:
    assert spark([0.5]) is None
    assert spark([0.5, None, float("nan")]) is None
    level = spark([0.5, 0.5, 0.5])
    assert level is not None
    assert level.y == pytest.approx(14)
    assert chart([Measured("v1", None)]) is None
    many = chart([Measured(f"v{place}", place / 1000, 0.0, 1.0) for place in range(5000)], [0.5])
    assert many is not None
    assert len(many.dots) == MAX_POINTS
    assert (many.dots[0].measured.label, many.dots[-1].measured.label) == ("v0", "v4999")
    assert [tick.text for tick in many.limits] == ["0.5"]
    assert nice_ticks(0.9, 0.9)[0] <= 0.9 <= nice_ticks(0.9, 0.9)[-1]


def test_a_metric_is_better_in_its_own_direction() -> None:
    found = compare({"roc_auc": {"value": 0.9}, "log_loss": {"value": 0.2}, "f1": {"value": 0.50001}},
                    {"roc_auc": {"value": 0.8}, "log_loss": {"value": 0.1}, "f1": {"value": 0.5}})  # fmt: skip
    assert [each.better for each in found] == [True, False, None]


def test_a_slow_question_does_not_hold_up_the_page() -> None:
    go_on, now = threading.Event(), [0.0]
    recent = RecentAnswers(fresh_s=5, wait_s=0.01, clock=lambda: now[0])
    assert recent.ask("key", lambda: go_on.wait(10) and "slow", "not yet") == "not yet"
    go_on.set()
    answered = RecentAnswers(fresh_s=5, wait_s=10, clock=lambda: now[0])
    assert answered.ask("key", lambda: "first", "") == "first"
    assert answered.ask("key", lambda: "second", "") == "first"
    assert answered.ask("broken", lambda: 1 // 0, "none") == "none"


def test_a_reason_is_one_line_and_asked_for() -> None:
    assert read_reason(" a\r\n\x00b ") == "a b"
    with pytest.raises(InputError, match="found no reason"):
        read_reason(" \n")
    with pytest.raises(InputError, match="found 501 letters"):
        read_reason("x" * 501)


def test_a_verdict_line_is_passed_failed_or_neither() -> None:
    lines = judge_lines(["r2 0.9 is at least 0.7: passed", "r2: none: failed", "there is no gate"])
    assert [(each.text, each.passed) for each in lines] == [
        ("r2 0.9 is at least 0.7", True), ("r2: none", False), ("there is no gate", None)]  # fmt: skip


def test_all_text_is_escaped() -> None:
    page = render("message.html", "/modelrail", head="<script>alert(1)</script>", lines=['"><img src=x>'])
    assert "<script>alert" not in page
    assert "<img" not in page


def test_moments_are_told_in_the_largest_unit() -> None:
    from pipeline.ui.pages.formatting import ago

    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert ago(datetime(2026, 1, 1, tzinfo=UTC), now) == "1 day ago"
    assert ago(None, now) == ""
