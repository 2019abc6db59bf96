from __future__ import annotations

import numpy as np
import pytest

from pipeline.steps.evaluate.bootstrap import Part, draw, interval, resample
from pipeline.steps.evaluate.metrics import score
from pipeline.steps.evaluate.sample import Prediction, Sample

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.normal(size=400)
SAMPLE = Sample(TRUTH, Prediction(values=TRUTH + RANDOM.normal(size=400)))


@pytest.mark.parametrize("total", [1, 2, 255, 256, 257, 1000])
def test_draw_counts_as_many_rows_as_there_are(total):
    counts = draw(total, np.random.default_rng(0))
    assert counts.shape == (total,)
    assert counts.sum() == total


def test_draw_is_multinomial():
    counts = np.array([draw(300, np.random.default_rng(seed)) for seed in range(4000)])
    assert counts.mean(axis=0) == pytest.approx(np.ones(300), abs=0.08)
    assert counts.var(axis=0) == pytest.approx(np.full(300, 1 - 1 / 300), abs=0.15)
    assert np.cov(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 300, abs=0.05)
    assert np.cov(counts[:, 0], counts[:, 299])[0, 1] == pytest.approx(-1 / 300, abs=0.05)


def test_interval_agrees_with_the_standard_error_of_a_mean():
    low, high = interval(resample([Part(SAMPLE)], ["mse"], 400, 2000, 0)[0, 0])
    squares = SAMPLE.squared_errors
    error = squares.std() / np.sqrt(400)
    assert low == pytest.approx(squares.mean() - 1.96 * error, abs=0.25 * error)
    assert high == pytest.approx(squares.mean() + 1.96 * error, abs=0.25 * error)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        errors = np.random.default_rng(seed).normal(size=100)
        found = resample([Part(Sample(np.zeros(100), Prediction(values=errors)))], ["mse"], 100, 200, seed)
        low, high = interval(found[0, 0])
        hits += low <= 1 <= high
    assert 0.86 <= hits / 200 <= 0.98


def test_the_same_seed_gives_the_same_resamples_and_another_seed_others():
    first, second, third = (resample([Part(SAMPLE)], ["mae"], 400, 20, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_slice_of_all_rows_has_the_resamples_of_the_whole():
    found = resample([Part(SAMPLE), Part(SAMPLE, np.arange(400))], ["r2"], 400, 20, 0)
    assert np.array_equal(found[0], found[1])


def test_a_slice_is_resampled_around_its_own_value():
    rows = np.arange(0, 400, 2)
    half = SAMPLE.take(rows)
    low, high = interval(resample([Part(half, rows)], ["mae"], 400, 200, 0)[0, 0])
    assert low < score("mae", half) < high


def test_no_resamples_give_no_interval():
    assert interval(resample([Part(SAMPLE)], ["mae"], 400, 0, 0)[0, 0]) is None


@pytest.mark.parametrize(("undefined", "expected"), [(10, (1.0, 1.0)), (11, None)])
def test_interval_needs_nine_resamples_in_ten(undefined, expected):
    assert interval(np.array([np.nan] * undefined + [1.0] * (100 - undefined))) == expected
