"""Who is told what, by real servers: once, without secrets, and in words."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.deploying import Slot
from pipeline.delivery.interventions import intervene
from pipeline.delivery.releases import Release, record
from pipeline.delivery.stages import assign
from pipeline.errors import SpecError
from pipeline.monitoring.history import MOST, KeptLook, keep_look
from pipeline.monitoring.news import Fact, failed, find_news, refused
from pipeline.monitoring.telling import slot_of, tell
from pipeline.runs.results import DeliveryFacts, StepResult
from pipeline.spec.loading.loading import load_spec
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit
from tests.delivery.test_releases import evidence
from tests.monitoring.receivers import Received, mail_server, webhook
from tests.ports import free_port


@pytest.fixture
def hook() -> Iterator[Received]:
    with webhook() as got:
        yield got


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with mail_server() as got:
        monkeypatch.setenv("MODELRAIL_SMTP", f"{got.address}?from=rail@example.com")
        yield got


def place(project: Path, commit: Commit, notify: str) -> tuple[Slot, Release]:
    """Return a slot whose spec says who is told, and a release of it."""
    head = commit({"models/m.yaml": f"model: {{name: m}}\nnotify: {notify}\n", ".gitignore": ".modelrail/\n"})
    release, _ = record(open_repository(project), "m", evidence(spec_commit=head, verdict=["auc 0.9, at least 0.8"]))
    return slot_of(project / "models/m.yaml", None), release


def saw(slot: Slot, verdict: str, at: float, *lines: str) -> None:
    look = KeptLook(at, "1.0.0", verdict, "pipeline" if verdict != "quiet" else None, lines=lines)
    keep_look(FolderStore(slot.target.state / "store"), slot.model, slot.environment, look)


def test_a_webhook_and_an_address_are_told_once(project: Path, commit: Commit, hook: Received, mail: Received) -> None:
    notify = f"{{released: [{hook.address}, ops@example.com], '*': [ops@example.com]}}"
    slot, _ = place(project, commit, notify)
    for _ in range(3):
        assert tell(slot) == []
    (document,) = hook.documents
    assert (document["happened"], document["model"], document["environment"]) == ("released", "m", "local")
    assert document["text"].startswith("[released] m@v1.0.0 was released\n")
    assert "auc 0.9, at least 0.8" in document["text"]
    (letter,) = mail.mails
    assert (letter["subject"], letter["to"], letter["from"]) == (
        "[released] m@v1.0.0 was released", "ops@example.com", "rail@example.com",
    )  # fmt: skip
    assert letter["message-id"] == f"<{document['id']}@modelrail>"
    assert "auc 0.9, at least 0.8" in letter.get_content()
    assert mail.to == ["ops@example.com"]


def test_what_git_and_the_looks_say_is_told(
    project: Path, commit: Commit, hook: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    slot, release = place(project, commit, f"{{'*': [{hook.address}]}}")
    assign(slot.repository, release, "local", action="promote", why="", push=False)
    second, _ = record(slot.repository, "m", evidence(spec_commit=commit(), model_digest="b"))
    assign(slot.repository, second, "local", action="deploy", why="", push=False)
    assign(slot.repository, release, "local", action="rollback", why="too slow", push=False, who="Eve")
    assign(slot.repository, second, "local", action="promote", why="", push=False)
    assign(slot.repository, release, "local", action="abort", why="it did worse", push=False)
    intervene(slot.repository, release, "local", "hold", why="drift", push=False, evidence={"said": ["'x' is missing"]})
    intervene(slot.repository, release, "local", "resume", why="mended", push=False)
    now = time.time()
    saw(slot, "drift", now - 30, "m v1.0.0 in local: it moved", "  'x' is missing in 60.0% of the rows")
    assert tell(slot) == []
    saw(slot, "drift", now - 20, "m v1.0.0 in local: it moved", "  still")
    saw(slot, "quiet", now - 10, "m v1.0.0 in local: quiet")
    assert tell(slot) == []
    told = [each["happened"] for each in hook.documents]
    assert sorted(told) == sorted(
        ["released", "released", "rolled_back", "aborted", "held", "resumed", "drift", "recovered"]
    )
    texts = {each["happened"]: each["text"] for each in hook.documents}
    assert "m@v1.0.0 is live again: local was rolled back to it\nEve: too slow" in texts["rolled_back"]
    assert "'x' is missing" in texts["held"]
    assert "  'x' is missing in 60.0% of the rows" in texts["drift"]
    assert texts["drift"].endswith("https://airflow.example/dags/m")
    assert "before: drift" in texts["recovered"]


def test_what_could_not_be_sent_is_tried_again(project: Path, commit: Commit, hook: Received) -> None:
    slot, _ = place(project, commit, f"{{released: [{hook.address}]}}")
    hook.status = 503
    assert tell(slot) == ["notify.released: found the status 503 from the webhook; expected 200"]
    hook.status = 200
    assert tell(slot) == []
    assert tell(slot) == []
    assert len(hook.documents) == 2
    assert hook.documents[0]["id"] == hook.documents[1]["id"]


def test_a_name_stands_for_an_address_that_no_error_shows(
    project: Path, commit: Commit, hook: Received, mail: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, _ = place(project, commit, "{released: [on-call, by.mail, nobody]}")
    monkeypatch.setenv("MODELRAIL_NOTIFY_ON_CALL", f"http://127.0.0.1:{free_port()}/secret-token")
    monkeypatch.setenv("MODELRAIL_NOTIFY_BY_MAIL", f"{mail.address}/?to=ops@example.com")
    first, second = tell(slot)
    assert first == "notify.released: found no answer from the webhook (ConnectError); expected one"
    assert second.startswith("notify.released: nobody: found no MODELRAIL_NOTIFY_NOBODY; expected the address of a")
    monkeypatch.setenv("MODELRAIL_NOTIFY_ON_CALL", hook.address)
    monkeypatch.setenv("MODELRAIL_NOTIFY_NOBODY", "ftp://example.com")
    assert tell(slot) == [
        "notify.released: found an address that begins with 'ftp'; expected one of https, http, smtp, smtps"
    ]
    assert (len(hook.documents), len(mail.mails)) == (1, 1)


def test_old_facts_are_no_news(project: Path, commit: Commit, hook: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    slot, _ = place(project, commit, f"{{'*': [{hook.address}]}}")
    saw(slot, "drift", time.time() - 2 * 86_400)
    assert tell(slot) == []
    assert hook.documents == []


def test_two_processes_that_tell_at_once_tell_once(project: Path, commit: Commit, hook: Received) -> None:
    slot, _ = place(project, commit, f"{{released: [{hook.address}]}}")
    spec = str(slot.target.state.parent / "models/m.yaml")
    processes = [multiprocessing.get_context("spawn").Process(target=tell_again, args=(spec,)) for _ in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0, 0, 0]
    assert len(hook.documents) == 1


def tell_again(spec: str) -> None:
    tell(slot_of(Path(spec), None))


def test_no_password_and_no_line_break_gets_out(project: Path, commit: Commit, mail: Received) -> None:
    slot, _ = place(project, commit, "{failed: [ops@example.com]}")
    fact = Fact("failed", "1", time.time(), "a run\nBcc: eve@example.com", ("https://me:secret@host/x",))
    assert tell(slot, [fact]) == []
    (letter,) = mail.mails
    assert letter["subject"] == "[failed] a run Bcc: eve@example.com"
    assert mail.to == ["ops@example.com"]
    assert "secret" not in letter.as_string()


def test_a_model_that_its_gate_refuses_is_told_once_for_however_many_runs() -> None:
    facts = DeliveryFacts(released=False, verdict=["auc 0.7, at least 0.8"])
    results = [
        StepResult("train", "ran", "", key="abc"),
        StepResult("release", "ran", "not released: 1 of 1 bounds missed", facts=facts),
    ]
    (first,), (second,) = refused("m", results, 1.0), refused("m", results, 2.0)
    assert first.id == second.id
    assert (first.title, first.lines) == ("m: not released: 1 of 1 bounds missed", ("auc 0.7, at least 0.8",))
    released = [replace(results[1], facts=DeliveryFacts(released=True))]
    assert refused("m", released, 1.0) == refused("m", [], 1.0) == []
    assert failed("m", "run", "train", 1.0).title == "m: a run failed (train)"


def test_a_row_of_windows_that_is_as_long_as_what_is_kept_is_no_news_each_time() -> None:
    looks = [KeptLook(each, "1.0.0", "drift") for each in range(MOST + 1)]
    assert len(find_news("prod", [], [], [], looks[-3:])) == 1
    assert find_news("prod", [], [], [], looks[1:]) == []


def test_commands_tell(project: Path, commit: Commit, hook: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, release = place(project, commit, f"{{held: [{hook.address}], '*': [nobody]}}")
    assign(slot.repository, release, "local", action="promote", why="", push=False)
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["hold", "m", "--why", "a holiday"])
    assert done.exit_code == 0  # the command has done what it was for
    assert "modelrail: notify.held: nobody: found no MODELRAIL_NOTIFY_NOBODY" in done.stderr
    assert [each["happened"] for each in hook.documents] == ["held"]
    assert datetime.fromisoformat(hook.documents[0]["at"]) <= datetime.now(UTC)


def test_a_run_that_fails_is_told_without_what_its_error_quotes(
    live_project: Path, commit: Commit, hook: Received
) -> None:
    spec = f"""
model: {{name: m, trainer: ridge, target: y}}
data: {{files: "data/{{month}}.csv", columns: {{x: float, y: float}}}}
notify: {{failed: [{hook.address}]}}
"""
    commit({"models/m.yaml": spec, "data/2013-01.csv": "x,z\nprivate,1\n", ".gitignore": ".modelrail/\n"})
    done = CliRunner().invoke(app, ["run", "models/m.yaml"])
    assert type(done.exception).__name__ == "DataError"
    (document,) = hook.documents
    assert document["text"].startswith("[failed] m: a run failed (DataError)")
    assert "private" not in document["text"]


@pytest.mark.parametrize("who", ["https://me:token@host/x", "two words", "a@b@c", "ops@example.com, eve@example.com"])
def test_what_is_no_recipient_is_refused(tmp_path: Path, who: str) -> None:
    (tmp_path / "m.yaml").write_text(f"model: {{name: m}}\nnotify: {{drift: ['{who}']}}\n")
    with pytest.raises(SpecError, match=r"notify\.drift\.0: found the text"):
        load_spec(tmp_path / "m.yaml")
