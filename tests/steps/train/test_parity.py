from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from pipeline.steps.train.conversion import convert, ensemble_trees
from pipeline.steps.train.parity import compare, measure_parity, rows_to_compare, unit_of
from pipeline.steps.train.results import Parity
from pipeline.steps.train.trees import thresholds_by_column

COMPARED = [
    ([1.0, 2.0], [1.0, 2.0], 0.0, True),
    ([1.0, 2.0], [1.0, 2.0 + 1e-5], 5e-6, True),
    ([0.5, 0.0], [0.5, 1.1e-5], 1.1e-5, False),
    ([1e9], [1e9 + 1000], 1e-6, True),
    ([1.0], [np.nan], np.inf, False),
    ([np.inf], [np.inf], np.inf, False),
    ([], [], 0.0, True),
]


@pytest.mark.parametrize(("expected", "actual", "difference", "holds"), COMPARED)
def test_compare_measures_the_relative_difference(expected, actual, difference, holds) -> None:
    parity = compare(np.array(expected), np.array(actual))
    assert parity.max_difference == pytest.approx(difference)
    assert parity.holds is holds
    assert parity.rows == len(expected)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_values_are_compared_in_the_unit_of_the_target(unit: float) -> None:
    expected = np.array([0.0, 0.1, 20.0]) * unit
    for gap, holds in ((0.9e-5, True), (1.1e-5, False)):
        parity = compare(expected, expected + np.array([gap, 0.0, 10 * gap]) * unit, unit=unit)
        assert parity.max_difference == pytest.approx(gap)
        assert parity.holds is holds


def test_the_unit_is_the_standard_deviation_unless_there_is_none() -> None:
    assert unit_of(np.array([1.0, 3.0])) == 1.0
    assert unit_of(np.array([0.0, 4e6])) == 2e6
    assert unit_of(np.full(3, 7.0)) == 1.0


def test_compare_counts_labels_that_differ() -> None:
    same = np.full((3, 2), 0.5)
    parity = compare(same, same, np.array([0, 1, 1]), np.array([0, 0, 1]))
    assert parity == Parity(0.0, 1, 3)
    assert not parity.holds


def test_compare_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"the model gave \(2,\), the graph \(3,\)"):
        compare(np.zeros(2), np.zeros(3))


def tree_between(low: float, high: float) -> DecisionTreeClassifier:
    features = np.array([[low], [high]], dtype=np.float32)
    return DecisionTreeClassifier(random_state=0).fit(features, [0, 1])


# Neighbouring float32 numbers: the threshold between them exists in float64 only.
TIGHT = [(low, float(np.nextafter(np.float32(low), np.float32(1e9)))) for low in (16.0, 100.125, 5e4)]


@pytest.mark.parametrize(("low", "high"), TIGHT)
def test_rows_at_a_threshold_take_the_same_branch(matrix, low, high) -> None:
    model = tree_between(low, high)
    graph = convert("decision_tree", "classification", model, 1, 2)
    rows = np.nextafter(np.float32([[low], [low], [low]]), np.float32([[-9], [low], [9]]))
    parity = measure_parity(graph, model.predict_proba, rows)
    assert parity == Parity(0.0, 0, 3)


def test_parity_notices_a_threshold_that_was_rounded() -> None:
    low, high = TIGHT[0]
    model = tree_between(low, high)
    graph = convert("decision_tree", "classification", model, 1, 2)
    node = next(each for each in graph.graph.node if each.op_type == "TreeEnsembleRegressor")
    threshold = next(each for each in node.attribute if each.name == "nodes_values_as_tensor")
    values = np.frombuffer(threshold.t.raw_data).copy()
    values[0] = high  # what rounding to float32 could make of it
    threshold.t.raw_data = values.tobytes()
    assert measure_parity(graph, model.predict_proba, np.float32([[low], [high]])) == Parity(1.0, 1, 2)


def test_compared_rows_lie_on_each_side_of_every_threshold(matrix) -> None:
    rows = matrix("flag")
    model = DecisionTreeClassifier(random_state=0).fit(rows.train, rows.train_target)
    thresholds = thresholds_by_column(ensemble_trees("decision_tree", model, 2), 4)
    compared = rows_to_compare(rows, thresholds)
    assert compared.dtype == np.float32
    for column, each in enumerate(thresholds):
        for threshold in each:
            nearest = np.float32(threshold)
            around = {nearest, np.nextafter(nearest, np.float32(-np.inf)), np.nextafter(nearest, np.float32(np.inf))}
            assert around <= set(compared[:, column])
