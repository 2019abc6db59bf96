"""What needs the services of a cluster: here, an object store that speaks S3."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import pytest

from pipeline.errors import DataError, InputError, StoreError, TransientError
from pipeline.operations.garbage.sweeping import sweep
from pipeline.storage.artifacts import open_store
from pipeline.storage.artifacts.claims import RunClaims
from pipeline.storage.artifacts.objects import ObjectStore
from tests.operations.garbage.test_gc import NOW, OLD, publish, survey_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        "KUBECONFIG" not in os.environ or "AWS_ENDPOINT_URL" not in os.environ,
        reason="no cluster: set KUBECONFIG, and AWS_ENDPOINT_URL with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
]
BUCKET = os.environ.get("MODELRAIL_TEST_BUCKET", "store")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    opened = open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}", tmp_path)
    assert isinstance(opened, ObjectStore)
    return opened


def test_an_artifact_goes_through_s3_and_back(store: ObjectStore, tmp_path: Path) -> None:
    key = "ab" * 32
    assert store.find(key) is None
    with store.draft() as folder:
        (folder / "rows.parquet").write_bytes(os.urandom(6_000_000))
        published = store.publish(key, folder, {"step": "clean", "rows": 1})
    found = open_store(f"s3://{store.root}", tmp_path / "elsewhere").find(key)
    assert found is not None
    assert found.digest == published.digest
    assert found.file("rows.parquet").stat().st_size == 6_000_000


def test_an_artifact_without_its_last_file_is_not_found(store: ObjectStore) -> None:
    key = "cd" * 32
    with store.draft() as folder:
        for name in ("a", "b"):
            (folder / name).write_text(name)
        store.publish(key, folder, {})
    store.files.rm_file(f"{store.root}/{key[:2]}/{key}/b")
    assert store.find(key) is None


def test_what_goes_is_gone_and_what_a_run_needs_stays(store: ObjectStore) -> None:
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(8)]
    for key in keys:
        publish(store, key, OLD)
    RunClaims(store, "line").claim(keys[:3], NOW)
    done = sweep(survey_of(store), NOW)
    assert (done.removed, done.spared) == (5, 3)
    assert {each.key for each in store.entries()} == set(keys[:3])
    assert len(store.find_all(keys)) == 3
    assert all(each.modified and each.bytes > 400 for each in store.entries())


def test_a_bucket_that_is_not_there_is_said(tmp_path: Path) -> None:
    store = open_store(f"s3://{uuid.uuid4().hex}/x", tmp_path)
    with store.draft() as folder:
        (folder / "a").write_text("a")
        with pytest.raises(StoreError, match=r"store: .* failed: .*bucket"):
            store.publish("ef" * 32, folder, {})


def test_a_large_file_of_dvc_comes_from_s3_with_the_remotes_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.storage.large_files.conftest import Data, dvc_pointer, md5, month

    data, folder = Data(tmp_path), f"s3://{BUCKET}/{uuid.uuid4().hex}"
    settings = {
        "endpointurl": os.environ["AWS_ENDPOINT_URL"],
        "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    lines = "".join(f"    {name} = {value}\n" for name, value in settings.items())
    config = f"[core]\n    remote = s\n['remote \"s\"']\n    url = {folder}\n"
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv"), ".dvc/config": config})
    (data.folder / ".dvc" / "config.local").write_text(f"['remote \"s\"']\n{lines}")
    files = open_store(folder, tmp_path)
    assert isinstance(files, ObjectStore)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match=rf"at the DVC remote 's' \({folder}/files/md5/"):
        data.open().read("2013-01")
    digest = md5(month(1))
    files.files.pipe_file(f"{files.root}/files/md5/{digest[:2]}/{digest[2:]}", month(1))
    assert data.open().read("2013-01") == month(1)
    (data.folder / ".dvc" / "config.local").write_text(
        f"['remote \"s\"']\n{lines}".replace(settings["secret_access_key"], "wrong")
    )
    for kept in (data.project / ".modelrail" / "cache").rglob("*/*/*"):
        kept.unlink() if kept.is_file() else None
    with pytest.raises((InputError, TransientError), match=folder) as caught:
        data.open().read("2013-01")
    assert settings["secret_access_key"] not in str(caught.value)
