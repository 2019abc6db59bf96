"""Fitted preprocessing, against scikit-learn on the whole training data, and as one graph."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, RobustScaler, StandardScaler

from pipeline.errors import DataError
from pipeline.model.graphs import open_session
from pipeline.steps.normalize import (
    Preprocessing,
    compile_normalize,
    compile_preprocess,
    fit,
    merge,
    needs_second_pass,
    outlier_rows,
    repeated_rows,
)
from pipeline.steps.transform import number_matrix, text_matrix

SCALERS = {"standard": StandardScaler, "min_max": MinMaxScaler, "robust": RobustScaler}


def fit_parts(spec, compiled, parts):
    frames = [part.frame for part in parts] if needs_second_pass(spec, compiled) else None
    return fit(merge([part.statistics for part in parts]), spec, compiled, frames)


def raw_inputs(compiled, rows):
    inputs = {"numbers": number_matrix(rows, compiled.numbers), "texts": text_matrix(rows, compiled.texts)}
    return {name: values for name, values in inputs.items() if values.shape[1]}


@pytest.mark.parametrize("scale", SCALERS)
@pytest.mark.parametrize("fill", ["mean", "median", "mode", -3.5])
def test_fills_and_scales_equal_scikit_learns(rows, run_steps, scale, fill, matrix_of):
    spec, compiled, parts = run_steps(
        rows, features={"select": ["x", "y", "month"]}, clean={"missing": {"*": fill}}, normalize={"*": scale}
    )
    preprocessing = fit_parts(spec, compiled, parts)
    strategy = {"mode": "most_frequent"}.get(fill, fill if isinstance(fill, str) else "constant")
    imputer = SimpleImputer(strategy=strategy, fill_value=fill if strategy == "constant" else None)
    pipeline = make_pipeline(imputer, SCALERS[scale]())
    expected = pipeline.fit_transform(rows[["x", "y", "month"]].to_numpy())
    found = [(rule.fill, rule.shift, rule.scale) for rule in preprocessing.numbers]
    scaler = pipeline[-1]
    shifts = {"standard": "mean_", "min_max": "data_min_", "robust": "center_"}[scale]
    scales = 1 / scaler.scale_ if scale == "min_max" else scaler.scale_
    np.testing.assert_allclose([f for f, _, _ in found], imputer.statistics_.astype(float), rtol=1e-9)
    np.testing.assert_allclose([s for _, s, _ in found], getattr(scaler, shifts), rtol=1e-9)
    np.testing.assert_allclose([s for _, _, s in found], scales, rtol=1e-9)
    assert preprocessing.rank_error == 0
    matrix = matrix_of([part.frame for part in parts], preprocessing)
    np.testing.assert_allclose(matrix, expected, rtol=1e-6, atol=1e-6)


def fences(values):
    low, high = np.nanquantile(values, [0.25, 0.75])
    return low - 1.5 * (high - low), high + 1.5 * (high - low)


@pytest.mark.parametrize(
    ("rule", "bounds"),
    [
        ({"by": "quantile", "bounds": [0.05, 0.95]}, lambda x: np.nanquantile(x, [0.05, 0.95])),
        ({"by": "iqr"}, fences),
        ({"by": "zscore", "factor": 2}, lambda x: np.nanmean(x) + np.array([-2, 2]) * np.nanstd(x)),
    ],
    ids=["quantile", "iqr", "zscore"],
)  # fmt: skip
def test_fitted_bounds_clip_before_scaling(rows, run_steps, rule, bounds, matrix_of):
    spec, compiled, parts = run_steps(
        rows, features={"select": ["x", "carrier"]}, clean={"outliers": {"x": rule}, "missing": {"x": "mean"}}
    )
    preprocessing = fit_parts(spec, compiled, parts)
    low, high = bounds(rows["x"].to_numpy())
    clip = FunctionTransformer(lambda values: np.clip(values, low, high))
    expected = make_pipeline(SimpleImputer(), clip, StandardScaler()).fit_transform(rows[["x"]].to_numpy())
    (x,) = preprocessing.numbers
    np.testing.assert_allclose([x.lower, x.upper], [low, high], rtol=1e-9)
    matrix = matrix_of([part.frame for part in parts], preprocessing)
    np.testing.assert_allclose(matrix[:, :1], expected, rtol=1e-6, atol=1e-6)
    assert not outlier_rows(parts[0].frame, preprocessing).any()


def test_dropped_outliers_leave_training_but_are_still_predicted(rows, run_steps, matrix_of):
    rule = {"by": "iqr", "factor": 2, "action": "drop"}
    spec, compiled, parts = run_steps(rows, features={"select": ["x"]}, clean={"outliers": {"x": rule}})
    preprocessing = fit_parts(spec, compiled, parts)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    out = outlier_rows(frame, preprocessing)
    (x,) = preprocessing.numbers
    values = frame["x"][~out].fillna(x.fill)
    assert 0 < out.sum() < 400
    assert (x.shift, x.scale) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=0)))
    assert matrix_of([frame], preprocessing).max() == pytest.approx((frame["x"].max() - x.shift) / x.scale, rel=1e-6)


def test_a_second_pass_without_frames_is_told(rows, run_steps):
    spec, compiled, parts = run_steps(rows, features={"select": ["x"]}, clean={"outliers": {"x": {"by": "iqr"}}})
    with pytest.raises(DataError, match="need a second pass; expected the training frames"):
        fit(parts[0].statistics, spec, compiled)


EVERYTHING = {
    "data": {"derive": {"ratio": "x / (y - 1000000)", "tag": "carrier + '-' + carrier", "ua": "carrier == 'UA'"}},
    "transform": {
        "x": "log",
        "y": {"kind": "bins", "count": 5},
        "month": "category",
        "tag": "frequency",
        "at": {"kind": "cyclic", "parts": ["month", "hour"]},
        "carrier": {"kind": "one_hot", "max_categories": 4},
    },
    "features": {"interactions": [["ratio", "x"]]},
    "clean": {
        "missing": {"x": {"fill": "mean", "indicator": True}, "tag": "other", "*": "median"},
        "outliers": {"ratio": {"by": "quantile", "bounds": [0.01, 0.99]}},
    },
    "normalize": {"*": "standard", "ratio": "robust", "tag": "min_max"},
}
VARIANTS = {
    "everything": EVERYTHING,
    "coded numbers": {
        "transform": {"month": "ordinal", "y": "frequency", "carrier": "ordinal"},
        "clean": {"missing": {"month": 6}},
    },
    "kept gaps": {"clean": {"missing": {"*": "keep"}}, "transform": {"y": {"kind": "bins", "count": 3}}},
    "texts alone": {"features": {"select": ["carrier"]}},
    "numbers alone": {"features": {"select": ["x", "y"]}, "normalize": {"*": "none"}},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_graph_gives_the_training_matrix_bit_for_bit(rows, run_steps, variant, matrix_of):
    sides = np.random.default_rng(0).choice(3, len(rows)).astype(np.int8)
    spec, compiled, parts = run_steps(rows, sides=sides, **VARIANTS[variant])
    preprocessing = fit_parts(spec, compiled, parts)
    matrix = matrix_of([part.frame for part in parts], preprocessing)
    session = open_session(compile_preprocess(compiled, preprocessing))
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(rows), len(preprocessing.names))
    assert len(set(preprocessing.names)) == len(preprocessing.names)
    assert np.isnan(matrix).any() == (variant == "kept gaps")
    (whole,) = session.run(["matrix"], raw_inputs(compiled, rows))
    np.testing.assert_array_equal(whole, matrix)
    for i in range(0, len(rows), 10):
        (alone,) = session.run(["matrix"], raw_inputs(compiled, rows.iloc[i : i + 1]))
        np.testing.assert_array_equal(alone[0], matrix[i])


def test_what_was_fitted_survives_json(rows, run_steps):
    spec, compiled, parts = run_steps(rows, **EVERYTHING)
    preprocessing = fit_parts(spec, compiled, parts)
    again = Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json(), allow_nan=False)))
    assert again == preprocessing
    first, second = compile_normalize(preprocessing), compile_normalize(again)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def fit_texts(run_steps, values, **sections):
    rows = pd.DataFrame({"t": pd.array(values, dtype="str"), "goal": np.arange(float(len(values)))})
    types = {"t": "str", "goal": "float"}
    spec, compiled, parts = run_steps(rows, 2, types=types, **sections)
    return compiled, fit_parts(spec, compiled, parts)


def encode(compiled, preprocessing, values):
    session = open_session(compile_preprocess(compiled, preprocessing))
    return session.run(["matrix"], {"texts": np.array([[value] for value in values], dtype=object)})[0].tolist()


def test_one_hot_knows_missing_and_unseen_categories(run_steps):
    compiled, preprocessing = fit_texts(run_steps, ["b", "a", "b", None, "c", "a"])
    assert preprocessing.names == ("t=a", "t=b", "t=c", "t=(missing)")
    assert encode(compiled, preprocessing, ["b", "", "zzz"]) == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_the_most_frequent_categories_stay(run_steps):
    rule = {"t": {"kind": "one_hot", "max_categories": 2}}
    compiled, preprocessing = fit_texts(run_steps, ["b", "a", "b", "c", "c", "d"], transform=rule)
    assert preprocessing.names == ("t=b", "t=c")
    assert encode(compiled, preprocessing, ["a", "c"]) == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("kind", "scale", "expected"),
    [
        ("ordinal", "none", [0, 1, 2, -1]),
        ("frequency", "none", [0.5, 1 / 3, 1 / 6, 0]),
        ("ordinal", "min_max", [0, 0.5, 1, -0.5]),
        ("ordinal", "standard", [-0.894427, 0.447214, 1.788854, -2.236068]),
    ],
)
def test_ordinal_and_frequency_give_one_scaled_number(run_steps, kind, scale, expected):
    compiled, preprocessing = fit_texts(
        run_steps, ["b", "a", "b", "a", "b", "c"], transform={"t": kind}, normalize={"*": scale}
    )
    assert preprocessing.names == ("t",)
    found = encode(compiled, preprocessing, ["b", "a", "c", "zzz"])
    np.testing.assert_allclose(found, [[value] for value in expected], atol=1e-6)


@pytest.mark.parametrize(("fill", "expected"), [("mode", [0, 1]), ("a", [1, 0]), ("median", [0, 0])])
def test_missing_text_is_filled_by_mode_or_constant(run_steps, fill, expected):
    compiled, preprocessing = fit_texts(run_steps, ["b", "a", "b"], clean={"missing": {"*": fill}})
    found = encode(compiled, preprocessing, [""])[0]
    assert dict(zip(preprocessing.names, found, strict=True)) == dict(zip(("t=a", "t=b"), expected, strict=True))


def test_numeric_categories_are_told_apart_by_value(rows, run_steps):
    spec, compiled, parts = run_steps(rows, features={"select": ["month"]}, transform={"month": "category"})
    preprocessing = fit_parts(spec, compiled, parts)
    assert set(preprocessing.names) == {*(f"month={n}" for n in range(1, 13)), "month=(missing)"}
    session = open_session(compile_preprocess(compiled, preprocessing))
    found = session.run(["matrix"], {"numbers": np.array([[3.0], [np.nan], [13.0]])})[0]
    assert [preprocessing.names[i] for i in found.argmax(axis=1)[:2]] == ["month=3", "month=(missing)"]
    assert found.sum(axis=1).tolist() == [1, 1, 0]


def test_a_transformed_column_is_filled_by_its_transformed_fill(rows, run_steps):
    spec, compiled, parts = run_steps(
        rows, features={"select": ["x", "at"]}, transform={"x": "log", "at": {"kind": "date_parts", "parts": ["month"]}}
    )
    rules = {rule.name: rule for rule in fit_parts(spec, compiled, parts).numbers}
    assert rules["x_log"].fill == pytest.approx(np.log1p(rows["x"].median()), rel=1e-12)
    assert rules["at_month"].fill == rows["at"].median().month


def test_fitted_bins_hold_equally_many_rows(rows, run_steps, matrix_of):
    spec, compiled, parts = run_steps(
        rows, features={"select": ["x"]}, transform={"x": {"kind": "bins", "count": 4}}, normalize={"*": "none"}
    )
    preprocessing = fit_parts(spec, compiled, parts)
    filled = rows["x"].fillna(rows["x"].median())
    np.testing.assert_allclose(preprocessing.numbers[0].edges, filled.quantile([0.25, 0.5, 0.75]))
    matrix = matrix_of([part.frame for part in parts], preprocessing)
    np.testing.assert_array_equal(matrix[:, 0], np.digitize(filled, preprocessing.numbers[0].edges))


def test_scaled_bins_have_mean_0_and_variance_1(rows, run_steps, matrix_of):
    spec, compiled, parts = run_steps(rows, features={"select": ["x"]}, transform={"x": {"kind": "bins", "count": 4}})
    matrix = matrix_of([part.frame for part in parts], fit_parts(spec, compiled, parts))
    assert (matrix.mean(), matrix.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, rel=1e-5))


def test_constant_and_empty_columns_are_harmless(run_steps, matrix_of):
    rows = pd.DataFrame({"c": [0.1] * 7, "e": [np.nan] * 7, "goal": np.arange(7.0)})
    types = dict.fromkeys(rows, "float")
    spec, compiled, parts = run_steps(rows, 2, types=types)
    preprocessing = fit_parts(spec, compiled, parts)
    assert [(rule.fill, rule.scale) for rule in preprocessing.numbers] == [(0.1, 1), (0, 1)]
    assert preprocessing.notes == ("e has no value in any training row: it is filled with 0",)
    assert np.abs(matrix_of([part.frame for part in parts], preprocessing)).max() < 1e-7


@pytest.mark.parametrize(("different", "told"), [(60, True), (8, False)])
def test_texts_that_are_no_categories_are_told(run_steps, different, told):
    texts = [f"text {place % different}" for place in range(60)]
    rows = pd.DataFrame({"said": texts, "goal": np.arange(60.0)})
    spec, compiled, parts = run_steps(rows, 2, types={"said": "str", "goal": "float"},
                                      transform={"said": {"kind": "one_hot", "max_categories": 6}})  # fmt: skip
    expected = (
        "said: its 6 most frequent of 60 values are in 10% of the rows, the others are not told apart; for a text of "
        "words, tfidf reads more (transform.said)"
    )
    assert fit_parts(spec, compiled, parts).notes == ((expected,) if told else ())


def test_one_training_row_is_enough(rows, run_steps, matrix_of):
    spec, compiled, parts = run_steps(rows.iloc[:1], 1)
    preprocessing = fit_parts(spec, compiled, parts)
    assert np.isfinite(matrix_of([parts[0].frame], preprocessing)).all()


def test_no_training_row_is_told(rows, run_steps):
    spec, compiled, parts = run_steps(rows, sides=np.full(len(rows), 2, dtype=np.int8))
    with pytest.raises(DataError, match="normalize: no training rows; expected at least one"):
        fit_parts(spec, compiled, parts)


def test_ten_thousand_columns_need_few_nodes(run_steps, matrix_of):
    values = np.random.default_rng(0).normal(size=(20, 10_000))
    rows = pd.DataFrame(values, columns=[f"n{i}" for i in range(10_000)]).assign(goal=1.0)
    rows.iloc[3, 17] = np.nan
    spec, compiled, parts = run_steps(rows, 2, types=dict.fromkeys(rows, "float"))
    preprocessing = fit_parts(spec, compiled, parts)
    graph = compile_preprocess(compiled, preprocessing)
    assert len(graph.graph.node) < 15
    matrix = matrix_of([part.frame for part in parts], preprocessing)
    np.testing.assert_array_equal(open_session(graph).run(None, raw_inputs(compiled, rows))[0], matrix)
    np.testing.assert_allclose(matrix.std(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("first", [[0, 0, 1], [0], [1, 1]]),
        ("last", [[1, 1, 0], [1], [0, 0]]),
        ("none", [[1, 1, 1], [1], [1, 1]]),
    ],
)
def test_rows_that_partitions_share_are_found(keep, expected):
    hashes = [np.array(part, dtype=np.uint64) for part in ([5, 2**63, 5], [7], [2**63, 7])]
    if keep == "last":
        expected = [[1, 1, 0], [1], [0, 0]]
    assert [mask.astype(int).tolist() for mask in repeated_rows(hashes, keep)] == expected
    assert repeated_rows([], keep) == []


def test_a_frame_without_a_column_is_told(rows, run_steps, matrix_of):
    spec, compiled, parts = run_steps(rows)
    with pytest.raises(DataError, match=r"normalize: \['x'\] is missing"):
        matrix_of([parts[0].frame.drop(columns="x")], fit_parts(spec, compiled, parts))
