"""What is asked and answered, counted in the bins of the release's reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.delivery.platforms.local.deployments import deploy, stop_all
from pipeline.errors import DeploymentError
from pipeline.model.reference import REFERENCE, CategoryBins, NumberBins, PartBins, Reference, ReferenceFeature
from pipeline.model.signature import Input, Signature
from pipeline.serving.observing import features
from pipeline.serving.observing.exposition import exposition
from pipeline.serving.observing.features import FeatureMeters
from pipeline.serving.observing.metrics import Meters
from pipeline.serving.rows.records import Rows
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import Predictions
from tests.serving.bundles import LINE, is_equal_graph, seal, write_bundle
from tests.serving.conftest import Start
from tests.serving.test_server import call, predict

SECRET = "Müller, Anna"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for state; whatever is deployed there ends with the test."""
    yield tmp_path / "state"
    stop_all(tmp_path / "state")


def number(
    name: str = "x", *, starts: tuple[float, ...] = (0.0, 1.0), high: float = 2.0, **more: str
) -> ReferenceFeature:
    shares = (0.0, 0.0, *([1 / len(starts)] * len(starts)), 0.0)
    named = {"column": name, "reading": "value"} | more
    return ReferenceFeature(name, rows=100, bins=NumberBins(starts, high), shares=shares, **named)  # type: ignore[arg-type]


X = number()
OUTPUT = number("(prediction)", starts=(1.0, 3.0), high=5.0, column="", reading="prediction")
REFERENCE_OF_LINE = Reference(1, (X, OUTPUT), metrics={"rmse": 0.25})

WORD = ReferenceFeature("word", "word", "value", 10, CategoryBins((SECRET,), ("hello",)), (0.0, 0.0, 0.5, 0.5))
AT = [ReferenceFeature(f"at[{part}]", "at", part, 10, PartBins(size), (1.0, *[0.0] * size))  # type: ignore[arg-type]
      for part, size in (("hour", 24), ("weekday", 7))]  # fmt: skip
NOTE = number("note[length]", starts=(1.0, 5.0), high=9.0, column="note", reading="length")
CLASSES = ReferenceFeature("(prediction)", "", "prediction", 10, PartBins(2), (0.0, 0.5, 0.5))
SCORE = number("(score)", starts=(0.0, 0.5), high=1.0, column="", reading="score")
ALL = Signature(
    "classification",
    (Input("x", "float"), Input("word", "str"), Input("at", "datetime"), Input("note", "str")),
    ("no", "yes"),
)
EVERYTHING = Reference(1, (X, WORD, *AT, NOTE, CLASSES, SCORE))
KEY = ("m", "1", "live")


def counted(meters: FeatureMeters) -> dict[str, dict[int, int]]:
    """Return the bins that are not empty, by feature."""
    reading = meters.readings({KEY})[KEY]
    found, place = {}, 0
    for each in reading.described.features:
        bins = reading.counts[place : place + len(each.shares)]
        place += len(each.shares)
        found[each.name] = {bin_: int(count) for bin_, count in enumerate(bins) if count}
    return found


def rows(numbers: list[list[float]], texts: list[list[str]] | None = None) -> Rows:
    return Rows(np.array(numbers), None if texts is None else np.array(texts, dtype=object), len(numbers))


def test_every_row_is_counted_in_the_bin_of_each_feature() -> None:
    meters = FeatureMeters(None, 0)
    meter = meters.of(KEY, EVERYTHING, ALL)
    assert meter is not None
    monday = 4 * 86400 + 13 * 3600 + 59.5
    given = rows(
        [[-1.0, monday], [0.0, np.nan], [1.5, 0.0], [2.0, -1.0], [2.1, 0.0], [np.nan, 0.0]],
        [[SECRET, "a"], ["hello", ""], ["new", "abcde"], ["", "x" * 10], [SECRET, "b"], [SECRET, "b"]],
    )
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.5, 0.5], [0.0, 1.0]])
    meter.offer(given, Predictions(np.array([0, 0, 0, 0, 1, 1]), probabilities))
    assert counted(meters) == {
        "x": {0: 1, 1: 1, 2: 1, 3: 2, 4: 1},
        "word": {0: 1, 1: 1, 2: 1, 3: 3},
        "at[hour]": {0: 1, 1: 3, 14: 1, 24: 1},
        "at[weekday]": {0: 1, 1: 1, 3: 1, 4: 3},
        "note[length]": {0: 1, 2: 3, 3: 1, 4: 1},
        "(prediction)": {1: 4, 2: 2},
        "(score)": {2: 4, 3: 2},
    }


def test_many_small_requests_are_counted_like_one_large_one() -> None:
    values = np.random.default_rng(0).normal(1, 1, (1_000, 1))
    one, many = FeatureMeters(None, 0), FeatureMeters(None, 0)
    whole, by_row = (each.of(KEY, REFERENCE_OF_LINE, LINE) for each in (one, many))
    assert whole is not None
    assert by_row is not None
    whole.offer(Rows(values, None, 1_000), Predictions(values[:, 0]))
    for value in values:
        by_row.offer(Rows(value[None], None, 1), Predictions(value))
    assert counted(one) == counted(many)
    assert sum(counted(one)["x"].values()) == 1_000


def test_what_comes_faster_than_it_is_counted_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_S", 3600.0)
    meters = FeatureMeters(None, 0)
    meter = meters.of(KEY, REFERENCE_OF_LINE, LINE)
    assert meter is not None
    block = Rows(np.zeros((features.BLOCK_CELLS, 1)), None, features.BLOCK_CELLS)
    for _ in range(20):
        meter.offer(block, Predictions(np.zeros(features.BLOCK_CELLS)))
        assert len(meter._waiting) < 8, "the caller counts, where the thread does not"
    assert counted(meters)["x"] == {2: 20 * features.BLOCK_CELLS}


def test_workers_that_share_a_folder_answer_for_all_and_an_heir_goes_on(tmp_path: Path) -> None:
    def offer(meters: FeatureMeters, value: float) -> None:
        meter = meters.of(KEY, REFERENCE_OF_LINE, LINE)
        assert meter is not None
        meter.offer(rows([[value]]), Predictions(np.array([value])))
        meters.count()

    first, second = FeatureMeters(tmp_path, 0), FeatureMeters(tmp_path, 1)
    offer(first, 0.5)
    offer(second, 1.5)
    heir = FeatureMeters(tmp_path, 1)
    assert counted(heir)["x"] == {2: 1, 3: 1}, "also of a release that it has not loaded"
    offer(heir, 1.5)
    assert counted(first)["x"] == {2: 1, 3: 2}


def test_a_release_that_is_no_longer_served_is_shown_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = FeatureMeters(tmp_path, 0)
    meter = meters.of(KEY, REFERENCE_OF_LINE, LINE)
    assert meter is not None
    assert (meters.readings(()), set(meters.readings({KEY}))) == ({}, {KEY}), "nobody has asked for it yet"
    meter.offer(rows([[0.5]]), Predictions(np.array([1.0])))
    assert set(meters.readings(())) == {KEY}
    monkeypatch.setattr(features, "SHOWN_S", -1.0)
    assert meters.readings(()) == {}


def test_counts_of_long_ago_are_removed_but_for_what_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters = FeatureMeters(tmp_path, 0)
    meter = meters.of(KEY, REFERENCE_OF_LINE, LINE)
    assert meter is not None
    meters.remove_old(())
    assert len(list(tmp_path.iterdir())) == 1, "it was made a moment ago"
    monkeypatch.setattr(features, "KEPT_S", -60.0)
    meters.remove_old({KEY})
    assert len(list(tmp_path.iterdir())) == 1
    meters.remove_old(())
    assert not list(tmp_path.iterdir())
    meter.offer(rows([[0.5]]), Predictions(np.array([1.0])))
    assert meters.readings({KEY}) == {}, "whoever still has it counts for nobody, and fails nobody"


def test_a_release_in_memory_no_more_costs_no_memory(tmp_path: Path) -> None:
    meters = FeatureMeters(tmp_path, 0)
    meter = meters.of(KEY, REFERENCE_OF_LINE, LINE)
    assert meters.of(KEY, REFERENCE_OF_LINE, LINE) is meter
    del meter
    assert not meters.known


@pytest.mark.parametrize("reference", [None, Reference(1, ())])
def test_without_a_reference_nothing_is_counted(reference: Reference | None) -> None:
    assert FeatureMeters(None, 0).of(KEY, reference, LINE) is None


def test_labels_have_numbers_of_bins_and_no_value_of_a_row() -> None:
    meters = Meters(None, 0, {})
    meter = meters.features.of(KEY, EVERYTHING, ALL)
    assert meter is not None
    meter.offer(rows([[0.5, 0.0]], [[SECRET, "private note"]]), Predictions(np.array([1]), np.array([[0.2, 0.8]])))
    text = exposition(meters, "", {KEY})[0].decode()
    assert 'ml_inference_feature_total{bin="3",feature="word",model="m",track="live",version="1"} 1.0' in text
    assert 'ml_reference_share{bin="3",feature="word",model="m",track="live",version="1"} 0.5' in text
    assert 'ml_reference_rows{feature="word",model="m",track="live",version="1"} 10.0' in text
    assert not [each for each in (SECRET, "Anna", "hello", "private") if each in text]
    assert set(re.findall(r'bin="([^"]*)"', text)) == {str(bin_) for bin_ in range(25)}


def series(live: Any, name: str, **labels: str) -> Counter[str]:
    """Read counts by the labels that are not given."""
    from prometheus_client.parser import text_string_to_metric_families

    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(call(live, "GET", "/metrics")[2]):
        for sample in family.samples:
            if sample.name == name and sample.labels.items() >= labels.items():
                found[sample.labels["bin"]] += int(sample.value)
    return +found


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "the condition never became true"
        Event().wait(0.02)


def test_a_server_counts_each_answered_row_whatever_its_way(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b", reference=REFERENCE_OF_LINE), "--workers", "2")
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: predict(live, {"inputs": [[0.5], [1.5]]}), range(50)))
    call(live, "POST", "/v2/models/line/infer", {
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [7.0, 0.5]}],
    })  # fmt: skip
    call(live, "POST", "/invocations", {"dataframe_records": [{"x": -3.0}]})
    predict(live, {"inputs": [[0.5]] * 4_000})
    predict(live, {"inputs": [["refused"]]})
    expected = {"1": 1, "2": 4_051, "3": 50, "4": 1}
    until(lambda: series(live, "ml_inference_feature_total", feature="x") == expected)
    outputs = {"1": 1, "2": 4_051, "3": 50, "4": 1}
    assert series(live, "ml_inference_feature_total", feature="(prediction)") == outputs
    text = call(live, "GET", "/metrics")[2]
    assert 'ml_release_metric{metric="rmse",model="line",track="live",version="1.0.0"} 0.25' in text


def test_a_shadow_is_counted_by_itself(start: Start, tmp_path: Path) -> None:
    old, new = (write_bundle(tmp_path / v, version=v, reference=REFERENCE_OF_LINE) for v in ("2.0.0", "3.0.0"))
    live = start(old, "--bundle", f"shadow:1.0:{new}")
    predict(live, {"inputs": [[0.5], [1.5]]})
    for track in ("live", "shadow"):
        until(lambda: series(live, "ml_inference_feature_total", feature="x", track=track) == {"2": 1, "3": 1})  # noqa: B023


def test_counts_outlive_swaps_and_dead_workers(tmp_path: Path, state: Path) -> None:
    first, second = (write_bundle(tmp_path / v, version=v, reference=REFERENCE_OF_LINE) for v in ("2.0.0", "3.0.0"))

    def count(version: str) -> int:
        return series(live, "ml_inference_feature_total", feature="x", version=version).total()

    live = deploy(first, model="line", port=0, state=state, workers=2)
    for _ in range(30):
        predict(live, {"inputs": [[0.5]]})
    until(lambda: count("2.0.0") == 30)
    deploy(second, model="line", port=0, state=state, workers=2)
    for _ in range(20):
        predict(live, {"inputs": [[0.5]]})
    until(lambda: count("3.0.0") == 20)
    for worker in psutil.Process(live.pid).children():
        worker.kill()
    until(lambda: answers(live))
    until(lambda: (count("2.0.0"), count("3.0.0")) == (30, 21))


def answers(live: Any) -> bool:
    try:
        return predict(live, {"inputs": [[0.5]]})[0] == 200
    except OSError:
        return False


def test_a_reference_that_is_none_is_not_served(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", reference=Reference(1, (number("y"),)))
    with pytest.raises(DeploymentError, match=r"reference.json: 'y': found the value of 'y'; expected a column of the"):
        load_model(bundle)
    (bundle / REFERENCE).write_text("{}")
    with pytest.raises(DeploymentError, match=r"reference.json: found SHA-256"):
        load_model(bundle)
    seal(bundle)
    with pytest.raises(DeploymentError, match=r"reference.json: found .* expected a reference"):
        load_model(bundle)


def test_classes_and_scores_are_counted(start: Start, tmp_path: Path) -> None:
    signature = Signature("classification", (Input("word", "str"),), ("no", "yes"), {"word": "hello"})
    reference = Reference(1, (WORD, CLASSES, SCORE))
    live = start(write_bundle(tmp_path / "b", signature=signature, graph=is_equal_graph("hello"), reference=reference))
    predict(live, {"inputs": [["hello"], ["bye"], [None]]})
    until(lambda: series(live, "ml_inference_feature_total", feature="(score)") == {"2": 2, "3": 1})
    assert series(live, "ml_inference_feature_total", feature="(prediction)") == {"1": 2, "2": 1}
    assert series(live, "ml_inference_feature_total", feature="word") == {"0": 1, "1": 1, "2": 1}
