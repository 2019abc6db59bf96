"""Start the runs that new data commits call for, each exactly once.

What was started is known from Airflow's own runs: their identifiers are made of the commits. The mark (the commit up
to which a model's branch was looked at) only saves time: without it, the newest commit that has a run is looked up.
The mark moves last, so whatever is killed in between is done again, and Airflow refuses what was done already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, Protocol

from pipeline.home import home
from pipeline.orchestration.data_commits.deciding import Arrival, Contents, Decision, decide, run_id
from pipeline.orchestration.data_commits.following import View
from pipeline.orchestration.data_commits.history import Stretch, list_commits, read_commits, read_parent, read_stretch
from pipeline.orchestration.data_commits.replaying import Replay, plan_replay
from pipeline.orchestration.data_commits.sources import Watched, open_source
from pipeline.storage.git.credentials import Credentials, no_credentials
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.large_files import Layout
from pipeline.storage.large_files.remotes import Remotes

Started = Literal["started", "exists", "unknown"]
Requested = Literal["created", "exists", "busy", "unreachable"]

_BATCH = 200
_REASON_LETTERS = 500
_SHOWN = 10


@dataclass(frozen=True)
class Mark:
    """The commit up to which a model's data have been looked at.

    Attributes
    ----------
    source : str
        Which branch of which repository.
    content : str
        Digest of the partitions there, for when the commit itself is gone.
    replay_at : str
        Commit at which old partitions are to be replayed, once that is possible; empty if nothing waits.
    replay_keys : tuple of str
        The changed old partitions.
    """

    source: str
    commit: str
    content: str
    replay_at: str = ""
    replay_keys: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write the form that ``from_json`` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mark:
        """Read what ``to_json`` gave."""
        return cls(**{**data, "replay_keys": tuple(data.get("replay_keys", ()))})


class Runs(Protocol):
    """What is needed of Airflow."""

    def recall(self, model: str) -> Mark | None:
        """Return the mark, if there is one."""

    def remember(self, model: str, mark: Mark) -> None:
        """Keep the mark."""

    def existing(self, model: str, run_ids: Sequence[str]) -> Collection[str]:
        """List which of these runs exist."""

    def start(self, model: str, run_id: str, conf: Mapping[str, Any]) -> Started:
        """Start a run; ``unknown`` if Airflow has no such DAG (yet)."""

    def replay(self, model: str, replay: Replay) -> Requested:
        """Ask for a backfill; ``busy`` while another one of this model goes on."""


@dataclass
class Report:
    """What was done for one model, in words and in numbers."""

    model: str
    started: list[str] = field(default_factory=list)
    known: int = 0
    superseded: int = 0
    untouched: int = 0
    replayed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Those of the lines that somebody should look at."""

    def say(self, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{self.model}: {text}")

    def warn(self, text: str) -> None:
        """Add a line that somebody should look at."""
        self.say(text)
        self.warnings.append(self.lines[-1])

    def figures(self) -> dict[str, Any]:
        """Build what XCom may carry: numbers, and the newest commit that was started."""
        return {
            "started": len(self.started),
            "newest": self.started[-1:],
            "replayed": len(self.replayed),
            "known": self.known,
            "superseded": self.superseded,
            "untouched": self.untouched,
        }


def dispatch(
    watched: Sequence[Watched],
    runs: Runs,
    now: Callable[[], datetime] | None = None,
    credentials: Credentials = no_credentials,
) -> list[Report]:
    """Start what the new commits of one source call for, of every model that reads it.

    Raises
    ------
    TransientError
        If the repository cannot be reached now; nothing was started then.
    """
    repository = open_source(watched[0].source, watched[0].path, credentials)
    tip = repository.resolve(watched[0].source.branch or "HEAD")
    read = cache(lambda since: read_stretch(repository, since, tip))  # many models, mostly at the same commit
    clock = now or (lambda: datetime.now(UTC))
    return [_Dispatch(each, runs, repository, tip, read, clock).run() for each in watched]


@dataclass
class _Dispatch:
    """The work for one model."""

    watched: Watched
    runs: Runs
    repository: Repository
    tip: str
    read: Callable[[str], Stretch]
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self.model = self.watched.model
        self.source = str(self.watched.source)
        data = self.watched.spec.data
        self.layout = Layout(data.files or "", data.images)
        self.view = View(self.repository, self.layout, home(self.watched.path), Remotes(data.remotes))
        self.report = Report(self.model)

    def run(self) -> Report:
        mark = self.runs.recall(self.model)
        if mark is None or mark.source != self.source:
            mark = self._find_mark()
        if mark is None:
            self._begin()
        elif mark.commit != self.tip:
            self._follow(mark)
        else:
            self._replay(mark)
        return self.report

    def _begin(self) -> None:
        """Run the newest commit only: nobody knows which of the older ones were run by other means."""
        subject, present = self.repository.commit(self.tip).subject, self.view.files(self.tip)
        self.report.say(f"first look at {self.source}: its newest commit is run, older ones are not")
        self._carry_out(Decision((Arrival(self.tip, subject, ()),) if present else ()), None)

    def _find_mark(self) -> Mark | None:
        """Look for the newest commit that has a run, batch by batch."""
        commits = list_commits(self.repository, self.tip)
        for begin in range(0, len(commits), _BATCH):
            batch = commits[begin : begin + _BATCH]
            known = self.runs.existing(self.model, [run_id(each) for each in batch])
            if found := next((each for each in batch if run_id(each) in known), None):
                self.report.say(f"the record of what was looked at is gone; the newest run is of {found[:10]}")
                return Mark(self.source, found, self._content(found))
        return None

    def _follow(self, mark: Mark) -> None:
        stretch, known = self._stretch(mark)
        policy = self.watched.spec.schedule.on_data_commit
        decision = decide(policy, self.layout.key, self.view.files(stretch.base), self.view.follow(stretch), known)
        if stretch.forced:
            self._tell_forced(mark, stretch, decision)
        self._carry_out(decision, mark)

    def _stretch(self, mark: Mark) -> tuple[Stretch, str | None]:
        """Read what happened since the mark; with the digest of its partitions if the commit itself is gone."""
        if self.repository.holds(mark.commit):
            return self.read(mark.commit), None
        found = self._find_mark()
        if found is not None:
            return replace(self.read(found.commit), forced=True), mark.content
        newest = read_commits(self.repository, read_parent(self.repository, self.tip), self.tip)
        return Stretch(read_parent(self.repository, self.tip), newest, forced=True), mark.content

    def _tell_forced(self, mark: Mark, stretch: Stretch, decision: Decision) -> None:
        fresh = len(decision.start) + len(decision.superseded)
        self.report.warn(
            f"FORCE-PUSH of {self.source}: {mark.commit[:10]}, up to which it was looked at, is no longer in it "
            f"({len(stretch.undone)} commits undone, {len(stretch.commits)} new); compared by content, "
            f"{len(decision.repeated)} of the new commits are as run before, {fresh} are not"
        )
        if not stretch.commits:
            self.report.say(
                f"the branch went back to {self.tip[:10]}, which was looked at before; nothing is run again "
                f"(modelrail run {self.watched.place} --data-commit {self.tip[:10]} does)"
            )

    def _carry_out(self, decision: Decision, mark: Mark | None) -> None:
        self.report.superseded, self.report.untouched = len(decision.superseded), decision.untouched
        self._tell(decision)
        for arrival in decision.start:
            if not self._start(arrival):
                return  # the mark stays where it is: all of it is looked at again
        moved = Mark(self.source, self.tip, self._content(self.tip))
        self.runs.remember(self.model, moved := self._with_replay(moved, mark, decision))
        self._replay(moved)

    def _tell(self, decision: Decision) -> None:
        if decision.untouched:
            self.report.say(f"{decision.untouched} commits touch nothing that it reads")
        for arrival in decision.repeated[:_SHOWN]:
            self.report.say(f"{arrival.commit[:10]} holds what was run before under another commit")
        if decision.superseded:
            newest = decision.start[-1].commit[:10]
            self.report.say(f"{len(decision.superseded)} commits are passed over for {newest} (on_data_commit: latest)")

    def _start(self, arrival: Arrival) -> bool:
        keys = (
            f": {', '.join(arrival.changed[:5])}{' …' if len(arrival.changed) > 5 else ''}" if arrival.changed else ""
        )
        reason = f"data commit {arrival.commit[:10]}, {arrival.subject}{keys}"[:_REASON_LETTERS]
        conf = {"data_commit": arrival.commit, "reason": reason}
        outcome = self.runs.start(self.model, run_id(arrival.commit), conf)
        if outcome == "started":
            self.report.started.append(arrival.commit)
            self.report.say(f"started {run_id(arrival.commit)}")
        elif outcome == "exists":
            self.report.known += 1
        else:
            self.report.say("Airflow does not know its DAG yet; tried again at the next tick")
        return outcome != "unknown"

    def _with_replay(self, moved: Mark, mark: Mark | None, decision: Decision) -> Mark:
        """Add what is to be replayed to what still waits."""
        waiting = mark.replay_keys if mark else ()
        keys = tuple(sorted({*waiting, *decision.old})) if self.watched.spec.schedule.replay else ()
        if not keys:
            return moved
        newest = decision.start[-1].commit if decision.start else (mark.replay_at if mark else "") or self.tip
        return replace(moved, replay_at=newest, replay_keys=keys)

    def _replay(self, mark: Mark) -> None:
        if not mark.replay_at:
            return
        schedule = self.watched.spec.schedule
        present = Contents(self.layout.key, self.view.files(mark.replay_at)).keys
        found = plan_replay(schedule.cron, mark.replay_keys, present, mark.replay_at, self.now(), schedule.replay_limit)
        found = found and replace(found, spec_commit=self._spec_commit())
        outcome: Requested = self.runs.replay(self.model, found) if found else "exists"
        if found:
            self._tell_replay(found, outcome)
        if outcome in ("created", "exists"):
            self.runs.remember(self.model, replace(mark, replay_at="", replay_keys=()))

    def _spec_commit(self) -> str:
        """Return the newest commit of the spec's repository, if it has the spec."""
        path = self.watched.path.absolute()
        repository = open_repository(path.parent)
        if not repository.has_commits():
            return ""
        commit = repository.commit().id
        return commit if repository.read_path(commit, repository.path_of(path)) is not None else ""

    def _tell_replay(self, found: Replay, outcome: Requested) -> None:
        span = f"{found.first:%Y-%m-%d} to {found.last:%Y-%m-%d} ({len(found.dates)} dates) at {found.commit[:10]}"
        self.report.say(f"replay of {span}: {_REPLAY_WORDS[outcome]}")
        if outcome == "created":
            self.report.replayed += [each.isoformat() for each in found.dates]
        if found.left_out:
            self.report.warn(
                f"REPLAY LIMIT: {len(found.left_out)} later dates are left out (schedule.replay_limit: "
                f"{len(found.dates)}); modelrail backfill {self.watched.place} --from {found.left_out[0]:%Y-%m-%d} "
                f"--to {found.left_out[-1]:%Y-%m-%d} --commit {found.commit[:10]} runs them"
            )

    def _content(self, commit: str) -> str:
        return Contents(self.layout.key, self.view.files(commit)).digest


_REPLAY_WORDS: Mapping[Requested, str] = {
    "created": "asked of Airflow as a backfill",
    "exists": "asked of Airflow before",
    "busy": "waits for another backfill of this model to end",
    "unreachable": "waits: Airflow's REST API cannot be reached (connection modelrail_airflow)",
}
