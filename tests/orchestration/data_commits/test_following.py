"""New data commits that change pointers: what they touch, and what they start."""

from __future__ import annotations

import json

from tests.storage.large_files.conftest import dvc_pointer, lfs_pointer, md5, month, put

from .conftest import Data

EVERY = "{on_data_commit: every}"


def configure(data: Data) -> dict[str, str]:
    remote = data.folder.parent / "remote"
    return {".dvc/config": f"[core]\n    remote = s\n['remote \"s\"']\n    url = {remote}\n"}


def pointer(number: int, content: bytes) -> dict[str, str | None]:
    return {f"data/2013-{number:02d}.csv.dvc": dvc_pointer(content, f"2013-{number:02d}.csv")}


def reasons(data: Data) -> list[str]:
    return [str(conf["reason"]).partition("change: ")[2] for conf in data.runs.runs["m"].values()][1:]


def test_a_commit_of_a_pointer_starts_a_run_and_one_that_only_describes_it_none(data: Data) -> None:
    data.spec(EVERY)
    data.commit(configure(data) | pointer(1, month(1)))
    data.dispatch()
    second = data.commit(pointer(2, month(2)))
    described = dvc_pointer(month(2), "2013-02.csv", "  hash: md5\n  desc: ours\n")
    data.commit({"data/2013-02.csv.dvc": described})
    last = data.commit({"data/2013-02.csv.dvc": None})
    assert "1 commits touch nothing" in data.lines()
    assert data.runs.started()[1:] == [second, last]
    assert reasons(data) == ["2013-02", "2013-02"]


def test_a_commit_of_an_lfs_pointer_starts_a_run(data: Data) -> None:
    data.spec(EVERY)
    data.commit({"data/2013-01.csv": lfs_pointer(month(1))})
    data.dispatch()
    second = data.commit({"data/2013-01.csv": lfs_pointer(month(2))})
    data.dispatch()
    assert data.runs.started()[1:] == [second]


def folder(data: Data, *numbers: int, pushed: bool = True) -> dict[str, str | None]:
    """Return the pointer that stands for all months."""
    listing = [{"md5": md5(month(each)), "relpath": f"2013-{each:02d}.csv"} for each in numbers]
    listed = json.dumps(listing).encode()
    if pushed:
        put(data.folder.parent / "remote", listed, ending=".dir")
    return {"data.dvc": dvc_pointer(listed, "data").replace("\n  size", ".dir\n  size")}


def test_of_a_folder_the_partitions_that_differ_are_told(data: Data) -> None:
    data.spec(EVERY)
    data.commit(configure(data) | folder(data, 1, 2))
    data.dispatch()
    second, third = data.commit(folder(data, 1, 2, 3)), data.commit(folder(data, 1, 3))
    data.dispatch()
    assert data.runs.started()[1:] == [second, third]
    assert reasons(data) == ["2013-03", "2013-02"]


def test_a_folder_whose_list_was_not_pushed_hides_no_commit(data: Data) -> None:
    data.spec(EVERY)
    data.commit(configure(data) | folder(data, 1))
    data.dispatch()
    second, third = data.commit(folder(data, 1, 2, pushed=False)), data.commit(folder(data, 1, 2, 3))
    data.dispatch()
    assert data.runs.started()[1:] == [second, third]


def test_a_damaged_pointer_hides_no_commit(data: Data) -> None:
    data.spec(EVERY)
    data.commit(configure(data) | pointer(1, month(1)))
    data.dispatch()
    second = data.commit({"data/2013-01.csv.dvc": "<<<<<<< ours\n"})
    data.dispatch()
    assert data.runs.started()[1:] == [second]


def test_after_a_force_push_pointers_are_compared_by_what_they_stand_for(data: Data) -> None:
    data.spec(EVERY)
    first = data.commit(configure(data) | pointer(1, month(1)))
    data.dispatch()
    data.commit(pointer(2, month(2)))
    data.dispatch()
    data.git("reset", "-q", "--hard", first)
    again = dvc_pointer(month(2), "2013-02.csv", "  hash: md5\n  desc: ours\n")
    data.commit({"data/2013-02.csv.dvc": again})
    assert "1 of the new commits are as run before, 0 are not" in data.lines()
    assert len(data.runs.started()) == 2
