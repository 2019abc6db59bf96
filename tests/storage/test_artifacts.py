from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DamagedError, StoreError
from pipeline.storage.artifacts import Artifact, FolderStore, Store, open_store
from pipeline.storage.artifacts.objects import ObjectStore

KEY = "ab" * 32


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    address = str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}"
    return open_store(address, tmp_path)


def publish(store: Store, key: str = KEY, content: str = "1,2\n") -> Artifact:
    with store.draft() as folder:
        (folder / "rows.csv").write_text(content)
        return store.publish(key, folder, {"step": "clean", "rows": 1})


def test_an_artifact_comes_back_as_it_was_published(store: Store) -> None:
    published = publish(store)
    found = store.find(KEY)
    assert found is not None
    assert found.digest == published.digest
    assert found.manifest["rows"] == 1
    assert found.file("rows.csv").read_text() == "1,2\n"


def test_nothing_is_found_before_it_is_published(store: Store) -> None:
    assert store.find(KEY) is None


def test_the_digest_is_of_names_and_bytes_only(store: Store) -> None:
    first = publish(store)
    with store.draft() as folder:
        (folder / "rows.csv").write_text("1,2\n")
        second = store.publish("cd" * 32, folder, {"step": "other", "seconds": 7})
    assert first.digest == second.digest
    assert publish(store, "ef" * 32, "1,3\n").digest != first.digest


def test_the_first_of_two_publications_of_a_key_stays(store: Store) -> None:
    publish(store, content="first")
    again = publish(store, content="second")
    assert again.file("rows.csv").read_text() == "first"


def test_a_file_that_the_artifact_lacks_is_named_with_those_it_has(store: Store) -> None:
    with pytest.raises(StoreError, match=r"has no file 'x'; it has rows\.csv"):
        publish(store).file("x")


@pytest.mark.parametrize("damage", ["missing file", "shorter file", "cut manifest", "no manifest"])
def test_a_damaged_artifact_is_not_found_and_is_replaced(tmp_path: Path, damage: str) -> None:
    store = FolderStore(tmp_path)
    folder = publish(store).file("rows.csv").parent
    manifest = folder / "manifest.json"
    if damage == "missing file":
        (folder / "rows.csv").unlink()
    elif damage == "shorter file":
        (folder / "rows.csv").write_text("1")
    elif damage == "cut manifest":
        manifest.write_text(manifest.read_text()[:40])
    else:
        manifest.unlink()
    assert store.find(KEY) is None
    assert publish(store).file("rows.csv").read_text() == "1,2\n"
    assert store.find(KEY) is not None


def test_a_remote_file_with_other_bytes_is_refused_and_set_aside(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}", tmp_path)
    assert isinstance(store, ObjectStore)
    artifact = publish(store)
    store.files.pipe_file(f"{store.root}/{KEY[:2]}/{KEY}/rows.csv", b"9,9\n")
    with pytest.raises(DamagedError, match=r"rows\.csv of artifact abababababab \(step 'clean'\) has other bytes"):
        artifact.file("rows.csv")
    assert store.find(KEY) is None
    assert [each.manifest for each in store.entries()] == [None]
    assert publish(store).file("rows.csv").read_text() == "1,2\n"


def test_a_damaged_copy_of_a_remote_file_is_fetched_again(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}", tmp_path)
    publish(store).file("rows.csv").write_text("9,9\n")
    again = open_store(f"memory://{tmp_path.name}", tmp_path).find(KEY)
    assert again is not None
    assert again.file("rows.csv").read_text() == "1,2\n"


def test_one_bit_that_has_turned_is_noticed_once_another_process_reads_it(tmp_path: Path) -> None:
    path = publish(FolderStore(tmp_path)).file("rows.csv")
    path.write_text("1,3\n")
    later = FolderStore(tmp_path)
    artifact = later.find(KEY)
    assert artifact is not None
    with pytest.raises(DamagedError, match=r"set aside \(.*manifest\.damaged\.json\)") as caught:
        artifact.file("rows.csv")
    assert (caught.value.key, caught.value.step, caught.value.partition) == (KEY, "clean", None)
    assert later.find(KEY) is None
    assert path.read_text() == "1,3\n"  # for whoever wants to see what became of it
    assert publish(later).file("rows.csv").read_text() == "1,2\n"


def test_a_draft_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    def fail() -> None:
        with store.draft() as folder:
            (folder / "half").write_text("x")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert list((tmp_path / "drafts").iterdir()) == []


def test_a_killed_process_leaves_no_artifact_and_its_draft_is_swept(tmp_path: Path) -> None:
    code = (
        "import os,signal,sys\nfrom pathlib import Path\nfrom pipeline.storage.artifacts import FolderStore\n"
        f"store = FolderStore(Path({str(tmp_path)!r}))\n"
        "with store.draft() as folder:\n    (folder / 'rows.csv').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    store = FolderStore(tmp_path)
    assert len(list((tmp_path / "drafts").iterdir())) == 1
    assert store.find(KEY) is None
    store.sweep()
    assert list((tmp_path / "drafts").iterdir()) == []


def test_a_live_process_keeps_its_draft(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.draft() as folder:
        store.sweep()
        assert folder.exists()


def _publish_many(root: str) -> None:
    store = FolderStore(Path(root))
    for number in range(50):
        publish(store, f"{number:064x}", "same")


def test_two_processes_may_publish_the_same_keys_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_publish_many, args=(str(tmp_path),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    store = FolderStore(tmp_path)
    assert all(store.find(f"{number:064x}") for number in range(50))
    assert list((tmp_path / "drafts").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_is_said_with_the_place_and_the_mend(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine allows no mounts")
    try:
        with pytest.raises(
            StoreError, match=r"No space left on device \(.* MB free\); make room there, or set MODELRAIL_STORE"
        ):
            publish(FolderStore(disk), content="x" * 1_000_000)
        assert FolderStore(disk).find(KEY) is None
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_address_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="MODELRAIL_STORE: found 'nosuch://x', which cannot be opened"):
        open_store("nosuch://x", tmp_path)


def test_a_manifest_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    artifact = publish(FolderStore(tmp_path))
    manifest = json.loads((artifact.file("rows.csv").parent / "manifest.json").read_text())
    assert manifest["files"]["rows.csv"]["bytes"] == 4


def test_many_artifacts_are_found_at_once_and_only_whole_ones(store: Store) -> None:
    keys = [f"{number:064x}" for number in range(100)]
    for key in keys[:70]:
        publish(store, key, key)
    assert list(store.find_all(keys)) == keys[:70], "by one listing in an object store"
    assert list(store.find_all(keys[60:80])) == keys[60:70], "one by one"
    if isinstance(store, FolderStore):
        store.find_all(keys[:1])[keys[0]].file("rows.csv").unlink()
    elif isinstance(store, ObjectStore):
        store.files.rm(f"{store.root}/{keys[0][:2]}/{keys[0]}/rows.csv")
    assert list(store.find_all(keys)) == keys[1:70]
    assert store.find(keys[0]) is None
