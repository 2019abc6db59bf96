"""Every contradiction that a spec can hold, with the exact message about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.spec.checking import check
from pipeline.spec.loading.documents import dotted, read_document
from pipeline.spec.loading.loading import merge, with_defaults
from pipeline.spec.loading.validating import validate

BASE = """
model: {name: m, trainer: hist_gradient_boosting, target: late}
data:
  files: f/{month}.csv
  columns:
    delay: {type: float, range: [-60, 600]}
    hour: {type: int, range: [0, 24]}
    carrier: str
    on: bool
    at: datetime
  derive: {late: delay > 15, early: hour < 8}
  key: [at, carrier]
"""


def _mistakes() -> Iterator[tuple[str, list[str]]]:
    """Read `mistakes.txt`: a change of the spec above, and below it, indented, the messages about it."""
    text = Path(__file__).with_name("mistakes.txt").read_text(encoding="utf-8")
    for change, messages in re.findall(r"((?:^\S.*\n)+)((?:^    .*\n)+)", text, re.MULTILINE):
        yield change.strip(), [line.strip() for line in messages.splitlines()]


MISTAKES = list(_mistakes())


def _read(text: str, folder: Path) -> dict[str, Any]:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    document = read_document(path)
    assert not document.problems
    assert document.data is not None
    return document.data


def _messages(change: str, folder: Path) -> list[str]:
    spec, findings = validate(merge(_read(BASE, folder), _read(change, folder)))
    assert spec is not None, findings
    found = check(with_defaults(spec))
    return [f"{dotted(each.path)}: found {each.found}; expected {each.expected}" for each in found]


@pytest.mark.parametrize(("change", "messages"), MISTAKES, ids=[change for change, _ in MISTAKES])
def test_check_says_what_is_found_and_what_is_expected(change: str, messages: list[str], tmp_path: Path) -> None:
    assert _messages(change, tmp_path) == messages


RIGHT = [
    "model: {name: m}",
    "model: {trainer: Random Forest}",
    "model: {trainer: SVC}",
    "model: {target: carrier}",
    "model: {trainer: ridge, target: delay}\nfeatures: {drop: [late]}",
    "model: {task: classification, target: hour}\nfeatures: {drop: [early]}",
    "model: {search: {metric: f1, space: {max_iter: [10, 20], learning_rate: {low: 0.01, high: 1, log: true}}}}",
    "model: {search: {space: {max_iter: {low: 10, high: 200, integer: true}}}}",
    "model: {class_weight: {'true': 2, 'false': 1}}",
    "data: {columns: {on: {type: bool, allowed: [true]}, hour: {type: int, range: [0, null]}}}",
    "data: {columns: {at: {type: datetime, format: '%d.%m.%Y %H:%M'}}}",
    "data: {derive: {night: hour > 22 or early}}",
    "data: {files: f/x.csv.gz}",
    "data: {files: f/x.dat, format: csv}",
    "clean: {duplicates: drop, missing: {delay: drop, carrier: mode, hour: 3, on: false, '*': median}}",
    "clean: {missing: {carrier: model, hour: {fill: interpolate, along: at}}}",
    "clean: {missing: {'*': keep}}",
    "clean: {outliers: {delay: {by: range, bounds: [0, 9], action: drop}, hour: {by: iqr, factor: 2}}}",
    "clean: {outliers: {hour: {by: range, bounds: [0, 9]}}}\ntransform: {hour: cyclic}",
    "clean: {text: {'*': {case: lower}}}",
    "features: {select: [hour, at, on], interactions: [[hour, on], [hour, hour]]}",
    "transform: {at: {kind: cyclic, parts: [hour, weekday]}, hour: {kind: bins, count: 4}, carrier: frequency}",
    "normalize: {carrier: none, hour: robust, '*': min_max}",
    "split: {by: time, column: at, validation_from: 2013-10-01, test_from: 2013-11-01T00:00:00Z}",
    "split: {by: time, column: at, test: 2 months, validation: 1 month}",
    "split: {by: time, column: at, test: 20%, validation: 36 hours}",
    "split: {by: time, column: at, test_from: 2013-11-01, validation: 1 month}",
    "split: {by: time, column: at, test: 1 year, validation: 0.1}\nmodel: {early_stopping: {}}",
    "split: {test: 20%}",
    "split: {by: group, column: carrier}",
    "split: {stratify: carrier}",
    "split: {stratify: late}",
    "evaluate: {metrics: [f1, brier], gate: {brier: {at_most: 0.2}}, slices: [carrier, at]}",
    "monitoring: {metrics: [accuracy, rmse, loss]}",
    "schedule: {cron: '@daily'}",
    "schedule: {on_data_commit: every}",
    "schedule: {on_data_commit: off}",
    "schedule: {cron: '@monthly', on_data_commit: latest, replay: true, replay_limit: 6}",
    "data: {repository: 'git@host.example:team/flights.git'}\nschedule: {on_data_commit: latest}",
]


@pytest.mark.parametrize("change", RIGHT)
def test_check_finds_nothing_wrong_with_what_is_right(change: str, tmp_path: Path) -> None:
    assert _messages(change, tmp_path) == []


def test_check_takes_any_column_where_none_is_declared(tmp_path: Path) -> None:
    text = """
model: {name: m, trainer: hist_gradient_boosting, target: late}
data: {files: x.csv, derive: {late: delay > 15}, key: [id]}
clean: {missing: {delay: drop, a: median}, text: {b: {}}}
transform: {c: category, d: {kind: cyclic, period: 7}}
features: {select: [a, b, c, d]}
evaluate: {slices: [c]}
"""
    spec, findings = validate(_read(text, tmp_path))
    assert spec is not None, findings
    assert check(with_defaults(spec)) == []
