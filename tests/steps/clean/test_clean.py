from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.model.columns import ColumnType
from pipeline.model.texts import uniform
from pipeline.spec.schema.spec import Spec
from pipeline.steps.clean.repair import Cleaned, clean

NONE = float("nan")
DROP_BEYOND = {"by": "range", "bounds": [0, 10], "action": "drop"}
TYPES: Mapping[str, ColumnType] = {"n": "float", "m": "int", "s": "str", "t": "datetime", "id": "int"}


def spec(clean_section: Mapping[str, Any], key: tuple[str, ...] = ()) -> Spec:
    return Spec.model_validate({"model": {"name": "test"}, "data": {"key": list(key)}, "clean": clean_section})


def frame(**columns: list[Any]) -> pd.DataFrame:
    dtypes = {"float": "float64", "int": "float64", "str": "str", "datetime": "datetime64[us]"}
    return pd.DataFrame({name: pd.Series(values, dtype=dtypes[TYPES[name]]) for name, values in columns.items()})


def run(rows: pd.DataFrame, clean_section: Mapping[str, Any], key: tuple[str, ...] = ()) -> Cleaned:
    before = rows.copy()
    cleaned = clean(rows, spec(clean_section, key), {name: TYPES[name] for name in rows})
    pd.testing.assert_frame_equal(rows, before)
    return cleaned


def values(column: pd.Series) -> list[Any]:
    return [None if pd.isna(each) else each for each in column]


def test_nothing_is_done_without_rules() -> None:
    rows = frame(n=[1, NONE, 1], s=[" a", None, " a"])
    cleaned = run(rows, {})
    pd.testing.assert_frame_equal(cleaned.rows, rows)
    assert cleaned.dropped == {}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"s": {"case": "lower"}}, ["a", "a", None, None]),
        ({"*": {"case": "upper"}}, ["A", "A", None, None]),
        ({"s": {"trim": False}, "*": {"case": "upper"}}, [" A", "a", "  ", None]),
        ({"derived": {"case": "upper"}}, [" A", "a", "  ", None]),
    ],
)
def test_text_is_made_uniform_and_empty_text_is_missing(rules: dict[str, Any], expected: list[Any]) -> None:
    cleaned = run(frame(s=[" A", "a", "  ", None], n=[1, 2, 3, 4]), {"text": rules})
    assert values(cleaned.rows["s"]) == expected
    assert str(cleaned.rows["s"].dtype) == "str"


def test_a_column_and_a_single_value_are_made_uniform_alike() -> None:
    texts = [" É\u0301a", "ﬁ ", "İ", "ß", "\u00a0x\u3000", "Σας", "", "ℌ"]
    for rule in ({"unicode": "NFKC", "case": "lower"}, {"unicode": "NFC", "case": "upper", "trim": False}):
        cleaned = run(frame(s=texts), {"text": {"s": rule}})
        expected = [uniform(text, {"trim": True, **rule}) or None for text in texts]
        assert values(cleaned.rows["s"]) == expected


@pytest.mark.parametrize(
    ("rule", "key", "kept"),
    [
        ("drop", (), [0, 1, 3, 4, 5]),
        ("drop", ("id",), [0, 3, 4, 5]),
        ({"by": "row", "keep": "last"}, ("id",), [1, 2, 3, 4, 5]),
        ({"keep": "last"}, ("id",), [2, 3, 4, 5]),
        ({"keep": "none"}, ("id",), [3, 4, 5]),
        ({"by": "row", "keep": "none"}, (), [1, 3, 4, 5]),
        ("drop", ("id", "s"), [0, 1, 3, 4, 5]),
        ("keep", ("id",), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_duplicates_go_by_key_or_row(rule: Any, key: tuple[str, ...], kept: list[int]) -> None:
    rows = frame(id=[1, 1, 1, 2, NONE, NONE], s=["a", "b", "a", "a", None, "q"], m=[0, 1, 0, 3, 4, 5])
    cleaned = run(rows, {"duplicates": rule}, key)
    pd.testing.assert_frame_equal(cleaned.rows, rows.iloc[kept].reset_index(drop=True))
    assert cleaned.dropped == ({"clean.duplicates": 6 - len(kept)} if len(kept) < 6 else {})


def test_whole_rows_with_missing_values_are_equal_but_missing_keys_are_not() -> None:
    rows = frame(id=[NONE, NONE], s=[None, None], t=[None, None])
    assert len(run(rows, {"duplicates": "drop"}).rows) == 1
    assert len(run(rows, {"duplicates": "drop"}, ("id",)).rows) == 2


def test_duplicates_are_found_after_text_is_uniform() -> None:
    cleaned = run(frame(s=["a", " A "]), {"duplicates": "drop", "text": {"s": {"case": "lower"}}})
    assert values(cleaned.rows["s"]) == ["a"]


def test_missing_values_drop_rows_and_each_row_counts_once() -> None:
    rows = frame(n=[1, NONE, 3, NONE], s=["a", "b", " ", " "], t=["2013-01-01", None, "2013-01-01", None])
    section = {"missing": {"n": "drop", "s": "drop"}, "text": {"s": {}}, "duplicates": "drop"}
    cleaned = run(rows, section)
    assert cleaned.rows["n"].to_list() == [1.0]
    assert cleaned.dropped == {"clean.missing.n": 2, "clean.missing.s": 1}


def test_the_rule_for_every_column_leaves_out_those_with_their_own() -> None:
    rows = frame(n=[NONE, 1, 2], s=["a", None, "c"], m=[1, 2, 3])
    cleaned = run(rows, {"missing": {"*": "drop", "n": "median"}})
    assert values(cleaned.rows["n"]) == [None, 2]
    assert cleaned.dropped == {"clean.missing.s": 1}


@pytest.mark.parametrize("rule", ["mean", "median", "mode", "keep", 0, "unknown"])
def test_what_is_fitted_or_constant_is_left_to_the_graph(rule: Any) -> None:
    rows = frame(n=[1, NONE], s=["a", None])
    pd.testing.assert_frame_equal(run(rows, {"missing": {"*": rule, "derived": "drop"}}).rows, rows)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, NONE, 3], [1, 2, 3]),
        ([NONE, 1, NONE, NONE, 4, NONE], [1, 1, 2, 3, 4, 4]),
        ([NONE, 5, NONE], [5, 5, 5]),
        ([NONE, NONE], [None, None]),
        ([], []),
        ([1, 2], [1, 2]),
    ],
)
def test_interpolation_goes_by_position(given: list[float], expected: list[Any]) -> None:
    assert values(run(frame(n=given), {"missing": {"n": "interpolate"}}).rows["n"]) == expected


def test_interpolation_goes_along_a_number_whatever_the_order() -> None:
    rows = frame(m=[10, 0, 5, 2, NONE, 5], n=[10, 0, NONE, NONE, NONE, NONE])
    cleaned = run(rows, {"missing": {"n": {"fill": "interpolate", "along": "m"}}})
    assert values(cleaned.rows["n"]) == [10, 0, 5, 2, None, 5]


def test_interpolation_goes_along_time() -> None:
    rows = frame(t=["2013-01-01", "2013-01-02", "2013-01-05", None], n=[0, NONE, 8, NONE])
    cleaned = run(rows, {"missing": {"n": {"fill": "interpolate", "along": "t"}}})
    assert values(cleaned.rows["n"]) == [0, 2, 8, None]


def test_rows_at_one_place_count_as_their_mean() -> None:
    rows = frame(m=[0, 0, 2, 1], n=[1, 3, 4, NONE])
    assert values(run(rows, {"missing": {"n": {"fill": "interpolate", "along": "m"}}}).rows["n"]) == [1, 3, 4, 3]


def test_interpolation_for_every_column_is_for_numbers() -> None:
    rows = frame(n=[1, NONE, 3], s=["a", None, "c"], t=["2013-01-01", None, "2013-01-03"])
    cleaned = run(rows, {"missing": {"*": "interpolate"}})
    assert values(cleaned.rows["n"]) == [1, 2, 3]
    assert values(cleaned.rows["s"]) == ["a", None, "c"]
    assert cleaned.rows["t"].isna().sum() == 1


def test_forward_fill_repeats_the_last_value_of_any_kind() -> None:
    rows = frame(n=[NONE, 1, NONE], s=[None, "a", None], t=[None, "2013-01-01", None])
    cleaned = run(rows, {"missing": {"*": "forward_fill"}}).rows
    assert values(cleaned["n"]) == [None, 1, 1]
    assert values(cleaned["s"]) == [None, "a", "a"]
    assert values(cleaned["t"]) == [None, *[pd.Timestamp("2013-01-01")] * 2]


def test_nothing_is_filled_from_a_row_that_is_dropped() -> None:
    section = {
        "outliers": {"n": {"by": "range", "bounds": [0, 10], "action": "drop"}},
        "missing": {"n": "interpolate", "m": "forward_fill", "s": "drop"},
    }
    cleaned = run(frame(n=[0, 999, NONE, 4], m=[1, 2, NONE, NONE], s=list("abcd")), section)
    assert values(cleaned.rows["n"]) == [0, 2, 4]
    assert values(cleaned.rows["m"]) == [1, 1, 1]
    assert cleaned.dropped == {"clean.outliers.n": 1}


def test_outliers_drop_a_row_beyond_the_bounds_only() -> None:
    cleaned = run(frame(n=[-1, 0, 10, 11, NONE]), {"outliers": {"n": DROP_BEYOND}})
    assert values(cleaned.rows["n"]) == [0, 10, None]


@pytest.mark.parametrize("rule", [{"by": "range", "bounds": [0, 1]}, {"by": "iqr", "action": "drop"}])
def test_clipping_and_fitted_outliers_are_left_to_later_steps(rule: dict[str, Any]) -> None:
    assert len(run(frame(n=[0, 999]), {"outliers": {"n": rule}}).rows) == 2


def test_a_sample_is_a_share_that_stays_when_rows_arrive() -> None:
    many = frame(id=list(range(10_000)), n=[1.0] * 10_000)
    sampled = run(many, {"sample": 0.3}, ("id",))
    assert len(sampled.rows) == pytest.approx(3000, abs=150)
    assert sampled.dropped == {"clean.sample": 10_000 - len(sampled.rows)}
    assert sampled.rows["id"].is_monotonic_increasing
    few = run(many.iloc[:500].reset_index(drop=True), {"sample": 0.3}, ("id",)).rows["id"]
    assert few.to_list() == sampled.rows["id"][: len(few)].to_list()
    larger = run(many, {"sample": 0.5}, ("id",)).rows["id"]
    assert set(sampled.rows["id"]) <= set(larger)


def test_the_sample_does_not_depend_on_what_is_filled() -> None:
    numbers = [float(each) if each % 3 else NONE for each in range(300)]
    rows = frame(n=numbers, m=list(range(300)))
    plain = run(rows, {"sample": 0.5}).rows["m"]
    filled = run(rows, {"sample": 0.5, "missing": {"n": "interpolate"}}).rows
    assert filled["m"].to_list() == plain.to_list()
    assert filled["n"].notna().all()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"missing": {"s": "interpolate"}}, r"'s' is a text; expected a number \(clean.missing.s\)"),
        ({"missing": {"n": {"fill": "interpolate", "along": "q"}}}, r"'q' is no column.*\(clean.missing.n.along\)"),
        ({"missing": {"n": {"fill": "interpolate", "along": "s"}}}, r"'s' is a text; expected a column of numbers"),
        ({"text": {"n": {}}}, r"'n' is a number; expected a text \(clean.text.n\)"),
        ({"outliers": {"s": DROP_BEYOND}}, r"'s' is a text; expected a number \(clean.outliers.s\)"),
    ],
)  # fmt: skip
def test_a_rule_for_another_kind_of_column_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(frame(n=[1.0], s=["a"]), section)


def test_an_empty_partition_is_cleaned_by_every_rule() -> None:
    section = {
        "duplicates": "drop",
        "missing": {"n": "interpolate", "m": "drop", "*": "forward_fill"},
        "outliers": {"n": {"by": "range", "bounds": [0, 1], "action": "drop"}},
        "text": {"*": {"case": "lower"}},
        "sample": 0.5,
    }
    cleaned = run(frame(n=[], m=[], s=[], t=[]), section)
    assert len(cleaned.rows) == 0
    assert [str(each) for each in cleaned.rows.dtypes] == ["float64", "float64", "str", "datetime64[us]"]


def test_a_column_of_nulls_whose_type_another_partition_told_is_cleaned() -> None:
    rows = pd.DataFrame({"s": [NONE, NONE], "n": [1.0, 2.0]})
    section = spec({"text": {"*": {"case": "lower"}}, "missing": {"*": "forward_fill"}, "duplicates": "drop"})
    cleaned = clean(rows, section, {"s": "str", "n": "float"})
    assert cleaned.rows["s"].isna().all()
    assert np.isfinite(cleaned.rows["n"]).all()
