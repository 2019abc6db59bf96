from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.model.columns import merge_columns
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading import read

MORNING = pd.Timestamp("2013-01-02 03:00")


def data(columns: Mapping[str, Any] | None = None, **others: Any) -> Data:
    return Data.model_validate({"columns": columns or {}, "max_quarantined": 1.0} | others)


def values(source: bytes, columns: Mapping[str, Any] | None = None) -> dict[str, list[Any]]:
    rows = read(source, "a.csv", data(columns)).rows
    return {name: [None if pd.isna(each) else each for each in rows[name]] for name in rows}


@pytest.mark.parametrize(
    ("type_", "texts", "expected"),
    [
        ("float", ["1", "2.5", "", "NA", " 3 ", "1e3"], [1, 2.5, None, None, 3, 1000]),
        ("int", ["1", "2.0", "", "-3", "9007199254740991"], [1, 2, None, -3, 2**53 - 1]),
        ("bool", ["true", "False", "1", "0", "", "1.0", "TRUE"], [1, 0, 1, 0, None, 1, 1]),
        ("str", ["a", "007", "", "NA", "1.50", " b"], ["a", "007", None, "NA", "1.50", " b"]),
        ("datetime", ["2013-01-02", ""], [pd.Timestamp("2013-01-02"), None]),
        ("datetime", ["2013-01-02T03:00Z", "2013-01-02T03:00+01:00"], [MORNING, MORNING - pd.Timedelta("1h")]),
        ("datetime", ["2013-01-02", "2013-01-02T03:00Z"], [pd.Timestamp("2013-01-02"), MORNING]),
        ({"type": "datetime", "format": "%d.%m.%y"}, ["02.01.13"], [pd.Timestamp("2013-01-02")]),
    ],
)  # fmt: skip
def test_values_of_each_type_are_read(type_: Any, texts: list[str], expected: list[Any]) -> None:
    source = "\n".join(["x,y", *(f"{text},0" for text in texts), ""]).encode()
    assert values(source, {"x": type_, "y": "int"})["x"] == expected


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("float", "abc", "x: found 'abc'; expected float (data.columns.x.type)"),
        ("float", "inf", "x: found inf; expected a finite number (data.columns.x.type)"),
        ("float", "-1e300", "x: found -1.0000000000000001e+300; expected a number below 3.4e38 (data.columns.x.type)"),
        ("float", "1_0", "x: found '1_0'; expected float (data.columns.x.type)"),
        ("int", "1.5", "x: found 1.5; expected an int (data.columns.x.type)"),
        ("int", "9007199254740993", "expected an int below 2**53 (an identifier is a str) (data.columns.x.type)"),
        ("bool", "yes", "x: found 'yes'; expected bool (true, false, 1 or 0) (data.columns.x.type)"),
        ("datetime", "soon", "x: found 'soon'; expected datetime in ISO 8601 (data.columns.x.type)"),
        ({"type": "datetime", "format": "%Y"}, "soon", "expected datetime written '%Y' (data.columns.x.type)"),
        ({"type": "int", "range": [0, 9]}, "10", "x: found 10; expected 0 to 9 (data.columns.x.range)"),
        ({"type": "int", "range": [5, None]}, "4", "x: found 4; expected 5 to any (data.columns.x.range)"),
        ({"type": "int", "allowed": [7, 8]}, "9", "x: found 9; expected one of 7, 8 (data.columns.x.allowed)"),
        ({"type": "str", "allowed": ["a"]}, "b", "x: found 'b'; expected one of 'a' (data.columns.x.allowed)"),
        ({"type": "bool", "allowed": [True]}, "false", "x: found 0; expected one of True (data.columns.x.allowed)"),
        ({"type": "datetime", "allowed": ["2013-01-01"]}, "2014-01-01", "(data.columns.x.allowed)"),
        ({"type": "str", "pattern": "[A-Z]+"}, "ABc", "x: found 'ABc'; expected text that matches '[A-Z]+'"),
        ({"type": "float", "nullable": False}, "", "x: found none; expected a value (data.columns.x.nullable)"),
        ({"type": "str", "nullable": False}, "", "x: found none; expected a value (data.columns.x.nullable)"),
    ],
)
def test_a_broken_value_puts_its_row_into_quarantine(rule: Any, text: str, expected: str) -> None:
    reading = read(f"x,y\n,1\n{text},2\n".encode(), "a.csv", data({"x": rule, "y": "int"}))
    broken = reading.quarantined.to_dict("records")[-1]
    assert expected in broken["rule"]
    assert (broken["row"], broken["text"]) == (2, f"{text},2")
    assert 2.0 not in reading.rows["y"].to_list()


def test_every_broken_rule_of_a_row_is_named_once() -> None:
    columns = {"x": {"type": "int", "nullable": False}, "y": {"type": "str", "pattern": "a+", "allowed": ["a", "aa"]}}
    reading = read(b"x,y\nz,b\n1,a\n", "a.csv", data(columns))
    rules = reading.quarantined["rule"][0].split(" | ")
    assert [rule.split(" (")[-1] for rule in rules] == [
        "data.columns.x.type)",
        "data.columns.y.allowed)",
        "data.columns.y.pattern)",
    ]
    assert reading.rows.to_dict("list") == {"x": [1.0], "y": ["a"]}
    assert list(reading.rows.index) == [0]


def test_too_many_broken_rows_are_refused_with_the_rules_and_the_key_to_change() -> None:
    source = b"a,b,c\n" + b"x,1,2\n" * 3 + b"1,900,2\n" * 2 + b"1,1\n" + b"1,1,1\n" * 14
    columns = {"a": "float", "b": {"type": "int", "range": [0, 100]}, "c": "int"}
    with pytest.raises(DataError) as caught:
        read(source, "2013-01.csv", data(columns, max_quarantined=0.05))
    assert str(caught.value).splitlines() == [
        "read: 2013-01.csv: 6 of 20 rows (30.0%) break the contract; expected at most 5.0% (data.max_quarantined)",
        "  row 1: a: found 'x'; expected float (data.columns.a.type)",
        "  row 4: b: found 900; expected 0 to 100 (data.columns.b.range)",
        "  row 6: found 2 fields; expected 3 as in the header (data.delimiter)",
    ]


def test_five_rules_at_most_are_shown() -> None:
    columns = {f"c{i}": "float" for i in range(9)}
    source = (",".join(columns) + "\n" + ",".join("x" * 9) + "\n").encode()
    with pytest.raises(DataError) as caught:
        read(source, "a.csv", data(columns, max_quarantined=0.0))
    assert str(caught.value).count("expected float") == 5


def test_a_million_broken_rows_are_refused_quickly() -> None:
    source = b"a\n" + b"x\n" * 1_000_000
    with pytest.raises(DataError, match="1,000,000 of 1,000,000 rows"):
        read(source, "a.csv", data({"a": "float"}, max_quarantined=0.5))


def test_types_are_inferred_where_nothing_is_declared() -> None:
    source = b"n,t,f,s,d,clock,none\n1,a,true,2013-01-01T00:00:00Z,2013-01-01,12:30,\n2.5,b,false,,,12:31,\n"
    reading = read(source, "a.csv", data())
    assert reading.columns == {
        "n": "float", "t": "str", "f": "bool", "s": "datetime", "d": "datetime", "clock": "str", "none": None,
    }  # fmt: skip
    kinds = ["float64", "str", "float64", "datetime64[us]", "datetime64[us]", "str", "float64"]
    assert [str(each) for each in reading.rows.dtypes] == kinds
    assert reading.rows["clock"].to_list() == ["12:30", "12:31"]


def test_a_long_integer_without_a_declared_type_is_refused() -> None:
    with pytest.raises(DataError, match=r"'id': found the integer 9007199254740993.*type str \(data.columns.id.type\)"):
        read(b"id\n9007199254740993\n", "a.csv", data())


def test_infinities_are_quarantined_where_types_are_inferred() -> None:
    reading = read(b"x\n1\n-inf\n", "a.csv", data())
    assert reading.quarantined["rule"].to_list() == ["x: found -inf; expected a finite number (data.columns.x.type)"]
    assert np.isfinite(reading.rows["x"]).all()


@pytest.mark.parametrize(("type_", "dtype"), [("float", "float64"), ("str", "str"), ("datetime", "datetime64[us]")])
def test_a_declared_column_of_nulls_keeps_its_type(type_: str, dtype: str) -> None:
    reading = read(b"x,y\n,1\n,2\n", "a.csv", data({"x": type_, "y": "int"}))
    assert str(reading.rows["x"].dtype) == dtype
    assert reading.rows["x"].isna().all()


def test_types_of_partitions_are_merged() -> None:
    merged = merge_columns(
        {"01": {"a": None, "b": "str", "c": None}, "02": {"a": "bool", "b": "str", "c": None}, "03": {}}
    )
    assert merged == {"a": "bool", "b": "str", "c": "float"}


def test_a_conflict_of_types_names_both_partitions() -> None:
    with pytest.raises(DataError) as caught:
        merge_columns({"01": {"a": None}, "02": {"a": "float"}, "03": {"a": "str"}})
    assert str(caught.value) == (
        "read: 'a': found float in partition '02' and str in '03'; "
        "expected one type: declare its type in data.columns (data.columns.a.type)"
    )


def test_a_partition_without_a_column_is_named() -> None:
    with pytest.raises(DataError, match=r"partition '02' has no column 'b', but '01' has.*\(data.columns\)"):
        merge_columns({"01": {"a": "float", "b": "str"}, "02": {"a": "float"}})


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"a": "float"}, "partition '3' has no column 'b', but '1' has"),
        ({"a": "float", "b": "str", "z": "int"}, "partition '3' has the column 'z', but '1', '2', '4' have not;"),
        ({"b": "str", "z": "int"}, "partition '3' has no column 'a', but '1' has"),
    ],
)
def test_of_partitions_with_different_columns_the_odd_one_is_named(odd: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"a": "float", "b": "str"}
    with pytest.raises(DataError, match=message):
        merge_columns({"1": usual, "2": usual, "3": odd, "4": usual})
    with pytest.raises(DataError, match="partition '3' has"):
        merge_columns({"3": odd, **{str(each): usual for each in range(10, 20)}})


def test_the_same_rows_are_read_from_every_format(tmp_path: Any) -> None:
    columns = {"i": "int", "f": "float", "b": "bool", "s": "str", "t": "datetime"}
    records = [
        {"i": 1, "f": 0.1, "b": True, "s": "a", "t": "2013-01-02T03:04:05"},
        {"i": None, "f": None, "b": None, "s": None, "t": None},
        {"i": 3, "f": -2.5, "b": False, "s": "é,\"x\"", "t": "2013-01-03T00:00:00"},
    ]  # fmt: skip
    frame = pd.DataFrame(records).astype({"i": "Int64", "b": "boolean"})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(t=pd.to_datetime(frame["t"])).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
    readings = [read((tmp_path / name).read_bytes(), name, data(columns)) for name in ("a.csv", "a.parquet", "a.jsonl")]
    for reading in readings[1:]:
        pd.testing.assert_frame_equal(reading.rows, readings[0].rows)
    assert readings[0].rows["i"].to_list()[::2] == [1.0, 3.0]


def test_a_column_with_leading_zeros_stays_a_text() -> None:
    reading = read(b"zip,n\n01000,1\n1000,0\n90210,10\n", "a.csv", data())
    assert reading.rows["zip"].to_list() == ["01000", "1000", "90210"]
    assert reading.rows["n"].to_list() == [1.0, 0.0, 10.0]
    assert "".join(reading.warnings) == (
        "'zip': found leading zeros, such as '01000', so it is read as a text; for numbers say so "
        "(data.columns.zip.type)"
    )
    assert read(b"zip\n01000\n", "a.csv", data({"zip": "int"})).rows["zip"].to_list() == [1000.0]


def test_a_word_among_numbers_is_said_with_its_row_and_key() -> None:
    lines = ["x,y", "much,1", *(f"{row}.5,2" for row in range(9))]
    source = "\n".join(["x,y", "1,2,3", *lines[1:], ""]).encode()
    reading = read(source, "a.csv", data())
    assert "".join(reading.warnings) == (
        "'x': 9 of 10 values are numbers and 1 not ('much' in row 2), so the column is read as a text; where they mean "
        "a missing value say data.missing_values: [much] (else the type: data.columns.x.type)"
    )
    told = read(source, "a.csv", data(missing_values=["much"]))
    assert (told.columns["x"], told.warnings) == ("float", ())


@pytest.mark.parametrize("columns", [{}, {"x": "float", "y": "int"}])
def test_decimal_commas_are_numbers_where_the_spec_says_so(columns: dict[str, str]) -> None:
    source = b"x;y\n0,5;1\n-1,25;2\n"
    told = read(source, "a.csv", data(columns, delimiter=";", decimal=","))
    assert told.rows["x"].to_list() == [0.5, -1.25]
    broken = read(source + b"2,5;two\n", "a.csv", data({"x": "float", "y": "int"}, delimiter=";", decimal=","))
    assert broken.rows["x"].to_list() == [0.5, -1.25]
    (said,) = read(source, "a.csv", data(delimiter=";")).warnings
    assert "found values such as '0,5'" in said
    assert "data.decimal: ','" in said


@pytest.mark.parametrize("columns", [{}, {"x": "float", "y": "int"}])
@pytest.mark.parametrize(
    ("source", "keys"),
    [
        (b'x,y\n"1,234.5",1\n-12,"2,000,000"\n"1,000",3\n', {"thousands": ","}),
        (b"x;y\n1.234,5;1\n-12;2.000.000\n1.000;3\n", {"delimiter": ";", "decimal": ",", "thousands": "."}),
        (b"x,y\n1 234.5,1\n-12,2 000 000\n1 000,3\n", {"thousands": " "}),
    ],
)
def test_parted_thousands_are_numbers_where_the_spec_says_so(
    source: bytes, keys: dict[str, str], columns: dict[str, str]
) -> None:
    told = read(source, "a.csv", data(columns, **keys))
    assert told.rows["x"].to_list() == [1234.5, -12.0, 1000.0]
    assert told.rows["y"].to_list() == [1.0, 2_000_000.0, 3.0]


def test_what_is_no_number_with_parted_thousands_is_none() -> None:
    source = b'x,y\n"1,23",1\n"1,234",2\n'
    assert read(source, "a.csv", data(thousands=",")).columns["x"] == "str"
    with pytest.raises(DataError, match=r"x: found '1,23'; expected float"):
        read(source, "a.csv", data({"x": "float", "y": "int"}, thousands=",", max_quarantined=0.0))


def test_parted_thousands_without_the_key_are_said() -> None:
    (said,) = read(b'x,y\n"1,234.5",1\n"12,000",2\n', "a.csv", data()).warnings
    assert said.startswith("'x': found values such as '1,234.5', so the column is read as a text; ")
    assert "data.thousands" in said


def test_columns_beside_declared_ones_are_inferred_where_the_spec_says_so() -> None:
    source = b"b,x,c\ntrue,1,red\nfalse,2,blue\n"
    found = read(source, "a.csv", data({"x": "int"}, extra_columns="infer"))
    assert found.columns == {"x": "int", "b": "bool", "c": "str"}
    assert read(source, "a.csv", data({"x": "int"})).columns == {"x": "int"}
    lines = b'{"x": 1, "b": true}\n{"x": 2, "c": "red"}\n'
    assert read(lines, "a.jsonl", data({"x": "int"}, extra_columns="infer")).columns == {
        "x": "int", "b": "bool", "c": "str",
    }  # fmt: skip


def test_an_optional_column_that_a_file_lacks_is_missing_everywhere() -> None:
    columns = {
        "x": {"type": "int"},
        "t": {"type": "str", "optional": True},
        "at": {"type": "datetime", "optional": True},
    }
    found = read(b"x\n1\n2\n", "a.csv", data(columns))
    assert found.columns == {"x": "int", "t": "str", "at": "datetime"}
    assert found.rows[["t", "at"]].isna().all().all()
    with pytest.raises(DataError, match="found no column 'x'"):
        read(b"t\na\n", "a.csv", data(columns))


def test_an_integer_that_is_too_long_is_shown_as_the_file_has_it() -> None:
    with pytest.raises(DataError, match="found the integer 9007199254740993, too long"):
        read(b"x,y\n1,1\n9007199254740993,2\n", "a.csv", data())
    with pytest.raises(DataError, match="found 9007199254740993; expected an int below"):
        read(b'{"x": 9007199254740993}\n', "a.jsonl", data({"x": "int"}, max_quarantined=0.0))
