"""Several files read as one: rows, types, quarantine and errors are those of each file by itself."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import suppress

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.model.columns import DTYPES, KINDS, merge_columns
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading import Source, read, read_pack
from pipeline.steps.clean.reading import pack as packing

INFERRED = {"files": "{part}.csv"}
NAMED = {**INFERRED, "format": "csv"}
DECLARED = {
    **INFERRED,
    "columns": {"a": "float", "b": {"type": "str", "nullable": True}},
    "max_quarantined": 0.9,
    "extra_columns": "ignore",
}
PLAIN = {"1.csv": b"a,b\n1,x\n2,y\n", "2.csv": b"a,b\n3.5,z\n", "3.csv": b"a,b\n", "4.csv": b"a,b\n-7,w"}
ODD: Mapping[str, Mapping[str, bytes]] = {
    "a header in another order": {"1.csv": b"a,b\n1,x\n", "2.csv": b"b,a\ny,2\n"},
    "quotes": {"1.csv": b"a,b\n1,x\n", "2.csv": b'a,b\n2,"y\nz"\n'},
    "empty lines": {"1.csv": b"a,b\n1,x\n\n", "2.csv": b"a,b\n\n\n2,y\n"},
    "lines of Windows": {"1.csv": b"a,b\r\n1,x\r\n", "2.csv": b"a,b\n2,y\n"},
    "all of Windows": {"1.csv": b"a,b\r\n1,x\r\n", "2.csv": b"a,b\r\n2,y\r\n"},
    "a mark": {"1.csv": b"\xef\xbb\xbfa,b\n1,x\n", "2.csv": b"a,b\n2,y\n"},
    "missing values": {"1.csv": b"a,b\nNA,x\n", "2.csv": b"a,b\n2,\n", "3.csv": b"a,b\n,\n"},
    "words that mean a missing number": {"1.csv": b"a,b\n1,NA\n", "2.csv": b"a,b\n2,x\n"},
    "leading zeros": {"1.csv": b"a,b\n01,x\n", "2.csv": b"a,b\n02,y\n"},
    "texts that are numbers elsewhere": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a,b\n2,7\n3,x\n"},
    "spaces": {"1.csv": b"a,b\n 1, x\n", "2.csv": b"a,b\n2 ,y \n"},
    "letters": {"1.csv": "a,b\n1,Zürich\n".encode(), "2.csv": "a,b\n2,東京\n".encode()},
    "dates": {"1.csv": b"a,b\n2020-01-01,x\n", "2.csv": b"a,b\n2020-01-02,y\n"},
    "dates and times": {"1.csv": b"a,b\n2020-01-01,x\n", "2.csv": b"a,b\n2020-01-02 03:04:05,y\n"},
    "flags": {"1.csv": b"a,b\ntrue,x\n", "2.csv": b"a,b\nfalse,y\n"},
    "a flag in another": {"1.csv": b"a,b\n1,true\n", "2.csv": b"a,b\n2,x\n"},
    "long integers": {"1.csv": b"a,b\n90071992547409931,x\n", "2.csv": b"a,b\n0.5,y\n"},
    "a ragged record": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a,b\n2,y,z\n3,v\n"},
    "a broken value": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a,b\noops,y\n3,z\n"},
    "a column more": {"1.csv": b"a,b,c\n1,x,4\n", "2.csv": b"a,b\n2,y\n"},
    "a column less": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a\n2\n"},
    "nothing": {"1.csv": b"a,b\n1,x\n", "2.csv": b""},
    "another format": {"1.csv": b"a,b\n1,x\n", "2.jsonl": b'{"a": 2, "b": "y"}\n'},
    "packed files": {"1.csv": b"a,b\n1,x\n", "2.csv.gz": gzip.compress(b"a,b\n2,y\n")},
    "another encoding": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a,b\n2,\xe9\n"},
    "a null byte": {"1.csv": b"a,b\n1,x\n", "2.csv": b"a,b\n2,\0\n"},
    "a header alone": {"1.csv": b"a,b\n", "2.csv": b"a,b\n"},
    "numbers for a header": {"1.csv": b"1,2\n3,4\n", "2.csv": b"1,2\n3,4\n"},
    "times of day": {"1.csv": b"a,b\n10:30,x\n", "2.csv": b"a,b\n11:30,y\n"},
    "infinity": {"1.csv": b"a,b\n1,inf\n", "2.csv": b"a,b\n2,x\n"},
}


def one_by_one(files: Mapping[str, bytes], data: Data) -> tuple[pd.DataFrame, list[int], list[tuple[str, int, str]]]:
    readings = {name: read(content, name, data) for name, content in files.items()}
    types = merge_columns({name: each.columns for name, each in readings.items()})
    frames = [
        each.rows.astype(
            {
                name: DTYPES[KINDS[type_]]
                for name, type_ in types.items()
                if name in each.rows and each.rows[name].dtype.kind == "f"
            }
        )
        for each in readings.values()
    ]
    aside = [
        (name, row, rule)
        for name, each in readings.items()
        for row, rule in zip(each.quarantined["row"], each.quarantined["rule"], strict=True)
    ]
    return pd.concat(frames, ignore_index=True), [len(each) for each in frames], aside


def sources(files: Mapping[str, bytes]) -> list[Source]:
    return [Source(name, content, name) for name, content in files.items()]


@pytest.mark.parametrize("section", [INFERRED, NAMED, DECLARED], ids=["inferred", "named", "declared"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_read_together_is_what_is_read_one_by_one(kind: str, section: Mapping[str, object]) -> None:
    data = Data.model_validate(section)
    expected = None
    with suppress(DataError):
        expected = one_by_one(ODD[kind], data)
    if expected is None:
        _assert_refused_alike(ODD[kind], data)
        return
    rows, counts, aside = expected
    found = read_pack(sources(ODD[kind]), data)
    pd.testing.assert_frame_equal(found.rows, rows)
    assert found.counts == counts
    columns = [found.quarantined[name] for name in ("partition", "row", "rule")]
    assert list(zip(*columns, strict=True)) == aside


def _assert_refused_alike(files: Mapping[str, bytes], data: Data) -> None:
    with pytest.raises(DataError) as expected:
        one_by_one(files, data)
    with pytest.raises(DataError) as found:
        read_pack(sources(files), data)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("section", [INFERRED, DECLARED], ids=["inferred", "declared"])
def test_plain_files_are_read_as_one(section: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data.model_validate(section)
    rows, counts, _ = one_by_one(PLAIN, data)
    monkeypatch.setattr(packing, "read", None)  # nothing is read by itself
    found = read_pack(sources(PLAIN), data)
    pd.testing.assert_frame_equal(found.rows, rows)
    assert found.counts == counts == [2, 1, 0, 1]
    assert found.columns == {"a": "float", "b": "str"}


def test_a_warning_names_the_partition() -> None:
    found = read_pack(sources(ODD["leading zeros"]), Data.model_validate(INFERRED))
    assert [each.partition(":")[0] for each in found.warnings] == ["1.csv", "2.csv"]
