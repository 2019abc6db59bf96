"""The counts of all workers, as Prometheus and OpenMetrics write them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.serving.observing.bounds import BUCKETS_S
from pipeline.serving.observing.features import Reading
from pipeline.serving.observing.metrics import (
    BUCKETS_ROWS,
    CELLS,
    EXEMPLAR_ID,
    EXEMPLAR_SECONDS,
    EXEMPLAR_TIME,
    FIRST_BUCKET,
    FIRST_OUTPUT,
    FIRST_ROWS_BUCKET,
    IN_FLIGHT,
    OUTPUT_BOUNDS,
    ROWS,
    SECONDS,
    SHADOW_DIFFERENT,
    SHADOW_ROWS,
    SLOT_OF,
    STATUSES,
    Key,
    Meters,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from pipeline.serving.observing.truth import TruthReading

_LABELS = ("model", "version", "track")


@dataclass
class _Total:
    cells: list[float]
    example: tuple[float, float, str] | None = None
    """Seconds, time and id of the newest request that was kept as an example."""


def totals(meters: Meters) -> dict[Key, _Total]:
    """Add up the cells of all workers."""
    found: dict[Key, _Total] = {}
    for key, content in meters.readings():
        cells = list(map(float, memoryview(content).cast("d")[:EXEMPLAR_SECONDS]))
        total = found.setdefault(key, _Total([0.0] * EXEMPLAR_SECONDS))
        total.cells = [a + b for a, b in zip(total.cells, cells, strict=True)]
        seconds, when = memoryview(content).cast("d")[EXEMPLAR_SECONDS : EXEMPLAR_TIME + 1]
        if when and (total.example is None or when > total.example[1]):
            total.example = (seconds, when, content[8 * EXEMPLAR_ID : 8 * CELLS].hex())
    return found


def exposition(meters: Meters, accept: str, served: Collection[Key] = ()) -> tuple[bytes, str]:
    """Write everything in the format that a scraper accepts.

    Parameters
    ----------
    served : collection of Key
        What is served now: its features are shown, also if nobody has asked for long.

    Returns
    -------
    tuple of bytes and str
        The text and its content type.
    """
    # Imported with the first scrape: it costs a sixth of the start.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    class Totals:
        def collect(self) -> Iterable[Metric]:
            features, truth = meters.features.readings(served), meters.truth.readings(served)
            return (*_families(meters), *_feature_families(features), _truth_family(truth))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Totals())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _families(meters: Meters) -> Sequence[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily("ml_inference_requests", "Prediction requests", labels=(*_LABELS, "status"))
    in_flight = GaugeMetricFamily("ml_inference_in_flight", "Requests being answered", labels=_LABELS)
    seconds = HistogramMetricFamily("ml_inference_duration_seconds", "Time to answer a request", labels=_LABELS)
    rows = HistogramMetricFamily("ml_inference_batch_size", "Rows of a request that was answered", labels=_LABELS)
    asked = CounterMetricFamily("ml_inference_shadow_rows", "Rows that a shadow was asked too", labels=_LABELS)
    other = CounterMetricFamily(
        "ml_inference_shadow_differences", "Rows that a shadow answered otherwise", labels=_LABELS
    )
    outputs = CounterMetricFamily(
        "ml_inference_outputs",
        "Predictions, one of each request, by the lower bound of their cell",
        labels=(*_LABELS, "above"),
    )
    for key, total in totals(meters).items():
        cells = total.cells
        for status in STATUSES:
            requests.add_metric((*key, str(status)), cells[SLOT_OF[status]])
        in_flight.add_metric(key, cells[IN_FLIGHT])
        seconds.add_metric(key, _buckets(BUCKETS_S, cells[FIRST_BUCKET:], total.example), cells[SECONDS])
        rows.add_metric(key, _buckets(BUCKETS_ROWS, cells[FIRST_ROWS_BUCKET:]), cells[ROWS])
        for bound, count in zip(("-Inf", *OUTPUT_BOUNDS), cells[FIRST_OUTPUT:], strict=False):
            if count:
                outputs.add_metric((*key, str(bound)), count)
        if key[2] == "shadow":
            asked.add_metric(key, cells[SHADOW_ROWS])
            other.add_metric(key, cells[SHADOW_DIFFERENT])
    return requests, in_flight, seconds, rows, asked, other, outputs


def _feature_families(readings: Mapping[Key, Reading]) -> Sequence[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    names = (*_LABELS, "feature")
    counts = CounterMetricFamily(
        "ml_inference_feature", "Answered rows by the bin of a feature", labels=(*names, "bin")
    )
    shares = GaugeMetricFamily(
        "ml_reference_share", "Share of the training rows, or of the test rows' predictions", labels=(*names, "bin")
    )
    rows = GaugeMetricFamily("ml_reference_rows", "Rows that the shares are of", labels=names)
    reached = GaugeMetricFamily(
        "ml_release_metric", "What the release reached on its test rows", labels=(*_LABELS, "metric")
    )
    made = GaugeMetricFamily(
        "ml_release_data_timestamp_seconds", "When the data commit of the release was made", labels=_LABELS
    )
    for key, reading in readings.items():
        if reading.described.data_time_s is not None:
            made.add_metric(key, reading.described.data_time_s)
        place = 0
        for feature in reading.described.features:
            rows.add_metric((*key, feature.name), feature.rows)
            for number, share in enumerate(feature.shares):
                labels = (*key, feature.name, str(number))
                counts.add_metric(labels, reading.counts[place])
                shares.add_metric(labels, share)
                place += 1
        for name, value in reading.described.metrics.items():
            reached.add_metric((*key, name), value)
    return counts, shares, rows, reached, made


def _truth_family(readings: Mapping[Key, TruthReading]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    names = (*_LABELS, "counted", "bin")
    family = CounterMetricFamily("ml_inference_truth", "Answered rows whose truth came", labels=names)
    for key, reading in readings.items():
        for counted, bins in zip(reading.answered.counted, reading.counts.tolist(), strict=True):
            for place, value in enumerate(bins):
                family.add_metric((*key, counted, str(place)), value)
    return family


def _buckets(
    bounds: Sequence[float], counts: Sequence[float], example: tuple[float, float, str] | None = None
) -> list[Any]:
    """Compute (bound, requests up to it, example) for each bucket."""
    from prometheus_client.samples import Exemplar

    below, result = 0.0, []
    lower = 0.0
    for bound, count in zip([*bounds, float("inf")], counts, strict=False):
        below += count
        fits = example is not None and lower < example[0] <= bound
        shown = Exemplar({"trace_id": example[2]}, example[0], example[1]) if fits and example else None
        result.append([str(bound) if bound != float("inf") else "+Inf", below, shown])
        lower = bound
    return result
