"""What becomes of a model that is judged: whether it may be released, and which release the run makes live.

Nothing here releases or deploys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.delivery.interventions import refusal_of
from pipeline.delivery.releases import Release, same_model
from pipeline.runs.job import Job
from pipeline.runs.session import Session
from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.results import Evaluation
from pipeline.steps.gate import Rows, Verdict, judge


def judge_candidate(rules: Evaluate, found: Mapping[str, Any]) -> Verdict:
    """Hold an evaluation, as ``evaluation.json`` has it, against the gate."""
    champion, candidate = found["champion"], Evaluation.from_json(found["candidate"])
    return judge(
        candidate.metrics,
        Evaluation.from_json(champion["evaluation"]).metrics if champion and champion["evaluation"] else None,
        rules.gate,
        champion["trouble"] if champion else "",
        Rows(candidate.rows, rules.min_rows),
    )


def judge_again(session: Session) -> Verdict:
    """Hold the evaluation that the store has against today's gate."""
    found = json.loads(session.chain.artifact("evaluate").file("evaluation.json").read_bytes())
    return judge_candidate(session.job.spec.evaluate, found)


def refuse(job: Job, verdict: Verdict) -> str | None:
    """Say why a model may not be released, or be deployed where it is not live; None if it may."""
    if not verdict.promote:
        missed = next(line.text for line in verdict.lines if not line.passed)
        return f"{verdict.summary.removesuffix(': not released')} ({missed})"
    return job.kept_back


def is_pending(session: Session) -> bool:
    """Tell whether the model, all of whose artifacts are there, is yet to be released or registered."""
    if known := same_model(session.assignments.releases(), session.chain.artifact("train").digest):
        return not registration_of(session.job, known).exists()
    return refuse(session.job, judge_again(session)) is None


def registration_of(job: Job, release: Release) -> Path:
    """Return the mark that MLflow's registry was told of a release."""
    return job.state / "registered" / release.tag


def choose(session: Session) -> tuple[Release | None, str]:
    """Return the release that the run makes live in its environment; or None, and why.

    What is live already stays. What was rolled back from is held, and a model that was trained on older data than what
    is live (a run of an old commit) does not replace it, until somebody promotes it.
    """
    known = same_model(session.assignments.releases(), session.chain.artifact("train").digest)
    if known is None:
        return None, "nothing was released"
    standing, environment = session.assignments.standing(), session.job.environment
    if known.version == standing.current:
        return known, ""
    if hold := session.assignments.hold():
        return None, f"{known.tag} is not deployed: {refusal_of(hold)}"
    mend = f"'modelrail promote {known.tag} --environment {environment} --why …' makes it live"
    if known.version in standing.withdrawn:
        return (
            None,
            f"{known.tag} is held, since {environment} was rolled back from it; {mend}, or a newer release does",
        )
    if newer := _newer_data(session):
        return None, f"{known.tag} was made from older data than {newer.tag}, which is live in {environment}; {mend}"
    refusal = refuse(session.job, judge_again(session))
    return (None, f"not deployed: {refusal}") if refusal else (known, "")


def _newer_data(session: Session) -> Release | None:
    """Return the live release if the run's data commit lies before the one that it was made from."""
    job, current = session.job, session.assignments.standing().current
    live = next((each for each in session.assignments.releases() if each.version == current), None)
    if live is None or job.data_repository is None or live.evidence.data_repository != job.data_address:
        return None
    there = live.evidence.data_commit
    older = job.data_commit != there and job.data_repository.is_ancestor(job.data_commit, there)
    return live if older else None
