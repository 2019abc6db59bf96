"""A report in sections, written once and printed as text or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from pipeline.ui.terminal.console import console, plain, print_whole

_TONES = {"better": "green", "worse": "red", "breaks callers": "red"}


@dataclass(frozen=True)
class Section:
    """A heading, a table and some sentences; what is empty is left out.

    Attributes
    ----------
    columns : tuple of str
        Heads of the table; those that begin with ``>`` have figures below them.
    """

    head: str
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[str]] = ()
    lines: Sequence[str] = ()


def print_sections(title: str, sections: Iterable[Section]) -> None:
    """Print a report to the terminal."""
    console.print(f"[bold]{escape(title)}[/]")
    for section in sections:
        console.print(f"\n[bold]{escape(section.head)}[/]")
        if section.rows:
            print_whole(_table(section))
        for line in section.lines:
            console.print(f"  {escape(plain(line))}")


def markdown_sections(title: str, sections: Iterable[Section]) -> str:
    """Write a report as Markdown, for a pull request's comment."""
    parts = [f"### {markdown_cell(title)}", ""]
    for section in sections:
        parts += [f"**{markdown_cell(section.head)}**", ""]
        if section.rows:
            heads = [name.removeprefix(">") for name in section.columns]
            rules = ["---:" if name.startswith(">") else "---" for name in section.columns]
            parts += [f"| {' | '.join(heads)} |", f"|{'|'.join(rules)}|"]
            parts += [f"| {' | '.join(map(markdown_cell, row))} |" for row in section.rows]
            parts.append("")
        if section.lines:
            parts += [*(f"- {markdown_cell(line)}" for line in section.lines), ""]
    return "\n".join(parts)


def markdown_cell(text: str) -> str:
    """Keep a text from being read as Markdown or HTML, or from ending its cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(text.split()))


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    for name in section.columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(_toned(each) for each in row))
    return table


def _toned(text: str) -> str:
    tone = _TONES.get(text.removesuffix(" (clearly)"))
    return f"[{tone}]{escape(text)}[/]" if tone else escape(plain(text))
