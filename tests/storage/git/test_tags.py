from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.delivery.releases import facts_of
from pipeline.errors import ReleaseError, TransientError
from pipeline.storage.git.repository import open_repository
from pipeline.storage.git.tags import child_commit, fetch_tags, list_tags, settle, write_tag
from tests.conftest import Commit, git


@pytest.fixture
def origin(project: Path, tmp_path: Path) -> Path:
    """Return a bare repository that is the project's remote."""
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    return tmp_path / "origin.git"


def test_a_tag_carries_its_message_whole(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    text = 'm@v1.0.0: first\n\n# not a comment\nüñí\n\n{\n "a": 1\n}\n'
    assert write_tag(repository, "m@v1.0.0", head, text)
    (tag,) = list_tags(repository, "m@v*")
    assert (tag.name, tag.commit, tag.message) == ("m@v1.0.0", head, text.strip())
    assert not tag.signed


def test_a_tag_that_exists_is_not_moved(project: Path, commit: Commit) -> None:
    first = commit()
    repository = open_repository(project)
    assert write_tag(repository, "m@v1.0.0", first, "one")
    assert not write_tag(repository, "m@v1.0.0", commit(), "two")
    assert list_tags(repository, "m@v*")[0].commit == first


def test_a_lightweight_tag_is_no_release(project: Path, commit: Commit) -> None:
    commit()
    git(project, "tag", "m@v1.0.0")
    assert list_tags(open_repository(project), "m@v*") == []


def test_a_tag_is_pushed_to_origin(project: Path, commit: Commit, origin: Path) -> None:
    assert write_tag(open_repository(project), "m@v1.0.0", commit(), "one", push=True)
    assert git(origin, "tag").split() == ["m@v1.0.0"]


def test_a_tag_is_signed_with_an_ssh_key_where_git_signs(project: Path, commit: Commit, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "allowed").write_text(f"test@example.org {(tmp_path / 'key.pub').read_text()}")
    settings = {"gpg.format": "ssh", "user.signingkey": str(tmp_path / "key"), "tag.gpgSign": "true",
                "commit.gpgSign": "true", "gpg.ssh.allowedSignersFile": str(tmp_path / "allowed")}  # fmt: skip
    head = commit()
    for name, value in settings.items():
        git(project, "config", name, value)
    repository = open_repository(project)
    child = child_commit(repository, head, "a release\n")
    assert write_tag(repository, "m@v1.0.0", child, 'm@v1.0.0: first\n\n--------\n{"a": 1}\n')
    (tag,) = list_tags(repository, "m@v*")
    assert tag.signed
    assert facts_of(tag) == {"a": 1}
    git(project, "verify-tag", "m@v1.0.0")
    git(project, "verify-commit", child)


def test_a_key_that_is_gone_leaves_no_tag(project: Path, commit: Commit, tmp_path: Path, origin: Path) -> None:
    head = commit()
    for name, value in {"gpg.format": "ssh", "user.signingkey": str(tmp_path / "gone"), "tag.gpgSign": "true"}.items():
        git(project, "config", name, value)
    with pytest.raises(ReleaseError, match=r"git tag m@v1\.0\.0: found no signature behind it.*gone.*user\.signingkey"):
        write_tag(open_repository(project), "m@v1.0.0", head, "one", push=True)
    assert git(project, "for-each-ref", "refs/tags", "refs/modelrail") == git(origin, "tag") == ""


def test_a_race_for_a_tag_at_the_remote_is_lost_politely(
    project: Path, commit: Commit, tmp_path: Path, origin: Path
) -> None:
    head = commit()
    git(project, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "origin.git", "rival")
    git(tmp_path / "rival", "tag", "-a", "-m", "theirs", "m@v1.0.0")
    git(tmp_path / "rival", "push", "-q", "origin", "m@v1.0.0")
    repository = open_repository(project)
    assert not write_tag(repository, "m@v1.0.0", head, "ours", push=True)
    assert list_tags(repository, "m@v*")[0].message == "theirs"


def test_a_tag_that_cannot_be_pushed_is_taken_back(project: Path, commit: Commit, tmp_path: Path) -> None:
    head = commit()
    git(project, "remote", "add", "origin", str(tmp_path / "nowhere.git"))
    with pytest.raises(ReleaseError, match="nothing was released"):
        write_tag(open_repository(project), "m@v1.0.0", head, "one", push=True)
    assert git(project, "for-each-ref", "refs/tags", "refs/modelrail") == ""


def test_a_remote_that_refuses_tags_is_told_with_its_reason(project: Path, commit: Commit, origin: Path) -> None:
    git(origin, "config", "core.hooksPath", "hooks")  # its own, whatever this machine has
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho tags are protected here >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ReleaseError, match=r"tags are protected here[\s\S]*check the rights to push tags"):
        write_tag(open_repository(project), "m@v1.0.0", commit(), "one", push=True)
    assert git(project, "tag") == git(origin, "tag") == ""


def test_an_unreachable_remote_can_be_tried_again(project: Path, commit: Commit) -> None:
    head = commit()
    git(project, "remote", "add", "origin", "http://127.0.0.1:9/nobody.git")
    with pytest.raises(TransientError, match="nothing was released, run again"):
        write_tag(open_repository(project), "m@v1.0.0", head, "one", push=True)
    with pytest.raises(TransientError, match="run again"):
        fetch_tags(open_repository(project), "m@v*")
    assert git(project, "tag") == ""


def test_a_push_that_a_killed_process_began_is_finished(project: Path, commit: Commit, origin: Path) -> None:
    head = commit()
    for name in ("m@v1.0.0", "m@v1.0.1"):
        git(project, "update-ref", f"refs/modelrail/pushing/{name}", head)
    git(project, "tag", "-a", "-m", "killed before its push", "m@v1.0.0")
    settle(open_repository(project))
    assert git(origin, "tag").split() == ["m@v1.0.0"]
    assert git(project, "for-each-ref", "refs/modelrail") == ""


def test_another_tag_of_the_same_name_at_the_remote_is_told(
    project: Path, commit: Commit, tmp_path: Path, origin: Path
) -> None:
    repository = open_repository(project)
    write_tag(repository, "m@v1.0.0", commit(), "theirs", push=True)
    git(project, "tag", "-d", "m@v1.0.0")
    write_tag(repository, "m@v1.0.0", commit(), "ours")
    with pytest.raises(ReleaseError, match=r"found other tags at 'origin' under the names m@v1\.0\.0"):
        fetch_tags(repository, "m@v*")


def test_a_child_commit_changes_nothing_and_is_on_no_branch(project: Path, commit: Commit) -> None:
    head = commit({"a": "1"})
    child = child_commit(open_repository(project), head, "a release\n")
    assert git(project, "rev-parse", f"{child}^", f"{child}^{{tree}}").split() == [
        head,
        git(project, "rev-parse", "HEAD^{tree}").strip(),
    ]
    assert git(project, "rev-parse", "HEAD").strip() == head
