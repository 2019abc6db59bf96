"""What tells that a branch of a repository on this machine moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.orchestration.data_commits.sources import Source, read_tip, sign_of
from tests.conftest import git

from .conftest import Data

LAYOUTS = ["work tree", ".git", "linked work tree", "bare"]


def lay_out(data: Data, layout: str) -> Path:
    """Return the folder that is watched."""
    folder = data.folder.with_name("watched")
    if layout == "work tree":
        return data.folder
    if layout == ".git":
        return data.folder / ".git"
    how = ("clone", "-q", "--bare", ".") if layout == "bare" else ("worktree", "add", "-q", "-b", "side")
    data.git(*how, str(folder))
    return folder


@pytest.mark.parametrize("refs", ["loose", "packed"])
@pytest.mark.parametrize("watched", ["what is checked out", "a branch"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_moved_branch_changes_the_sign_in_every_layout(data: Data, layout: str, watched: str, refs: str) -> None:
    data.month(1)
    folder = lay_out(data, layout)
    branch = "side" if layout == "linked work tree" else "main"
    source = Source(str(folder), branch if watched == "a branch" else "")
    if refs == "packed":
        git(folder, "pack-refs", "--all")
    before, tip = sign_of(source), read_tip(source)
    assert sign_of(source) == before
    commit = git(folder, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "more").strip()
    git(folder, "update-ref", f"refs/heads/{branch}", commit)
    assert sign_of(source) != before
    assert read_tip(source) == commit
