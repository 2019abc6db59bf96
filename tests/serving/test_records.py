from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pipeline.model.signature import Input, Signature
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.rows.records import Reader

ALL = Signature(
    "regression",
    (
        Input("x", "float"),
        Input("word", "str", text={"trim": True, "case": "lower", "unicode": "NFKC"}),
        Input("n", "int", nullable=False),
        Input("flag", "bool"),
        Input("when", "datetime"),
        Input("day", "datetime", format="%d.%m.%Y"),
        Input("code", "str", nullable=False),
    ),
)
GOOD = {
    "x": 0.5,
    "word": " ＡB ",
    "n": 3,
    "flag": True,
    "when": "1970-01-02T00:00:00Z",
    "day": "02.01.1970",
    "code": "k",
}


def body(*rows: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(rows), **more}).encode()


def refusal(content: bytes, signature: Signature = ALL) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        Reader(signature).read(content)
    return caught.value


def test_records_and_arrays_give_the_same_rows() -> None:
    reader = Reader(ALL)
    by_name, by_position = reader.read(body(GOOD)), reader.read(body(list(GOOD.values())))
    assert by_name.numbers is not None
    assert by_name.texts is not None
    np.testing.assert_array_equal(by_name.numbers, by_position.numbers)
    assert by_name.numbers.tolist() == [[0.5, 3.0, 1.0, 86400.0, 86400.0]]
    assert by_name.texts.tolist() == by_position.texts.tolist() == [["ab", "k"]]


def test_null_is_nan_for_numbers_and_empty_for_text() -> None:
    rows = Reader(ALL).read(body(GOOD | dict.fromkeys(("x", "word", "flag", "when", "day"))))
    assert [math.isnan(value) for value in rows.numbers[0]] == [True, False, True, True, True]
    assert rows.texts[0].tolist() == ["", "k"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2013-01-31", 1359590400.0),
        ("2013-01-31T08:15:00", 1359620100.0),
        ("2013-01-31 08:15", 1359620100.0),
        ("2013-01-31T08:15:00Z", 1359620100.0),
        ("2013-01-31T10:15:00+02:00", 1359620100.0),
        ("2013-01-31T08:15:00.250001Z", 1359620100.250001),
        ("1969-12-31T23:59:59.5Z", -0.5),
    ],
)
def test_times_are_seconds_since_1970_in_utc(text: str, seconds: float) -> None:
    assert Reader(ALL).read(body(GOOD | {"when": text})).numbers[0, 3] == seconds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "1"}, "row 0, column 'x': found the text '1'; expected a number"),
        ({"x": True}, "row 0, column 'x': found true; expected a number"),
        ({"x": [1]}, "row 0, column 'x': found an array; expected a number"),
        ({"x": math.nan}, "row 0, column 'x': found NaN; expected a number"),
        ({"x": -math.inf}, "row 0, column 'x': found -Infinity; expected a number"),
        ({"x": 10**400}, "row 0, column 'x': found the number beyond 1e20; expected a number up to 1.8e308"),
        ({"word": 5}, "row 0, column 'word': found the number 5; expected text"),
        ({"word": {}}, "row 0, column 'word': found an object; expected text"),
        ({"n": None}, "row 0, column 'n': found null; expected a value (the column is not nullable)"),
        ({"n": 1.5}, "row 0, column 'n': found the number 1.5; expected a whole number below 2**53"),
        (
            {"n": 2**53},
            "row 0, column 'n': found the number 9007199254740992; expected a whole number below 2**53",
        ),
        ({"flag": 1}, "row 0, column 'flag': found the number 1; expected true or false"),
        ({"when": "soon"}, "row 0, column 'when': found the text 'soon'; expected a time in ISO 8601"),
        ({"when": 5}, "row 0, column 'when': found the number 5; expected a time in ISO 8601"),
        ({"when": "0001-01-01T00:00+05:00"}, "column 'when': found the text '0001-01-01T00:00+05:00'; expected a time"),
        (
            {"day": "1970-01-02"},
            "row 0, column 'day': found the text '1970-01-02'; expected a time written as %d.%m.%Y",
        ),
        ({"code": ""}, "row 0, column 'code': found the text ''; expected text that is not empty"),
        ({"y": 1}, "row 0, column 'y': found an unknown key; expected only x, word, n, flag, when, day, code"),
    ],
)
def test_each_misfit_names_row_column_and_expectation(change: dict[str, Any], message: str) -> None:
    error = refusal(body(GOOD | change))
    assert error.status == 422
    assert message in str(error)


def test_a_missing_key_is_named() -> None:
    record = {name: value for name, value in GOOD.items() if name != "n"}
    assert str(refusal(body(GOOD, record))) == "row 1, column 'n': found no such key; expected a value, or null"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"5", 'body: found the number 5; expected an object such as {"inputs": [[0.5]]}'),
        (b"{}", "body: found no key 'inputs'; expected an array of rows under 'inputs'"),
        (b'{"inputs": {"x": 1}}', "body: found an object; expected an array of rows under 'inputs'"),
        (b'{"inputs": [], "rows": 1}', "body: found the key 'rows'; expected inputs or probabilities"),
        (b'{"inputs": [], "probabilities": 1}', "body: found 'probabilities' is the number 1; expected true or false"),
        (b'{"inputs": [], "probabilities": true}', "expected no probabilities, since this model predicts a number"),
        (b'{"inputs": [5]}', "row 0: found the number 5; expected an array of 7: x, word, n, flag, when, day, code"),
        (b'{"inputs": [[]]}', "row 0: found 0 values; expected an array of 7"),
        (b'{"inputs": [{}, []]}', "row 0, column 'x': found no such key"),
    ],
)
def test_the_outer_form_is_checked(content: bytes, message: str) -> None:
    error = refusal(content)
    assert error.status == 422
    assert message in str(error)


def test_ragged_and_mixed_rows_are_each_named() -> None:
    one = Signature("regression", (Input("x", "float"),))
    assert str(refusal(body([1], [1, 2], {"x": 1}), one)) == (
        "row 1: found 2 values; expected an array of 1: x; row 2: found an object; expected an array of 1: x"
    )


def test_at_most_five_problems_are_told() -> None:
    assert len(refusal(body(*[GOOD | {"x": "?"}] * 100)).faults) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the body is not JSON"),
        (b'{"inputs": [[1', "the body is not JSON"),
        (b'{"inputs": [[nan]]}', "the body is not JSON"),
        (b'{"inputs": [["NaN", NaN, \\ud800]]}', "the body is not JSON"),
        (b'{"inputs": [["\\ud800", NaN]]}', "the body is not JSON"),
        (b'{"inputs": [["\xff"]]}', "the body is not UTF-8: invalid start byte"),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b'{"inputs":' + b'[{"x":' * 50_000, "the body is nested too deeply"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
    ],
)
def test_what_is_not_json_is_refused_as_a_whole(content: bytes, message: str) -> None:
    error = refusal(content)
    assert error.status == 400
    assert message in str(error)


def test_a_number_beyond_float64_is_named_by_row_and_column() -> None:
    one = Signature("regression", (Input("x", "float"),))
    assert str(refusal(b'{"inputs": [[1], [1e999]]}', one)) == "row 1, column 'x': found 1e999; expected a number"


def test_of_a_repeated_key_the_last_one_counts() -> None:
    one = Signature("regression", (Input("x", "float"),))
    assert Reader(one).read(b'{"inputs": [{"x": 1, "x": 2}]}').numbers.tolist() == [[2.0]]


def test_no_rows_give_no_rows() -> None:
    rows = Reader(ALL).read(b'{"inputs": []}')
    assert (rows.count, rows.numbers.shape, rows.texts.shape) == (0, (0, 5), (0, 2))


def test_the_input_is_not_changed() -> None:
    content = bytearray(body(GOOD))
    before = bytes(content)
    Reader(ALL).read(content)
    assert content == before
