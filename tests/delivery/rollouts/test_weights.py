from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.spec.canary_weights import reachable, replicas_for, require_replicas, weight_of


@pytest.mark.parametrize(
    ("weight", "stable", "count"),
    [(33, 1, 1), (40, 1, 2), (20, 3, 1), (33, 3, 3), (8, 10, 1), (25, 10, 5), (1, 98, 1), (25, 3, None), (50, 3, None),
     (5, 3, None), (0, 3, None), (100, 3, None)],
)  # fmt: skip
def test_a_weight_is_reached_to_the_percent_or_not_at_all(weight: int, stable: int, count: int | None) -> None:
    assert replicas_for(weight, stable) == count


def test_a_shadow_needs_no_baseline_so_it_can_get_more() -> None:
    assert replicas_for(50, 3, tracks=1) == 3
    assert replicas_for(75, 1, tracks=1) == 3
    assert reachable(1, tracks=1) == [50, 67, 75, 80, 83]


def test_whatever_number_of_pods_is_given_has_the_weight_that_was_asked_for() -> None:
    for stable in range(1, 60):
        for weight in range(1, 50):
            count = replicas_for(weight, stable)
            if count is None:
                assert weight not in {weight_of(each, stable) for each in range(1, 3000)}
            else:
                assert weight_of(count, stable) == weight


def test_a_weight_that_cannot_be_reached_is_an_error_that_names_those_that_can() -> None:
    assert reachable(3) == [20, 29, 33, 36, 38]
    expected = r"found the weight 10; expected a weight that 3 stable pods leave room for \(20, 29, "
    with pytest.raises(InputError, match=expected):
        require_replicas(10, 3)
    with pytest.raises(InputError, match=r"1 stable pod leaves"):
        require_replicas(10, 1)
