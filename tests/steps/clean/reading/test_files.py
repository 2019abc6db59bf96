from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.runs.built_in_data import line_example
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading import read, unpacking

A_B = Data.model_validate({"columns": {"a": "int", "b": "str"}})
PLAIN = "a,b\n1,é\n2,z\n"


def zipped(*names: str, content: str = PLAIN) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("source", "name", "options"),
    [
        (PLAIN.encode(), "x.csv", {}),
        (PLAIN.encode("utf-8-sig"), "x.csv", {}),
        (PLAIN.encode("utf-16"), "x.csv", {}),
        (PLAIN.encode("utf-32"), "x.csv", {}),
        (PLAIN.encode("latin-1"), "x.csv", {"encoding": "latin-1"}),
        (PLAIN.replace("\n", "\r\n").encode(), "x.csv", {}),
        (PLAIN.replace("\n", "\r").encode(), "x.csv", {}),
        (PLAIN.replace(",", ";").encode(), "x.csv", {"delimiter": ";"}),
        (PLAIN.replace(",", "\t").encode(), "x.tsv", {"delimiter": "\t"}),
        (PLAIN.rstrip().replace("1,", "\n1,").encode(), "x.csv", {}),
        (PLAIN.encode(), "x.data", {"format": "csv"}),
        (gzip.compress(PLAIN.encode(), mtime=0), "x.csv.gz", {}),
        (gzip.compress(b"a,b\n", mtime=0) + gzip.compress("1,é\n2,z\n".encode(), mtime=0), "x.csv.gz", {}),
        (zipped("x.csv", "__MACOSX/x"), "x.zip", {}),
        (b'{"a": 1, "b": "\xc3\xa9"}\n\n{"a": 2, "b": "z"}\n', "x.jsonl", {}),
        (gzip.compress(b'{"a": 1, "b": "\xc3\xa9"}\n{"a": "2", "b": "z"}', mtime=0), "x.jsonl.gz", {}),
    ],
)
def test_every_way_to_write_a_file_is_read(source: bytes, name: str, options: dict[str, Any]) -> None:
    reading = read(source, name, A_B.model_copy(update=options))
    assert reading.rows.to_dict("list") == {"a": [1.0, 2.0], "b": ["é", "z"]}
    assert reading.quarantined.empty


PARQUET = io.BytesIO()
pd.DataFrame({"a": [1], "b": ["x"]}).to_parquet(PARQUET)
NESTED = io.BytesIO()
pd.DataFrame({"a": [[1, 2]], "b": ["x"]}).to_parquet(NESTED)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (b"", "x.csv", r"x.csv: is empty \(0 bytes\); expected a first line of column names"),
        (b"\n\n", "x.csv", r"is empty \(2 bytes\)"),
        (b"1,2\n3,4\n", "x.csv", r"x.csv:1: found '1,2', which looks like a row of values"),
        (b"a,a\n", "x.csv", "columns that occur twice: 'a'"),
        (b"A,c,d\n1,2,3\n", "x.csv", r"no column 'a', 'b' among 'A', 'c', 'd'; 'a' may be 'A'; .*\(data.columns\)"),
        (b"a;b\n1;2\n", "x.csv", r"the fields seem to be separated by ';' \(data.delimiter\)"),
        (PLAIN.encode("latin-1"), "x.csv", r"x.csv:2: found bytes that are not utf-8.*\(data.encoding\)"),
        (PLAIN.encode("utf-16-le"), "x.csv", r"found a NUL byte at offset 1.*\(data.format, data.encoding\)"),
        (b"\x89PNG\r\n", "x.csv", "looks like a PNG image; expected text"),
        (PARQUET.getvalue(), "x.csv", r"looks like Parquet \(data.format: parquet\)"),
        (gzip.compress(b"a,b\n", mtime=0), "x.csv", r"looks like gzip \(name it .gz\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "x.csv", "a Git LFS pointer .*git lfs pull"),
        (b'a,b\n1,"x\n2,y\n', "x.csv", "x.csv:2: found a quoted field that never ends"),
        (gzip.compress(PLAIN.encode() * 99, mtime=0)[:-12], "x.csv.gz", "cannot be unpacked, it is damaged or cut off"),
        (b"\x1f\x8bjunk", "x.csv.gz", "cannot be unpacked"),
        (zipped("x.csv")[:-9], "x.zip", "cannot be unpacked"),
        (zipped("x.csv", "y.csv"), "x.zip", r"found 2 files in it \(x.csv, y.csv\); expected exactly one"),
        (zipped(), "x.zip", r"found 0 files in it \(none\)"),
        (PARQUET.getvalue()[:-20], "x.parquet", "is no Parquet file, damaged or cut off"),
        (b"", "x.parquet", "is no Parquet file"),
        (NESTED.getvalue(), "x.parquet", r"x.parquet: 'a': found list<.*expected numbers, text, flags or times"),
        (b'{"a": 1}\n', "x.jsonl", "no column 'b' among 'a'"),
        (b'{"a": 1, "b": "\xe9"}\n', "x.jsonl", "bytes that are not utf-8"),
        (b"x", "x.xls", r"found the ending '.xls'; expected one of .csv, .*\(data.format\)"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_refused_with_the_reason(source: bytes, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(source, name, A_B)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(DataError, match=r"found the encoding 'utf-9'; expected a known one \(data.encoding\)"):
        read(b"a,b\n", "x.csv", A_B.model_copy(update={"encoding": "utf-9"}))


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv.zip"])
def test_a_bomb_is_not_unpacked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "UNPACKED_MAX_BYTES", 2**20)
    content = "0" * 2**23
    source = gzip.compress(content.encode(), mtime=0) if name.endswith("gz") else zipped("x.csv", content=content)
    with pytest.raises(DataError, match=r"unpacks to more than .* and 100 times its size"):
        read(source, name, A_B)


@pytest.mark.parametrize(
    ("source", "name"),
    [(b"a,b\n", "x.csv"), (b"a,b", "x.csv"), (b"\n\na,b", "x.csv"), (b"", "x.jsonl"), (b"\n", "x.jsonl")],
)
def test_a_partition_without_rows_is_fine(source: bytes, name: str) -> None:
    reading = read(source, name, A_B)
    assert [str(each) for each in reading.rows.dtypes] == ["float64", "str"]
    assert len(reading.rows) == len(reading.quarantined) == 0


def test_columns_come_in_the_order_of_the_spec_and_extra_ones_are_noted() -> None:
    reading = read(b"z,b,a\n0,x,1\n", "x.csv", A_B)
    assert list(reading.rows) == ["a", "b"]
    assert reading.notes == ("x.csv: ignored extra column 'z'",)
    with pytest.raises(DataError, match=r"found extra column 'z'.*data.extra_columns"):
        read(b"z,b,a\n0,x,1\n", "x.csv", A_B.model_copy(update={"extra_columns": "error"}))


def test_a_column_without_a_name_is_left_out() -> None:
    reading = read(b",a\n0,5\n", "x.csv", Data())
    assert reading.rows.to_dict("list") == {"a": [5.0]}
    assert reading.notes == ("x.csv: ignored a column without a name",)


def test_values_may_contain_lines_quotes_and_delimiters() -> None:
    reading = read(
        b'b,a\n"x\ny, ""z""",1\n5" pipe,2\n"ok",z\n', "x.csv", A_B.model_copy(update={"max_quarantined": 0.5})
    )
    assert reading.rows["b"].to_list() == ['x\ny, "z"', '5" pipe']
    assert reading.quarantined["text"].to_list() == ['"ok",z']
    assert reading.quarantined["row"].to_list() == [3]


def test_a_record_may_be_longer_than_a_block() -> None:
    long = "y" * 3_000_000
    assert read(f'a,b\n1,"{long}"\n2,z\n'.encode(), "x.csv", A_B).rows["b"].to_list() == [long, "z"]


def test_a_broken_row_behind_a_very_long_field_is_quarantined_without_its_text() -> None:
    source = f'a,b\n1,"{"y" * 200_000}"\nz,q\n'.encode()
    reading = read(source, "x.csv", A_B.model_copy(update={"max_quarantined": 0.5}))
    assert reading.quarantined[["row", "text"]].to_dict("records") == [{"row": 2, "text": ""}]


def test_ragged_records_are_quarantined_by_their_position() -> None:
    source = b"a,b\r\n1,x\r\n\r\n2\r\n3,y\r\nz,q\r\n4,5,6\r\n"
    reading = read(source, "x.csv", A_B.model_copy(update={"max_quarantined": 0.9}))
    assert reading.quarantined.to_dict("records") == [
        {"row": 2, "rule": "found 1 fields; expected 2 as in the header (data.delimiter)", "text": "2"},
        {"row": 4, "rule": "a: found 'z'; expected int (data.columns.a.type)", "text": "z,q"},
        {"row": 5, "rule": "found 3 fields; expected 2 as in the header (data.delimiter)", "text": "4,5,6"},
    ]
    assert reading.rows["a"].to_list() == [1.0, 3.0]


def test_broken_lines_of_json_are_quarantined() -> None:
    source = b'{"a": 1, "b": "x"}\n{"a": 2,\n[1]\n\n{"a": {"z": 1}, "b": "x"}\n{"a": "q"}\n'
    reading = read(source, "x.jsonl", A_B.model_copy(update={"max_quarantined": 0.9}))
    assert reading.quarantined["row"].to_list() == [2, 3, 4, 5]
    assert [rule.split("; ")[0].split(" (")[0] for rule in reading.quarantined["rule"]] == [
        "found no JSON",
        "found '[1]'",
        'a: found {"z": 1}',
        "a: found 'q'",
    ]
    assert reading.quarantined["text"].to_list()[-1] == '{"a": "q"}'


def test_a_broken_row_of_parquet_is_quarantined_as_json() -> None:
    stream = io.BytesIO()
    pd.DataFrame({"a": [1.0, 1.5], "b": ["x", ""]}).to_parquet(stream)
    reading = read(stream.getvalue(), "x.parquet", A_B.model_copy(update={"max_quarantined": 0.5}))
    assert reading.quarantined["text"].to_list() == ['{"a": 1.5, "b": ""}']


def test_ten_thousand_columns_are_read() -> None:
    names = [f"c{index}" for index in range(10_000)]
    row = ",".join(["1.5"] * 10_000)
    source = "\n".join([",".join(names), *[row] * 20, ""]).encode()
    for spec in (
        Data(),
        Data.model_validate({"columns": {name: {"type": "float", "range": [0, 2]} for name in names}}),
    ):
        assert read(source, "x.csv", spec).rows.shape == (20, 10_000)


def test_all_flights_of_a_year_are_read(flights_zip: bytes) -> None:
    types: dict[str, Any] = dict.fromkeys(["year", "month", "day", "dep_time", "flight", "distance"], "int")
    types |= {"arr_delay": {"type": "float", "range": [-120, 1800]}, "tailnum": "str", "time_hour": "datetime"}
    types |= {
        "origin": {"type": "str", "allowed": ["EWR", "JFK", "LGA"]},
        "dest": {"type": "str", "pattern": "[A-Z]{3}"},
    }
    reading = read(flights_zip, "flights.csv.zip", Data.model_validate({"columns": types}))
    assert len(reading.rows) == 336_776
    assert reading.quarantined.empty
    assert int(reading.rows["arr_delay"].isna().sum()) == 9_430
    assert reading.rows["time_hour"].iloc[0] == pd.Timestamp("2013-01-01 10:00")


def test_flights_are_read_as_pandas_reads_them(flights_csv: bytes) -> None:
    part = flights_csv[: flights_csv.index(b"\n", 500_000) + 1]
    expected = pd.read_csv(io.BytesIO(part), parse_dates=["time_hour"])
    rows = read(part, "x.csv", Data(missing_values=["NA"])).rows
    for name in expected.select_dtypes("number"):
        np.testing.assert_array_equal(rows[name], expected[name].astype("float64"))
    for name in ("carrier", "tailnum", "origin", "dest"):
        assert rows[name].equals(expected[name])
    assert (rows["time_hour"] == expected["time_hour"].dt.tz_localize(None)).all()


def test_the_line_example_is_a_line_with_noise() -> None:
    source = line_example()
    rows = read(source, "line.csv", Data()).rows
    assert source == line_example()
    assert rows["x"].to_list() == [step / 100 for step in range(100)]
    slope, intercept = np.polyfit(rows["x"], rows["y"], 1)
    assert (slope, intercept) == pytest.approx((2, 1), abs=0.1)
    assert np.std(rows["y"] - 2 * rows["x"] - 1) == pytest.approx(0.1, abs=0.02)
    assert source[:32] == b"x,y\n0.00,1.094172\n0.01,0.880342\n"


def test_a_file_without_broken_rows_is_read_without_importing_pandera() -> None:
    code = """
import sys
from pipeline.steps.clean.reading import read
from pipeline.spec.schema.spec import Data
columns = {"a": {"type": "int", "range": [0, 1], "nullable": False}, "b": {"type": "str", "pattern": "x"}}
read(b"a,b\\n1,x\\n", "x.csv", Data.model_validate({"columns": columns}))
assert "pandera" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_unnamed_index_of_a_frame_is_no_column() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=[5, 1, 9])
    reading = read(frame.to_parquet(), "a.parquet", Data())
    assert list(reading.rows) == ["x"]
    assert reading.notes == ("a.parquet: ignored a column without a name",)
    named = frame.rename_axis("id").to_parquet()
    assert list(read(named, "a.parquet", Data()).rows) == ["x", "id"]


@pytest.mark.parametrize(
    ("header", "encoding"), [("年龄,性别,目标", "gbk"), ("年齢,性別,目的", "shift_jis"), ("größe,höhe,maß", "cp1252")]
)
def test_a_header_in_another_encoding_is_shown_as_each_would_read_it(header: str, encoding: str) -> None:
    source = f"{header}\n1,2,3\n".encode(encoding)
    with pytest.raises(DataError, match=r"x.csv:1: found bytes that are not utf-8 .*\(data.encoding\)") as caught:
        read(source, "x.csv", Data())
    assert f"{header!r} in {encoding}" in str(caught.value)
    assert list(read(source, "x.csv", Data(encoding=encoding)).rows) == header.split(",")
