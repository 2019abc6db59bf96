"""YAML that is wrong before it says anything about a model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.spec.files import FileError
from pipeline.spec.loading.documents import Mark, read_document

BAD: dict[str, tuple[bytes, list[str]]] = {
    "an empty file": (b"", ["1:1: found an empty file; expected a mapping, such as `model: {name: my-model}`"]),
    "comments alone": (b"# x\n", ["1:1: found an empty file; expected a mapping, such as `model: {name: my-model}`"]),
    "a list": (b"- a", ["1:1: found a list; expected a mapping, such as `model: {name: my-model}`"]),
    "a scalar": (b"a", ["1:1: found a single value; expected a mapping, such as `model: {name: my-model}`"]),
    "a tab": (b"a:\n\tb: 1\n", ["2:1: found a tab in the indentation; expected spaces"]),
    "a BOM": (
        b"\xef\xbb\xbfa: 1",
        ["1:1: found a byte order mark (UTF-8); expected UTF-8 without a byte order mark"],
    ),
    "UTF-16": (
        "a: 1".encode("utf-16"),
        ["1:1: found a byte order mark (UTF-16); expected UTF-8 without a byte order mark"],
    ),
    "no UTF-8": (b"a: 1\nb: \xc3\xa9\xff", ["2:5: found the byte 0xff, which is no UTF-8; expected UTF-8 text"]),
    "NUL": (b"a: 1\r\nb: \x00", ["2:4: found the control character U+0000; expected printable text"]),
    "repeated keys": (
        b"a: 1\na: {b: 1, b: 2}",
        [
            "2:1: a: found the key 'a' a second time (first in line 1); expected each key once",
            "2:11: a.b: found the key 'b' a second time (first in line 2); expected each key once",
        ],
    ),
    "anchors": (
        b"a: &x 1\nb: *x",
        [
            "1:4: a: found an anchor, &x; expected the value alone (quoted, if it is a text that starts with `&`)",
            "2:4: b: found an alias, *x; expected the value itself (quoted, if it is a text that starts with `*`)",
        ],
    ),
    "a merge key": (b"a:\n  <<: {b: 1}", ["2:3: a: found a merge key, <<; expected the keys themselves"]),
    "a tag": (b"a: !x 1", ["1:4: a: found a tag, '!x'; expected the value alone (in quotes to make it a text)"]),
    "a Python object": (
        b"a: !!python/object/apply:os.system [ls]",
        [
            (
                "1:4: a: found a tag, 'tag:yaml.org,2002:python/object/apply:os.system'; "
                "expected the value alone (in quotes to make it a text)"
            )
        ],
    ),
    "a complex key": (b"? [a]\n: 2", ["1:3: found a list or mapping as a key; expected a text as key"]),
    "two documents": (
        b"a: 1\n---\nb: 2",
        ["2:1: found a second document; expected one spec a file (without a line `---` between)"],
    ),
    "another YAML": (
        b"%YAML 1.1\n---\na: 1",
        ["2:1: found a directive for YAML 1.1; expected YAML 1.2, without a directive"],
    ),
    "an open list": (b"a: [1\n", ["1:4: found a `[` that isn't closed; expected `,` or `]`"]),
    "an open mapping": (b"a: {b: 1", ["1:4: found a `{` that isn't closed; expected `,` or `}`"]),
    "an open quote": (b"a: 'x\n", ["1:4: found a quote that isn't closed; expected a closing quote"]),
    "a colon": (
        b"a: b: c",
        [
            (
                "1:5: found a `:` where no key can be; "
                "expected quotes around a text that has `: ` in it, or the indentation of the other keys"
            )
        ],
    ),
    "a special character": (
        b"a: @x",
        ["1:4: found a character that has a meaning in YAML; expected quotes around a text that starts with it"],
    ),
    "an impossible escape": (
        b'a: "\\ud800"\nb: "\\0"\n"c\\0": 1',
        [
            "1:4: a: found an escape that makes no character of a text; expected a text without it",
            "2:4: b: found an escape that makes no character of a text; expected a text without it",
            "3:1: found an escape that makes no character of a text; expected a text without it",
        ],
    ),
    "no number": (
        b"a: .nan\nb: 1e999\nc: 12345678901234567890",
        [
            "1:4: a: found .nan; expected a finite number",
            "2:4: b: found 1e999; expected a finite number",
            "3:4: c: found a whole number of 20 digits; expected at most 18 digits (in quotes, if it is an identifier)",
        ],
    ),
}


def _messages(path: Path) -> list[str]:
    return [str(problem).removeprefix(f"{path}:") for problem in read_document(path).problems]


@pytest.mark.parametrize("name", BAD)
def test_reading_tells_what_is_wrong_and_where(name: str, tmp_path: Path) -> None:
    content, messages = BAD[name]
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    assert _messages(path) == messages


HUGE: dict[str, tuple[bytes, str]] = {
    "too many bytes": (
        b"# x\n" * 270_000,
        " found more than 1 MiB; expected a spec of at most 1 MiB (data belong in files of their own)",
    ),
    "deep lists": (b"[" * 50_000, "1:34: found more than 32 levels; expected a flatter spec"),
    "deep mappings": (b"{a: " * 20_000, "1:133: found more than 32 levels; expected a flatter spec"),
    "deep keys": (b"? " * 40_000, "1:67: found more than 32 levels; expected a flatter spec"),
    "many values": (b"a: [\n" + b"0,\n" * 100_000, "60000:1: found more than 60000 values; expected a smaller spec"),
    "a long line": (b"!" * 200_000, "1:1: found a line of 200000 characters; expected lines of at most 100000"),
    "a bomb": (
        b"a: &a [x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]",
        "1:4: a: found an anchor, &a; expected the value alone (quoted, if it is a text that starts with `&`)",
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_reading_what_is_huge_or_deep_ends_soon(name: str, tmp_path: Path) -> None:
    content, message = HUGE[name]
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    start = time.process_time()
    assert _messages(path)[0] == message
    assert time.process_time() - start < 20


def test_values_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "{a: no, b: on, c: 1e-3, d: 0x1f, e: 0o17, f: 1_000, g: 12:30, h: 2013-01-01, i: ~, j: TRUE, k: 010, l: +.5,"
        " m: '1', n: , o: \"\\ud83d\\ude00\", no: 1, 2013: 2, null: 3}",
        encoding="utf-8",
    )
    assert read_document(path).data == {
        "a": "no",
        "b": "on",
        "c": 0.001,
        "d": 31,
        "e": 15,
        "f": "1_000",
        "g": "12:30",
        "h": "2013-01-01",
        "i": None,
        "j": True,
        "k": 10,
        "l": 0.5,
        "m": "1",
        "n": None,
        "o": "😀",
        "no": 1,
        "2013": 2,
        "null": 3,
    }


def test_every_key_and_value_has_a_place(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("a:\n  - b: 'x y'\n", encoding="utf-8")
    document = read_document(path)
    assert document.keys["a", 0, "b"] == Mark(str(path), 2, 5, 0)
    assert document.values["a", 0, "b"] == Mark(str(path), 2, 8, 1)


def test_a_file_that_is_not_there_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").write_text("a: 1", encoding="utf-8")
    path = tmp_path / "flight.yaml"
    with pytest.raises(FileError) as caught:
        read_document(path)
    assert str(caught.value) == (
        f"{path}: found no such file; expected the path of a YAML file; did you mean '{tmp_path / 'flights.yaml'}'?"
    )


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        read_document(tmp_path)
    message = f"{tmp_path}: found a folder; expected a YAML file, such as {tmp_path / 'my-model.yaml'}"
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_an_impossible_path_is_an_input_error(name: str) -> None:
    with pytest.raises(FileError, match="expected"):
        read_document(Path(name))


def test_a_device_is_no_spec() -> None:
    with pytest.raises(FileError, match="found something that is no regular file; expected a YAML file"):
        read_document(Path("/dev/zero"))
