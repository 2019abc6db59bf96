"""Expressions over columns."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spec.expressions import MAX_LENGTH, Call, ExpressionError, Name, kind_of, parse, walk

KINDS = {"delay": "number", "hour_of": "number", "carrier": "text", "origin": "text", "at": "time", "due": "time"}

GOOD = [
    ("delay > 15", "flag", {"delay"}),
    ("1 < delay <= 3", "flag", {"delay"}),
    ("carrier == 'UA' or isnull(delay)", "flag", {"carrier", "delay"}),
    ("not (delay in [1, 2.5])", "flag", {"delay"}),
    ("carrier not in ('UA', 'AA')", "flag", {"carrier"}),
    ("delay / 60 - -hour_of ** 2 % 7 // 3", "number", {"delay", "hour_of"}),
    ("(delay > 3) + 1", "number", {"delay"}),
    ("max(delay, hour_of, 0)", "number", {"delay", "hour_of"}),
    ("clip(log1p(abs(delay)), 0, 5)", "number", {"delay"}),
    ("carrier + '-' + origin", "text", {"carrier", "origin"}),
    ("coalesce(carrier, 'none')", "text", {"carrier"}),
    ("carrier if delay > 0 else origin", "text", {"carrier", "delay", "origin"}),
    ("hour(at) + weekday(due)", "number", {"at", "due"}),
    ("(at - due) / 3600", "number", {"at", "due"}),
    ("hour(at + 3600)", "number", {"at"}),
    ("at < due", "flag", {"at", "due"}),
    ("column('delay') * 2", "number", {"delay"}),
    ("  delay\n  + 1", "number", {"delay"}),
    ("True if delay > 1 else False", "flag", {"delay"}),
    ("isnull(at)", "flag", {"at"}),
]

BAD = [
    ("", 0, "invalid syntax", "Python's syntax"),
    ("delay +", 7, "invalid syntax", "Python's syntax"),
    ("delay.real", 0, "`Attribute`", "without a dot"),
    ("2 * (lambda: 1)", 5, "`Lambda`", "without lambda"),
    ("délai + x.y", 8, "`Attribute`", "without a dot"),
    ("delay[0]", 0, "`Subscript`", "without an index"),
    ("logg(delay)", 0, "the unknown function `logg`", "`log`"),
    ("numpy.log(delay)", 0, "the unknown function `numpy.log`", "`log`"),
    ("1 + np.sqrt(delay)", 4, "the unknown function `np.sqrt`", "`sqrt`"),
    ("__import__('os')", 0, "the unknown function", "one of abs"),
    ("delay & 1", 0, "`BitAnd`", "`and`"),
    ("~delay", 0, "`Invert`", "`not`"),
    ("delay is None", 0, "`Is`", "isnull(x)"),
    ("delay == None", 9, "`None`", "isnull(x)"),
    ("1 + 2**2**9999", 7, "a constant that has no value", "a finite number"),
    ("1 / 0", 0, "a constant that has no value", "a finite number"),
    ("9" * 1_000, 0, "a constant that has no value", "a finite number"),
    ("1e999", 0, "the constant inf", "a finite number"),
    ("(-8) ** 0.5", 0, "a constant that has no value", "a finite number"),
    ("1j", 0, "`1j`", "a number, text"),
    ("f'{delay}'", 0, "`JoinedStr`", "a column"),
    ("delay in carrier", 9, "something else after `in`", "a list of literals"),
    ("delay in []", 9, "something else after `in`", "a list of literals"),
    ("clip(delay, 1)", 0, "2 arguments for `clip`", "3"),
    ("min(delay)", 0, "1 arguments for `min`", "at least 2"),
    ("round(delay, ndigits=1)", 0, "an argument given by name", "in their order"),
    ("max(delay, *[1])", 11, "`Starred`", "a column"),
    ("delay + 'x'", 0, "number + text", "two numbers, texts or times"),
    ("at + due", 0, "time + time", "two numbers, texts or times"),
    ("abs(carrier)", 4, "a text for `abs`", "a number"),
    ("hour(delay)", 5, "a number for `hour`", "a time"),
    ("carrier < origin", 0, "texts compared by `<`", "`==`"),
    ("carrier == 3", 0, "number and text in `==`", "values of one kind"),
    ("carrier if delay else 0", 0, "number and text in `if`", "values of one kind"),
    ("at", 0, "a time as the result", "hour(time)"),
    ("1 + delai", 4, "the unknown column `delai`", "`delay`"),
    ("column(delay)", 0, "`column` of something else", "column('name')"),
    ("delay\x00", 6, "null", "Python's syntax"),
    ("-" * 150 + "delay", 100, "too many levels", "at most 100"),
    ("(" * 900 + "delay" + ")" * 900, 200, "too many nested parentheses", "Python's syntax"),
    ("delay # note\n+ 1", 16, "", "Python's syntax"),
]


@pytest.mark.parametrize(("text", "kind", "names"), GOOD, ids=[text for text, *_ in GOOD])
def test_an_expression_tells_its_kind_and_names(text, kind, names):
    expression = parse(text)
    assert (kind_of(expression, KINDS), expression.names) == (kind, names)


@pytest.mark.parametrize(("text", "offset", "found", "expected"), BAD, ids=[text[:20] for text, *_ in BAD])
def test_a_mistake_is_told_with_its_place(text, offset, found, expected):
    with pytest.raises(ExpressionError) as caught:
        kind_of(parse(text), KINDS)
    assert found in caught.value.found
    assert expected in caught.value.expected
    assert abs(caught.value.offset - offset) <= (2 if "syntax" in expected else 0)


def test_an_expression_is_not_too_long():
    with pytest.raises(ExpressionError, match="found 2,002 characters; expected at most 2,000"):
        parse("a" * (MAX_LENGTH + 2))


def test_constants_are_folded_and_positions_kept():
    root = parse("  x * (2 + 3)").root
    assert isinstance(root, Call)
    assert [getattr(node, "value", getattr(node, "name", None)) for node in walk(root)] == ["*", "x", 5.0]
    assert root.arguments[0] == Name("x", 2)


def test_a_bare_column_counts_as_a_number_until_its_kind_is_known():
    assert parse("carrier").kind == "number"
    assert kind_of(parse("carrier"), KINDS) == "text"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text) + 1  # noqa: PT017


@given(
    st.recursive(
        st.sampled_from(["delay", "1", "at", "carrier", "'x'"]),
        lambda inner: st.builds(
            "({} {} {})".format, inner, st.sampled_from(["+", "-", "<", "==", "and", "or", "**", "//"]), inner
        ),
        max_leaves=8,
    )
)
def test_kinds_are_found_or_refused(text):
    try:
        assert kind_of(parse(text), KINDS) in ("number", "flag", "text")
    except ExpressionError as error:
        assert error.expected  # noqa: PT017


def test_nothing_heavy_is_imported():
    import subprocess

    code = "import sys, pipeline.spec.expressions; print({'numpy', 'pandas', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
