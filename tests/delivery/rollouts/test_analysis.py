from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu

from pipeline.delivery.rollouts.analysis import TESTS, analyse, binned, level_of, rank_chance, stability_index
from pipeline.delivery.rollouts.deciding import Rollout
from pipeline.delivery.rollouts.driving import Sight, drive
from pipeline.delivery.rollouts.readings import NOTHING, Reading
from pipeline.errors import AbortedError
from pipeline.spec.schema.deploy import CANARY_METRICS, Canary
from tests.delivery.rollouts.simulation import Server

LIMITS = {"errors": 0.01, "latency": 1.5, "outputs": 0.25}
ANY_DIFFERENCE = {"errors": 0.0, "latency": 0.0, "outputs": 0.0}
"""So only chance keeps a canary from being aborted: what the level promises is seen as it is."""
LOOKS, BETWEEN = 10, 100


def abort_look(canary: Server, limits: dict[str, float], seed: int, false_alarm: float = 0.05) -> int | None:
    """Play a canary through; gives the look at which it is aborted."""
    random = np.random.default_rng(seed)
    ours = theirs = Reading()
    for look in range(1, LOOKS + 1):
        ours, theirs = ours + canary.answer(BETWEEN, random), theirs + Server().answer(BETWEEN, random)
        found = analyse(ours, theirs, limits, min_requests=BETWEEN, false_alarm=false_alarm, look=look)
        if found.worse:
            return look
    return None


def test_every_metric_of_a_spec_has_its_test() -> None:
    assert set(TESTS) == set(CANARY_METRICS)


def test_a_canary_that_equals_its_baseline_is_aborted_no_more_often_than_promised() -> None:
    aborted = sum(abort_look(Server(), ANY_DIFFERENCE, seed, false_alarm=0.2) is not None for seed in range(200))
    assert 0 < aborted / 200 <= 0.2


def test_looking_again_and_again_at_a_fixed_level_would_abort_far_too_often() -> None:
    """The reason for the shares: what is right for one look is wrong for ten."""
    aborted = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        ours = theirs = Reading()
        for _ in range(LOOKS):
            ours, theirs = ours + Server().answer(BETWEEN, random), theirs + Server().answer(BETWEEN, random)
            if analyse(ours, theirs, ANY_DIFFERENCE, min_requests=1, false_alarm=0.1, look=1).worse:
                aborted += 1
                break
    assert aborted > 15


@pytest.mark.parametrize(
    ("canary", "metric", "within"),
    [
        (Server(error_share=0.06), "errors", 8),
        (Server(error_share=1.0), "errors", 1),
        (Server(typical_s=0.010), "latency", 2),
        (Server(output_mean=0.36), "outputs", 4),
    ],
)
def test_a_bad_canary_is_found_out(canary: Server, metric: str, within: int) -> None:
    looks = [abort_look(canary, LIMITS, seed) or LOOKS + 1 for seed in range(40)]
    assert np.mean([look <= within for look in looks]) >= 0.9, sorted(looks)
    random = np.random.default_rng(0)
    found = analyse(
        canary.answer(1000, random), Server().answer(1000, random), LIMITS, min_requests=100, false_alarm=0.05, look=1
    )
    assert [each.metric for each in found.worse] == [metric]


@dataclass
class Played:
    """Two tracks that are asked between two looks, with a clock of their own."""

    canary: Server
    random: np.random.Generator
    requests_a_look: int
    ours: Reading = NOTHING
    theirs: Reading = NOTHING
    promoted: bool = False
    time_s: float = 0.0

    def keep(self, weight: int) -> Sight:
        count = self.requests_a_look if weight else 0
        self.ours += self.canary.answer(count, self.random)
        self.theirs += Server().answer(count, self.random)
        return Sight(True, self.ours, self.theirs)

    def save(self, rollout: Rollout) -> None:
        pass

    def promote(self) -> None:
        self.promoted = True

    def abort(self) -> None:
        pass

    def pause(self, seconds: float) -> None:
        self.time_s += seconds


def promoted(canary: Server, seed: int) -> bool:
    """Play a canary of one short step to its end, with hardly more requests than it must answer."""
    tracks = Played(canary, np.random.default_rng(seed), requests_a_look=70)
    plan = Canary.model_validate({"steps": [{"weight": 33, "hold_s": 0}], "metrics": LIMITS})
    with suppress(AbortedError):
        drive(Rollout("m@v2.0.0", "m@v1.0.0", "", 0.0), tracks, plan, now=lambda: tracks.time_s, pause=tracks.pause)
    return tracks.promoted


def test_a_canary_is_not_promoted_since_few_requests_could_not_tell_that_it_errs() -> None:
    """The last look before the step ends is the first that knows enough; what it cannot tell yet is waited for."""
    assert sum(promoted(Server(error_share=0.06), seed) for seed in range(200)) <= 0.03 * 200


def test_a_good_canary_is_promoted_even_where_it_was_in_doubt() -> None:
    assert sum(promoted(Server(), seed) for seed in range(200)) >= 0.97 * 200


def test_a_difference_within_its_limit_never_aborts_however_sure_it_is() -> None:
    random = np.random.default_rng(0)
    slower, usual = Server(typical_s=0.005).answer(50_000, random), Server().answer(50_000, random)
    found = analyse(slower, usual, LIMITS, min_requests=100, false_alarm=0.05, look=1)
    assert found.compared[1].chance < 1e-12
    assert found.worse == ()


def test_a_better_canary_never_aborts() -> None:
    better = Server(error_share=0.0, typical_s=0.001)
    assert abort_look(better, ANY_DIFFERENCE | {"outputs": 0.25}, 1) is None


def test_the_levels_of_all_looks_add_up_to_what_was_promised() -> None:
    assert sum(level_of(look, 0.05) for look in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)


def test_the_rank_test_gives_what_scipy_gives_for_each_value_by_itself() -> None:
    random = np.random.default_rng(1)
    for shift in (0.0, 0.2, 1.0):
        ours, theirs = random.poisson(4 + shift, 300), random.poisson(4, 250)
        counts = [[int((each == value).sum()) for value in range(40)] for each in (ours, theirs)]
        expected = mannwhitneyu(ours, theirs, alternative="greater", method="asymptotic").pvalue
        assert rank_chance(*counts) == pytest.approx(expected, rel=1e-9)
    assert rank_chance([5], [7]) == 1.0


def test_errors_are_tested_exactly() -> None:
    ours, theirs = Reading(requests=100, failed=5), Reading(requests=100, failed=0)
    found = TESTS["errors"].compare(ours, theirs, 0.01, 0.05)
    assert found.chance == pytest.approx(fisher_exact([[5, 95], [0, 100]], alternative="greater").pvalue)
    assert found.worse
    assert found.text.startswith(
        "errors: 5.00% of 100 requests failed, 0.00% of the baseline's 100; at most 1.00% more is allowed"
    )


def test_a_metric_with_too_few_requests_is_missing_and_the_others_are_judged() -> None:
    random = np.random.default_rng(1)
    all_fail, usual = Server(error_share=1.0).answer(200, random), Server().answer(200, random)
    found = analyse(all_fail, usual, LIMITS, min_requests=100, false_alarm=0.05, look=1)
    assert found.missing == ("outputs",)
    assert [each.metric for each in found.worse] == ["errors"]
    nothing = analyse(Reading(), usual, LIMITS, min_requests=100, false_alarm=0.05, look=1)
    assert nothing.missing == ("errors", "latency", "outputs")
    assert nothing.compared == ()


def test_one_stall_of_the_baseline_does_not_hide_a_slow_canary() -> None:
    slow = Reading(requests=500, durations={0.01: 500})
    stalled = Reading(requests=500, durations={0.0025: 499, inf: 1})
    assert TESTS["latency"].compare(slow, stalled, 1.5, 1e-6).worse


def test_few_outputs_stay_apart_and_many_become_ten_bins() -> None:
    assert binned({0.0: 970, 1.0: 30}, {0.0: 970, 1.0: 30}) == ([970, 30], [970, 30])
    many = {float(each): 20 for each in range(100)}
    ours, theirs = binned(many, many)
    assert ours == theirs == [200] * 10
    assert binned({0.0: 500, 1.0: 2}, {0.0: 500, 1.0: 1}) == ([502], [501])


def test_the_stability_index_is_nought_for_the_same_and_large_for_a_class_that_vanishes() -> None:
    assert stability_index([50, 50], [500, 500]) == pytest.approx(0, abs=1e-4)
    assert stability_index([1000, 0], [700, 300]) > 0.25


def test_readings_of_several_servers_add_up_and_earlier_ones_are_taken_off() -> None:
    one = Reading(10, 1, {0.1: 10}, {2.0: 9})
    assert one + one == Reading(20, 2, Counter({0.1: 20}), Counter({2.0: 18}))
    assert (one + one) - one == Reading(10, 1, Counter({0.1: 10}), Counter({2.0: 9}))


def test_scipy_is_imported_only_when_something_is_compared() -> None:
    code = "import sys, json, pipeline.delivery.rollouts.deciding; print(json.dumps('scipy' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
