"""Captured requests in a folder and in an object store: written, read, and removed by their age."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.storage.captures import CaptureFiles

DAY_S = 86_400.0
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def lines(*times: float) -> bytes:
    return b"".join(json.dumps({"id": f"m@v1:{each}", "time": each}).encode() + b"\n" for each in times)


@pytest.fixture(params=["folder", "object store"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> CaptureFiles:
    return CaptureFiles(str(tmp_path / "kept") if request.param == "folder" else f"memory://{tmp_path.name}/kept/")


def test_what_is_written_is_read_in_the_order_of_time(files: CaptureFiles) -> None:
    assert list(files.read("m")) == []
    files.write("m", "v1.0.0", lines(NOON + 5), NOON + 10)
    files.write("m", "v1.1.0", lines(NOON + DAY_S), NOON + DAY_S + 10)
    files.write("m", "v1.0.0", lines(NOON - 9, NOON - 5), NOON)
    files.write("other", "v1.0.0", lines(NOON), NOON)
    assert [each["time"] - NOON for each in files.read("m")] == [-9, -5, 5, DAY_S]
    assert [each["time"] - NOON for each in files.read("m", "1.0.0")] == [-9, -5, 5]
    assert [each["time"] - NOON for each in files.read("m", "1.1.0")] == [DAY_S]
    assert [each["time"] - NOON for each in files.read("m", since=NOON - 6)] == [-5, 5, DAY_S]
    assert list(files.read("m", since=NOON + 2 * DAY_S)) == []


def test_days_are_removed_by_their_age_whatever_the_release(files: CaptureFiles) -> None:
    for model in ("m", "other"):
        for age in (0, 1, 29, 30, 31, 400):
            files.write(model, f"v1.0.{age % 2}", lines(NOON - age * DAY_S), NOON - age * DAY_S)
    assert files.remove_before("m", date(2026, 1, 30)) == 2
    assert [round((NOON - each["time"]) / DAY_S) for each in files.read("m")] == [30, 29, 1, 0]
    assert len(list(files.read("other"))) == 6
    assert files.remove_before("m", date(2026, 1, 30)) == 0
    assert files.remove_before("nobody", date(2026, 1, 30)) == 0


def test_what_is_no_capture_is_left_alone(tmp_path: Path) -> None:
    files = CaptureFiles(str(tmp_path))
    files.write("m", "v1.0.0", lines(NOON), NOON)
    for name in ("notes.txt", "v1.0.0/readme", "v1.0.0/2026-03-01/more.txt", "v1.0.0/somewhere/else.jsonl"):
        path = tmp_path / "captures/m" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert len(list(files.read("m"))) == 1
    assert files.remove_before("m", date(2027, 1, 1)) == 1
    assert (tmp_path / "captures/m/v1.0.0/somewhere/else.jsonl").exists()


def test_an_address_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"captures: nothing://\*\*\*@x: .*expected a folder, or an address"):
        CaptureFiles("nothing://me:secret@x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"captures: .*file: "):
        CaptureFiles(str(tmp_path / "file")).write("m", "v1.0.0", b"")
