"""Regions of a file that Modelrail owns, in a file that is otherwise the user's.

A region begins with a line that holds the command by which it was written, and ends with one that holds its digest. So
it can be written anew, and what somebody has changed inside is seen.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

BEGIN, END = ">>> modelrail ci init", "<<< modelrail"
State = Literal["current", "older", "edited", "missing", "foreign"]


@dataclass(frozen=True)
class Region:
    """What Modelrail wrote into a file.

    Attributes
    ----------
    before, text, after : str
        The file in three parts; the text is with its first line and without its last.
    options : str
        What stood after ``modelrail ci init``.
    edited : bool
        Whether the text is another one than was written.
    """

    before: str
    text: str
    after: str
    options: str
    edited: bool


def wrap(text: str, options: str, comment: str) -> str:
    """Write a text as a region."""
    begun = f"{comment} {BEGIN} {options}\n{text}"
    return f"{begun}{comment} {END} {_digest(begun)}\n"


def find_region(content: str, comment: str) -> Region | None:
    """Find the region of a file; None if there is not exactly one."""
    mark = re.escape(comment)
    pattern = re.compile(
        rf"^(?P<text>{mark} {re.escape(BEGIN)} (?P<options>[^\n]*)\n.*?)^{mark} {re.escape(END)} (?P<digest>\S+)\n?",
        re.MULTILINE | re.DOTALL,
    )
    found = list(pattern.finditer(content))
    if len(found) != 1 or content.count(BEGIN) != 1:
        return None
    (match,) = found
    return Region(
        content[: match.start()],
        match["text"],
        content[match.end() :],
        match["options"],
        _digest(match["text"]) != match["digest"],
    )


def state_of(content: str | None, wanted: str, comment: str) -> State:
    """Say how a file stands to the region that it should have.

    Returns
    -------
    str
        ``missing``: no file; ``foreign``: a file without a region; ``edited``: somebody changed the region;
        ``older``: it is as it was written, and would be written otherwise today; ``current``.
    """
    if content is None:
        return "missing"
    region = find_region(content, comment)
    if region is None:
        return "foreign"
    if region.edited:
        return "edited"
    return "current" if wrap_of(region, comment) == wanted else "older"


def wrap_of(region: Region, comment: str) -> str:
    """Write a region that was found, with its last line."""
    return f"{region.text}{comment} {END} {_digest(region.text)}\n"


def merge(content: str, wanted: str, comment: str) -> str:
    """Put a region in the place of the one that a file has; all around it stays."""
    region = find_region(content, comment)
    return content if region is None else f"{region.before}{wanted}{region.after}"


def difference(content: str, merged: str, path: str) -> str:
    """Write what would change in a file, as a diff."""
    lines = difflib.unified_diff(
        content.splitlines(keepends=True), merged.splitlines(keepends=True), path, f"{path} (as it would be written)"
    )
    return "".join(each if each.endswith("\n") else f"{each}\n" for each in lines)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
