"""What libyaml reads instead of ruamel.yaml is read alike."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.home import CHECKOUT
from pipeline.spec.files import UnreadableError
from pipeline.spec.loading.events import parse, parse_fast, parse_precisely

SPECS = [path.read_text() for folder in ("models", "examples", "environments")
         for path in sorted((CHECKOUT / folder).glob("*.yaml"))]  # fmt: skip
READ = """
import sys
from pathlib import Path
from pipeline.spec.loading.names import names_in
print(names_in([Path(sys.argv[1])]), "ruamel.yaml" in sys.modules)
"""
PIECES = [
    *("a", "b: ", "- ", "? ", ": ", ":", "{", "}", "[", "]", ", ", ",", "\n", "\n  ", "\n    ", '"', "'", "#", " #"),
    *("|", ">", "|-", ">+", "&x ", "*x", "!t ", "!!str ", "<<", "---\n", "...\n", "%YAML 1.2\n", "\t", "\\", "\\n"),
    *("\\/", "\\u0041", "~", "null", "é", "😀", "\u2028", "\x85", "  ", "1", "x: y", "- z", "@", "`", "-", "?", "="),
    *("k:\n", "k: v\n", "- i\n", '"q"', "'s'", "[1, 2]", "{m: n}", "\n\n", "a b", "http://x", "a#b", "a:b", "it's"),
    *("{a}", "{a, b: c}", '{"a":1}', "[a: b]", "? k\n: v\n", "|\n  t\n", "|2\n   t\n", "0 3 * * *", "x > 1", " & "),
]


def told(events: Any) -> list[tuple[Any, ...]]:
    """Return all that a document takes from events."""
    return [(type(event).__name__, *facts(event)) for event in events]


def facts(event: Any) -> tuple[Any, ...]:
    if not hasattr(event, "anchor"):  # the end of something, a document, the stream
        return ()
    start, end = event.start_mark, event.end_mark
    value, style = getattr(event, "value", None), bool(getattr(event, "style", None))
    return (start.line, start.column, event.anchor, value, style, value is not None and start.line == end.line)


def mangle(chance: random.Random) -> str:
    """Make a text: pieces of YAML, or some lines of a spec with pieces put in."""
    if chance.random() < 0.6:
        return "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 14)))
    lines = chance.choice(SPECS).split("\n")
    first = chance.randrange(len(lines))
    text = "\n".join(lines[first : first + chance.randrange(1, 12)])
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(PIECES) + text[place + chance.choice((0, 0, 1, 2)) :]
    return text


@pytest.mark.parametrize("text", SPECS)
def test_the_specs_here_are_read_by_libyaml(text: str) -> None:
    events = parse_fast(text)
    assert events is not None
    assert told(events) == told(parse_precisely(text))


def test_any_text_that_libyaml_reads_is_read_alike_by_ruamel() -> None:
    chance = random.Random(20)
    read = 0
    for _ in range(6000):
        text = mangle(chance)
        if (events := parse_fast(text)) is not None:
            read += 1
            assert told(events) == told(parse_precisely(text)), text
    assert read > 500


@pytest.mark.parametrize(
    "text",
    ["a: |\n  t\n", "a: &x 1\n", "a: !!str 1\n", "? a\n: b\n", "a:\tb\n", "a:\n", "a: 1\n---\nb: 2\n", "a: [1\n"],
)
def test_what_the_two_may_read_differently_is_left_to_ruamel(text: str) -> None:
    assert parse_fast(text) is None


def test_a_text_that_is_no_yaml_is_explained_by_ruamel() -> None:
    with pytest.raises(UnreadableError, match="a `\\[` that isn't closed"):
        list(parse("a: [1\nb: 2\n"))


def test_a_spec_needs_no_ruamel(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {name: a}\n")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "a.yaml")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("'a'} False\n")
