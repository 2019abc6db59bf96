from __future__ import annotations

from math import inf

from pipeline.delivery.rollouts.readings import Reading, read_metrics, total
from pipeline.serving.observing.exposition import exposition
from pipeline.serving.observing.metrics import Meters


def test_a_servers_metrics_are_read_as_it_counted() -> None:
    meters = Meters(None, 0, {})
    meter = meters.of("m", "1.2.0")
    for status, seconds, output in ((200, 0.0004, 0.3), (200, 0.0004, 0.3), (200, 20.0, -5.1), (422, 0.0004, None)):
        meter.begin()
        meter.end(status, seconds, 1, output=output)
    meters.of("m", "1.1.0").begin()
    meters.of("m", "1.1.0").end(200, 0.1, 1)
    text = exposition(meters, "")[0].decode()
    found = read_metrics(text, "m", "v1.2.0")
    assert found == Reading(4, 1, {0.0005: 3, inf: 1}, {0.28125: 2, -5.5: 1})
    assert read_metrics(text, "m", "1.2.0") == found
    assert read_metrics(text, "m", "1.2.0", "canary") == Reading()
    assert total([found, found]).requests == 8


def test_outputs_keep_their_scale_from_thousandths_to_a_milliard() -> None:
    meters = Meters(None, 0, {})
    values = (0.0, 1e-9, 0.0011, 7.0, 1e6, 3e9, 1e30, -1e30, -2.0)
    for value in values:
        meters.of("m", "1").begin()
        meters.of("m", "1").end(200, 0.1, 1, output=value)
    cells = read_metrics(exposition(meters, "")[0].decode(), "m", "1").outputs
    assert sum(cells.values()) == len(values)
    for value in (0.0011, 7.0, 1e6):
        assert any(cell <= value < cell * 1.13 for cell in cells)
    assert cells[-inf] == 1
    assert cells[-2.0] == 1
