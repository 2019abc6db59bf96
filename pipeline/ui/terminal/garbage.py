"""What the store holds, what needs it, and what was removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from pipeline.messages import count
from pipeline.operations.garbage.deciding import WORDS, Fate, Why
from pipeline.ui.terminal.console import console, print_whole

if TYPE_CHECKING:
    from pipeline.operations.garbage.surveying import Survey
    from pipeline.operations.garbage.sweeping import Swept

_GOES = "nothing needs it: would be removed"


def show_survey(found: Survey) -> None:
    """Print for each model what stays and why, and what would go."""
    table = Table(box=None, pad_edge=False)
    for name in ("model", "artifacts", "size", "why"):
        table.add_column(name, justify="left" if name in ("model", "why") else "right", no_wrap=True)
    for model, sums in _sums(found.fates).items():
        for why, each in sums.items():
            said = WORDS[why] if why else f"[yellow]{_GOES}[/]"
            table.add_row(escape(model), f"{each['artifacts']:,}", size(each["bytes"]), said)
    if found.fates:
        print_whole(table)
    for name, trouble in found.blind.items():
        console.print(
            f"[yellow]{escape(name)}: all of it stays[/], since what it needs is not known: {escape(trouble)}"
        )
    if found.others:
        total = sum(each.bytes for each in found.others)
        console.print(f"{count(len(found.others), 'artifact')} of other repositories, {size(total)}: left alone")
    for said in _describe_rest(found):
        console.print(said)
    if not found.has_work:
        console.print("nothing to remove")


def show_swept(done: Swept | None) -> None:
    """Print what was removed; `done` is None if nobody agreed to remove anything."""
    if done is None:
        console.print("nothing was removed; --yes removes without asking")
        return
    spared = f"; {done.spared} spared, since a run needs them now" if done.spared else ""
    console.print(f"removed {count(done.removed, 'artifact')}, {size(done.bytes)}{spared}")


def describe_survey(found: Survey, done: Swept | None) -> Mapping[str, Any]:
    """Say for a program what `show_survey` and `show_swept` say to a person."""
    models = [
        {"model": model, "kept": {why: each for why, each in sums.items() if why}, "goes": sums.get(None, _sum(()))}
        for model, sums in _sums(found.fates).items()
    ]
    return {
        "since": found.limit,
        "models": models,
        "others": {"artifacts": len(found.others), "bytes": sum(each.bytes for each in found.others)},
        "leftovers": {"artifacts": len(found.leftovers), "bytes": sum(each.bytes for each in found.leftovers)},
        "notes": {"over": len(found.over), "merged": sum(len(each.old) for each in found.merges)},
        "artifacts": [vars(each) for each in found.goes],
        "blind": dict(found.blind),
        "removed": vars(done) if done else None,
    }


def size(amount: float) -> str:
    """Write a number of bytes: ``12.3 MB``."""
    return f"{amount / 1e9:,.1f} GB" if amount >= 1e9 else f"{amount / 1e6:,.1f} MB"


def _describe_rest(found: Survey) -> Iterable[str]:
    if found.leftovers:
        total = sum(each.bytes for each in found.leftovers)
        yield f"{count(len(found.leftovers), 'leftover')} of killed processes, {size(total)}: would be removed"
    if found.over:
        yield f"{count(len(found.over), 'note')} of what runs needed once: would be removed"
    if notes := sum(len(each.old) for each in found.merges):
        yield f"{count(notes, 'note')} of costs: would be merged into {len(found.merges)}"


def _sums(fates: Iterable[Fate]) -> dict[str, dict[Why | None, dict[str, int]]]:
    """Add up by model and by why, in the order of `WORDS`; what goes comes last."""
    order: list[Why | None] = [*WORDS, None]
    ordered = sorted(fates, key=lambda each: (each.model, order.index(each.why)))
    return {
        model: {why: _sum(group) for why, group in groupby(mine, key=lambda each: each.why)}
        for model, mine in groupby(ordered, key=lambda each: each.model)
    }


def _sum(fates: Iterable[Fate]) -> dict[str, int]:
    sizes = [each.bytes for each in fates]
    return {"artifacts": len(sizes), "bytes": sum(sizes)}
