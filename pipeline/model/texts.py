"""How text and times are read, alike in training and in serving: one value at a time, with light imports."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

CASES: Mapping[str | None, Callable[[str], str]] = {None: str, "lower": str.lower, "upper": str.upper}


def uniform(value: str, rule: Mapping[str, Any]) -> str:
    """Make one text uniform.

    Parameters
    ----------
    value : str
        The text as it was given; "" stands for a missing one.
    rule : mapping
        ``trim`` (bool), ``case`` (``lower``, ``upper`` or None) and ``unicode`` (``NFC``, ``NFKC`` or None), as in
        the spec's ``clean.text``; what is left out changes nothing.

    Notes
    -----
    The normal form comes first, since NFKC turns other white space and letters into plain ones, and once more after
    the case, which can leave the form (Unicode Standard Annex 15, section 12).
    """
    form: Literal["NFC", "NFKC"] | None = rule.get("unicode")
    text = unicodedata.normalize(form, value) if form else value
    if case := rule.get("case"):
        text = CASES[case](text)
        text = unicodedata.normalize(form, text) if form else text
    return text.strip() if rule.get("trim") else text


def moment(value: str, written: str | None = None) -> datetime:
    """Read one time: ISO 8601, or as ``written`` in strptime's codes; without a zone it is UTC.

    Returns
    -------
    datetime
        In UTC, without a zone.

    Raises
    ------
    ValueError
        If the text is no such time.
    """
    text = value.strip()
    when = datetime.strptime(text, written) if written else datetime.fromisoformat(text)  # noqa: DTZ007
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
