"""The page of one run: the plan with its reasons, its results, and how good the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.errors import ModelrailError
from pipeline.operations.provenance.commits import DataCommit
from pipeline.ui.pages.archive import Archive, RepositoryView
from pipeline.ui.pages.costs import Bill, bill, by_step
from pipeline.ui.pages.evaluations import Found, model_card, plots_of, read_evaluation
from pipeline.ui.pages.runs import RunFacts, StepFacts, steps_of
from pipeline.ui.pages.specs import Source


@dataclass(frozen=True)
class StepRow:
    """A step with its cost.

    Attributes
    ----------
    share : float
        Of the longest step's time, from 0 to 1.
    """

    facts: StepFacts
    cost: Bill | None
    share: float


@dataclass(frozen=True)
class VerdictLine:
    """A line of the gate's verdict."""

    text: str
    passed: bool | None


@dataclass(frozen=True)
class RunPage:
    """All that the page of a run shows.

    Attributes
    ----------
    request : dict
        What was asked for, under the words to show; empty values are left out.
    evaluation : str
        Key of the evaluate artifact, which has the plots; empty if there is none.
    """

    source: Source
    run: RunFacts
    request: Mapping[str, str]
    data: DataCommit | None
    steps: Sequence[StepRow]
    seconds: float
    cost: Bill | None
    verdict: Sequence[VerdictLine]
    found: Found | None
    evaluation: str
    plots: Sequence[str]
    card: Markup | None
    trouble: str = ""


def run_page(archive: Archive, source: Source, run: RunFacts) -> RunPage:
    """Gather the page; what the store or Git lack is left out, and the page says so."""
    try:
        return _run_page(archive.view(source), source, run)
    except ModelrailError as error:
        return RunPage(source, run, {}, None, (), 0.0, None, (), None, "", (), None, str(error))


def _run_page(view: RepositoryView, source: Source, run: RunFacts) -> RunPage:
    spent = [each for each in view.spent(source.name) if each.run and each.run == run.opened.get("run")]
    steps = steps_of(run)
    longest = max((each.seconds for each in steps), default=0.0)
    costs = by_step(spent)
    key = run.result("evaluate").get("key") or ""
    artifact = view.find(key)
    data = run.opened.get("data_commit")
    return RunPage(
        source=source,
        run=run,
        request=_request(run.opened.get("request") or {}),
        data=view.look_up(source)(data) if data else None,
        steps=[StepRow(each, costs.get(each.step), each.seconds / longest if longest else 0.0) for each in steps],
        seconds=sum(each.seconds for each in steps),
        cost=bill(spent),
        verdict=judge_lines(run.result("release").get("verdict") or ()),
        found=read_evaluation(artifact),
        evaluation=key,
        plots=plots_of(artifact),
        card=model_card(artifact),
        trouble="" if artifact or not key else "the evaluation is no longer in the store",
    )


def judge_lines(lines: Sequence[str]) -> list[VerdictLine]:
    """Tell from a verdict's lines which bounds were kept; a line that judges nothing is neither."""
    ends = {"passed": True, "failed": False}
    split = [(line.rpartition(": "), line) for line in lines]
    return [VerdictLine(head if end in ends else line, ends.get(end)) for (head, _, end), line in split]


def _request(request: Mapping[str, Any]) -> dict[str, str]:
    shown = {"environment": "Environment", "as_of": "As of", "reason": "Reason", "trigger": "Started by"}
    named = {words: str(request[name]) for name, words in shown.items() if request.get(name)}
    return named | ({"Forced": "everything was computed anew"} if request.get("force") else {})
