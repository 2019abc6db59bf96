"""Rebuilds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.messages import count
from pipeline.ui.terminal.console import console
from pipeline.ui.terminal.sections import Section, print_sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.operations.provenance.rebuilding import Proof, Rebuilt

_WORDS = {True: "the same", False: "DIFFER", None: "not compared"}


def show_rebuild(done: Rebuilt) -> None:
    """Print what matched and what did not, artifact by artifact; partitions that are all alike in one line."""
    print_sections(f"{done.release}, rebuilt from Git", _sections(done))
    console.print()
    if done.proven:
        console.print(f"[green]✓[/] proven: the same keys and the same model, byte by byte ({done.seconds:.1f} s)")
    else:
        console.print(f"[red]✗ not proven[/]: see what differs above ({done.seconds:.1f} s)")


def _sections(done: Rebuilt) -> Iterator[Section]:
    yield Section("Code", lines=[done.code, *done.notes])
    yield _libraries(done)
    rows = [row for step in dict.fromkeys(each.step for each in done.proofs) for row in _rows(step, done.proofs)]
    yield Section("Artifacts", ("step", "", "key", "keys", "bytes", ""), rows)


def _libraries(done: Rebuilt) -> Section:
    if not done.recorded:
        return Section("Environment", lines=["the release does not say which libraries made it"])
    same = len(done.recorded) - len(done.other_libraries)
    rows = [(name, then, now) for name, (then, now) in done.other_libraries.items()]
    alike = "all as recorded" if not rows else f"{same} others as recorded"
    return Section("Environment", ("", "then", "here"), rows, [f"{alike} ({count(len(done.recorded), 'version')})"])


def _rows(step: str, proofs: Sequence[Proof]) -> Iterator[tuple[str, ...]]:
    mine = [each for each in proofs if each.step == step]
    alike = [each for each in mine if not each.failed]
    groups = {(each.same_key, each.same_bytes, each.note): each for each in alike}
    if len(mine) > 1:
        for same_key, same_bytes, note in groups:
            number = sum((each.same_key, each.same_bytes, each.note) == (same_key, same_bytes, note) for each in alike)
            yield (step, count(number, "partition"), "", _WORDS[same_key], _WORDS[same_bytes], note)
        alike = []
    for each in (*alike, *(each for each in mine if each.failed)):
        yield (step, each.partition or "", each.found[:12], _WORDS[each.same_key], _WORDS[each.same_bytes], each.note)
