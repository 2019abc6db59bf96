"""Requests drawn at random, as the servers of two tracks would have counted them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from math import inf

import numpy as np

from pipeline.delivery.rollouts.readings import Reading
from pipeline.serving.observing.metrics import BUCKETS_S, OUTPUT_BOUNDS


@dataclass(frozen=True)
class Server:
    """How a release answers."""

    error_share: float = 0.01
    typical_s: float = 0.004
    output_mean: float = 0.3

    def answer(self, count: int, random: np.random.Generator) -> Reading:
        failed = int(random.binomial(count, self.error_share))
        seconds = random.lognormal(np.log(self.typical_s), 0.5, count)
        outputs = random.normal(self.output_mean, 0.1, count - failed)
        return Reading(
            count,
            failed,
            Counter((*BUCKETS_S, inf)[bisect_left(BUCKETS_S, each)] for each in seconds),
            Counter((-inf, *OUTPUT_BOUNDS)[bisect_right(OUTPUT_BOUNDS, each)] for each in outputs),
        )
