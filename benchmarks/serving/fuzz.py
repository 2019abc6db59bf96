"""Broken requests by the million: ``python -m benchmarks.serving.fuzz [--inputs 1000000] [--seed 0]``.

The server's parsers and the scoring behind them, in this process, without a socket: rows and records, Arrow and
Parquet, MLflow's ``/invocations``, the Open Inference Protocol V2 with binary tensors. Every input is a good request,
or the one before it, that was damaged a few times at random: bytes and values changed, cut out, repeated, joined, or
exchanged for odd ones. Each must be answered, below 500 and within a second, and memory must not grow.

It prints how many were answered with which status, and every input that was not answered as it should be; the exit
code is 1 if there was one. ``python -m benchmarks.serving.guided`` chooses the inputs by what they reach.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline.model.signature import Input, Signature
from pipeline.serving.protocols.invocations import read_invocation
from pipeline.serving.protocols.open_inference import read_inference
from pipeline.serving.protocols.predicting import read_prediction
from pipeline.serving.protocols.tables import ARROW, PARQUET
from pipeline.serving.rows.columns import check_count
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.questions import Dialect, score
from pipeline.serving.scoring.served import ServedModel
from tests.serving.bundles import is_equal_graph, sum_graph, write_bundle

SLOW_S, HUNG_S = 1.0, 20
MAX_ROWS = 10_000
MAX_BYTES = 20_000
DIALECTS: Mapping[str, Dialect] = {
    "predict": read_prediction,
    "invocations": read_invocation,
    "infer": read_inference,
    "arrow": read_prediction,
    "parquet": read_prediction,
}
NUMBERS = Signature(
    "regression",
    (
        Input("x", "float"),
        Input("n", "int", nullable=False),
        Input("b", "bool"),
        Input("at", "datetime"),
        Input("day", "datetime", format="%d.%m.%Y"),
    ),
)
TEXT = Signature(
    "classification",
    (Input("word", "str", text={"trim": True, "case": "lower", "unicode": "NFKC"}),),
    ("no", "yes"),
)
RECORD = {"x": 0.5, "n": 3, "b": True, "at": "2013-01-31T08:15:00Z", "day": "31.01.2013"}
TENSORS = [
    {"name": "x", "datatype": "FP64", "shape": [1], "data": [0.5]},
    {"name": "n", "datatype": "INT64", "shape": [1], "data": [3]},
    {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
    {"name": "at", "datatype": "BYTES", "shape": [1], "data": ["2013-01-31"]},
    {"name": "day", "datatype": "BYTES", "shape": [1], "data": ["31.01.2013"]},
]
ODD: Sequence[bytes] = [
    *(b"null", b"true", b"[]", b"{}", b'""', b"NaN", b"-Infinity", b"1e999", b"-0", b"1e-400", b"0.1", b"9" * 30),
    *(b"9" * 4000, b"9" * 6000, b"-" + b"9" * 400, b"9007199254740993", b"18446744073709551616", b"[" * 2000),
    *(
        b'{"x":' * 600,
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b'"\\ud800"',
        b'"\\u0000"',
        b"\\",
        b'"',
        b",",
    ),
    *(b'"9999-12-31T23:59:59.999999-14:00"', b'"0001-01-01T00:00+14:00"', b'"2013-02-30"', b'"24:00"', b'"2013-W01"'),
    *(b'"x"', b'"n"', b'"inputs"', b'"probabilities"', b'"dataframe_split"', b'"dataframe_records"', b'"instances"'),
    *(b'"columns"', b'"data"', b'"index"', b'"params"', b'"name"', b'"shape"', b'"datatype"', b'"parameters"'),
    *(b'"binary_data_size"', b'"binary_data"', b'"outputs"', b'"id"', b'"FP16"', b'"UINT64"', b'"BYTES"', b'"BOOL"'),
    *(
        b"[0]",
        b"[-1]",
        b"[1,0]",
        b"[0,5]",
        b"[1,5]",
        b"[4611686018427387904,4]",
        b"[%b,%b]" % (b"9" * 3000, b"9" * 3000),
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
    ),
]
TABLES: Mapping[str, bytes] = {"arrow": ARROW, "parquet": PARQUET}
HEADS: Sequence[bytes] = (b"0", b"1", b"-1", b"9" * 30, b"0x1", b"", b"\xb2", b" 5", b"1e2")


def good_requests() -> list[tuple[str, bytes, bytes | None]]:
    """Return dialect, body, and the length of the JSON where the body goes on in binary."""

    def form(dialect: str, body: Any) -> tuple[str, bytes, bytes | None]:
        return dialect, json.dumps(body).encode(), None

    row = list(RECORD.values())
    blob = struct.pack("<I", 5) + b"Hello" + struct.pack("<I", 0)
    sized = {"name": "word", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(blob)}}
    asked = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    head = json.dumps({"id": "mine", "inputs": [sized], "outputs": asked}).encode()
    pair = {"name": "input-0", "datatype": "FP32", "shape": [2, 5], "parameters": {"binary_data_size": 40}}
    second = json.dumps({"inputs": [pair], "parameters": {"binary_data_output": True}}).encode()
    return [
        form("predict", {"inputs": [row, row]}),
        form("predict", {"inputs": [RECORD, dict.fromkeys(RECORD) | {"n": 1}]}),
        form("predict", {"inputs": [["Hello"], [None]], "probabilities": True}),
        form("predict", {"inputs": [{"word": "é"}], "probabilities": False}),
        form("invocations", {"dataframe_split": {"columns": list(RECORD), "index": [0], "data": [row]}}),
        form("invocations", {"dataframe_records": [RECORD], "params": {}}),
        form("invocations", {"instances": ["Hello", None]}),
        form("invocations", {"inputs": {name: [value, [value]] for name, value in RECORD.items()}}),
        form("infer", {"inputs": TENSORS, "id": "mine"}),
        form("infer", {"inputs": [{"name": "word", "datatype": "BYTES", "shape": [2, 1], "data": [["a"], ["b"]]}]}),
        ("infer", head + blob, str(len(head)).encode()),
        ("infer", second + struct.pack("<10f", *range(10)), str(len(second)).encode()),
        *((kind, written, None) for table in good_tables() for kind, written in write_table(table).items()),
    ]


def good_tables() -> list[pa.Table]:
    """Return tables that fit, and tables of types that no column has."""
    moment, day = datetime(2013, 1, 31, 8, 15, tzinfo=UTC), date(2013, 1, 31)
    fits = {name: [value, value] for name, value in RECORD.items()}
    return [
        pa.table(fits),
        pa.table(fits | {"n": pa.array([1, 2], pa.uint8()), "at": pa.array([moment, None], pa.timestamp("ns", "UTC"))}),
        pa.table({"word": ["Hello", None]}),
        pa.table({"word": pa.array(["a", "b", "a"]).dictionary_encode()}),
        pa.table(fits | {"x": pa.array([Decimal("1.5"), None]), "at": [day, day], "b": [[1], [2, 3]]}),
        pa.table(fits | {"x": [{"a": 1}, None], "n": [b"1", b"\xff"], "day": pa.array([1, 2], pa.duration("s"))}),
    ]


def write_table(table: pa.Table) -> dict[str, bytes]:
    """Return a table in each format."""
    stream, file = pa.BufferOutputStream(), pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    if not any(pa.types.is_duration(each) for each in table.schema.types):
        parquet.write_table(table, file)
    return {"arrow": stream.getvalue().to_pybytes(), "parquet": file.getvalue().to_pybytes()}


def damage(body: bytes, end: int, others: Sequence[bytes], chance: random.Random) -> tuple[bytes, int]:
    """Change one value of the JSON, or bytes anywhere; gives the body, and where its JSON ends now."""
    if chance.random() < 0.85:
        try:
            tree = json.loads(body[:end])
        except (ValueError, RecursionError):
            pass
        else:
            head = _with_odd_value(tree, chance)
            return head + body[end:], len(head)
    changed = _with_odd_bytes(body, chance.choice(others), chance)
    return changed, end + len(changed) - len(body) if end < len(body) else len(changed)


def _with_odd_value(tree: Any, chance: random.Random) -> bytes:
    """Write JSON with one value exchanged, left out, repeated or renamed; what is odd need not be JSON."""
    mark, place = "\x01odd\x01", [tree]
    inner: Any = place
    index: Any = 0
    while isinstance(inner[index], dict | list) and inner[index] and (inner is place or chance.random() < 0.85):
        inner = inner[index]
        index = chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))
    way = chance.randrange(8)
    if way == 0 and inner is not place:
        del inner[index]
    elif way == 1 and isinstance(inner, list):
        inner[index:index] = [inner[index]] * chance.choice((1, 2, 30))
    elif way == 2 and isinstance(inner, dict):
        inner[chance.choice(("x", "inputs", "data", "word", "name", ""))] = inner.pop(index)
    elif way == 3:
        inner[index] = [inner[index]]
    else:
        inner[index] = mark
    return json.dumps(place[0]).encode().replace(json.dumps(mark).encode(), chance.choice(ODD))


def _with_odd_bytes(body: bytes, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(body) + 1)
    stop = min(len(body), start + chance.choice((0, 1, 1, 2, 4, 8, 30)))
    place = chance.randrange(len(other) + 1)
    middle = chance.choice((bytes([chance.randrange(256)]), b"", body[start:stop] * chance.choice((2, 3, 50)),
                            other[place : place + chance.choice((4, 40, 400))], chance.choice(ODD)))  # fmt: skip
    return body[:start] + middle + (b"" if chance.random() < 0.03 else body[stop:])


class Target:
    """Answers as the server does, from the body on, and keeps count."""

    def __init__(self, folder: Path) -> None:
        numbers = write_bundle(folder / "numbers", signature=NUMBERS, graph=sum_graph(5))
        words = write_bundle(folder / "words", signature=TEXT, graph=is_equal_graph("hello"))
        self.models: Sequence[ServedModel] = [load_model(numbers), load_model(words)]
        self.statuses: Counter[str] = Counter()
        self.faults: dict[str, tuple[str, bytes, bytes | None]] = {}
        self.slowest_s = 0.0

    def ask(self, dialect: str, body: bytes, head: bytes | None) -> bool:
        """Ask both models; gives whether the body was understood as JSON."""
        understood = False
        headers = {} if head is None else {b"inference-header-content-length": head}
        if dialect in TABLES:
            headers[b"content-type"] = TABLES[dialect]
        for model in self.models:
            started = time.process_time()  # on a busy machine others do not count
            try:
                status, said = self._answer(model, DIALECTS[dialect], body, headers)
            except Exception as error:  # noqa: BLE001  # that is what is looked for
                status, said = "raised", f"{type(error).__name__}: {str(error)[:200]}"
            seconds = time.process_time() - started
            self.slowest_s = max(self.slowest_s, seconds)
            self.statuses[status] += 1
            if seconds > SLOW_S:
                self.faults.setdefault(f"slow {dialect}", (f"{seconds:.1f} s", body, head))
            if status == "raised" or status >= "500":
                self.faults.setdefault(f"{dialect} {said[:60]}", (said, body, head))
            understood |= status != "400"
        return understood

    def tell(self, grown_mib: float) -> int:
        """Print what came of it; gives the exit code."""
        print("answers:", ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items())))
        print(f"memory grew by {grown_mib:.1f} MiB over the last nine tenths")
        for said, body, head in self.faults.values():
            print(f"FAULT {said}\n  head {head!r}, {len(body)} bytes: {body[:600]!r}")
        return 1 if self.faults else 0

    @staticmethod
    def _answer(model: ServedModel, dialect: Dialect, body: bytes, headers: dict[bytes, bytes]) -> tuple[str, str]:
        try:
            question = dialect(model, body, headers)
            check_count(question.count, MAX_ROWS)
        except RejectedError as error:
            return str(error.status), ""
        reply, _ = score(model, question, "m@v1:0")
        return str(reply.status), reply.error or ""


def run_random(target: Target, inputs: int, seed: int) -> float:
    """Ask all inputs; gives how many MiB the process grew by in the last nine tenths."""
    chance = random.Random(seed)  # noqa: S311  # to be drawn the same again
    good = good_requests()
    bodies = [body for _, body, _ in good]
    before, current = 0.0, good[0]
    for number in range(inputs):
        if number < len(good) or chance.random() < 0.3 or not 0 < len(current[1]) <= MAX_BYTES:
            current = good[number % len(good)]
        dialect, body, head = current
        end = int(head) if head else len(body)
        for _ in range(0 if number < len(good) else chance.choice((1, 1, 2, 4))):
            body, end = damage(body, end, bodies, chance)
        length = None if head is None else b"%d" % max(end, 0)
        odd = length is not None and chance.random() < 0.05
        signal.alarm(HUNG_S)  # a parser that hangs ends the whole run
        understood = target.ask(dialect, body, chance.choice(HEADS) if odd else length)
        current = (dialect, body, length) if understood else good[number % len(good)]
        if number == inputs // 10:
            before = resident_mib()
    signal.alarm(0)
    return resident_mib() - before


def resident_mib() -> float:
    """Return the memory that this process has at hand."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    """Ask, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        started = time.monotonic()
        grown_mib = run_random(target, given.inputs, given.seed)
    seconds = time.monotonic() - started
    print(f"{given.inputs:,} inputs to 2 models in {seconds:.0f} s; the slowest took {target.slowest_s * 1000:.0f} ms")
    return target.tell(grown_mib)


if __name__ == "__main__":
    sys.exit(main())
