"""A server at half of what it can, for long: whether its memory stays flat, and whether every request is answered."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmarks.serving.contenders import Row
from benchmarks.serving.loading import Load, Serving

CONNECTIONS = 16
_PORTION_S = 30.0


def soak(server: Serving, rows: Sequence[Row], minutes: float) -> None:
    """Load a server with half of its limit, in portions; print each, and what they come to."""
    limit = server.load(rows, CONNECTIONS, 5)
    # Each connection pauses for so long after an answer that all of them together ask half as often.
    pause_ms = CONNECTIONS / (limit.rate / 2) * 1e3 - limit.p50_ms / 2
    count = max(2, round(minutes * 60 / _PORTION_S))
    portions = [_portion(server, rows, pause_ms, number) for number in range(count)]
    total, errors = sum(each.requests for each in portions), sum(each.errors for each in portions)
    share = total / sum(each.seconds for each in portions) / limit.rate
    warm, last = portions[min(1, count - 1)], portions[-1]
    print(f"  {total} requests at {share:.2f} of the limit, {errors} errors; memory {last.mib - warm.mib:+.1f} MiB")


def _portion(server: Serving, rows: Sequence[Row], pause_ms: float, number: int) -> Load:
    os.truncate(server.log, 0)  # as a rotation would
    found = server.load(rows, CONNECTIONS, _PORTION_S, pause_ms)
    print(
        f"  {(number + 1) * _PORTION_S:5.0f} s: {found.rate:7.0f} requests/s, p50 {found.p50_ms:.2f} ms,"
        f" p99 {found.p99_ms:.2f} ms, {found.errors} errors, {found.mib:.1f} MiB",
        flush=True,
    )
    return found
