"""Commits of a folder, pushed to a repository that others push to as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DeploymentError
from pipeline.storage.git.mirrors import mirror
from pipeline.storage.git.publishing import publish, read_folder, read_tree, write_folder
from pipeline.storage.git.repository import Repository
from tests.conftest import git


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "deployments.git")
    git(tmp_path / "deployments.git", "config", "core.hooksPath", "hooks")  # its own, whatever this machine has
    return tmp_path / "deployments.git"


@pytest.fixture
def repository(bare: Path, tmp_path: Path) -> Repository:
    return mirror(bare.as_uri(), tmp_path / "state")


def commit(repository: Repository, files: dict[str, str], subject: str = "change", review: str | None = None) -> bool:
    tree = write_folder(repository, files)
    return publish(repository, "main", "prod/m", tree, f"{subject}\n", review).changed


def files_of(bare: Path, branch: str = "main") -> list[str]:
    return git(bare, "ls-tree", "-r", "--name-only", branch).split()


def test_a_folder_is_committed_beside_what_is_there(bare: Path, repository: Repository, tmp_path: Path) -> None:
    assert commit(repository, {"a.yaml": "a: 1\n"}, "first")
    git(tmp_path, "clone", "-q", str(bare), "clone")
    for path in ("prod/other/x.yaml", "README.md"):
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / path).write_text("x\n")
    git(tmp_path / "clone", "add", "-A")
    git(tmp_path / "clone", "commit", "-q", "-m", "others")
    git(tmp_path / "clone", "push", "-q")
    assert commit(repository, {"a.yaml": "a: 2\n", "b.yaml": "b: 1\n"}, "second")
    assert files_of(bare) == ["README.md", "prod/m/a.yaml", "prod/m/b.yaml", "prod/other/x.yaml"]
    assert git(bare, "log", "--format=%s", "main").split() == ["second", "others", "first"]
    assert git(bare, "show", "--stat=100", "--format=", "main").split("\n")[0].split() == [
        "prod/m/a.yaml",
        "|",
        "2",
        "+-",
    ]


def test_the_same_content_needs_no_commit(bare: Path, repository: Repository) -> None:
    assert commit(repository, {"a.yaml": "a: 1\n"})
    assert not commit(repository, {"a.yaml": "a: 1\n"})
    assert git(bare, "rev-list", "--count", "main").strip() == "1"


def test_what_a_folder_had_can_be_committed_again(bare: Path, repository: Repository) -> None:
    commit(repository, {"a.yaml": "a: 1\n"})
    made = publish(repository, "main", "prod/m", write_folder(repository, {"a.yaml": "a: 2\n"}), "worse\n")
    assert made.before is not None
    publish(repository, "main", "prod/m", made.before, "back\n")
    tree = read_tree(repository, git(bare, "rev-parse", "main").strip(), "prod/m")
    assert tree == made.before
    assert read_folder(repository, tree) == {"a.yaml": "a: 1\n"}
    publish(repository, "main", "prod/m", None, "gone\n")
    assert files_of(bare) == []


def test_a_review_branch_stands_on_the_branch_and_leaves_it_alone(bare: Path, repository: Repository) -> None:
    commit(repository, {"a.yaml": "a: 1\n"}, "first")
    for number in (2, 3):
        commit(repository, {"a.yaml": f"a: {number}\n"}, f"number-{number}", review="modelrail/m")
    assert git(bare, "log", "--format=%s", "main").split() == ["first"]
    assert git(bare, "log", "--format=%s", "modelrail/m").split() == ["number-3", "first"]
    assert git(bare, "show", "modelrail/m:prod/m/a.yaml") == "a: 3\n"


def test_a_faster_one_is_built_upon(bare: Path, repository: Repository, tmp_path: Path) -> None:
    commit(repository, {"a.yaml": "a: 1\n"}, "first")
    other = mirror(str(bare), tmp_path / "other")
    hook = bare / "hooks" / "pre-receive"  # just before the push is taken, somebody else's is
    push = f'env -i PATH="$PATH" git --git-dir {other.root} push -q {bare} +theirs:refs/heads/main'
    script = f"#!/bin/sh\nrm $0\n{push}\n"
    git(other.root, "fetch", "-q", "origin", "+refs/heads/*:refs/heads/*")
    tree = write_folder(other, {"b.yaml": "b: 1\n"})
    root = other.ask("mktree", stdin=f"040000 tree {tree}\tdev\n").strip()
    theirs = git(other.root, "commit-tree", "-p", "main", "-m", "theirs", root).strip()
    other.ask("update-ref", "refs/heads/theirs", theirs)
    hook.write_text(script)
    hook.chmod(0o755)
    assert commit(repository, {"a.yaml": "a: 2\n"}, "second")
    assert git(bare, "log", "--format=%s", "main").split() == ["second", "theirs", "first"]
    assert files_of(bare) == ["dev/b.yaml", "prod/m/a.yaml"]


def test_a_refused_push_is_said_with_gits_own_words(bare: Path, repository: Repository) -> None:
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no releases on Fridays\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(DeploymentError, match=r"git push to main failed: (.|\n)*no releases on Fridays"):
        commit(repository, {"a.yaml": "a: 1\n"})
