"""A file of rows becomes a file of predictions, and one of the rows that have none."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import json as pa_json
from pyarrow import parquet as pq

from pipeline.errors import DataError, InputError
from pipeline.model.signature import Input, Signature
from pipeline.operations.batches.files import rejected_beside
from pipeline.operations.batches.predicting import Scored, predict_file
from pipeline.operations.batches.scoring import ByDeployment, InProcess
from pipeline.serving.scoring.model import load_model
from pipeline.spec.schema.spec import Data
from tests.serving.bundles import GREETING, LINE, is_equal_graph, sum_graph, write_bundle
from tests.serving.conftest import Live, line, start  # noqa: F401 - fixtures

SUM = Signature("regression", (Input("a", "float"), Input("n", "int"), Input("flag", "bool")))


def score(
    bundle: Path, source: Path, target: Path, data: Data | None = None, keep: Sequence[str] | None = None, **more: Any
) -> Scored:
    model = load_model(bundle)
    return predict_file(model.signature, InProcess(model), data or Data(), source, target, keep, **more)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write a bundle that predicts 2 · x + 1."""
    return write_bundle(tmp_path / "line")


@pytest.fixture
def total(tmp_path: Path) -> Path:
    """Write a bundle that adds a, n and flag."""
    example = {"a": 1.0, "n": 2, "flag": True}
    return write_bundle(tmp_path / "sum", signature=replace(SUM, example=example), graph=sum_graph(3))


def write(path: Path, table: pa.Table) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
        case _:
            pa_csv.write_csv(table, path)
    return path


def read(path: Path) -> pa.Table:
    return {".parquet": pq.read_table, ".jsonl": pa_json.read_json, ".csv": pa_csv.read_csv}[path.suffix](path)


def records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_every_row_of_a_file_is_predicted_in_its_order(bundle: Path, source: str, target: str) -> None:
    folder, count, told = bundle.parent, 150_000, list[tuple[int, float]]()
    given = write(folder / source, pa.table({"other": ["a"] * count, "x": [float(row) for row in range(count)]}))
    done = score(bundle, given, folder / target, tell=lambda *each: told.append(each))
    assert done == Scored(count, count, 0)
    assert told[-1] == (count, 1.0)
    assert (read(folder / target).column_names) == ["row", "prediction"]
    assert read(folder / target).column("prediction").to_pylist() == [2.0 * row + 1 for row in range(count)]
    assert sorted(each.name for each in folder.iterdir()) == sorted(["line", source, target])


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_a_row_that_cannot_be_read_is_set_aside_with_its_number_and_reason(
    bundle: Path, source: str, target: str
) -> None:
    folder = bundle.parent
    given = write(folder / source, pa.table({"x": [1.0] * 140_000 + [None, 3.0], "y": ["a"] * 140_002}))
    done = score(bundle, given, folder / target)
    reason = "x: found none; expected a value (data.columns.x.nullable)"
    assert done == Scored(140_002, 140_001, 1, (f"row 140001: {reason}",))
    assert read(folder / target).slice(139_999).to_pylist() == [
        {"row": 140_000, "prediction": 3.0},
        {"row": 140_002, "prediction": 7.0},
    ]
    (wrong,) = read(rejected_beside(folder / target)).to_pylist()
    assert (wrong["row"], wrong["reason"]) == (140_001, reason)
    assert wrong["record"]


def test_rows_are_read_as_training_data_are(total: Path) -> None:
    """Encoding, delimiter, decimal comma, whole numbers with a decimal, flags, missing words, fields too many."""
    rules = Data.model_validate(
        {
            "encoding": "gbk",
            "delimiter": ";",
            "decimal": ",",
            "columns": {"a": {"type": "float", "range": [0, 10]}, "n": "int", "flag": "bool", "目标": "float"},
            "missing_values": [-999],
        }
    )
    lines = ["重量;a;n;flag", "甲;1,5;22,0;1", "乙;20;1;1", "丙;0,5;2,5;0", "丁;1;1;1;1", "戊;0;-7;FALSE"]
    given = total.parent / "in.csv"
    given.write_bytes("\r\n".join(lines).encode("gbk"))
    done = score(total, given, total.parent / "out.csv", rules, ["重量"])
    assert records(total.parent / "out.csv") == [
        {"重量": "甲", "prediction": "24.5"},
        {"重量": "戊", "prediction": "-7"},
    ]
    assert [(each["row"], each["reason"], each["record"]) for each in records(total.parent / "out.rejected.csv")] == [
        ("2", "a: found 20; expected 0 to 10 (data.columns.a.range)", "乙;20;1;1"),
        ("3", "n: found 2.5; expected an int (data.columns.n.type)", "丙;0,5;2,5;0"),
        ("4", "found 5 fields; expected 4 as in the header (data.delimiter)", "丁;1;1;1;1"),
    ]
    assert (done.rows, done.predictions, done.rejected, len(done.reasons)) == (5, 2, 3, 3)


def test_what_is_missing_is_missing_in_a_batch_too(total: Path) -> None:
    given = total.parent / "in.csv"
    given.write_text("a,n,flag\n1,?,true\nNA,1,true\n1,1,true\n")
    score(total, given, total.parent / "out.csv", Data(missing_values=["?"]))
    # the sum of a row with a missing number is none, so no answer
    assert [each["row"] for each in records(total.parent / "out.csv")] == ["3"]
    assert [each["reason"] for each in records(total.parent / "out.rejected.csv")] == [
        "found values too large to compute with; expected values like those the model was trained on"
    ] * 2


@pytest.mark.parametrize("text", ['{"x": "much"}', '{"x": 1', "[1]"])
def test_a_broken_line_stops_no_other(bundle: Path, text: str) -> None:
    given = bundle.parent / "in.jsonl"
    given.write_text(f'{{"x": 1}}\n\n{text}\n{{"x": 2}}\n')
    done = score(bundle, given, bundle.parent / "out.jsonl")
    assert (done.predictions, done.rejected) == (2, 1)
    assert [each["row"] for each in read(bundle.parent / "out.jsonl").to_pylist()] == [1, 3]
    (wrong,) = read(bundle.parent / "out.rejected.jsonl").to_pylist()
    assert (wrong["row"], wrong["record"]) == (2, text)


@pytest.mark.parametrize("content", [b"x\n\xff\n", b"y\n1\n", b"x\n", b"", b"x\n" + b"many\n" * 9])
def test_a_file_that_gives_nothing_leaves_nothing(bundle: Path, content: bytes) -> None:
    given = bundle.parent / "in.csv"
    given.write_bytes(content)
    with pytest.raises((DataError, InputError), match=r"in\.csv"):
        score(bundle, given, bundle.parent / "out.csv")
    assert not list(bundle.parent.glob("*out*"))


def test_the_line_of_undecodable_bytes_is_that_of_the_file(bundle: Path) -> None:
    given = bundle.parent / "in.csv"
    given.write_bytes(b"x\n" + b"1\n" * 5_000_000 + b"\xff\n")
    with pytest.raises(DataError, match=r"in\.csv:5000002: found bytes that are not utf-8"):
        score(bundle, given, bundle.parent / "out.csv")
    assert not list(bundle.parent.glob("*out*"))


def test_rejected_rows_of_an_earlier_batch_do_not_stay(bundle: Path) -> None:
    given, target = bundle.parent / "in.csv", bundle.parent / "out.csv"
    for text, expected in [("x\n1\nmuch\n", True), ("x\n1\n", False)]:
        given.write_text(text)
        score(bundle, given, target)
        assert rejected_beside(target).exists() == expected


KEYED = Data.model_validate({"key": ["shop", "day"]})
BATCH = 'shop,day,x,note\n007,2024-01-01,1,\n008,2024-01-02,2,"a,""b""\nc"\n'


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (None, {"shop": "007", "day": "2024-01-01"}),
        (["note"], {"note": ""}),
        (["x,shop"], {"x": "1", "shop": "007"}),
        (["shop", "x"], {"shop": "007", "x": "1"}),
        (["*"], {"shop": "007", "day": "2024-01-01", "x": "1", "note": ""}),
    ],
)
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_columns_are_kept_as_the_file_has_them(
    bundle: Path, keep: list[str] | None, expected: dict[str, str], target: str
) -> None:
    given = bundle.parent / "in.csv"
    given.write_text(BATCH)
    score(bundle, given, bundle.parent / target, KEYED, keep)
    texts = dict.fromkeys(expected, pa.string())
    path = bundle.parent / target
    found = (
        pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=texts))
        if path.suffix == ".csv"
        else pq.read_table(path)
        if path.suffix == ".parquet"
        else pa.Table.from_pylist([json.loads(each) for each in path.read_text().splitlines()])
    )
    assert found.to_pylist()[0] == expected | {"prediction": 3.0}
    if "note" in expected:
        assert found.column("note").to_pylist() == ["", 'a,"b"\nc']


@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_values_of_json_lines_are_kept_as_they_are(bundle: Path, target: str) -> None:
    given = bundle.parent / "in.jsonl"
    rows = [{"id": 12, "tag": "a", "x": 1}, {"id": 13, "x": 2, "tag": None}]
    given.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    score(bundle, given, bundle.parent / target, keep=["id", "tag"])
    assert read(bundle.parent / target).column("id").to_pylist() == [12, 13]
    assert read(bundle.parent / target).column("tag").to_pylist() in (["a", None], ["a", ""])


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("id", r"--keep: found 'id'; expected a column of the batch: 'x', 'prediction', or '\*'"),
        ("prediction", "--keep: found 'prediction', the name of predictions"),
    ],
)
def test_a_column_that_cannot_be_kept_is_named(bundle: Path, keep: str, message: str) -> None:
    given = bundle.parent / "in.csv"
    given.write_text("x,prediction\n1,2\n")
    with pytest.raises(InputError, match=message):
        score(bundle, given, bundle.parent / "out.csv", keep=[keep])
    assert not list(bundle.parent.glob("*out*"))


def test_a_column_that_one_format_cannot_hold_is_told(bundle: Path) -> None:
    given = write(bundle.parent / "in.parquet", pa.table({"x": [1.0], "list": [[1, 2]]}))
    with pytest.raises(DataError, match=r"out\.csv: found columns that cannot be written .*; expected plain values"):
        score(bundle, given, bundle.parent / "out.csv", keep=["list"])
    assert score(bundle, given, bundle.parent / "out.jsonl", keep=["list"]).predictions == 1


@pytest.mark.parametrize("ending", [".gz", ".zip"])
@pytest.mark.parametrize("inner", ["in.csv", "in.jsonl", "in.parquet"])
def test_packed_files_are_unpacked_while_they_are_read(bundle: Path, inner: str, ending: str) -> None:
    plain = write(bundle.parent / inner, pa.table({"x": [1.0, 2.0]}))
    packed = bundle.parent / f"{inner}{ending}"
    if ending == ".gz":
        packed.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(plain, inner)
    assert score(bundle, packed, bundle.parent / "out.csv").predictions == 2


def test_a_damaged_archive_is_told(bundle: Path) -> None:
    packed = bundle.parent / "in.csv.gz"
    packed.write_bytes(gzip.compress(b"x\n1\n")[:-9])
    with pytest.raises(DataError, match=r"in\.csv\.gz: cannot be unpacked, it is damaged or cut off"):
        score(bundle, packed, bundle.parent / "out.csv")


def test_classes_come_with_their_probabilities(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", signature=GREETING, graph=is_equal_graph("hello"))
    given = tmp_path / "in.csv"
    given.write_text('word\n" Hello "\nbye\n\n')
    score(bundle, given, tmp_path / "out.csv")
    assert records(tmp_path / "out.csv") == [
        {"row": "1", "prediction": "yes", "probability_no": "0.25", "probability_yes": "0.75"},
        {"row": "2", "prediction": "no", "probability_no": "0.75", "probability_yes": "0.25"},
    ]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("in.txt", "o.csv", r"found the ending '\.unknown'|found no such file"),
        ("in.csv", "o.txt", r"o\.txt: found the ending '\.txt'; expected \.csv, \.jsonl or \.parquet"),
        ("in.csv", "in.csv", "found the batch itself; expected another file"),
        ("none.csv", "o.csv", r"none\.csv: found no such file"),
    ],
)
def test_files_of_other_names_are_refused(bundle: Path, source: str, target: str, message: str) -> None:
    (bundle.parent / "in.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match=message):
        score(bundle, bundle.parent / source, bundle.parent / target)


def test_a_file_of_another_kind_is_refused(bundle: Path) -> None:
    (bundle.parent / "in.odd").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"found the ending '\.odd'; expected one of"):
        score(bundle, bundle.parent / "in.odd", bundle.parent / "out.csv")
    assert score(bundle, bundle.parent / "in.odd", bundle.parent / "out.csv", Data(format="csv")).predictions == 1


def test_a_deployment_answers_the_same(line: Live, tmp_path: Path) -> None:  # noqa: F811
    given = tmp_path / "in.csv"
    given.write_text("x\n" + "".join(f"{row / 7}\n" for row in range(2500)) + "\n")
    bundle = write_bundle(tmp_path / "line")
    score(bundle, given, tmp_path / "here.csv")
    predict_file(LINE, ByDeployment(line.address, LINE), Data(), given, tmp_path / "there.csv")
    assert (tmp_path / "here.csv").read_text() == (tmp_path / "there.csv").read_text()
