"""What is done about what looks found: each rule, and that nothing goes in a circle."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from pipeline.delivery.interventions import Deed, Intervention
from pipeline.monitoring.deciding import Decision, Standpoint, decide, weigh
from pipeline.monitoring.history import KeptLook
from pipeline.spec.schema.mending import Action, Signal
from pipeline.spec.schema.spec import Monitoring

NOW = 1_800_000_000.0
HOUR = 3600.0


def looks(*found: str, version: str = "v1.1.0") -> list[KeptLook]:
    """Make looks of words such as ``drift/pipeline``, five minutes apart, the last one now."""
    pairs = [each.partition("/") for each in found]
    return [
        KeptLook(NOW - 300 * (len(pairs) - 1 - place), version, verdict, cause or None)
        for place, (verdict, _, cause) in enumerate(pairs)
    ]


def did(deed: Deed, ago_s: float, number: int = 1, **evidence: Any) -> Intervention:
    date = datetime.fromtimestamp(NOW - ago_s, UTC)
    return Intervention("late", "prod", number, deed, "late@v1.1.0", "Eve", "", evidence, date=date)


def rules(**actions: Any) -> dict[Signal, Action]:
    return Monitoring.model_validate({"actions": actions}).actions


GOOD = Standpoint(before="1.0.0", newest_data="new", live_data="old")


def ask(found: list[KeptLook], actions: dict[Signal, Action], where: Standpoint = GOOD) -> Decision | None:
    made = decide(found, actions)
    return made and weigh(made, where, NOW)


@pytest.mark.parametrize(
    ("found", "deed", "signal"),
    [
        ("drift/data", "alert", "drift"),
        ("drift/pipeline", "hold", "pipeline"),  # the cause is the more exact word
        ("refusals/pipeline", "hold", "pipeline"),
        ("failures/service", "rollback", "failures"),
        ("quality/concept", "retrain", "quality"),
        ("quality", "retrain", "quality"),
    ],
)
def test_what_is_found_decides_what_is_done(found: str, deed: str, signal: str) -> None:
    made = ask(looks(found), rules(drift="alert", quality="retrain", failures="rollback", pipeline="hold"))
    assert made is not None
    assert (made.deed, made.signal, made.refusal) == (deed, signal, "")


@pytest.mark.parametrize("found", [[], ["quiet"], ["drift/data", "quiet"], ["refusals/pipeline"]])
def test_nothing_is_done_where_nothing_is_wrong_or_asked_for(found: list[str]) -> None:
    assert ask(looks(*found), rules(drift="alert")) is None


@pytest.mark.parametrize(
    ("action", "found", "where", "refusal"),
    [
        ({"do": "alert", "after": 3}, ["drift", "drift"], GOOD, "this is window 2 of 3 in a row"),
        ({"do": "alert", "after": 2}, ["drift", "quiet", "drift"], GOOD, "this is window 1 of 2 in a row"),
        ({"do": "alert", "after": 2}, ["drift", "drift"], GOOD, ""),
        ({"do": "alert"}, ["drift"], Standpoint([did("alert", 3_599)]), "did so within the last 3,600 s (cooldown_s)"),
        ({"do": "alert"}, ["drift"], Standpoint([did("alert", 3_600)]), ""),
        ({"do": "alert"}, ["drift"], Standpoint([did("hold", 1)]), ""),
        ({"do": "alert"}, ["drift"], Standpoint([did("alert", 9 * HOUR, look=NOW)]), "did so for this very look"),
        ({"do": "alert"}, ["drift"], Standpoint([did("alert", 9 * HOUR, look=NOW - 1)]), ""),
        ({"do": "alert", "cooldown_s": 0, "at_most": 2}, ["drift"],
         Standpoint([did("alert", HOUR), did("alert", 2 * HOUR)]), "it was done 2 times in 24 hours (at_most)"),
        ({"do": "alert", "cooldown_s": 0, "at_most": 2}, ["drift"],
         Standpoint([did("alert", HOUR), did("alert", 25 * HOUR)]), ""),
        ({"do": "alert"}, ["drift"], Standpoint(live="1.1.0"), ""),
        ({"do": "alert"}, ["drift"], Standpoint(live="1.2.0"), "v1.1.0 was looked at, and v1.2.0 should be live"),
        ({"do": "rollback"}, ["drift"], Standpoint(), "nothing was live before"),
        ({"do": "rollback"}, ["drift"], Standpoint(before="1.0.0", rolled_back=True), "came by a rollback itself"),
        ({"do": "retrain"}, ["drift"], Standpoint(newest_data="old", live_data="old"), "there are no newer data"),
        ({"do": "retrain"}, ["drift"], Standpoint([did("retrain", 90 * HOUR, data_commit="new")], newest_data="new",
                                                  live_data="old"), "late#prod#watch#1 was for the same data"),
        ({"do": "retrain"}, ["drift"], Standpoint([did("retrain", 90 * HOUR, data_commit="new")], newest_data="newer",
                                                  live_data="old"), ""),
        ({"do": "hold"}, ["drift"], Standpoint([did("hold", 90 * HOUR)]), "on hold already (late#prod#watch#1)"),
        ({"do": "hold"}, ["drift"], Standpoint([did("hold", 90 * HOUR), did("resume", 80 * HOUR, 2)]), ""),
    ],
)  # fmt: skip
def test_what_speaks_against_it_is_said(
    action: dict[str, Any], found: list[str], where: Standpoint, refusal: str
) -> None:
    made = ask(looks(*found), rules(drift=action), where)
    assert made is not None
    assert (refusal in made.refusal) if refusal else made.refusal == ""


@pytest.mark.parametrize("back_s", [1.0, 10 * 86_400.0])
def test_a_clock_that_went_back_only_makes_one_wait(back_s: float) -> None:
    made = ask(looks("drift"), rules(drift="alert"), Standpoint([did("alert", -back_s)]))
    assert made is not None
    assert "cooldown_s" in made.refusal
    made = ask(looks("drift"), rules(drift={"do": "alert", "cooldown_s": 0, "at_most": 1}),
               Standpoint([did("alert", -back_s)]))  # fmt: skip
    assert made is not None
    assert "at_most" in made.refusal


def test_windows_of_an_earlier_release_do_not_count() -> None:
    earlier = looks("drift", "drift", version="v1.0.0")
    made = ask([*earlier, *looks("drift")], rules(drift={"do": "alert", "after": 2}))
    assert made is not None
    assert made.refusal == "this is window 1 of 2 in a row"


def test_a_hundred_looks_do_a_thing_no_more_often_than_allowed() -> None:
    done: list[Intervention] = []
    actions = rules(drift={"do": "alert", "cooldown_s": 1_800, "at_most": 5})
    for place in range(100):
        now = NOW + 300 * place
        made = decide([KeptLook(now, "v1.1.0", "drift")], actions)
        assert made is not None
        if not weigh(made, Standpoint(done), now).refusal:
            date = datetime.fromtimestamp(now, UTC)
            done.append(Intervention("late", "prod", len(done) + 1, "alert", "", "", "", date=date))
    assert len(done) == 5
    gaps = [later.date - first.date for first, later in pairwise(done) if later.date and first.date]
    assert min(gaps).total_seconds() >= 1_800
