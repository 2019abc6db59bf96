"""What a pull request would come to, as the comment that it gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelrailError, SpecError
from pipeline.messages import count, encodable
from pipeline.ui.terminal.plans import estimate_of, markdown_plan, markdown_table, tasks_of
from pipeline.ui.terminal.sections import markdown_cell

if TYPE_CHECKING:
    from pipeline.operations.review import Review

Failure = tuple[Path, ModelrailError]


def marker_of(environment: str | None) -> str:
    """Write the line by which the comment is found again: Markdown that nobody sees."""
    return f"[modelrail]: # (review{f' of {environment}' if environment else ''})"


def markdown_review(found: Sequence[Review], failed: Sequence[Failure], environment: str | None, commit: str) -> str:
    """Write a heading, a table with a line for each model, each model's plan, and what is wrong with the others."""
    where = f" in `{environment}`" if environment else ""
    lines = [f"## What this change would come to{where}", ""]
    rows = [
        (each.job.model, tasks_of(each.steps), estimate_of(each.job, each.steps) or "-", each.say) for each in found
    ]
    rows += [(path.stem, "-", "-", "cannot be planned") for path, _ in failed]
    lines += markdown_table(("model", "to do", "about", "deployment"), rows)
    lines += [_failure(*each) for each in failed]
    lines += [markdown_plan(each) for each in found]
    return _calling_nobody(encodable("\n".join([*lines, f"Planned by Modelrail at `{commit[:12]}`.", ""])))


def _calling_nobody(text: str) -> str:
    """Keep what a spec says from calling people by their names, in a comment that they would take for ours."""
    return re.sub(r"(?<![A-Za-z0-9_])@", "@\N{ZERO WIDTH SPACE}", text)  # in line@v1.0.0 it calls nobody


def _failure(path: Path, error: ModelrailError) -> str:
    said = error.problems if isinstance(error, SpecError) else (error,)
    return "\n".join([f"### {markdown_cell(path.stem)}", "", *(f"- {markdown_cell(str(each))}" for each in said), ""])


def verdict(found: Sequence[Review], failed: Sequence[Failure]) -> str:
    """Say in one line what the status says."""
    changing = sum(each.changes_something for each in found)
    told = f"{changing:,} of {count(len(found) + len(failed), 'model')} would change"
    return f"{count(len(failed), 'model')} cannot be planned, {told}" if failed else told


def fit(text: str, longest: int, whole: Path | None) -> str:
    """Cut a comment that is too long for its host, after a line, and say so and where the whole is.

    Parameters
    ----------
    longest : int
        In characters.
    whole : Path, optional
        The file that has all of it.
    """
    if len(text) <= longest:
        return text
    place = (
        f"the file `{whole.name}` of the run has all of it" if whole else "`modelrail plan --markdown` prints it all"
    )
    note = f"\n\n**Cut here**, since the host takes {longest:,} characters at most: {place}.\n"
    kept = text[: longest - len(note)]
    return kept[: kept.rfind("\n") if "\n" in kept else None].rstrip() + note
