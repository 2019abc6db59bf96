"""Traces, as trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.ui.terminal.console import console, plain

if TYPE_CHECKING:
    from pipeline.operations.provenance.chains import ChainNode
    from pipeline.operations.provenance.tracing import Trace

_SHORT = {"data", "spec", "artifact", "run", "commit"}
_DIGITS = 12
_MOST = 20
_HERE = " [bold magenta]◀ here[/]"


def show_trace(found: Trace) -> None:
    """Print what was found, and each chain as a tree; of a step's many artifacts only the one that was asked about."""
    subject = found.subject
    console.print(f"[bold]{escape(subject.name)}[/]: {escape(subject.said)}")
    drawn = any(_has_here(each) for each in found.chains)
    if subject.node is not None and not drawn:
        console.print(f"  {_line(subject.node)}")
        for name, value in subject.node.facts.items():
            if value not in (None, "", [], {}):
                console.print(f"    {escape(name)}: {escape(plain(str(value)))}")
    for chain in found.chains:
        console.print()
        for line in (_line(chain), *_draw(chain)):
            console.print(line)
    if found.others:
        more = f" and {len(found.others) - _MOST} more" if len(found.others) > _MOST else ""
        console.print(f"\nalso in {', '.join(found.others[:_MOST])}{more}; 'modelrail trace' each for its chain")


def _draw(node: ChainNode, lead: str = "") -> Iterator[str]:
    """Draw what hangs below a node, a line each; Rich's own tree cuts lines off."""
    shown = _shown(node)
    for each in shown:
        last = each is shown[-1]
        single = each.nodes[0] if _is_single(each) else None
        text = _line(each) if single is None else f"{escape(each.name)} {_line(single)}"
        yield f"{lead}{'└─' if last else '├─'} {text}"
        yield from _draw(each, f"{lead}{'   ' if last else '│  '}")


def _shown(node: ChainNode) -> Sequence[ChainNode]:
    if _is_single(node):
        return ()
    return node.nodes if node.kind != "step" else [each for each in node.nodes if each.here]


def _is_single(node: ChainNode) -> bool:
    return node.kind == "step" and len(node.nodes) == 1 and not node.said


def _line(node: ChainNode) -> str:
    if node.kind == "side":
        return f"[dim]{escape(node.name)}[/]"
    name = node.name[:_DIGITS] if node.kind in _SHORT else node.name
    kind = "" if node.kind in ("release", "step", "artifact", "partitions") else f"{node.kind} "
    colon = ":" if node.kind == "partitions" else ""
    said = f"{colon} [dim]{escape(plain(node.said))}[/]" if node.said else ""
    return f"{kind}[bold]{escape(plain(name))}[/]{said}{_HERE if node.here else ''}"


def _has_here(node: ChainNode) -> bool:
    return node.here or any(map(_has_here, node.nodes))
