"""The reference: its bins hold the rows that it says, as a server will count them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.reference import MAX_BINS, CategoryBins, NumberBins, read_reference, write_reference
from pipeline.model.signature import Input, Signature
from pipeline.serving.observing.bins import bin_categories, bin_numbers, table_of
from pipeline.steps.evaluate.reference import build_reference, cut_bins
from pipeline.steps.evaluate.results import Importance, Importances
from pipeline.steps.evaluate.sample import Prediction
from pipeline.steps.quantiles import summarize
from pipeline.steps.raw_columns import measure_raw

RANDOM = np.random.default_rng(3)
N = 2_000
ROWS = pd.DataFrame(
    {
        "x": np.where(RANDOM.random(N) < 0.1, np.nan, RANDOM.normal(size=N)),
        "flag": (RANDOM.random(N) < 0.3).astype(float),
        "at": pd.Series(pd.date_range("2013-01-01", periods=N, freq="h", unit="us")),
        "word": pd.array([f"w{min(each, 30)}" for each in RANDOM.geometric(0.15, N)], dtype="str"),
    }
)
INPUTS = (Input("x", "float"), Input("flag", "bool"), Input("at", "datetime"), Input("word", "str"))
BINARY = Signature("classification", INPUTS, ("no", "yes"))
LINE = Signature("regression", INPUTS)
IMPORTANCES = Importances("roc_auc", N, (Importance("word", 0.3), Importance("x", 0.2)))
SCORES = RANDOM.random(N)
TRUTH = (RANDOM.random(N) < SCORES).astype(int)


def build(max_columns=50, signature=BINARY):
    raw = measure_raw(ROWS, ["x", "flag", "at"], ["word"], {})
    prediction = Prediction(labels=(SCORES > 0.5).astype(int), probabilities=np.stack([1 - SCORES, SCORES], axis=1))
    if signature is LINE:
        prediction = Prediction(values=SCORES.astype(np.float32))
    return build_reference(raw, signature, IMPORTANCES, TRUTH, prediction, max_columns)


def feature(name, **options):
    return next(each for each in build(**options).features if each.name == name)


def test_columns_come_by_importance_and_the_predictions_last():
    names = ["word", "x", "flag", "at[hour]", "at[weekday]", "(prediction)", "(score)"]
    assert [each.name for each in build().features] == names
    assert [each.name for each in build(max_columns=1).features] == ["word", "(prediction)", "(score)"]
    assert build(max_columns=0).features == (), "nothing is counted"


def test_numbers_have_bins_of_about_the_same_mass():
    found = feature("x")
    assert isinstance(found.bins, NumberBins)
    assert len(found.bins.starts) == MAX_BINS
    missing, below, *inside, above = found.shares
    assert (missing, below, above) == (ROWS["x"].isna().mean(), 0.0, 0.0)
    assert max(inside) < 0.06
    assert min(inside) > 0.03


def test_few_different_numbers_have_a_bin_each():
    found = feature("flag")
    assert found.bins.starts == (0.0, 1.0)
    assert found.shares == (0.0, 0.0, 1 - ROWS["flag"].mean(), ROWS["flag"].mean(), 0.0)


def test_the_twenty_most_frequent_categories_have_a_bin_each_and_the_rare_ones_one():
    found = feature("word")
    counts = ROWS["word"].value_counts()
    assert set(found.bins.values) == set(counts.index[:20]) or counts.iloc[19] == counts.iloc[20]
    assert set(found.bins.rare) == {name for name, count in counts.items() if count >= 5} - set(found.bins.values)
    assert found.shares[0] == 0.0


def test_a_value_that_few_rows_have_does_not_stand_in_a_release():
    words = pd.DataFrame({"word": pd.array(["a"] * 90 + ["b"] * 5 + ["Miller"] * 4 + [None], dtype="str")})
    signature = Signature("regression", (Input("word", "str"),))
    raw = measure_raw(words, [], ["word"], {})
    found = build_reference(raw, signature, Importances("r2", 0), np.ones(2), Prediction(values=np.ones(2)), 50)
    assert found.features[0].bins == CategoryBins(("a", "b"), ())
    assert found.features[0].shares == (0.01, 0.04, 0.0, 0.9, 0.05), "it counts as unknown, here and in servers"
    assert b"Miller" not in write_reference(found)


@pytest.mark.parametrize("prose", [True, False])
def test_prose_and_identifiers_are_described_by_their_length(prose):
    words = pd.DataFrame({"word": pd.array([f"id {number}" for number in range(100)], dtype="str")})
    signature = Signature("regression", (Input("word", "str"),))
    raw = measure_raw(words, [], ["word"], {}, ["word"] if prose else ())
    found = build_reference(raw, signature, Importances("r2", 0), np.ones(2), Prediction(values=np.ones(2)), 50)
    assert (found.features[0].name, found.features[0].bins.starts) == ("word[length]", (4.0, 5.0))
    assert found.features[0].shares == (0.0, 0.0, 0.1, 0.9, 0.0)


def test_a_server_counts_the_training_rows_into_the_shares_of_the_reference():
    numbers, words = feature("x"), feature("word")
    places = bin_numbers(numbers.bins, ROWS["x"].to_numpy())
    np.testing.assert_allclose(np.bincount(places, minlength=numbers.bins.count) / N, numbers.shares, atol=2e-3)
    places = bin_categories(table_of(words.bins), ROWS["word"].tolist())
    np.testing.assert_allclose(np.bincount(places, minlength=words.bins.count) / N, words.shares)


@given(st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9)), min_size=1, max_size=400))
@settings(max_examples=100, deadline=None)
def test_every_value_lies_in_the_bin_that_counted_it(values):
    summary = summarize(np.array(values))
    starts, weights = cut_bins(summary)
    assert len(starts) <= 2 * MAX_BINS
    assert sum(weights) == len(values)
    bins = NumberBins(tuple(starts), max(values))
    counted = np.bincount(bin_numbers(bins, np.array(values)), minlength=bins.count)
    assert counted.tolist() == [0, 0, *weights, 0]
    assert bin_numbers(bins, np.array([min(values) - 1e10, max(values) + 1e10, np.nan])).tolist() == [
        1, bins.count - 1, 0,
    ]  # fmt: skip


def test_the_calibration_says_how_often_a_score_came_true():
    reference = build()
    assert sum(each.rows for each in reference.calibration) == N
    assert all(abs(each.score - each.true) < 0.2 for each in reference.calibration), "these scores are calibrated"
    assert [each.score for each in reference.calibration] == sorted(each.score for each in reference.calibration)
    assert build(signature=LINE).calibration == ()


def test_more_than_two_classes_are_counted_by_the_likeliest():
    probabilities = RANDOM.dirichlet([1, 1, 1], N)
    labels = probabilities.argmax(axis=1)
    signature = Signature("classification", INPUTS, ("a", "b", "c"))
    raw = measure_raw(ROWS, ["x", "flag", "at"], ["word"], {})
    prediction = Prediction(labels=labels, probabilities=probabilities)
    found = build_reference(raw, signature, IMPORTANCES, labels, prediction, 50)
    classes, score = found.features[-2:]
    np.testing.assert_allclose(classes.shares, [0, *np.bincount(labels) / N])
    assert score.bins.starts[0] == probabilities.max(axis=1).min()
    assert {each.true for each in found.calibration} == {1.0}


@pytest.mark.parametrize("signature", [BINARY, LINE])
def test_it_is_read_as_it_was_written(signature):
    reference = build(signature=signature)
    assert read_reference(write_reference(reference), signature) == reference


def test_a_column_without_any_value_has_no_bin_of_its_own():
    raw = measure_raw(pd.DataFrame({"x": [np.nan] * 3}), ["x"], [], {})
    signature = Signature("regression", (Input("x", "float"),))
    found = build_reference(raw, signature, Importances("r2", 0), np.ones(3), Prediction(values=np.ones(3)), 50)
    assert found.features[0].shares == (1.0, 0.0, 0.0)
    read_reference(write_reference(found), signature)
