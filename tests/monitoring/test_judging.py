"""Windows of counts, judged and explained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.model.reference import CategoryBins, NumberBins, PartBins, Reference, ReferenceFeature
from pipeline.monitoring.counts import Counts, read_counts
from pipeline.monitoring.diagnosis import diagnose
from pipeline.monitoring.judging import judge
from pipeline.spec.schema.spec import Monitoring

STARTS = tuple(np.linspace(-2, 2, 20))
NUMBER = np.array([0.001, 0.0, *[0.999 / 20] * 20, 0.0])
WORDS = np.array([0.0, 0.0, 0.1, 0.5, 0.3, 0.1])
HOURS = np.array([0.0, *[1 / 24] * 24])
REFERENCE = Reference(
    1,
    (
        ReferenceFeature("x", "x", "value", 20_000, NumberBins(STARTS, 2.5), tuple(NUMBER)),
        ReferenceFeature("word", "word", "value", 20_000, CategoryBins(("a", "b", "c"), ("d",)), tuple(WORDS)),
        ReferenceFeature("at[hour]", "at", "hour", 20_000, PartBins(24), tuple(HOURS)),
        ReferenceFeature("(prediction)", "", "prediction", 5_000, NumberBins(STARTS, 2.5), tuple(NUMBER)),
    ),
)
RULES = Monitoring()
Change = Callable[[dict[str, np.ndarray]], None]


def window(seed: int, change: Change | None = None, rows: int = 1_000, failed: int = 0, refused: int = 0) -> Counts:
    draw = np.random.default_rng(seed)
    shares = {"x": NUMBER.copy(), "word": WORDS.copy(), "(prediction)": NUMBER.copy()}
    if change:
        change(shares)
    features = {name: tuple(draw.multinomial(rows, each / each.sum()).astype(float)) for name, each in shares.items()}
    features["at[hour]"] = (0.0, float(rows), *[0.0] * 23)  # all of one hour, as in any short window
    return Counts(rows + failed + refused, failed, refused, features)


def test_quiet_windows_are_quiet_however_many() -> None:
    verdicts = {judge(window(seed), REFERENCE, RULES, 300.0, window(seed + 1)).verdict for seed in range(1_000)}
    assert verdicts == {"quiet"}


def test_too_few_requests_are_waited_for() -> None:
    assert judge(window(0, rows=999), REFERENCE, RULES, 300.0).verdict == "waiting"


def missing(shares: dict[str, np.ndarray]) -> None:
    shares["x"] = np.append(NUMBER[:1] + 0.06, NUMBER[1:] * 0.94)


def constant(shares: dict[str, np.ndarray]) -> None:
    shares["x"] = np.eye(23)[7]


def another_unit(shares: dict[str, np.ndarray]) -> None:
    shares["x"] = np.array([0.0] * 22 + [1.0]) * 0.6 + NUMBER * 0.4


def moved(shares: dict[str, np.ndarray]) -> None:
    shares["x"] = NUMBER * np.append([1, 1], np.exp(0.6 * np.linspace(-2, 2, 21)))


def unknown(shares: dict[str, np.ndarray]) -> None:
    shares["word"] = WORDS * 0.95 + np.eye(6)[1] * 0.05


def vanished(shares: dict[str, np.ndarray]) -> None:
    shares["word"] = WORDS * np.array([1, 1, 1, 1, 0, 1])


def predictions(shares: dict[str, np.ndarray]) -> None:
    shares["(prediction)"] = NUMBER * np.append([1, 1], np.exp(np.linspace(-2, 2, 21)))


@pytest.mark.parametrize(
    ("change", "feature", "cause", "said"),
    [
        (missing, "x", "pipeline", "is missing in 6.0% of the rows, 0.1% in training"),
        (constant, "x", "pipeline", "has one value, or values of one bin, in all rows"),
        (another_unit, "x", "pipeline", "is above all values of training in 61.5% of the rows: another unit"),
        (moved, "x", "data", "moved up by about 0.6 standard deviations"),
        (unknown, "word", "data", "has values that training did not know in"),
        (vanished, "word", "pipeline", "lacks 1 of its values, which 30.0% of training rows had"),
        (predictions, "(prediction)", "concept", "moved up by about"),
    ],
)
def test_each_fault_is_found_and_explained(change: Change, feature: str, cause: str, said: str) -> None:
    judged = judge(faulty := window(3, change), REFERENCE, RULES, 300.0)
    assert judged.verdict == "drift"
    found = diagnose(judged, faulty, REFERENCE)
    assert [each.feature for each in found.signs] == [feature]
    assert found.cause == cause
    assert said in found.signs[0].text
    assert found.suggestion


def test_failed_requests_are_found() -> None:
    judged = judge(faulty := window(0, failed=50), REFERENCE, RULES, 300.0)
    assert judged.verdict == "failures"
    assert diagnose(judged, faulty, REFERENCE).signs[0].text == "4.8% of the requests failed, 0.1% are allowed"
    judged = judge(faulty := window(0, refused=150), REFERENCE, RULES, 300.0)
    assert judged.verdict == "refusals"
    assert diagnose(judged, faulty, REFERENCE).cause == "pipeline"
    assert judge(window(0, failed=1, refused=40), REFERENCE, RULES, 300.0).verdict == "quiet"


def test_what_has_moved_since_the_window_before_is_told_too() -> None:
    before = window(1, moved)
    judged = judge(window(2, vanished), REFERENCE, RULES, 300.0, before)
    assert [each.feature for each in judged.sudden if each.drifted] == ["x", "word"]


def test_servers_that_began_anew_lose_nothing() -> None:
    earlier, now = window(0), window(1, rows=1_500)
    bins = {name: tuple(map(float.__add__, each, now.features[name])) for name, each in earlier.features.items()}
    both = Counts(2_500, features=bins)
    assert both.since(earlier).features == now.features
    assert now.since(both) == now


def test_samples_of_others_and_bins_that_there_are_not_are_passed_over() -> None:
    mine = 'model="m",version="1.0.0",track="live"'
    text = f"""\
# TYPE ml_inference_requests counter
ml_inference_requests_total{{{mine},status="200"}} 7
# TYPE ml_inference_feature counter
ml_inference_feature_total{{{mine},feature="word",bin="3"}} 7
ml_inference_feature_total{{{mine},feature="word",bin="99"}} 1
ml_inference_feature_total{{{mine},feature="word",bin="-1"}} 1
ml_inference_feature_total{{{mine},feature="other",bin="1"}} 1
ml_inference_feature_total{{model="m",version="1.0.0",track="shadow",feature="word",bin="3"}} 1
"""
    found = read_counts(text, REFERENCE, "m", "v1.0.0")
    assert found.requests == 7
    assert found.features == {"word": (0.0, 0.0, 0.0, 7.0, 0.0, 0.0)}
