from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.model import words as module
from pipeline.model.words import PORTION, Words, count_grams, grams_of, merge_grams, portions

TEXTS = [
    ("The cat, the CAT!", "the cat the cat"),
    ("", ""),
    ("  \u3000 !? a", ""),
    ("Ünïcode straße ÉTÉ", "ünïcode straße été"),
    ("e\u0301te\u0301", "te"),
    ("I don't 2x4 x_y", "don 2x4 x_y"),
    ("日本語 text テキスト", "日 本 語 text テ キ ス ト"),
    ("ภาษา", "ภ า ษ า"),
    ("мир ελληνικά שלום مرحبا 한국어", "мир ελληνικά שלום مرحبا 한국어"),
    ("🙂 good🙂day", "good day"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_words_are_found_in_every_script(text: str, expected: str) -> None:
    assert Words("t").of(text) == expected
    assert Words("t").of(expected) == expected


def test_case_can_be_kept_and_a_missing_text_be_filled() -> None:
    assert Words("t", lowercase=False).of("The Cat") == "The Cat"
    assert Words("t", fill="not said").of("") == "not said"


def test_only_the_first_words_of_a_long_text_are_read() -> None:
    rule = Words("t", max_words=3)
    assert rule.of("aa bb cc dd") == "aa bb cc"
    assert rule.of("word " * 1_000_000) == "word word word"
    assert rule.of("x" * 10_000_000).count(" ") == 0


def test_hashes_are_the_same_everywhere_and_below_twice_the_buckets() -> None:
    rule = Words("t", buckets=16, ngrams=(1, 2))
    assert rule.of("The cat") == "6 24 24"
    assert rule.of("") == ""
    assert max(map(int, rule.of("one two three four five six").split())) < 32


def test_a_rule_survives_json() -> None:
    rule = Words("t", False, 7, "x", 4, (1, 3))
    assert Words.from_json(json.loads(json.dumps(asdict(rule)))) == rule


def test_rows_of_words_are_counted_by_row_and_by_time_and_merge() -> None:
    assert grams_of(["a", "b", "c"], (1, 2)) == ["a", "b", "c", "a b", "b c"]
    first, second = count_grams("t", ["a b a", ""], (1, 2)), count_grams("t", ["b"], (1, 2))
    assert first == {"a": (1, 2), "a b": (1, 1), "b": (1, 1), "b a": (1, 1)}
    assert merge_grams("t", [first, second]) == count_grams("t", ["b", "a b a"], (1, 2))
    assert merge_grams("t", [second, first]) == merge_grams("t", [first, second])


def test_too_many_words_are_refused_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GRAMS", 2)
    with pytest.raises(DataError, match=r"'t': 3 different words to count; expected at most 2: hash them"):
        count_grams("t", ["a b c"], (1, 1))


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_text_in_ascii_has_the_words_that_it_has_among_others(*, lowercase: bool) -> None:
    text = "".join(map(chr, range(128))) + "".join(f"a{chr(code)}b_{chr(code)}9 " for code in range(128))
    words = Words("t", lowercase=lowercase)
    assert words.of(f"{text} \u00e9t\u00e9") == f"{words.of(text)} \u00e9t\u00e9"


def test_what_is_remembered_of_hashes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    words = Words("t", buckets=999)
    first = words.of("ab cd ef gh " + "x" * 10_000)
    known = module._buckets(999)
    assert (len(known), max(map(len, known))) == (1, 2)
    assert words.of("ab cd ef gh " + "x" * 10_000) == first


def test_portions_hold_every_row_once_and_one_long_text_alone() -> None:
    texts = np.array([["a b"]] * 50_000 + [["a " * 7_999 + "a"]] + [["a"]] * 10, dtype=object)
    found = list(portions(texts))
    assert [place for cut in found for place in range(cut.start, cut.stop)] == list(range(len(texts)))
    for cut in found:
        longest = max(row[0].count(" ") + 1 for row in texts[cut])
        assert longest * (cut.stop - cut.start) <= PORTION
    assert list(portions(texts[:0])) == [slice(0, 0)]
