"""Files of Git LFS: from the clone, from a folder and from a server with a login."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError, InputError, TransientError
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.storage.git.repository import File
from pipeline.storage.large_files import LargeFile
from pipeline.storage.large_files.pointers import read_lfs
from tests.conftest import git
from tests.storage.large_files.conftest import LOGIN, Data, LfsServer, lfs_pointer, month

needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no Git LFS: apt-get install git-lfs")


def oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def served(data: Data, server: LfsServer, **settings: str) -> None:
    """Commit two months as pointers, with the server's address."""
    files = {f"flights/2013-0{number}.csv": lfs_pointer(month(number)) for number in (1, 2)}
    data.commit(files | {".lfsconfig": f"[lfs]\n\turl = {server.url}\n"})
    server.contents = {oid(month(1)): month(1)}
    data.remotes = [f"http://127.0.0.1:{server.server_port}"]


def log_in(folder: Path) -> Path:
    """Write a helper that gives git the login, as a user's own configuration would."""
    name, password = LOGIN.split(":")
    helper = folder / "helper"
    helper.write_text(f"#!/bin/sh\necho username={name}\necho password={password}\n")
    helper.chmod(stat.S_IRWXU)
    return helper


@contextmanager
def connection(_name: str, _address: str) -> Iterator[Mapping[str, str]]:
    """Yield git the login by its environment, as Airflow's Git provider does."""
    helper = os.environ["HELPER"]
    yield {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": helper}


def test_pointers_are_told_from_files_by_what_they_are(data: Data) -> None:
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1)), "flights/2013-02.csv": "x,y\n" + "1,2\n" * 40})
    found = data.open().partitions
    assert isinstance(found["2013-01"], LargeFile)
    assert (found["2013-01"].id, found["2013-01"].bytes) == (f"sha256:{oid(month(1))}", len(month(1)))
    assert not isinstance(found["2013-02"], LargeFile)


def test_the_clones_own_objects_are_enough(data: Data) -> None:
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1))})
    digest = oid(month(1))
    target = data.folder / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    target.parent.mkdir(parents=True)
    target.write_bytes(month(1))
    assert data.open().read("2013-01") == month(1)


def test_a_missing_content_is_named_with_its_remote_and_the_mend(data: Data, tmp_path: Path) -> None:
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1))})
    git(data.folder, "remote", "add", "origin", (tmp_path / "bare.git").as_uri())
    with pytest.raises(DataError) as caught:
        data.open().read("2013-01")
    said = str(caught.value)
    assert said.startswith(f"read: flights/2013-01.csv: found no content sha256 {oid(month(1))[:12]}…")
    assert f"nor at the remote file://{tmp_path}/bare.git" in said
    assert said.endswith("expected it there: 'git lfs push --all origin' in a clone that has it")


@pytest.mark.parametrize("layout", ["{0}/{1}/{2}", "{2}"])
def test_an_object_store_is_asked_and_its_answer_kept(data: Data, tmp_path: Path, layout: str) -> None:
    url = f"memory://{tmp_path.name}/lfs"
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1)), ".lfsconfig": f"[lfs]\n\turl = {url}\n"})
    with pytest.raises(DataError, match=f"at the LFS store {url}/.*/{oid(month(1))}"):
        data.open().read("2013-01")
    digest = oid(month(1))
    files, path = fsspec.core.url_to_fs(f"{url}/{layout.format(digest[:2], digest[2:4], digest)}")
    files.pipe_file(path, month(1))
    assert data.open().read("2013-01") == month(1)
    files.rm_file(path)
    assert data.open().read("2013-01") == month(1)


def test_a_server_is_asked_with_gits_own_login_and_its_answer_kept(
    data: Data, server: LfsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served(data, server)
    with pytest.raises(InputError, match=rf"found the answer 401 of the LFS server {server.url}; expected a login"):
        data.open().read("2013-01")
    git(data.folder, "config", "credential.helper", str(log_in(tmp_path)))
    assert data.open().read("2013-01") == month(1)
    asked = len(server.asked)
    assert data.open().read("2013-01") == month(1)
    assert len(server.asked) == asked, "it was kept"
    with pytest.raises(DataError, match=rf"2013-02\.csv: found no content .*, nor at the LFS server {server.url};"):
        data.open().read("2013-02")
    assert not [word for word in ("s3cret", "only-for-you") if word in caplog.text]


def test_a_connection_of_airflow_lends_its_login_also_to_threads(
    data: Data, server: LfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    served(data, server)
    monkeypatch.setenv("HELPER", str(log_in(tmp_path)))
    spec = data.spec()
    spec.write_text(
        spec.read_text().replace(data.address, data.folder.as_uri()).replace("files:", "connection: c, files:")
    )
    job = open_job(RunRequest(str(spec)), connection)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(job.read, "2013-01").result() == month(1)
    assert "s3cret" not in repr(job)


def test_a_login_in_the_address_is_used_and_never_said(data: Data, server: LfsServer) -> None:
    served(data, server)
    git(data.folder, "config", "lfs.url", server.url.replace("//", f"//{LOGIN}@"))
    job = data.open()
    assert job.read("2013-01") == month(1)
    with pytest.raises(DataError) as caught:
        job.read("2013-02")
    assert "s3cret" not in str(caught.value)


def test_a_download_that_breaks_off_is_tried_again_and_leaves_nothing(data: Data, server: LfsServer) -> None:
    served(data, server)
    git(data.folder, "config", "lfs.url", server.url.replace("//", f"//{LOGIN}@"))
    server.cut = True
    with pytest.raises((TransientError, DataError), match="2013-01"):
        data.open().read("2013-01")
    kept = data.project / ".modelrail" / "cache"
    assert [each for each in kept.rglob("*") if each.is_file()] == []
    server.cut, server.failing = False, 1
    with pytest.raises(TransientError, match="answered 503"):
        data.open().read("2013-01")
    assert data.open().read("2013-01") == month(1)


def test_a_server_that_is_away_is_worth_another_try(data: Data) -> None:
    data.remotes = ["http://127.0.0.1:9"]
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1)), ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/x\n"})
    with pytest.raises(TransientError, match=r"the LFS server http://127\.0\.0\.1:9/x did not answer"):
        data.open().read("2013-01")


def test_bytes_that_are_others_than_the_pointers_are_refused(data: Data, server: LfsServer) -> None:
    served(data, server)
    git(data.folder, "config", "lfs.url", server.url.replace("//", f"//{LOGIN}@"))
    server.contents[oid(month(1))] = b"other"
    with pytest.raises(DataError, match="where other bytes stand under its name"):
        data.open().read("2013-01")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:9/team/flights.git", "http://127.0.0.1:9/team/flights.git/info/lfs"),
        ("http://127.0.0.1:9/team/flights", "http://127.0.0.1:9/team/flights.git/info/lfs"),
        ("git@nowhere.invalid:team/flights.git", "https://nowhere.invalid/team/flights.git/info/lfs"),
        ("ssh://git@nowhere.invalid:22/team/flights", "https://nowhere.invalid/team/flights.git/info/lfs"),
    ],
)
def test_the_server_follows_from_the_repositorys_address(data: Data, origin: str, expected: str) -> None:
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1))})
    data.remotes = ["http://127.0.0.1:9"] if "127.0.0.1" in origin else None
    git(data.folder, "remote", "add", "upstream", origin)
    with pytest.raises(TransientError, match=f"the LFS server {expected} did not answer"):
        data.open().read("2013-01")


@needs_lfs
def test_what_git_lfs_itself_has_pushed_is_read(data: Data, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(bare))
    git(data.folder, "lfs", "install", "--local")
    git(data.folder, "lfs", "track", "flights/*.csv")
    data.commit({f"flights/2013-0{number}.csv": month(number).decode() for number in (1, 2)})
    git(data.folder, "remote", "add", "origin", bare.as_uri())
    git(data.folder, "push", "-q", "origin", "main")
    assert data.open().read("2013-01") == month(1)
    data.address = bare.as_uri()
    job = data.open()
    assert isinstance(job.partitions["2013-02"], LargeFile)
    assert job.read("2013-02") == month(2)


@needs_lfs
def test_a_checked_out_work_tree_of_git_lfs_is_its_commit(data: Data) -> None:
    data.folder, data.address = data.project, "."
    git(data.folder, "lfs", "install", "--local")
    git(data.folder, "lfs", "track", "flights/*.csv")
    data.spec()
    head = data.commit({"flights/2013-01.csv": month(1).decode()})
    job = data.open()
    assert (job.data_commit, job.uncommitted) == (head, ())
    (data.folder / "flights" / "2013-01.csv").write_bytes(month(2))
    job = data.open()
    assert (job.data_commit, job.uncommitted) == ("work tree", ("flights/2013-01.csv",))
    assert job.read("2013-01") == month(2)


def keep(data: Data, content: bytes) -> str:
    """Put a content where the clone has its objects; gives its pointer."""
    digest = oid(content)
    target = data.folder / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return lfs_pointer(content)


def unpacked(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def test_images_behind_pointers_are_read_among_others(data: Data) -> None:
    text = {"images/mon/cat/1.png": keep(data, b"a cat"), "images/mon/dog/2.png": "a dog, in Git itself"}
    first = data.commit(text)
    job = data.open(files="images/{day}/*/*.png")
    assert unpacked(job.read("mon")) == {"cat/1.png": b"a cat", "dog/2.png": b"a dog, in Git itself"}
    data.commit({"images/mon/cat/1.png": keep(data, b"another cat")})
    assert data.open(files="images/{day}/*/*.png").partitions["mon"].id != job.partitions["mon"].id
    assert data.open(first, files="images/{day}/*/*.png").partitions["mon"].id == job.partitions["mon"].id


def test_images_that_rows_name_are_read_from_behind_pointers_as_the_rows_are(data: Data) -> None:
    rows = b"photo,y\n1.png,1\n"
    data.commit({"rows/mon.csv": keep(data, rows), "photos/mon/1.png": keep(data, b"a cat")})
    spec = data.spec("rows/{day}.csv")
    images = "images: 'photos/{day}', columns: {photo: {type: image, image: {size: [4, 4]}}, y: float}"
    spec.write_text(spec.read_text().replace("columns: {x: float, y: float}", images))
    job = open_job(RunRequest(str(spec)))
    assert unpacked(job.read("mon")) == {"rows/mon.csv": rows, "photos/mon/1.png": b"a cat"}


def test_a_missing_image_is_named(data: Data) -> None:
    data.commit({"images/mon/cat/1.png": lfs_pointer(b"a cat")})
    with pytest.raises(DataError, match=r"images/mon/cat/1\.png: found no content sha256 .*git lfs push"):
        data.open(files="images/{day}/*/*.png").read("mon")


@pytest.mark.parametrize("changed", [lambda text: text.replace("\n", "\r\n"), lambda text: text.rstrip("\n")])
def test_a_pointer_is_read_with_the_line_ends_that_git_lfs_accepts(data: Data, changed: Callable[[str], str]) -> None:
    content = month(1)
    pointer = changed(lfs_pointer(content)).encode()
    found = read_lfs(pointer, File("flights/2013-01.csv", "0" * 40, len(pointer)), "")
    assert found is not None
    assert found.digest == hashlib.sha256(content).hexdigest()


_LINES = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{'ab' * 32}", "size 12345")
EXTENSION = f"ext-0-a sha256:{'cd' * 32}\n"
_CHANGES = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 150), st.sampled_from([0, 42, 43, 118, 119, 120])),
        st.sampled_from(["", "\r", "\n", " ", "0", "A", "-", "\t", "size 1\n", EXTENSION, "ext-1-b sha256:00\n"]),
    ),
    max_size=2,
)


@needs_lfs
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n", "\r\n", "\n\n"]), _CHANGES)
def test_what_is_taken_for_a_pointer_is_one_to_git_lfs(
    tmp_path: Path, end: str, last: str, changes: list[tuple[int, str]]
) -> None:
    text = end.join(_LINES) + last
    for place, put in changes:
        text = text[:place] + put + text[place + 1 :]
    content, file = text.encode(), tmp_path / "pointer"
    file.write_bytes(content)
    checked = subprocess.run(["git", "lfs", "pointer", "--check", f"--file={file}"], capture_output=True, check=False)
    found = read_lfs(content, File("a.csv", "0" * 40, len(content)), "")
    assert (found is not None) == (checked.returncode == 0), (content, checked.stderr)
