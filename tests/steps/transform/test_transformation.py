"""The transform step on tiny frames, against pandas and numpy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError, InputError
from pipeline.model.columns import Side
from pipeline.model.graphs import run
from pipeline.steps.features import TARGET
from pipeline.steps.transform import (
    columns_of,
    compile_target,
    compile_transform,
    features_of,
    needed_inputs,
    number_matrix,
    text_matrix,
    transform,
)


def apply(rows, spec, types, sides=None):
    sides = np.zeros(len(rows), dtype=np.int8) if sides is None else sides
    return transform(rows, sides, spec, compile_transform(spec, types), compile_target(spec, types))


def test_the_default_features_hide_the_target_and_all_that_shares_its_sources(make_spec, types):
    derive = {"late": "delay > 15", "leak": "delay / 2", "leak2": "leak + dep", "fine": "dep * 2"}
    spec = make_spec(data={"derive": derive}, features={"drop": ["at"]})
    known = columns_of(spec, types)
    features = features_of(spec, known)
    assert features == ("month", "dep", "carrier", "late_once", "fine")
    assert needed_inputs(known, frozenset(features)).numbers == ("month", "dep", "late_once")
    assert needed_inputs(known, frozenset(features)).texts == ("carrier",)


def test_only_the_columns_that_features_need_are_inputs(make_spec, types):
    derive = {"late": "delay > 15", "evening": "hour(at) > 18", "known": "carrier in ['UA']"}
    spec = make_spec(data={"derive": derive}, features={"select": ["evening", "known", "month"]})
    compiled = compile_transform(spec, types)
    assert (compiled.numbers, compiled.texts, compiled.labels) == (("month", "at"), ("carrier",), ())
    assert compiled.names == ("month", "evening", "known")


REFERENCES = [
    ("dep", "none", {"dep": lambda x: x}),
    ("dep", "log", {"dep_log": lambda x: np.sign(x) * np.log1p(np.abs(x))}),
    ("dep", "sqrt", {"dep_sqrt": lambda x: np.sign(x) * np.sqrt(np.abs(x))}),
    ("dep", {"kind": "power", "exponent": 3}, {"dep_power": lambda x: x**3}),
    (
        "dep",
        {"kind": "bins", "edges": [600, 0]},
        {"dep_bin": lambda x: np.where(np.isnan(x), x, np.digitize(x, [0, 600]))},
    ),
    (
        "dep",
        {"kind": "cyclic", "period": 2400},
        {
            "dep_sin": lambda x: np.sin(x * (2 * np.pi / 2400)),
            "dep_cos": lambda x: np.cos(x * (2 * np.pi / 2400)),
        },
    ),
    ("month", "category", {"month": lambda x: x}),
]


@pytest.mark.parametrize(("column", "rule", "features"), REFERENCES, ids=[str(rule) for _, rule, _ in REFERENCES])
def test_a_transformer_equals_its_formula(make_spec, types, rows, column, rule, features):
    spec = make_spec(features={"select": [column]}, transform={column: rule})
    frame = apply(rows, spec, types).frame
    values = rows[column].replace(np.inf, np.nan).to_numpy()[rows["delay"].notna()]
    assert list(frame) == [*features, TARGET]
    for name, formula in features.items():
        np.testing.assert_allclose(frame[name], formula(values), rtol=1e-13, atol=1e-13)


def test_a_date_becomes_its_parts(make_spec, types, rows):
    parts = ["year", "month", "day", "weekday", "hour", "minute", "yearday"]
    spec = make_spec(
        "month", features={"select": ["at"]}, transform={"at": {"kind": "date_parts", "parts": parts}}, data={}
    )
    frame = apply(rows, spec, types).frame
    at = rows["at"][rows["month"].notna()].dt
    names = {"yearday": "day_of_year", "weekday": "day_of_week"}
    for part in parts:
        np.testing.assert_array_equal(frame[f"at_{part}"], getattr(at, names.get(part, part)).to_numpy(dtype=float))


def test_a_date_without_a_rule_becomes_year_month_weekday_and_hour(make_spec, types, rows):
    frame = apply(rows, make_spec(features={"select": ["at"]}), types).frame
    assert list(frame) == ["at_year", "at_month", "at_weekday", "at_hour", TARGET]
    assert frame.iloc[0].tolist() == [2013, 1, 3, 5, 1]


def test_a_date_turns_by_its_parts(make_spec, types, rows):
    spec = make_spec(features={"select": ["at"]}, transform={"at": {"kind": "cyclic", "parts": ["hour", "month"]}})
    frame = apply(rows, spec, types).frame
    assert list(frame)[:4] == ["at_hour_sin", "at_month_sin", "at_hour_cos", "at_month_cos"]
    assert frame["at_hour_sin"][0] == pytest.approx(np.sin(2 * np.pi * 5 / 24))


def test_a_number_turns_by_the_width_of_its_range(make_spec, types, rows):
    data = {"columns": {"dep": {"type": "float", "range": [0, 2400]}}, "derive": {"late": "delay > 15"}}
    frame = apply(rows, make_spec(data=data, features={"select": ["dep"]}, transform={"dep": "cyclic"}), types).frame
    assert frame["dep_cos"][1] == pytest.approx(0, abs=1e-12)


def test_rows_without_a_target_are_dropped_and_counted(make_spec, types, rows):
    made = apply(rows, make_spec(), types)
    assert made.kept.tolist() == [True, True, True, True, False, True]
    assert made.dropped == {"late": 1}
    assert made.frame[TARGET].tolist() == [1, 0, 0, 1, 1]


def test_a_derived_column_that_must_be_there_drops_its_rows(make_spec, types, rows):
    data = {"derive": {"late": "delay > 15", "twice": "dep * 2", "tag": "carrier + '!'"}}
    for extra in ({}, {"twice": "log"}):
        spec = make_spec(data=data, clean={"missing": {"twice": "drop", "tag": "drop"}}, transform=extra)
        made = apply(rows, spec, types)
        assert made.dropped == {"late": 1, "twice": 2}
        assert made.kept.tolist() == [True, True, False, True, False, False]


def test_texts_pass_as_labels_and_derived_texts_join_them(make_spec, types, rows):
    data = {"derive": {"late": "delay > 15", "tag": "carrier + '!'"}}
    spec = make_spec(data=data, features={"select": ["tag", "carrier"]})
    frame = apply(rows, spec, types).frame
    assert frame["tag"].fillna("").tolist() == ["UA!", "AA!", "", "UA!", "UA!"]
    assert frame["carrier"].fillna("").tolist() == ["UA", "AA", "", "UA", "UA"]
    assert frame["tag"].dtype == "str"


def test_indicators_and_interactions_are_features(make_spec, types, rows):
    spec = make_spec(
        features={"select": ["month", "dep", "carrier"], "interactions": [["month", "dep"]]},
        clean={"missing": {"*": {"fill": "median", "indicator": True}}},
    )
    frame = apply(rows, spec, types).frame
    assert list(frame) == [
        "month",
        "dep",
        "month*dep",
        "month_missing",
        "dep_missing",
        "carrier_missing",
        "carrier",
        TARGET,
    ]
    assert frame["dep_missing"].tolist() == [0, 0, 1, 0, 1]
    assert frame["carrier_missing"].tolist() == [0, 0, 1, 0, 0]
    np.testing.assert_array_equal(frame["month*dep"], [0, 1200, np.nan, np.nan, np.nan])


def test_outliers_by_range_are_clipped_before_anything_is_computed(make_spec, types, rows):
    data = {"derive": {"late": "delay > 15", "half": "dep / 2"}}
    outliers = {
        "dep": {"by": "range", "bounds": [0, 1000]},
        "half": {"by": "range", "bounds": [10, 400]},
        "delay": {"by": "range", "bounds": [0, 10]},
    }
    spec = make_spec(data=data, features={"select": ["dep", "half"]}, clean={"outliers": outliers})
    frame = apply(rows, spec, types).frame
    np.testing.assert_array_equal(frame["dep"], [0, 600, np.nan, 1000, 1000])
    np.testing.assert_array_equal(frame["half"], [10, 300, np.nan, 400, 400])
    assert frame[TARGET].tolist() == [0] * 5


@pytest.mark.parametrize(
    ("target", "expected"), [("carrier", ["UA", "AA", "UA", "B6", "UA"]), ("dep", [0, 600, 1800, -5])]
)
def test_the_target_may_be_a_raw_column(make_spec, types, rows, target, expected):
    made = apply(rows, make_spec(target, data={}, features={"select": ["month"]}), types)
    assert made.frame[TARGET].tolist() == expected
    assert compile_target(make_spec(target, data={}), types).model is None


def test_the_serving_graph_gives_what_the_step_stored_row_by_row(make_spec, types, rows):
    data = {"derive": {"late": "delay > 15", "tag": "carrier + '!'", "ua": "carrier == 'UA'", "r": "log(dep) / month"}}
    spec = make_spec(
        data=data, transform={"dep": {"kind": "cyclic", "period": 2400}, "month": "ordinal"},
        clean={"missing": {"*": {"fill": "median", "indicator": True}}},
    )  # fmt: skip
    compiled = compile_transform(spec, types)
    made = apply(rows, spec, types)
    kept = rows[made.kept]
    for frame, raw in [(made.frame, kept)] + [(made.frame.iloc[i : i + 1], kept.iloc[i : i + 1]) for i in range(5)]:
        inputs = {"numbers": number_matrix(raw, compiled.numbers), "texts": text_matrix(raw, compiled.texts)}
        outputs = run(compiled.model, inputs)
        np.testing.assert_array_equal(outputs["features"], frame[[each.name for each in compiled.features]])
        labels = frame[[each.name for each in compiled.labels]].fillna("")
        np.testing.assert_array_equal(outputs["labels"], labels.to_numpy(dtype=object))


def test_only_training_rows_are_measured(make_spec, types, rows):
    sides = np.array([0, 0, 0, 1, 0, Side.TEST], dtype=np.int8)
    statistics = apply(rows, make_spec(), types, sides).statistics
    place = statistics.place("month")
    assert statistics.rows == 3
    assert statistics.moments.mean[place] == 5.0
    assert statistics.counts["carrier"] == {"": 1, "AA": 1, "UA": 1}
    assert statistics.quantiles["month"].quantile(0.5) == 2.0


def test_values_before_the_transformer_are_measured_for_their_fills(make_spec, types, rows):
    spec = make_spec(features={"select": ["dep"]}, transform={"dep": "log"})
    statistics = apply(rows, spec, types).statistics
    assert statistics.columns == ("dep_log", "raw dep")
    assert statistics.quantiles["raw dep"].quantile(0.5) == 600.0


def test_no_rows_give_an_empty_frame(make_spec, types, rows):
    data = {"derive": {"late": "delay > 15", "tag": "carrier + '!'"}}
    made = apply(rows.iloc[:0], make_spec(data=data), types, np.zeros(0, dtype=np.int8))
    assert len(made.frame) == 0
    assert made.statistics.rows == 0


BAD = [
    ({"transform": {"carrier": "log"}}, "transform.carrier: found 'log' for a text; expected one of category"),
    ({"transform": {"at": "log"}}, "transform.at: found 'log' for a time"),
    ({"transform": {"dep": "date_parts"}}, "transform.dep: found 'date_parts' for a number"),
    ({"transform": {"dep": "power"}}, "transform.dep: no exponent"),
    ({"transform": {"dep": "bins"}}, "transform.dep: neither edges nor count"),
    ({"transform": {"dep": "cyclic"}}, "transform.dep: the length of a turn is not known"),
    ({"transform": {"at": {"kind": "cyclic", "parts": ["year"]}}}, "transform.at: a year does not turn"),
    ({"features": {"select": ["nope"]}}, "features.select: 'nope' is not a column"),
    ({"features": {"select": ["late"]}}, "features.select: 'late' is the target"),
    ({"features": {"interactions": [["dep", "carrier"]]}}, "features.interactions: 'carrier' is not one"),
    ({"data": {"derive": {"late": "delay >"}}}, "data.derive.late: character 8"),
    ({"data": {"derive": {"late": "dealy > 1"}}}, "data.derive.late: character 1: found the unknown column `dealy`"),
    ({"data": {"derive": {"late": "a > 1", "a": "late"}}}, "data.derive: late, a need each other"),
    ({"data": {"derive": {"late": "1 > 0"}}}, "data.derive.late: found a constant"),
    ({"data": {"derive": {"dep": "month", "late": "dep"}}}, "data.derive: 'dep' is a column of the data"),
    ({"clean": {"outliers": {"at": {"by": "iqr"}}}}, "clean.outliers.at: iqr for a column that is not a plain"),
    (
        {"data": {"derive": {"late": "delay > 1", "a": "dep"}}, "clean": {"missing": {"a": "interpolate"}}},
        "clean.missing.a: interpolate for a derived column",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_cannot_be_compiled_is_told(make_spec, types, sections, message):
    with pytest.raises(InputError) as caught:
        compile_transform(make_spec(**sections), types)
    assert str(caught.value).startswith(message)


def test_a_target_that_is_a_time_is_refused(make_spec, types):
    with pytest.raises(InputError, match=r"model.target: 'at' is a time; expected a number, flag or text"):
        compile_target(make_spec("at", data={}), types)


def test_two_features_cannot_have_one_name(make_spec, types):
    with pytest.raises(InputError, match="two features are named 'dep_log'"):
        compile_transform(make_spec(transform={"dep": "log"}), {**types, "dep_log": "float"})


def test_a_missing_column_is_named(make_spec, types, rows):
    with pytest.raises(DataError, match="transform: column 'dep' is missing; expected it among the data"):
        apply(rows.drop(columns="dep"), make_spec(), types)


def test_a_column_of_another_kind_is_named(make_spec, types, rows):
    with pytest.raises(DataError, match="transform: 'dep' has str values; expected numbers or times"):
        apply(rows.assign(dep=pd.array(["a"] * 6, dtype="str")), make_spec(), types)
