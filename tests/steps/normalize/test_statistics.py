"""Statistics of parts and of the whole."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.steps.features import Needs
from pipeline.steps.quantiles import MAX_POINTS, merge_quantiles, points_for, summarize
from pipeline.steps.statistics import MAX_DISTINCT, Moments, Statistics, check_distinct, measure, measure_rows, merge

NUMBERS = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
COLUMNS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=0, max_size=30)


def statistics_of(values):
    matrix = np.array(values, dtype=float).reshape(-1, 2)
    labels = pd.DataFrame({"t": pd.array([f"{x:.0f}" if x == x else None for x, _ in values], dtype="str")})
    return measure_rows(matrix, labels, ("a", "b"), Needs(("t", "b"), ("a", "b")))


def assert_same(left, right):
    assert (left.rows, left.counts) == (right.rows, right.counts)
    for name in Moments.__dataclass_fields__:
        expected = getattr(right.moments, name)
        np.testing.assert_allclose(
            getattr(left.moments, name), expected, rtol=1e-9, atol=1e-3 if name == "m2" else 1e-9
        )
    for name, quantiles in left.quantiles.items():
        np.testing.assert_array_equal(quantiles.values, right.quantiles[name].values)
        np.testing.assert_array_equal(quantiles.weights, right.quantiles[name].weights)


@given(COLUMNS, COLUMNS, COLUMNS)
@settings(max_examples=60, deadline=None)
def test_merging_is_associative_and_equals_the_whole(a, b, c):
    whole = statistics_of(a + b + c)
    first, second, third = map(statistics_of, (a, b, c))
    assert_same(merge([first, second, third]), whole)
    assert_same(merge([merge([first, second]), third]), whole)
    assert_same(merge([first, merge([second, third])]), whole)


@given(COLUMNS)
@settings(max_examples=30, deadline=None)
def test_statistics_survive_json_bit_for_bit(values):
    statistics = statistics_of(values)
    again = Statistics.from_json(json.loads(json.dumps(statistics.to_json())))
    assert_same(again, statistics)
    assert again.to_json() == statistics.to_json()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_short_summary_gives_numpys_quantiles(values, share):
    assert summarize(np.array(values)).quantile(share) == pytest.approx(np.quantile(values, share), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("partitions", [1, 12, 50])
def test_a_long_summary_keeps_its_stated_error(partitions):
    values = np.random.default_rng(3).lognormal(size=120_000)
    merged = merge_quantiles([summarize(part, 512) for part in np.array_split(values, partitions)])
    assert 0 < merged.error <= 2.01 * len(values) / (2 * 512)
    assert merged.count == pytest.approx(len(values))
    ordered = np.sort(values)
    for share in (0.001, 0.01, 0.25, 0.5, 0.75, 0.99):
        rank = np.searchsorted(ordered, merged.quantile(share))
        assert abs(rank - share * len(values)) <= merged.error + 1


def test_summaries_do_not_depend_on_chance():
    values = np.random.default_rng(3).normal(size=50_000)
    assert summarize(values).to_json() == summarize(values).to_json()


def test_wide_tables_have_small_summaries():
    assert points_for(15) == MAX_POINTS
    assert points_for(10_000) * 10_000 <= 1_500_000


def test_measuring_is_precise_far_from_zero():
    values = np.random.default_rng(0).normal(1e9, 1e-3, (10_000, 1))
    found = measure(values)
    assert found.m2[0] / 10_000 == pytest.approx(np.var(values), rel=1e-6)


def test_too_many_different_values_are_refused():
    with pytest.raises(DataError, match=r"'tail': 100,001 different values .* at most 100,000.*features.drop"):
        check_distinct("tail", MAX_DISTINCT + 1)


def test_nothing_to_merge_is_told():
    with pytest.raises(DataError, match="no partition has statistics"):
        merge([])
