"""Do what the spec says is to be done about what looks have found: recorded in Git first, then done.

One watcher of a machine at a time does so; of several machines the tag decides. What was recorded and not done, since
its process was killed, is done by the next look: each deed may be repeated, and is not done where somebody has decided
otherwise meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.delivery.deploying import Slot, go_live
from pipeline.delivery.interventions import Deed, Intervention, intervene, interventions
from pipeline.delivery.platforms.local.state import locked
from pipeline.delivery.releases import Release, find_release
from pipeline.delivery.stages import standing_of
from pipeline.errors import InputError, ModelrailError, OvertakenError, TransientError
from pipeline.home import store_address
from pipeline.messages import count
from pipeline.monitoring.account import name_outcome, outcomes
from pipeline.monitoring.deciding import Decision, Standpoint, decide, weigh
from pipeline.monitoring.history import KeptLook, read_looks
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.spec.loading.names import find_spec_of
from pipeline.storage.artifacts import Store, open_store
from pipeline.storage.git.credentials import CredentialsProvider
from pipeline.storage.git.tags import fetch_tags, settle

Retrain = Callable[[Intervention, RunRequest], str]
"""Start a run with its reason; return what came of it."""
Approve = Callable[[Decision], str | None]
"""Tell who approves a decision; None if nobody has yet."""


@dataclass(frozen=True)
class Mended:
    """What became of what a look has found.

    Attributes
    ----------
    said : str
        In words.
    decision : Decision or None
        What was decided; None for what was left undone before.
    made : Intervention or None
        What was recorded and done; None if nothing was.
    asks : bool
        Whether a person is to approve it first.
    """

    said: str
    decision: Decision | None = None
    made: Intervention | None = None
    asks: bool = False


def retrain_here(_: Intervention, request: RunRequest) -> str:
    """Run the model in this process."""
    outcome, _results = run(request, lambda _: None)
    return outcome


def propose(slot: Slot, provider: CredentialsProvider | None = None) -> Decision | None:
    """Decide what is to be done about the last look, and do nothing."""
    looks = read_looks(_store(slot), slot.model, slot.environment)
    found = decide(looks, slot.spec.monitoring.actions)
    return found and weigh(found, _look_around(slot, found, provider), time.time())


def mend(
    slot: Slot,
    retrain: Retrain = retrain_here,
    *,
    provider: CredentialsProvider | None = None,
    approve: Approve = lambda _: None,
) -> list[Mended]:
    """Do what is to be done about the last look, and what was recorded before and not done.

    Parameters
    ----------
    retrain : callable
        How a run is started: here, or in Airflow.
    approve : callable, optional
        Tells who approves what needs a person's word; by default nobody has yet.

    Raises
    ------
    TransientError
        If another watcher of this machine is at it, or the remote does not answer.
    """
    store = _store(slot)
    with _alone(slot):
        if slot.spec.deploy.push_tags:
            settle(slot.repository)
            fetch_tags(slot.repository, f"{slot.model}@v*", f"{slot.model}#{slot.environment}#*")
        found = list(_finish(slot, store, retrain))
        decision = propose(slot, provider)
        if decision is not None:
            found.append(_follow(slot, store, decision, retrain, approve))
    return found


def hold(slot: Slot, deed: Deed, why: str) -> Intervention:
    """Record that a person holds an environment, or lets releases go live again.

    Raises
    ------
    InputError
        If no reason is given, nothing is live there, or it is so already.
    """
    if not why.strip():
        raise InputError("--why: found no reason; expected one, since it is kept in Git")
    if slot.spec.deploy.push_tags:
        settle(slot.repository)
        fetch_tags(slot.repository, f"{slot.model}@v*", f"{slot.model}#{slot.environment}#*")
    standing = slot.hold()
    where = f"{slot.model} in {slot.environment}"
    if standing and deed == "hold":
        raise InputError(f"hold: found {where} on hold already ({standing.tag}: {standing.why})")
    if not standing and deed == "resume":
        raise InputError(f"resume: found no hold of {where}; expected one (modelrail hold)")
    made = intervene(slot.repository, _live(slot), slot.environment, deed, why=why, push=slot.spec.deploy.push_tags)
    if made is None:
        raise OvertakenError(f"{deed}: found others that intervene in {where} at the same time; run again")
    return made


@contextmanager
def _alone(slot: Slot) -> Iterator[None]:
    path = slot.target.state / "watch" / f"{slot.model}.{slot.environment}.lock"
    try:
        with locked(path, wait=False):
            yield
    except BlockingIOError as error:
        raise TransientError(
            f"{slot.model}: found another watcher at work on it in {slot.environment}; expected none: run again later"
        ) from error


def _look_around(slot: Slot, found: Decision, provider: CredentialsProvider | None) -> Standpoint:
    history, done = slot.history(), interventions(slot.repository, slot.model, slot.environment)
    standing = standing_of(history)
    newest = live = None
    if found.deed == "retrain" and history:
        newest = open_job(_request(slot), provider).data_commit
        live = find_release(slot.repository, history[-1].release).evidence.data_commit
    rolled_back = bool(history) and history[-1].action in ("rollback", "abort")
    return Standpoint(
        done,
        live=str(standing.current) if standing.current else None,
        stage=history[-1].number if history else 0,
        before=f"{slot.model}@v{standing.before}" if standing.before else None,
        rolled_back=rolled_back,
        newest_data=newest,
        live_data=live,
    )


def _follow(slot: Slot, store: Store, decision: Decision, retrain: Retrain, approve: Approve) -> Mended:
    what = f"{decision.deed} ({decision.signal})"
    if decision.refusal:
        return Mended(f"{what} is not done: {decision.refusal}", decision)
    who = approve(decision) if decision.rule.approve else None
    if decision.rule.approve and who is None:
        return Mended(f"{what} waits for a person's approval", decision, asks=True)
    made = _record(slot, decision, who)
    if made is None:
        return Mended(f"{what} is not done: another watcher was faster", decision)
    return Mended(_carry_out(slot, store, made, retrain), decision, made)


def _record(slot: Slot, decision: Decision, who: str | None) -> Intervention | None:
    row, where = decision.row, decision.where
    first, last = row[0], row[-1]
    since = first.at - (first.seconds or 0.0)
    evidence: dict[str, Any] = {
        "signal": decision.signal,
        "windows": len(row),
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        "requests": sum(each.requests for each in row),
        "look": last.at,
        "said": list(last.lines),
        "stage": where.stage,
        "to": where.before,
        "data_commit": where.newest_data,
    }
    why = f"{decision.signal} in {count(len(row), 'window')} since {evidence['since']}{_sign_of(last)}"
    return intervene(
        slot.repository,
        _live(slot),
        slot.environment,
        decision.deed,
        why=why,
        push=slot.spec.deploy.push_tags,
        who=who,
        evidence=evidence,
        after=where.done[-1].number if where.done else 0,
    )


def _sign_of(look: KeptLook) -> str:
    return f": {look.lines[1].strip()}" if len(look.lines) > 1 else ""


def _finish(slot: Slot, store: Store, retrain: Retrain) -> Iterator[Mended]:
    """Do what was recorded and not done."""
    known = outcomes(store, slot.model, slot.environment)
    for made in interventions(slot.repository, slot.model, slot.environment):
        if made.deed in _DEEDS and str(made.number) not in known:
            yield Mended(_carry_out(slot, store, made, retrain), made=made)


def _carry_out(slot: Slot, store: Store, made: Intervention, retrain: Retrain) -> str:
    """Do what an intervention says; what may succeed later is left to the next look."""
    act = _DEEDS.get(made.deed)
    if act is None:
        return f"{made.deed}: {made.tag}"
    try:
        outcome = act(slot, store, made, retrain)
    except OvertakenError as error:
        outcome = f"not done: {error}"
    except TransientError:
        raise
    except ModelrailError as error:
        outcome = f"failed: {error}"
    store.write_note(name_outcome(made), outcome.encode())
    return f"{made.deed}: {made.tag}: {outcome}"


def _retrain(slot: Slot, _store: Store, made: Intervention, retrain: Retrain) -> str:
    return retrain(made, _request(slot, f"{made.tag}: {made.why}"))


def _roll_back(slot: Slot, store: Store, made: Intervention, _: Retrain) -> str:
    goal = find_release(slot.repository, made.evidence["to"])
    why = f"{made.tag}: {made.why}"
    done = go_live(slot, goal, "rollback", store, why=why, who=made.who, after=made.evidence["stage"])
    return f"{goal.tag} is live again ({done.stage.tag})"


_DEEDS: Mapping[str, Callable[[Slot, Store, Intervention, Retrain], str]] = {
    "retrain": _retrain,
    "rollback": _roll_back,
}
"""What is more than the record of it: an alert is told of, a hold is asked for by what goes live."""


def _request(slot: Slot, reason: str = "") -> RunRequest:
    spec = find_spec_of(slot.model, slot.repository.root, _specs_of_releases(slot))
    return RunRequest(str(spec), slot.target.environment, reason=reason[:500], trigger="watch")


def _specs_of_releases(slot: Slot) -> Sequence[Path]:
    history = slot.history()
    if not history:
        return []
    return [slot.repository.root / find_release(slot.repository, history[-1].release).evidence.spec_path]


def _live(slot: Slot) -> Release:
    history = slot.history()
    if not history:
        raise InputError(
            f"{slot.model}: found nothing that was ever live in {slot.environment}; expected a release (modelrail run)"
        )
    return find_release(slot.repository, history[-1].release)


def _store(slot: Slot) -> Store:
    return open_store(store_address(slot.target.state), slot.target.state)
