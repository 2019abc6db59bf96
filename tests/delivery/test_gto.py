"""What the real gto package reads of releases and stages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.releases import Release, record
from pipeline.delivery.stages import Action, assign, standing_of
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit, git
from tests.delivery.test_releases import evidence

GTO = Path(sys.executable).with_name("gto")
pytestmark = pytest.mark.skipif(not GTO.exists(), reason="gto is not installed: 'make .venv/test.done' installs it")


def gto(folder: Path, *arguments: str) -> Any:
    done = subprocess.run([GTO, *arguments, "-r", folder, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def released(project: Path, commit: Commit) -> list[Release]:
    """Release three times on one commit of the spec, as new data do."""
    head = commit()
    return [record(open_repository(project), "m", evidence(spec_commit=head, model_digest=name))[0] for name in "abc"]


def test_gto_registers_every_release_under_its_version(project: Path, released: list[Release]) -> None:
    found = [each for each in gto(project, "history", "m") if each["event"] == "registration"]
    assert {(each["version"], each["commit"]) for each in found} == {
        (f"v{each.version}", each.commit) for each in released
    }
    assert gto(project, "show")["m"]["version"] == "v1.0.2"


@pytest.mark.parametrize("steps", ["d0", "d0 d1", "d0 d1 d2 r1", "d2 r0 p1"])
def test_gto_and_modelrail_agree_on_what_is_live(
    project: Path, released: list[Release], steps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, actions = open_repository(project), dict[str, Action](d="deploy", p="promote", r="rollback")
    made = []
    for second, step in enumerate(steps.split()):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2030-01-01T00:00:{second:02}Z")
        monkeypatch.setenv("GIT_COMMITTER_NAME", "Test")
        monkeypatch.setenv("GIT_COMMITTER_EMAIL", "test@example.org")
        chosen, action = released[int(step[1])], actions[step[0]]
        made.append(assign(repository, chosen, "prod", action=action, why="", push=False))
    assert gto(project, "show")["m"]["stage"] == {"prod": f"v{standing_of(made).current}"}
    told = [each["ref"] for each in gto(project, "history", "m") if each["event"] == "assignment"]
    assert sorted(told) == sorted(each.tag for each in made)


def test_gto_reads_signed_tags(project: Path, commit: Commit, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingkey", str(tmp_path / "key")), ("tag.gpgSign", "true")):
        git(project, "config", name, value)
    made, _ = record(open_repository(project), "m", evidence(spec_commit=commit()))
    assert "-----BEGIN SSH SIGNATURE-----" in git(project, "cat-file", "tag", made.tag)
    assert gto(project, "show")["m"]["version"] == "v1.0.0"
