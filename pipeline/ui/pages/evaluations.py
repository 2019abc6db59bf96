"""What an evaluation found, as the pages show it: read once, since an artifact never changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from pipeline.errors import StoreError
from pipeline.operations.provenance.metrics import compare_metric, estimate
from pipeline.steps.evaluate.results import Estimate
from pipeline.storage.artifacts import Artifact
from pipeline.ui.pages.charts import Measured, Pair, pair

EVALUATION, CARD = "evaluation.json", "model-card.md"
_PLOT = ("plot-", ".png")


@dataclass(frozen=True)
class Comparison:
    """One metric of the candidate, next to the champion's.

    Attributes
    ----------
    better : bool or None
        Whether the candidate is better; None where they cannot be compared or are level.
    drawn : Pair or None
        Both intervals on one scale.
    """

    metric: str
    candidate: Estimate | None
    champion: Estimate | None
    difference: float | None
    better: bool | None
    drawn: Pair | None


@dataclass(frozen=True)
class Found:
    """An evaluation.

    Attributes
    ----------
    champion : str
        Tag of the release that it was compared with; empty if there was none.
    trouble : str
        Why the champion could not be evaluated.
    """

    rows: int
    metrics: Sequence[Comparison]
    champion: str
    trouble: str
    notes: Sequence[str]


def read_evaluation(artifact: Artifact | None) -> Found | None:
    """Read an evaluate artifact; None where it is gone."""
    document = _json(artifact, EVALUATION)
    if document is None:
        return None
    candidate, champion = document["candidate"], document["champion"] or {}
    theirs = (champion.get("evaluation") or {}).get("metrics", {})
    return Found(
        rows=candidate["rows"],
        metrics=compare(candidate["metrics"], theirs),
        champion=champion.get("tag", ""),
        trouble=champion.get("trouble", ""),
        notes=candidate["notes"],
    )


def compare(candidate: Mapping[str, Mapping[str, Any]], champion: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    """Compare the metrics of candidate and champion, in the candidate's order."""
    return [_compare(name, estimate(candidate[name]), estimate(champion.get(name))) for name in candidate]


def _compare(name: str, ours: Estimate | None, theirs: Estimate | None) -> Comparison:
    change = compare_metric(name, theirs, ours)
    drawn = pair(_measured(name, ours), _measured(name, theirs))
    return Comparison(name, ours, theirs, change.difference, change.better, drawn)


def _measured(name: str, estimate: Estimate | None) -> Measured | None:
    return None if estimate is None else Measured(name, estimate.value, estimate.low, estimate.high)


def plots_of(artifact: Artifact | None) -> list[str]:
    """Name the plots of an evaluate artifact."""
    start, end = _PLOT
    names = artifact.names if artifact else ()
    return [name.removeprefix(start).removesuffix(end) for name in names if name.startswith(start)]


def plot_file(artifact: Artifact, name: str) -> Path | None:
    """Find the file of a plot; None if there is none of that name."""
    start, end = _PLOT
    file = f"{start}{name}{end}"
    return artifact.file(file) if name in plots_of(artifact) and artifact.file(file).is_file() else None


def model_card(artifact: Artifact | None) -> Markup | None:
    """Render the model card as HTML; tags in its text are escaped. None if there is no card."""
    content = _bytes(artifact, CARD)
    if content is None:
        return None
    body = content.decode("utf-8").partition("\n")[2]  # the page has a heading of its own
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    return Markup(rendered)  # noqa: S704 - of CommonMark without HTML, which markdown-it escapes


def _json(artifact: Artifact | None, name: str) -> Any:
    content = _bytes(artifact, name)
    return None if content is None else json.loads(content)


def _bytes(artifact: Artifact | None, name: str) -> bytes | None:
    if artifact is None or not artifact.has(name):
        return None
    try:
        return _read(artifact.file(name))
    except (OSError, StoreError):  # removed since its manifest was read
        return None


@lru_cache(maxsize=128)
def _read(path: Path) -> bytes:
    return path.read_bytes()
