"""What is kept of looks: bounded, in order, and told as windows in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.monitoring.history import KEPT_S, MOST, KeptLook, in_a_row, keep_look, read_looks
from pipeline.storage.artifacts import FolderStore

DAY = 86_400.0


def seen(at: float, verdict: str = "quiet", cause: str | None = None, version: str = "v1.0.0") -> KeptLook:
    return KeptLook(at, version, verdict, cause)


def test_looks_are_kept_in_order_until_they_are_old(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for day in range(0, 100, 10):
        keep_look(store, "late", "prod", seen(day * DAY))
    keep_look(store, "late", "dev", seen(0))
    kept = read_looks(store, "late", "prod")
    assert [each.at / DAY for each in kept] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert kept[-1].at - kept[0].at < KEPT_S
    assert len(read_looks(store, "late", "dev")) == 1
    assert read_looks(store, "other", "prod") == ()


def test_no_more_looks_are_kept_than_the_bound(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for second in range(MOST + 3):
        keep_look(store, "late", "prod", seen(second))
    kept = read_looks(store, "late", "prod")
    assert (len(kept), kept[0].at, kept[-1].at) == (MOST, 3, MOST + 2)


def test_a_clock_that_goes_back_loses_no_look(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for at in (5 * DAY, 1 * DAY, 2 * DAY):
        keep_look(store, "late", "prod", seen(at))
    assert [each.at / DAY for each in read_looks(store, "late", "prod")] == [5, 1, 2]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'[{"at": 1}]'])
def test_a_damaged_history_begins_anew(tmp_path: Path, content: bytes) -> None:
    store = FolderStore(tmp_path)
    keep_look(store, "late", "prod", seen(1))
    store.write_note("looks/late/prod.json", content)
    assert read_looks(store, "late", "prod") == ()
    keep_look(store, "late", "prod", seen(2))
    assert len(read_looks(store, "late", "prod")) == 1


def test_windows_in_a_row_end_where_one_is_quiet_or_of_another_release() -> None:
    unit = [seen(each, "drift", "pipeline") for each in range(3)]
    moved = [seen(each, "drift", "data") for each in range(3, 5)]
    assert [each.at for each in in_a_row([*unit, *moved], "drift")] == [0, 1, 2, 3, 4]
    assert [each.at for each in in_a_row([*unit, *moved], "data")] == [3, 4]
    assert in_a_row([*unit, *moved], "pipeline") == ()
    assert in_a_row([*unit, seen(5)], "drift") == ()
    assert [each.at for each in in_a_row([*unit, seen(6, "drift", "data", "v1.0.1")], "drift")] == [6]
    assert in_a_row([], "drift") == ()
