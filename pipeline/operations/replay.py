"""Captured requests, asked of a candidate before it gets any: beside the release that is live, by a canary's tests.

Both are asked in this process, by the code that a server scores with, request by request in turns, so that what else
the machine does meets both alike. What captures hide or lack is missing in both.
"""

from __future__ import annotations

import math
import os
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from time import perf_counter
from typing import Any

from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.deploying import Slot
from pipeline.delivery.releases import Release
from pipeline.delivery.rollouts.analysis import Analysis, analyse
from pipeline.delivery.rollouts.readings import Reading
from pipeline.errors import InputError
from pipeline.messages import count, examples
from pipeline.model.signature import Input
from pipeline.serving.observing.bounds import BUCKETS_S
from pipeline.serving.observing.metrics import OUTPUT_BOUNDS
from pipeline.serving.protocols.predicting import read_prediction
from pipeline.serving.rows.captured import as_sent
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.answers import encode, refuse
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.questions import score
from pipeline.serving.scoring.served import ServedModel
from pipeline.serving.settings import PREFIX, settings_from
from pipeline.spec.schema.deploy import Canary, CanaryStep
from pipeline.storage.artifacts import Store
from pipeline.storage.captures import CaptureFiles

_OK = 200
_WARM = 5
"""Requests that both answer before their time is taken."""
_MOST = 100_000
"""Requests that are asked, the newest ones."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Replayed:
    """What a candidate answered to captured requests.

    Attributes
    ----------
    requests, rows : int
        That were asked of both.
    different : int
        Rows that both answered, and differently.
    analysis : Analysis
        The candidate beside the baseline.
    hidden : tuple of str
        Columns that captures do not have, missing in both.
    """

    candidate: str
    baseline: str
    requests: int
    rows: int
    different: int
    analysis: Analysis
    hidden: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate is no worse in any metric, and none is in doubt or cannot be told."""
        analysis = self.analysis
        return not (analysis.worse or analysis.in_doubt or analysis.missing)

    @property
    def lines(self) -> list[str]:
        """The same in words."""
        verdict = "no worse" if self.passed else "worse" if self.analysis.worse else "not proven to be no worse"
        asked = f"{count(self.requests, 'captured request')}, {count(self.rows, 'row')}"
        hidden = (
            [f"  missing in both, since captures hide or lack them: {', '.join(self.hidden)}"] if self.hidden else []
        )
        return [
            f"{self.candidate} beside {self.baseline}: {verdict} ({asked})",
            *(f"  {'worse: ' if each.worse else 'in doubt: ' if each.in_doubt else ''}{each.text}"
              for each in self.analysis.compared),
            *(f"  {name}: too few answers to compare" for name in self.analysis.missing),
            f"  {count(self.different, 'row')} answered differently",
            *hidden,
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return a document for programs."""
        compared = [asdict(each) | {"worse": each.worse, "in_doubt": each.in_doubt} for each in self.analysis.compared]
        facts = {name: getattr(self, name) for name in ("candidate", "baseline", "requests", "rows", "different")}
        missing = list(self.analysis.missing)
        return {**facts, "passed": self.passed, "compared": compared, "missing": missing, "hidden": list(self.hidden)}


def captures_of(slot: Slot, address: str | None, environment: Mapping[str, str] = os.environ) -> CaptureFiles:
    """Open the captures of a model: where one says, else where its servers keep them.

    Raises
    ------
    InputError
        If nobody knows where.
    """
    capture = slot.spec.deploy.capture
    found = address or (capture and capture.to) or environment.get(f"{PREFIX}CAPTURE_TO")
    if not found:
        raise InputError(
            f"{slot.model}: found no address of captures; expected one in deploy.capture, in {PREFIX}CAPTURE_TO or by "
            "--captures"
        )
    return CaptureFiles(found)


def replay(slot: Slot, candidate: Release, baseline: Release, captured: Iterable[Row], store: Store) -> Replayed:
    """Ask both releases the same as was captured, and compare what they answer.

    Raises
    ------
    InputError
        If there are too few requests, or they have no value for a column that may not be missing.
    """
    rules = slot.spec.deploy.canary or Canary(steps=[CanaryStep(weight=100)])
    requests = _requests(captured)
    if len(requests) < rules.min_requests:
        raise InputError(
            f"{candidate.tag}: found {count(len(requests), 'captured request')}; expected at least "
            f"{rules.min_requests} (deploy.canary.min_requests, --since)"
        )
    models = [load_model(bundle_of(each, store, slot.target.state)) for each in (candidate, baseline)]
    hidden = _hidden(requests, [column for each in models for column in each.signature.inputs], _hashed(slot))
    asked = [_Asked(model, hidden) for model in models]
    different = 0
    for place, rows in enumerate([*requests[:_WARM], *requests]):
        answers = {}
        for each in asked if place % 2 else reversed(asked):
            answers[each] = each.ask(rows, counts=place >= _WARM)
        if place >= _WARM:
            ours, theirs = (answers[each] for each in asked)
            different += sum(a != b for a, b in zip(ours, theirs, strict=False))
    return Replayed(
        candidate.tag,
        baseline.tag,
        len(requests),
        sum(map(len, requests)),
        different,
        analyse(
            asked[0].reading,
            asked[1].reading,
            rules.metrics,
            min_requests=rules.min_requests,
            false_alarm=rules.false_alarm,
            look=1,
        ),
        tuple(sorted(hidden)),
    )


def _requests(captured: Iterable[Row]) -> list[list[Mapping[str, Any]]]:
    """Put the rows of each request together, in their order; the newest requests, the oldest of these first."""
    groups = groupby(captured, key=lambda each: each["id"])
    found = [[each["record"] for each in sorted(rows, key=lambda row: row["row"])] for _, rows in groups]
    return found[-_MOST:]


def _hashed(slot: Slot) -> set[str]:
    """Name the columns whose values are hashed, as the spec says for pods and the environment for servers here."""
    capture = slot.spec.deploy.capture
    rules = {**settings_from().private_columns, **(capture.private if capture else {})}
    return {name for name, how in rules.items() if how == "hash"}


def _hidden(requests: Sequence[Sequence[Row]], columns: Sequence[Input], hashed: set[str]) -> set[str]:
    """Name the columns that captures hide or lack; refuse those that may not be missing."""
    names = {each.name for each in columns}
    hidden = {name for name in names if name in hashed or any(name not in row for rows in requests for row in rows)}
    if needed := sorted({each.name for each in columns if each.name in hidden and not each.nullable}):
        raise InputError(
            f"captures: found no values of {examples(needed)}, which they hide or lack; expected every column that may "
            "not be missing"
        )
    return hidden


@dataclass(eq=False)
class _Asked:
    """A release, and what it has answered up to now."""

    model: ServedModel
    hidden: set[str]
    requests: int = 0
    failed: int = 0
    durations: Counter[float] = field(default_factory=Counter)
    outputs: Counter[float] = field(default_factory=Counter)
    draw: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - which row, not a secret

    def ask(self, rows: Sequence[Row], *, counts: bool) -> list[Any]:
        """Ask for one request, from its body to that of its answer; return its outputs, none if it failed."""
        body = encode({"inputs": [as_sent(row, self.model.signature.inputs, self.hidden) for row in rows]})
        predictions, began = None, perf_counter()
        try:
            reply, predictions = score(self.model, read_prediction(self.model, body, {}), "")
        except RejectedError as error:
            reply = refuse(error)
        seconds = perf_counter() - began
        if counts:
            self.requests += 1
            self.failed += reply.status != _OK
            self.durations[[*BUCKETS_S, math.inf][bisect_left(BUCKETS_S, seconds)]] += 1
            output = predictions.pick(self.draw.random()) if predictions else None
            if output is not None:
                self.outputs[(-math.inf, *OUTPUT_BOUNDS)[bisect_right(OUTPUT_BOUNDS, output)]] += 1
        return self.model.outputs(predictions) if predictions else []

    @property
    def reading(self) -> Reading:
        """What servers would have counted."""
        return Reading(self.requests, self.failed, self.durations, self.outputs)
