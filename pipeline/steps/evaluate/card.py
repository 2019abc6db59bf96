"""The model card: what a model is, how good it is, what it is not good for, and where it came from.

The headings follow M. Mitchell and others, "Model Cards for Model Reporting" (2019). Every sentence is derived from the
facts; whatever came from data or spec is escaped, so that it can neither format nor script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.limits import describe_limits
from pipeline.steps.evaluate.results import Estimate, Evaluation, Importances
from pipeline.steps.gate import Verdict

MAX_ROWS_SHOWN = 20


@dataclass(frozen=True)
class DataFacts:
    """What the model learnt from.

    Attributes
    ----------
    partitions : sequence of str
        Keys of the partitions read, in order.
    rows_read, rows_quarantined, rows_dropped : int
        Rows of the files, those that broke the contract, and those that cleaning removed.
    split : mapping of str to int
        Side (``train``, ``validation``, ``test``) → rows.
    bounds : mapping of str to str
        ``validation_from`` and ``test_from`` of a split by time.
    known_categories : mapping of str to int
        Text column → categories that are told apart.
    """

    repository: str
    commit: str
    as_of: str
    partitions: Sequence[str]
    rows_read: int
    rows_quarantined: int = 0
    rows_dropped: int = 0
    split: Mapping[str, int] = field(default_factory=dict)
    bounds: Mapping[str, str] = field(default_factory=dict)
    known_categories: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """All that a model card says.

    Attributes
    ----------
    verdict : Verdict or None
        What the gate said, where it was asked.
    champion : mapping of str to Estimate, or None
        Metrics of the live release on the same rows.
    champion_version : str
        Its version, such as ``v1.2.0``.
    watched : sequence of str
        Metrics that are watched once the model is live.
    counted : int
        Most columns that a server counts of what it is asked.
    provenance : mapping of str to str
        Commits, keys, run, versions and date, under the words to show.
    """

    name: str
    task: str
    target: str
    trainer: str
    data: DataFacts
    evaluation: Evaluation
    description: str = ""
    owner: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    champion: Mapping[str, Estimate] | None = None
    champion_version: str = ""
    importances: Importances | None = None
    watched: Sequence[str] = ()
    counted: int = 0
    provenance: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: Facts) -> str:
    """Write the model card as Markdown.

    Returns
    -------
    str
        CommonMark with tables, one section a heading; sections without facts are left out.
    """
    sections = {
        "What it is": _describe_model(facts),
        "Data": _describe_data(facts.data),
        "Metrics": _describe_metrics(facts),
        "Gate": _describe_gate(facts.verdict),
        "By slice": _describe_slices(facts.evaluation),
        "What it looks at": _describe_importances(facts.importances),
        "Limits": _list(_escape(each) for each in _find_limits(facts)),
        "Provenance": _table(("", ""), facts.provenance.items()) if facts.provenance else "",
    }
    body = [f"## {heading}\n\n{text}" for heading, text in sections.items() if text]
    return "\n\n".join([f"# Model card: {_escape(facts.name)}", *body]) + "\n"


def _describe_model(facts: Facts) -> str:
    rows = {
        "Owner": facts.owner,
        "Task": f"{facts.task} of {facts.target}",
        "Trainer": facts.trainer,
        "Parameters": ", ".join(f"{name} = {value}" for name, value in facts.parameters.items()) or "the trainer's own",
    }
    table = _table(("", ""), ((name, text) for name, text in rows.items() if text))
    return "\n\n".join(each for each in (_escape(facts.description), table) if each)


def _describe_data(data: DataFacts) -> str:
    keys = data.partitions
    span = f", {keys[0]} to {keys[-1]}" if len(keys) > 1 else "".join(f", {each}" for each in keys)
    rows = {
        "Repository": data.repository,
        "Commit": data.commit,
        "As of": data.as_of,
        "Partitions": f"{len(keys):,}{span}",
        "Rows read": f"{data.rows_read:,}",
        "Quarantined": _share(data.rows_quarantined, data.rows_read),
        "Dropped in cleaning": _share(data.rows_dropped, data.rows_read),
        **{f"Rows for {side}": f"{count:,}" for side, count in data.split.items()},
        "Validation rows from": data.bounds.get("validation_from", ""),
        "Test rows from": data.bounds.get("test_from", ""),
    }
    return _table(("", ""), ((name, text) for name, text in rows.items() if text))


def _describe_metrics(facts: Facts) -> str:
    champion = facts.champion or {}
    live = f"Live release {facts.champion_version}".strip()
    header = ("Metric", "Value", "95 % interval", "Better", *([live] if champion else []))
    rows = [
        (name, _number(each.value), _span(each), _direction(name), *([_known(champion.get(name))] if champion else []))
        for name, each in facts.evaluation.metrics.items()
    ]
    intro = f"On {facts.evaluation.rows:,} test rows that the model was not fitted on."
    return f"{intro}\n\n{_table(header, rows)}"


def _describe_gate(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    lines = _list(_escape(each.text) for each in verdict.lines)
    return "\n\n".join(each for each in (_escape(_sentence(verdict.summary)), lines) if each)


def _describe_slices(evaluation: Evaluation) -> str:
    tables = [_describe_slice(column, evaluation) for column in evaluation.slices]
    return "\n\n".join(tables)


def _describe_slice(column: str, evaluation: Evaluation) -> str:
    header = (column, "Rows", *evaluation.metrics)
    rows = [
        (
            value,
            f"{each.rows:,}{' (few)' if each.few else ''}",
            *(_number(found.value) for found in each.metrics.values()),
        )
        for value, each in evaluation.slices[column].items()
    ]
    return _table(header, rows)


def _describe_importances(importances: Importances | None) -> str:
    if importances is None:
        return ""
    if not importances.columns:
        return _escape(_sentence(importances.note))
    intro = (
        f"Loss of {_escape(importances.metric)} when a column's values are shuffled, on {importances.rows:,} test "
        "rows. Columns that say the same can stand in for one another."
    )
    shown = importances.columns[:MAX_ROWS_SHOWN]
    return f"{intro}\n\n{_table(('Column', 'Loss'), ((each.column, f'{each.drop:+.4f}') for each in shown))}"


def _find_limits(facts: Facts) -> list[str]:
    data = facts.data
    return describe_limits(
        facts.evaluation,
        quarantined=data.rows_quarantined,
        read=data.rows_read,
        known_categories=data.known_categories,
        watched=facts.watched,
        counted=facts.counted,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    escaped = [[_escape_inline(str(cell)) for cell in each] for each in (header, *rows)]
    lines = [escaped[0], ["---"] * len(header), *escaped[1:]]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {each}" for each in items)


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKS = re.compile(r"[\\`*\[\]|~#!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_OPENERS = re.compile(r"^(\d+)([.)])|^([-+=])")


def _escape(text: str) -> str:
    """Keep a paragraph from formatting, at its start too, where a dash or number would open a list."""
    return _OPENERS.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[3]}", _escape_inline(text))


def _escape_inline(text: str) -> str:
    """Keep text from formatting: entities for HTML, a backslash for Markdown, one line."""
    line = _CONTROLS.sub(" ", text).strip()
    line = re.sub(r"[&<>]", lambda found: _ENTITIES[found[0]], line)
    return _MARKS.sub(lambda found: f"\\{found[0]}", line)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.2%})" if whole else f"{count:,}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _span(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "none"
    return f"{_number(estimate.low)} to {_number(estimate.high)}"


def _known(estimate: Estimate | None) -> str:
    return "not computed" if estimate is None else _number(estimate.value)


def _direction(metric: str) -> str:
    return "greater" if METRICS[metric].greater_is_better else "smaller"
