from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.texts import moment, uniform


@pytest.mark.parametrize(
    ("given_text", "rule", "expected"),
    [
        (" a ", {}, " a "),
        (" a\t", {"trim": True}, "a"),
        ("\u00a0a", {"trim": True}, "a"),
        ("aÄ", {"case": "upper"}, "AÄ"),
        ("aÄ", {"case": "lower"}, "aä"),
        ("e\u0301", {"unicode": "NFC"}, "é"),
        ("ﬁ\u3000", {"unicode": "NFKC", "trim": True}, "fi"),
        ("ℌ", {"unicode": "NFKC", "case": "lower"}, "h"),
        ("  ", {"trim": True}, ""),
        ("a", {"trim": False, "case": None, "unicode": None}, "a"),
    ],
)
def test_uniform_applies_what_the_rule_says(given_text: str, rule: dict[str, object], expected: str) -> None:
    assert uniform(given_text, rule) == expected


@given(st.text(), st.sampled_from([None, "NFC", "NFKC"]))
def test_uniform_changes_nothing_the_second_time(text: str, form: str | None) -> None:
    once = uniform(text, {"trim": True, "unicode": form})
    assert uniform(once, {"trim": True, "unicode": form}) == once


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("2013-01-02", None, "2013-01-02T00:00:00"),
        (" 2013-01-02T03:04:05Z", None, "2013-01-02T03:04:05"),
        ("2013-01-02 03:00+02:00", None, "2013-01-02T01:00:00"),
        ("02.01.2013", "%d.%m.%Y", "2013-01-02T00:00:00"),
        ("2013-01-02 03 +0200", "%Y-%m-%d %H %z", "2013-01-02T01:00:00"),
    ],
)
def test_moment_is_in_utc(text: str, written: str | None, expected: str) -> None:
    assert moment(text, written).isoformat() == expected


def test_moment_refuses_what_is_no_time() -> None:
    with pytest.raises(ValueError, match="soon"):
        moment("soon")


def test_text_imports_nothing_heavy() -> None:
    code = "import sys, pipeline.model.texts; assert not {'pandas', 'numpy', 'pydantic', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
