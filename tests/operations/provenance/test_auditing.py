"""The audit, on a repository with real keys, merges and tags."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.releases import record
from pipeline.delivery.stages import assign
from pipeline.operations.provenance.airflow_log import BY_ITSELF, read_entry
from pipeline.operations.provenance.auditing import Event, audit
from pipeline.storage.git.repository import Repository, open_repository
from tests.conftest import Commit, git
from tests.delivery.test_releases import evidence

from .conftest import ANN, BOB, as_person, own_settings

EVE = "Eve <eve@example.org>"


@dataclass
class Place:
    """A project, the keys of its people, and its commits by their subjects."""

    root: Path
    keys: Path
    commits: dict[str, str]

    @property
    def repository(self) -> Repository:
        return open_repository(self.root)

    def commit(self, subject: str, path: str, who: str, *options: str, body: str = "") -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(subject)
        as_person(self.root, who, "add", "-A")
        message = ["-m", subject, *(["-m", body] if body else [])]
        as_person(self.root, who, "commit", "-q", *options, *message)
        self.commits[subject] = as_person(self.root, who, "rev-parse", "HEAD").strip()

    def signed_by(self, who: str) -> list[str]:
        return ["-c", f"user.signingkey={self.keys / who}", "-c", "gpg.format=ssh"]

    def event(self, action: str, what: str) -> Event:
        found = [each for each in audit(self.repository, None) if (each.action, each.id) == (action, self.id(what))]
        assert len(found) == 1, found
        return found[0]

    def id(self, what: str) -> str:
        return self.commits.get(what, what)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Change specs in every way that is looked at, release, assign, and lose two tags."""
    folder = tmp_path_factory.mktemp("audit")
    found = Place(folder / "project", folder / "keys", {})
    with own_settings(folder):
        subprocess.run(["git", "init", "-q", "-b", "main", str(found.root)], check=True)
        make_keys(found)
        found.commit("Start", "models/m.yaml", ANN)
        found.commit("Elsewhere", "README.md", ANN)
        found.commit("Reviewed", "models/m.yaml", ANN, body=f"Reviewed-by: {BOB}\nReviewed-by: {ANN}")
        found.commit("By herself", "environments/prod.yaml", ANN, body=f"Reviewed-by: {ANN}")
        branch(found, "By a merge", merger=BOB)
        branch(found, "Merged by its author", merger=ANN)
        smuggle(found, "In a merge")
        sign(found, "ann", "Signed", ANN)
        sign(found, "eve", "Signed by a stranger", EVE)
        release_all(found)
        yield found


def make_keys(found: Place) -> None:
    found.keys.mkdir()
    for name in ("ann", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(found.keys / name)], check=True)
    allowed = found.keys / "allowed"
    allowed.write_text(f"ann@example.org {(found.keys / 'ann.pub').read_text()}")
    settings = {"gpg.format": "ssh", "gpg.ssh.allowedSignersFile": str(allowed), "user.name": "Ann",
                "user.email": "ann@example.org"}  # fmt: skip
    for name, value in settings.items():
        as_person(found.root, ANN, "config", name, value)


def branch(found: Place, subject: str, merger: str) -> None:
    as_person(found.root, ANN, "switch", "-q", "-c", "side")
    found.commit(subject, "models/m.yaml", ANN)
    as_person(found.root, ANN, "switch", "-q", "main")
    as_person(found.root, merger, "merge", "-q", "--no-ff", "-m", f"Merge: {subject}", "side")
    as_person(found.root, ANN, "branch", "-q", "-D", "side")


def smuggle(found: Place, subject: str) -> None:
    """Change a spec in a merge commit alone, so that neither side has it."""
    as_person(found.root, EVE, "switch", "-q", "-c", "side")
    found.commit("Beside", "notes.md", ANN)
    as_person(found.root, EVE, "switch", "-q", "main")
    as_person(found.root, EVE, "merge", "-q", "--no-ff", "--no-commit", "side")
    found.commit(subject, "models/m.yaml", EVE)
    as_person(found.root, EVE, "branch", "-q", "-D", "side")


def sign(found: Place, key: str, subject: str, who: str) -> None:
    as_person(found.root, who, "config", "user.signingkey", str(found.keys / key))
    found.commit(subject, "models/m.yaml", who, "-S")


def release_all(found: Place) -> None:
    """Make signed and unsigned releases and stages, and delete one of each."""
    repository = found.repository
    made = []
    for name, key in (("a", "ann"), ("b", ""), ("c", "eve")):
        as_person(found.root, ANN, "config", "tag.gpgSign", "true" if key else "false")
        as_person(found.root, ANN, "config", "user.signingkey", str(found.keys / (key or "ann")))
        facts = evidence(spec_commit="HEAD", model_digest=name, who=ANN, why=f"release {name}")
        made.append(record(repository, "m", facts)[0])
    as_person(found.root, ANN, "config", "tag.gpgSign", "false")
    assign(repository, made[0], "prod", action="deploy", why="", push=False)
    assign(repository, made[1], "prod", action="promote", why="better", push=False, who=BOB)
    assign(repository, made[0], "prod", action="rollback", why="not better", push=False)
    assign(repository, made[1], "dev", action="deploy", why="", push=False)
    as_person(found.root, ANN, "tag", "-d", "m#prod#1", "m@v1.0.1")


CHANGES = [
    ("Start", (), ("unsigned", "not reviewed")),
    ("Reviewed", (BOB,), ("unsigned",)),
    ("By herself", (), ("unsigned", "not reviewed")),
    ("By a merge", (BOB,), ("unsigned",)),
    ("Merged by its author", (), ("unsigned", "not reviewed")),
    ("In a merge", (), ("unsigned", "not reviewed")),
    ("Signed", (), ("not reviewed",)),
    ("Signed by a stranger", (), ("signed by a key that is not trusted here", "not reviewed")),
]


@pytest.mark.parametrize(("subject", "reviewers", "flags"), CHANGES, ids=[each[0] for each in CHANGES])
def test_a_change_has_its_author_reviewers_and_what_is_missing(
    place: Place, subject: str, reviewers: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    event = place.event("changed", subject)
    assert event.who == (EVE if subject in ("In a merge", "Signed by a stranger") else ANN)
    assert (event.reviewers, event.flags) == (reviewers, flags)
    assert event.what in ("models/m.yaml", "environments/prod.yaml")
    assert event.why == subject


def test_an_approval_is_an_event_of_its_own(place: Place) -> None:
    assert (place.event("approved", "Reviewed").who, place.event("approved", "Reviewed").why) == (
        BOB, "named as reviewer")  # fmt: skip
    assert place.event("approved", "By a merge").why.startswith("merged by ")


def test_a_release_comes_before_what_was_done_with_it_in_the_same_second(place: Place) -> None:
    times = {each.when for each in audit(place.repository, None)}
    for moment in times:
        actions = [each.action for each in audit(place.repository, None) if each.when == moment]
        assert actions == sorted(actions, key=lambda each: (each != "changed", each != "approved", each != "released"))


def test_what_touches_no_spec_is_left_out(place: Place) -> None:
    assert place.commits["Elsewhere"] not in {each.id for each in audit(place.repository, None)}


def test_the_signatures_of_tags_are_verified(place: Place) -> None:
    assert place.event("released", "m@v1.0.0").signature == "good"
    assert place.event("released", "m@v1.0.0").flags == ()
    assert place.event("released", "m@v1.0.2").flags == ("signed by a key that is not trusted here",)
    assert place.event("rolled back", "m#prod#3").flags == ("unsigned",)


def test_who_asked_and_who_made_the_tag_are_both_told(place: Place) -> None:
    promoted = place.event("promoted", "m#prod#2")
    assert (promoted.who, promoted.by, promoted.why) == (BOB, ANN, "better")
    assert place.event("rolled back", "m#prod#3").by == ""


def test_tags_that_must_have_been_there_are_missed(place: Place) -> None:
    assert place.event("missing", "m#prod#1").flags == ("deleted or not fetched",)
    assert place.event("missing", "m@v1.0.1").flags == ("deleted or not fetched",)
    assert "the tag m@v1.0.1 is gone" in place.event("deployed", "m#dev#1").flags


def test_a_changed_tag_has_a_bad_signature(place: Place, tmp_path: Path, monkeypatch: Any) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", str(place.root), str(copy)], check=True)
    for name, value in (("gpg.format", "ssh"), ("gpg.ssh.allowedSignersFile", str(place.keys / "allowed"))):
        as_person(copy, EVE, "config", name, value)
    tag = as_person(copy, EVE, "cat-file", "tag", "m@v1.0.0")
    forged = subprocess.run(["git", "-C", str(copy), "mktag"], input=tag.replace("release a", "release A"),
                            check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip
    as_person(copy, EVE, "update-ref", "refs/tags/m@v1.0.0", forged)
    (event,) = (each for each in audit(open_repository(copy), None) if each.id == "m@v1.0.0")
    assert (event.signature, event.flags) == ("bad", ("the signature is bad",))


def test_only_what_happened_since_is_told(place: Place) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    assert {each.action for each in audit(place.repository, later)} == {"missing"}
    assert len(audit(place.repository, datetime.now(UTC) - timedelta(days=1))) == len(audit(place.repository, None))


def test_airflows_log_lines_up_with_git(place: Place) -> None:
    told = {"when": "2024-05-01T12:00:00Z", "owner": "admin", "event": "trigger_dag_run", "dag_id": "m",
            "run_id": "manual__1", "task_id": None, "extra": '{"conf": {}}'}  # fmt: skip
    first = next(each for each in audit(place.repository, None, [told]) if each.source == "airflow")
    assert (first.who, first.action, first.what, first.why) == ("admin", "started", "m manual__1", "")


TOLD = [
    ("update_hitl_detail", '{"chosen_options": ["Approve"], "params_input": {}, "method": "PATCH"}', "approved", ""),
    ("update_hitl_detail", '{"chosen_options": ["Reject"], "params_input": {"why": "no"}}', "rejected",
     "params_input why no"),
    ("update_hitl_detail", '{"chosen_options": ["Later"]}', "answered Later", ""),
    ("create_backfill", '{"dag_run_conf": {"reason": "corrected"}, "dag_id": "m", "max_active_runs": 1}', "backfilled",
     "dag_run_conf reason corrected, max_active_runs 1"),
    ("patch_dag", '{"is_paused": true, "method": "PATCH"}', "patch_dag", "is_paused true"),
    ("failed", "not JSON", "failed", "not JSON"),
    ("failed", "[1]", "failed", "[1]"),
    ("failed", None, "failed", ""),
]  # fmt: skip


@pytest.mark.parametrize(("event", "extra", "verb", "said"), TOLD)
def test_what_airflow_calls_an_event_becomes_a_verb_and_what_was_said(
    event: str, extra: str | None, verb: str, said: str
) -> None:
    assert read_entry({"event": event, "extra": extra}) == (verb, said)


def test_nothing_that_a_task_says_of_its_own_state_is_taken_for_somebodys_doing() -> None:
    from airflow.utils.state import TaskInstanceState

    assert {each.value for each in TaskInstanceState} <= {*BY_ITSELF}


def test_an_aborted_canary_is_told(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    commit({"models/m.yaml": "1"}, "A spec")
    made = [record(repository, "m", evidence(spec_commit="HEAD", model_digest=name))[0] for name in "ab"]
    assign(repository, made[1], "prod", action="deploy", why="", push=False)
    assign(repository, made[0], "prod", action="abort", why="5 of 9 failed", push=False)
    told = audit(repository, None)[-1]
    assert (told.action, told.what, told.why) == ("aborted a canary, kept", "m@v1.0.0 in prod", "5 of 9 failed")


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["audit", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_prints_a_table_or_json(place: Place, monkeypatch: Any) -> None:
    monkeypatch.chdir(place.root)
    said = call()
    assert re.search(r"Bob <bob@example\.org> \(tag by Ann.*\) +promoted +m@v1\.0\.1 in prod +m#prod#2 +better", said)
    assert re.search(r"\d+ events, \d+ flagged", said)
    assert "Airflow does not run here" in said
    told = json.loads(call("--json"))
    assert {each["action"] for each in told["events"]} >= {"changed", "approved", "released", "rolled back", "missing"}
    assert CliRunner().invoke(app, ["audit", "--since", "yesterday"]).exit_code


def test_a_message_cannot_pass_for_another_commit_or_move_the_cursor(
    project: Path, commit: Commit, monkeypatch: Any
) -> None:
    commit({"models/m n.yaml": "1", "models/ä.yaml": "1"}, "//commit\x1e\x1f\x1b[2J\x1b[31mred\n\n//commit\n")
    (event,) = audit(open_repository(project), None)
    assert event.what == "models/m n.yaml, models/ä.yaml"
    assert event.why.startswith("//commit")
    monkeypatch.chdir(project)
    said = call()
    assert "\x1b" not in said
    assert "\x1e" not in said
    assert "1 event, 1 flagged" in said


def test_a_tag_that_only_looks_like_a_release_is_flagged(project: Path, commit: Commit) -> None:
    head = commit()
    record(open_repository(project), "m", evidence(spec_commit=head))
    git(project, "tag", "-a", "-m", "by hand", "n@v1.0.0")
    found = {each.id: each for each in audit(open_repository(project), None)}
    assert found["n@v1.0.0"].flags == ("a release's or stage's name, but not made by Modelrail",)
    assert found["m@v1.0.0"].action == "released"


def test_a_shallow_clone_says_that_it_does_not_know_all(
    project: Path, commit: Commit, tmp_path: Path, monkeypatch: Any
) -> None:
    for subject in "ab":
        commit({"models/m.yaml": subject}, subject)
    subprocess.run(["git", "clone", "-q", "--depth", "1", project.as_uri(), str(tmp_path / "shallow")], check=True)
    monkeypatch.chdir(tmp_path / "shallow")
    assert "this clone is shallow, so older commits are not part of this" in call()


def test_an_empty_repository_has_nothing_to_tell(project: Path) -> None:
    assert audit(open_repository(project), None) == []
