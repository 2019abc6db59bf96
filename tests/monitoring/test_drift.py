"""What counts as moved: more than a limit, and more than chance explains."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.monitoring.drift import chance_of, compare, stability_index

TRAINING = 20_000
BINS = 20
SHARES = np.array([0.001, *[0.999 / BINS] * BINS, 0.0, 0.0])


def rows(shares: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    return draw.multinomial(count, shares / shares.sum()).astype(float)


def test_the_index_is_that_of_its_definition() -> None:
    then, now = np.array([100_000.0, 100_000.0]), np.array([150_000.0, 50_000.0])
    expected = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert stability_index(then, now) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [200, 1_000, 20_000])
def test_chance_is_no_smaller_than_it_is(count: int) -> None:
    draw = np.random.default_rng(0)
    chances = np.array([chance_of(rows(SHARES, TRAINING, draw), rows(SHARES, count, draw)) for _ in range(4_000)])
    for level in (0.1, 0.01, 0.001):  # at most as often as it says, but for what 4,000 draws leave open
        assert (chances < level).mean() < level + 4 * np.sqrt(level / 4_000)


def test_a_small_window_that_is_distributed_as_ever_has_not_moved() -> None:
    draw = np.random.default_rng(1)
    windows = [rows(SHARES, 100, draw) for _ in range(500)]
    found = [compare("x", SHARES * TRAINING, each, limit=0.1, level=1e-4) for each in windows]
    assert sum(each.index > 0.1 for each in found) > 400  # the index alone would tell of drift
    assert not any(each.drifted for each in found)


@pytest.mark.parametrize("place", [0, -1], ids=["missing", "above all"])
def test_rows_in_a_bin_that_training_did_not_have_are_found(place: int) -> None:
    draw = np.random.default_rng(2)
    for _ in range(50):
        window = rows(SHARES, 950, draw)
        window[place] += 50
        assert compare("x", SHARES * TRAINING, window, limit=0.1, level=1e-7).drifted


def test_a_row_counts_less_where_a_request_has_more() -> None:
    then, now = np.array([5_000.0, 5_000.0]), np.array([650.0, 350.0])
    each, together = (compare("x", then, now, limit=0.05, level=1e-4, weight=weight) for weight in (1.0, 0.01))
    assert each.index == together.index
    assert each.drifted
    assert not together.drifted


def test_a_window_of_nothing_but_what_training_never_had_is_found() -> None:
    then, now = SHARES * 1_000_000, np.zeros(len(SHARES))
    now[-1] = 1_000
    found = compare("x", then, now, limit=0.1, level=1e-9)
    assert found.chance < 1e-100
    assert found.drifted
