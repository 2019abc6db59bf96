"""Files of DVC: laid out as DVC 3 and DVC 2 do, which its own package was asked for once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import DataError, InputError
from pipeline.storage.large_files import LargeFile
from pipeline.storage.large_files.pointers import digest_of
from tests.conftest import git
from tests.storage.large_files.conftest import Data, dvc_pointer, md5, month, put


def test_partitions_are_found_by_their_pointers_and_read_from_the_remote(data: Data) -> None:
    files = {f"flights/2013-0{number}.csv.dvc": dvc_pointer(month(number), f"2013-0{number}.csv") for number in (1, 2)}
    data.commit(files | data.with_remote() | {"flights/2013-03.csv": month(3).decode()})
    job = data.open()
    assert list(job.partitions) == ["2013-01", "2013-02", "2013-03"]
    assert [each.path for each in job.partitions.values()] == [f"flights/2013-0{number}.csv" for number in (1, 2, 3)]
    assert job.partitions["2013-01"].id == f"md5:{md5(month(1))}"
    put(data.remote, month(1))
    put(data.remote, month(2), "")
    assert [job.read(f"2013-0{number}") for number in (1, 2, 3)] == [month(1), month(2), month(3)]


def test_a_missing_content_is_named_with_its_remote_and_the_mend(data: Data) -> None:
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | data.with_remote())
    with pytest.raises(DataError) as caught:
        data.open().read("2013-01")
    digest = md5(month(1))
    said = str(caught.value)
    assert said.startswith(
        f"read: flights/2013-01.csv: found no content md5 {digest[:12]}…, which flights/2013-01.csv.dvc"
    )
    assert f"at the DVC remote 'storage' ({data.remote}/files/md5/{digest[:2]}/{digest[2:]})" in said
    assert said.endswith("expected it there: 'dvc push' in a clone that has it")


def test_the_clones_own_cache_is_enough(data: Data) -> None:
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")})
    put(data.folder / ".dvc" / "cache", month(1))
    assert data.open().read("2013-01") == month(1)
    shutil.rmtree(data.folder / ".dvc")
    with pytest.raises(DataError, match=r"none is configured \(\.dvc/config, core\.remote\)"):
        data.open().read("2013-01")


def test_a_cache_elsewhere_is_found(data: Data, tmp_path: Path) -> None:
    config = {".dvc/config": "[cache]\n    dir = ../../shared\n"}
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | config)
    put(tmp_path / "shared", month(1))
    assert data.open().read("2013-01") == month(1)


def test_damaged_bytes_are_not_taken_and_are_said(data: Data) -> None:
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | data.with_remote())
    put(data.remote, month(1)).write_bytes(b"half")
    with pytest.raises(DataError, match=r"storage.*, where other bytes stand under its name"):
        data.open().read("2013-01")
    put(data.folder / ".dvc" / "cache", month(1)).write_bytes(b"half")
    put(data.remote, month(1))
    assert data.open().read("2013-01") == month(1)


@pytest.mark.parametrize("folder", ["flights", "all/flights"])
def test_a_folder_behind_one_pointer_holds_its_partitions(data: Data, folder: str) -> None:
    template = f"{folder}/{{month}}.csv"
    listing = [{"md5": md5(month(number)), "relpath": f"2013-0{number}.csv"} for number in (1, 2)]
    listed = json.dumps([*listing, {"md5": "0" * 32, "relpath": "notes/readme.txt"}]).encode()
    pointer = dvc_pointer(listed, folder.rpartition("/")[2]).replace("\n  size", ".dir\n  size")
    put(data.remote, listed, ending=".dir")
    put(data.remote, month(2))
    data.commit({f"{folder}.dvc": pointer} | data.with_remote())
    job = data.open(files=template)
    assert list(job.partitions) == ["2013-01", "2013-02"]
    assert job.read("2013-02") == month(2)
    with pytest.raises(DataError, match=rf"{folder}/2013-01\.csv: found no content md5 .*which {folder}\.dvc names"):
        job.read("2013-01")


def test_a_folder_whose_list_is_missing_is_an_error_of_the_plan(data: Data) -> None:
    pointer = dvc_pointer(b"[]", "flights").replace("\n  size", ".dir\n  size")
    data.commit({"flights.dvc": pointer} | data.with_remote())
    with pytest.raises(DataError, match=r"read: flights: found no content md5 .*, which flights\.dvc names"):
        data.open()


def test_a_folder_that_no_partition_can_be_in_is_not_asked_for(data: Data) -> None:
    pointer = dvc_pointer(b"[]", "images").replace("\n  size", ".dir\n  size")
    data.commit({"images.dvc": pointer, "2013-01.csv": month(1).decode()} | data.with_remote())
    assert list(data.open(files="{month}.csv").partitions) == ["2013-01"]


def test_an_object_store_is_asked_and_its_answer_kept(data: Data, tmp_path: Path) -> None:
    remote = data.with_remote()
    url = f"memory://{tmp_path.name}/dvc"
    data.commit(
        {"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")}
        | {path: text.replace(str(data.remote), url) for path, text in remote.items()}
    )
    with pytest.raises(DataError, match=rf"at the DVC remote 'storage' \({url}/files/md5/"):
        data.open().read("2013-01")
    address = f"{url}/files/md5/{md5(month(1))[:2]}/{md5(month(1))[2:]}"
    files, path = fsspec.core.url_to_fs(address)
    files.pipe_file(path, b"half")
    with pytest.raises(DataError, match="where other bytes stand under its name"):
        data.open().read("2013-01")
    kept = data.project / ".modelrail" / "cache" / "large-files"
    assert [each for each in kept.rglob("*") if each.is_file()] == []
    files.pipe_file(path, month(1))
    assert data.open().read("2013-01") == month(1)
    files.rm_file(path)
    assert data.open().read("2013-01") == month(1)
    (one,) = (each for each in kept.rglob("*") if each.is_file())
    one.write_bytes(b"damaged")
    files.pipe_file(path, month(1))
    assert data.open().read("2013-01") == month(1)
    assert one.read_bytes() == month(1)


def test_the_configuration_is_that_of_the_commit_and_the_local_one_has_the_last_word(
    data: Data, tmp_path: Path
) -> None:
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | data.with_remote())
    moved = data.with_remote()[".dvc/config"].replace(str(data.remote), "/nowhere")
    second = data.commit({".dvc/config": moved})
    put(data.remote, month(1))
    assert data.open(f"{second}~1").read("2013-01") == month(1)
    with pytest.raises(DataError, match=r"\(/nowhere/files"):
        data.open(second).read("2013-01")
    local = data.folder / ".dvc" / "config.local"
    local.write_text(f"['remote \"storage\"']\n    url = {data.remote}\n")
    assert data.open(second).read("2013-01") == month(1)


def test_a_mirror_has_no_folder_beside_it(data: Data) -> None:
    config = data.with_remote()[".dvc/config"].replace(str(data.remote), "../../remote")
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv"), ".dvc/config": config})
    put(data.remote, month(1))
    assert data.open().read("2013-01") == month(1)
    data.address = data.folder.as_uri()
    with pytest.raises(InputError, match=r"remote 'storage', which begins at a work tree, and here is a mirror"):
        data.open().read("2013-01")


def test_an_unknown_remote_is_named_with_the_command_that_adds_it(data: Data) -> None:
    pointer = dvc_pointer(month(1), "2013-01.csv", "  hash: md5\n  remote: archive\n")
    data.commit({"flights/2013-01.csv.dvc": pointer} | data.with_remote())
    with pytest.raises(
        InputError, match=r"found no remote 'archive', which .* expected its url: 'dvc remote add archive"
    ):
        data.open().read("2013-01")


def test_texts_of_dvc_2_were_hashed_with_unix_line_ends(data: Data) -> None:
    content = month(1).replace(b"\n", b"\r\n")
    pointer = dvc_pointer(month(1), "2013-01.csv", "")
    data.commit({"flights/2013-01.csv.dvc": pointer} | data.with_remote())
    target = put(data.remote, month(1), "")
    target.write_bytes(content)
    job = data.open()
    assert job.partitions["2013-01"].id == f"md5-dos2unix:{md5(month(1))}"
    assert job.read("2013-01") == content
    assert digest_of(b"\0\r\n", "md5-dos2unix") == md5(b"\0\r\n"), "what is no text was hashed as it is"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("outs: [", "no YAML"),
        ("wdir: .\n", "no list 'outs'"),
        ("outs:\n- path: x.csv\n", "an entry without a path or an 'md5'"),
        ("outs:\n- md5: zz\n  path: x.csv\n", "an entry without a path or an 'md5'"),
    ],
)
def test_a_damaged_pointer_is_named(data: Data, text: str, found: str) -> None:
    data.commit({"flights/x.csv.dvc": text})
    with pytest.raises(DataError, match=rf"flights/x\.csv\.dvc: found {found}.*: add the file again"):
        data.open()


def test_what_dvc_can_also_write_is_read(data: Data) -> None:
    text = (
        "# by hand\nwdir: ../flights\nmd5: 8a2b\nfrozen: true\nouts:\n"
        f"- md5: {md5(month(1))}\n  hash: md5\n  path: '2013-01.csv'\n  desc: \"the first: ours\"\n"
        f"- md5: {md5(month(2))}\n  hash: md5\n  path: 2013-02.csv\n"
    )
    data.commit({"flights/all.dvc": text})
    found = data.open().partitions
    assert [(key, each.id) for key, each in found.items()] == [
        ("2013-01", f"md5:{md5(month(1))}"),
        ("2013-02", f"md5:{md5(month(2))}"),
    ]


def test_a_file_beside_its_pointer_is_refused(data: Data) -> None:
    data.commit({"flights/x.csv.dvc": dvc_pointer(month(1), "x.csv"), "flights/x.csv": month(1).decode()})
    with pytest.raises(InputError, match=r"flights/x\.csv: found it twice, there and by flights/x\.csv\.dvc"):
        data.open()


def test_a_pointer_in_the_specs_own_work_tree_counts_before_it_is_committed(data: Data) -> None:
    data.folder, data.address = data.project, "."
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | data.with_remote())
    data.spec()
    git(data.project, "add", "-A")
    git(data.project, "commit", "-q", "-m", "spec")
    put(data.remote, month(1))
    assert data.open().read("2013-01") == month(1)
    assert data.open().uncommitted == ()
    (data.project / "flights" / "2013-02.csv.dvc").write_text(dvc_pointer(month(2), "2013-02.csv"))
    put(data.remote, month(2))
    job = data.open()
    assert (job.data_commit, job.uncommitted) == ("work tree", ("flights/2013-02.csv.dvc",))
    assert job.read("2013-02") == month(2)
    assert isinstance(job.partitions["2013-01"], LargeFile)


@pytest.mark.parametrize(
    ("digest", "relative", "found"),
    [
        ("/home/x/precious.txt", "2024.csv", "as the digest of 'flights/2024.csv'"),
        ("../../../../precious", "2024.csv", "as the digest of 'flights/2024.csv'"),
        ("0" * 31, "2024.csv", "as the digest of"),
        ("0" * 32 + "\n", "2024.csv", "as the digest of"),
        ("0" * 32, "../../2024.csv", "'../2024.csv', which is not in the repository"),
        ("0" * 32, "/etc/hostname", "'/etc/hostname', which is not in the repository"),
    ],
)
def test_a_listing_can_name_nothing_but_digests_of_files_in_its_folder(
    data: Data, tmp_path: Path, digest: str, relative: str, found: str
) -> None:
    victim = tmp_path / "precious"
    victim.write_text("years of work")
    listing = json.dumps([{"md5": digest, "relpath": relative}]).encode()
    put(data.remote, listing, ending=".dir")
    pointer = dvc_pointer(listing, "flights").replace(md5(listing), f"{md5(listing)}.dir")
    data.commit(data.with_remote() | {"flights.dvc": pointer})
    with pytest.raises(DataError, match=rf"flights\.dvc: found .*{re.escape(found)}"):
        data.open()
    assert victim.read_text() == "years of work"


def test_a_fifo_in_a_cache_is_never_read(data: Data, tmp_path: Path) -> None:
    content = month(1)
    place = put(data.remote, content)
    place.unlink()
    os.mkfifo(place)
    data.commit(data.with_remote() | {"flights/2013-01.csv.dvc": dvc_pointer(content, "2013-01.csv")})
    job = data.open()
    with pytest.raises(DataError, match="found a device, a FIFO or a socket; expected a file"):
        job.read(next(iter(job.partitions)))


NAMES = (
    "2013-01.csv",
    "a b.csv",
    "ü ß.csv",
    "'quoted'.csv",
    "100%.csv",
    "x#y.csv",
    "-dash.csv",
    "a,b [c].csv",
    "empty.csv",
)


def test_what_dvc_itself_has_added_and_pushed_is_read(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {name: f"x,y\r\n1,{number}\r\n".encode() for number, name in enumerate(NAMES)} | {"empty.csv": b""}
    for folder in ("single", "whole/deep"):
        (data.folder / folder).mkdir(parents=True)
        for name, content in contents.items():
            (data.folder / folder / name).write_bytes(content)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    def dvc(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", "--quiet", *words], cwd=data.folder, check=True)

    dvc("init")
    dvc("remote", "add", "--default", "storage", str(data.remote))
    dvc("add", *(f"./single/{name}" for name in contents), "whole")
    dvc("push")
    shutil.rmtree(data.folder / ".dvc/cache")
    git(data.folder, "add", "-A")
    git(data.folder, "commit", "-q", "-m", "data")
    for files in ("single/{part}.csv", "whole/deep/{part}.csv"):
        job = data.open(files=files)
        assert {each.path.rpartition("/")[2]: job.read(name) for name, each in job.partitions.items()} == contents
