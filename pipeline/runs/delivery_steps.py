"""What happens to a model that is trained and evaluated: it is released, deployed and verified by a real request."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.delivery.bundles import bundle_of, signs_bundles, write_release
from pipeline.delivery.deploying import Slot, go_live
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Evidence, Release, same_model
from pipeline.delivery.verification import ask
from pipeline.errors import DeploymentError
from pipeline.runs.candidates import choose, judge_candidate, refuse, registration_of
from pipeline.runs.first_deployments import deploy_first
from pipeline.runs.job import Job
from pipeline.runs.plan.recipes import made_with, method_digest
from pipeline.runs.plan.split_bounds import describe_bounds
from pipeline.runs.results import DeliveryFacts, StepResult
from pipeline.runs.session import Session
from pipeline.runs.tracking import Released
from pipeline.serving.client import abbreviate, curl_line
from pipeline.serving.settings import PREFIX
from pipeline.spec.schema.spec import Bound, Spec
from pipeline.steps.gate import Verdict
from pipeline.storage.artifacts import Artifact
from pipeline.storage.artifacts.claims import claim_for_release


def release(session: Session) -> StepResult:
    """Judge the model; record it as a release if it passes, and if all that made it is committed."""
    began = time.time()
    train, evaluation = session.chain.artifact("train"), session.chain.artifact("evaluate")
    found = json.loads(evaluation.file("evaluation.json").read_bytes())
    verdict = judge_candidate(session.job.spec.evaluate, found)
    facts = _facts(session.job.spec.evaluate.gate, found, verdict)
    if known := same_model(session.assignments.releases(), train.digest):
        register(session, known)
        doubt = "" if verdict.promote else ", but it would not pass its gate today"
        return _result(known, "reused", f"released before as {known.tag}{doubt}", began, facts)
    if refusal := refuse(session.job, verdict):
        say = f"not released: {refusal}"
        return StepResult("release", "ran", say, time.time() - began, facts=replace(facts, released=False))
    evidence = _evidence(session, train, evaluation, facts)
    claim_for_release(session.artifacts.store, session.job.model, evidence.artifacts.values())
    made = session.assignments.record(evidence, partial(_make_image, session, train, evaluation))
    register(session, made)
    return _result(made, "ran", f"released as {made.tag}", began, facts)


def register(session: Session, release: Release) -> None:
    """Tell MLflow's registry of a release, unless it was told before."""
    marker = registration_of(session.job, release)
    if session.recorder is None or marker.exists():
        return
    tags = {"modelrail.tag": release.tag, "modelrail.data_commit": release.evidence.data_commit}
    bundle = _bundle(session, release)
    private = private_columns(session.job.spec)
    session.recorder.tell(Released(release.model, f"v{release.version}", str(bundle), str(marker), tags, private))


def private_columns(spec: Spec, environment: Mapping[str, str] = os.environ) -> list[str]:
    """List the columns that captures hide, as the spec says for pods and the environment for servers here."""
    rules = environment.get(f"{PREFIX}CAPTURE_PRIVATE", "").split(",")
    here = {rule.rpartition("=")[0].strip() for rule in rules if "=" in rule}
    return sorted(here.union(spec.deploy.capture.private if spec.deploy.capture else ()))


def deploy(session: Session, chosen: Release) -> StepResult:
    """Record that the environment should have the release, then make it live on the environment's platform.

    What somebody else has recorded since the run decided is not overwritten: then the run decides anew.
    """
    began = time.time()
    job, target, train = session.job, target_of(session.job), session.chain.artifact("train")
    before = platform_of(job.spec).live(target)
    made = go_live(
        Slot(job.repository, job.environment, target),
        chosen,
        "deploy",
        session.artifacts.store,
        why=job.request.reason,
        after=session.assignments.last_stage(),
        twin=train,
        verified_later=True,
        standing=session.assignments.standing(),
    )
    now, answering = made.live, made.answering
    if answering != chosen:
        return _overtaken(chosen, answering, began)
    same = before is not None and replace(before, replaced=None, note=None) == replace(now, replaced=None, note=None)
    say = f"{chosen.tag} {'is' if same else 'is now'} live at {now.address}" + (f" ({now.note})" if now.note else "")
    first = deploy_first(job, chosen, partial(_refuse_in, session), session.artifacts.store, train)
    facts = DeliveryFacts(
        released=True,
        version=now.version,
        address=now.address,
        replaced=now.replaced,
        stage=made.stage.tag,
        image=made.stage.image,
        first={each.environment: each.deployed.stage.tag if each.deployed else None for each in first},
    )
    say, same = "; ".join([say, *(each.say for each in first)]), same and not any(each.deployed for each in first)
    return StepResult("deploy", "reused" if same else "ran", say, time.time() - began, facts=facts)


def _refuse_in(session: Session, spec: Spec) -> str | None:
    """Judge the evaluation by the gate of another environment."""
    found = json.loads(session.chain.artifact("evaluate").file("evaluation.json").read_bytes())
    return refuse(session.job, judge_candidate(spec.evaluate, found))


def _overtaken(chosen: Release, answering: Release, began: float) -> StepResult:
    say = f"{chosen.tag} was live for a moment: somebody has made {answering.tag} live meanwhile"
    return StepResult("deploy", "skipped", say, time.time() - began, facts=DeliveryFacts(released=False))


def target_of(job: Job) -> Target:
    """Return the place where a job's releases go live."""
    return Target(job.spec, job.request.environment, job.state)


def verify(session: Session, chosen: Release) -> StepResult:
    """Ask the live release about a real record, and compare with what was computed before the release."""
    began = time.time()
    target, platform = target_of(session.job), platform_of(session.job.spec)
    sample = session.chain.artifact("evaluate").manifest["example"]
    now, answer = ask(platform, target, chosen, sample)
    facts = DeliveryFacts(
        released=True,
        version=now.version,
        address=now.address,
        record=abbreviate(sample["record"]),
        prediction=answer.outputs[0],
        prediction_id=answer.id,
        truth=sample["truth"],
        curl=curl_line(now.address, sample["record"]),
    )
    return StepResult(
        "verify", "ran", f"predicts {answer.outputs[0]}, the same as in evaluation", time.time() - began, facts=facts
    )


def _with_release(step: str, act: Callable[[Session, Release], StepResult]) -> Callable[[Session], StepResult]:
    """Let a step act on the release that the run makes live; where there is none, it is skipped and says why."""

    def run(session: Session) -> StepResult:
        chosen, refusal = choose(session)
        if chosen is None:
            return StepResult(step, "skipped", refusal, facts=DeliveryFacts(released=False, refusal=refusal))
        return act(session, chosen)

    return run


DELIVERY: Mapping[str, Callable[[Session], StepResult]] = {
    "release": release,
    "deploy": _with_release("deploy", deploy),
    "verify": _with_release("verify", verify),
}


def _make_image(session: Session, train: Artifact, evaluation: Artifact, release: Release) -> str | None:
    """Make the image that the release's tag names, from a bundle in a scratch folder: another run may take the version.

    Where none can be made, the release stands without one; its deployment tells why. So does a signed one: no two
    signatures are the same, so its image is made, and named in Git, when it is deployed.
    """
    if session.job.spec.deploy.image is None or signs_bundles():
        return None
    with tempfile.TemporaryDirectory() as folder, suppress(DeploymentError):
        write_release(Path(folder), train, release, evaluation)
        return platform_of(session.job.spec).package(target_of(session.job), release, Path(folder))
    return None


def _bundle(session: Session, release: Release) -> Path:
    return bundle_of(release, session.artifacts.store, session.job.state, twin=session.chain.artifact("train"))


def _facts(gate: Mapping[str, Bound], found: Mapping[str, Any], verdict: Verdict) -> DeliveryFacts:
    return DeliveryFacts(
        verdict=[line.text for line in verdict.lines] or [verdict.summary],
        metrics=found["candidate"]["metrics"],
        gate={name: bound.model_dump(exclude_none=True) for name, bound in gate.items()},
    )


def _result(release: Release, action: Any, say: str, began: float, facts: DeliveryFacts) -> StepResult:
    told = replace(facts, released=True, version=f"v{release.version}", tag=release.tag)
    return StepResult("release", action, say, time.time() - began, key=release.evidence.artifacts["train"], facts=told)


def _data_time(job: Job) -> str | None:
    if job.data_repository is None:
        return None
    return job.data_repository.commit(job.data_commit).date.isoformat()


def _evidence(session: Session, train: Artifact, evaluation: Artifact, facts: DeliveryFacts) -> Evidence:
    job = session.job
    return Evidence(
        data_repository=job.data_address,
        data_commit=job.data_commit,
        spec_commit=job.spec_commit,
        code=job.code,
        spec_path=job.spec_path,
        environment=job.request.environment,
        as_of=job.request.as_of,
        partitions=len(job.partitions),
        artifacts={
            "normalize": session.chain.artifact("normalize").key,
            "train": train.key,
            "evaluate": evaluation.key,
        },
        model_digest=train.digest,
        recipe=method_digest(job.spec),
        signature=json.loads(train.file("signature.json").read_bytes()),
        metrics=facts.metrics,
        verdict=facts.verdict,
        mlflow_run=session.recorder.run_id() if session.recorder else None,
        who=job.repository.who(),
        why=job.request.reason,
        made_with=made_with(job.spec),
        split=describe_bounds(session.chain.split()),
        data_time=_data_time(job),
    )
