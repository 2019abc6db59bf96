"""A file that is read in blocks is read as one that is read at once."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading import blocks, cutting, read
from pipeline.steps.clean.reading.blocks import read_blocks

DATA = Data.model_validate(
    {"columns": {"n": "float", "t": "str"}, "delimiter": ";", "max_quarantined": 1.0, "missing_values": ["?"]}
)
TEXTS = st.text(st.sampled_from('a";\n\r,é重'), max_size=6)
ROWS = st.lists(st.tuples(st.sampled_from(["1", "0.5", "?", "much", "", " 2"]), TEXTS), min_size=1, max_size=8)


def listed(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    return rows


def quarantined(reading: Any) -> list[Any]:
    return [list(each) for each in reading.quarantined.itertuples(index=False)]


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "BLOCK_BYTES", 16)
        patch.setattr(blocks, "BLOCK_ROWS", 2)
        yield


def compare(path: Path, data: Data) -> None:
    """Compare the rows, what is quarantined with its number and text, and the kept columns, with those read at once."""
    whole = read(path.read_bytes(), path.name, data)
    parts = list(read_blocks(path, data, lambda _: ["t"]))
    assert len(parts) > 1 or len(whole.rows) < 6
    assert [row for each in parts for row in listed(each.reading.rows)] == listed(whole.rows)
    assert [row for each in parts for row in quarantined(each.reading)] == quarantined(whole)
    good = [int(place) for each in parts for place in each.positions]
    assert sorted([*good, *whole.quarantined["row"]]) == list(range(1, len(whole.rows) + len(whole.quarantined) + 1))
    kept = [text or None for each in parts for text in each.kept.column("t").to_pylist()]
    assert kept == [row["t"] for row in listed(whole.rows)]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-16", "gb18030"]))
def test_csv_is_cut_where_a_record_ends(rows: list[tuple[str, str]], ending: str, encoding: str) -> None:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if any("\r" in each for _, each in rows) else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=";", lineterminator=ending, quoting=quoting).writerows([("n", "t"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(text.getvalue().encode(encoding))
        compare(path, DATA.model_copy(update={"encoding": encoding}))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_json_lines_are_cut_where_a_line_ends(rows: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"n": number, "t": text}) if number != "much" else "{" for number, text in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text('{"n": 1, "t": "x"}\n' + "\n".join(lines))
        compare(path, DATA)


def test_a_quote_that_never_closes_is_told_and_takes_no_memory_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n;t\n1;a\n2;"b' + "\n3;c" * 99)
    with pytest.raises(DataError, match="found a quoted field that never ends"):
        list(read_blocks(path, DATA, lambda _: []))
    monkeypatch.setattr(cutting, "_RECORD_MAX_BYTES", 128)
    with pytest.raises(DataError, match=r"found a record of more than .* and a closing quote"):
        list(read_blocks(path, DATA, lambda _: []))


def test_a_column_may_be_null_in_all_later_records_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1, "t": "x"}\n' + '{"n": 2}\n' * 9)
    assert sum(len(each.positions) for each in read_blocks(path, DATA, lambda _: [])) == 10


def test_lines_of_old_macs_end_in_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"n;t\r" + b"1;a\r" * 9)
    assert sum(len(each.positions) for each in read_blocks(path, DATA, lambda _: [])) == 9
