"""Patterns mean what they mean in Python, and take no longer for texts that were made to."""

from __future__ import annotations

import re
import time

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.spec.patterns import PatternError, to_re2


def matches(pattern: str, texts: list[str]) -> list[bool]:
    found: list[bool] = pc.match_substring_regex(pa.array(texts), to_re2(pattern)).to_pylist()
    return found


_ATOMS = st.sampled_from(
    [
        *("a", "b", "é", "ß", "-", "_", "1", " ", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\.", r"\n"),
        *("[ab]", "[^a]"),
        *("[a-c1-3]", r"[\w-]", r"[\d.]", r"[^\s]", r"[\W_]", "[^a-cé]", "(?i:É)", "(?s:.)", "^", "$", r"\A", r"\Z"),
        *("ĳ", "日"),
    ]
)  # fmt: skip
_COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"])
_PATTERNS = st.recursive(
    st.tuples(_ATOMS, _COUNTS).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(st.lists(inner, min_size=1, max_size=2).map("|".join), _COUNTS).map(
            lambda each: f"({each[0]}){each[1]}"
        ),
    ),
    max_leaves=4,
)
_TEXTS = st.text("ab1éÉß-_ .\n\t٣日ǅ²\u00a0A", max_size=6)


@settings(max_examples=400, deadline=None)
@given(_PATTERNS, st.lists(_TEXTS, min_size=1, max_size=8), st.sampled_from(["", "(?i)", "(?a)", "(?s)"]))
def test_a_pattern_matches_what_it_matches_in_python(pattern: str, texts: list[str], flags: str) -> None:
    try:
        known = re.compile(flags + pattern)
        to_re2(flags + pattern)
    except (re.error, PatternError):
        assume(False)
    assert matches(flags + pattern, texts) == [known.fullmatch(text) is not None for text in texts]


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*a){20}b", r"(\w+\s?)+!", "(a?){30}a{30}c"])
def test_no_text_takes_long(pattern: str) -> None:
    began = time.process_time()
    assert matches(pattern, ["a" * 50_000]) == [False]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"(?=a)a", "a look-ahead or look-behind"),
        (r"(?<!a)b", "a look-ahead or look-behind"),
        (r"(a)\1", "a reference to a group"),
        (r"(a)?(?(1)b|c)", "a choice by a group"),
        ("a++", "a possessive repetition"),
        ("(?>a)b", "an atomic group"),
        (r"\bword\b", "an anchor of a line or a word"),
        (r"a$\n", "an end that is not its own"),
        ("(?ai)a", "(?a) beside (?i)"),
        ("(?m)^a$", "an anchor of a line or a word"),
        (r"[^\W]", "a set that leaves out what is no digit, letter or space"),
        ("a{1001}", "1,001 repetitions, more than 1,000"),
        ("((a{100}){100}){100}", "a pattern that stands for some"),
        (r"\w{900}", "a pattern that stands for some"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_named(pattern: str, found: str) -> None:
    with pytest.raises(PatternError, match=re.escape(found)):
        to_re2(pattern)


@pytest.mark.parametrize("pattern", [r"\w{300}", r"[\w-]{1,300}", ".{1000}", r"(\d{1,3}\.){3}\d{1,3}"])
def test_what_is_not_too_large_for_us_is_not_for_re2(pattern: str) -> None:
    assert matches(pattern, ["!"]) == [False]
