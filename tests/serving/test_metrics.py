from __future__ import annotations

from pathlib import Path

from pipeline.serving.observing.exposition import exposition
from pipeline.serving.observing.metrics import Meters


def test_workers_that_share_a_folder_answer_for_all(tmp_path: Path) -> None:
    first, second = Meters(tmp_path, 0, {}), Meters(tmp_path, 1, {})
    for meters, count in ((first, 2), (second, 3)):
        for _ in range(count):
            meters.of("a@b/c", "1.0.0").begin()
            meters.of("a@b/c", "1.0.0").end(200, 0.0004)
    text = exposition(first, "")[0].decode()
    assert 'ml_inference_requests_total{model="a@b/c",status="200",track="live",version="1.0.0"} 5.0' in text
    assert 'ml_inference_duration_seconds_bucket{le="0.00025",model="a@b/c",track="live",version="1.0.0"} 0.0' in text
    assert 'ml_inference_duration_seconds_bucket{le="0.0005",model="a@b/c",track="live",version="1.0.0"} 5.0' in text


def test_a_worker_that_takes_a_dead_ones_place_goes_on_counting(tmp_path: Path) -> None:
    dead = Meters(tmp_path, 0, {}).of("m", "1")
    dead.begin()
    dead.end(422, 0.1)
    dead.begin()
    heir = Meters(tmp_path, 0, {})
    heir.of("m", "1")
    text = exposition(heir, "")[0].decode()
    assert 'ml_inference_requests_total{model="m",status="422",track="live",version="1"} 1.0' in text
    assert 'ml_inference_in_flight{model="m",track="live",version="1"} 0.0' in text


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    text, content_type = exposition(Meters(None, 0, {}), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_one_prediction_of_each_request_is_counted_by_its_size() -> None:
    meters = Meters(None, 0, {})
    for output in (0.3, 0.3, -5.1):
        meters.of("m", "1").begin()
        meters.of("m", "1").end(200, 0.1, output=output)
    text = exposition(meters, "")[0].decode()
    assert 'ml_inference_outputs_total{above="0.28125",model="m",track="live",version="1"} 2.0' in text
    assert 'ml_inference_outputs_total{above="-5.5",model="m",track="live",version="1"} 1.0' in text
    assert text.count("ml_inference_outputs_total{") == 2
