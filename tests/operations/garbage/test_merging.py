"""Notes of costs, merged: nothing lost, nothing counted twice, whoever merges and whenever it ends."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.operations.garbage.merging import find_merges, merge
from pipeline.runs.costs import read_costs, record
from pipeline.storage.artifacts import FolderStore, Store
from pipeline.storage.artifacts.objects import ObjectStore
from tests.runs.test_costs import spent

TODAY = date(2026, 12, 10)


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return FolderStore(tmp_path) if request.param == "folder" else ObjectStore(f"memory://{tmp_path}", tmp_path)


def fill(store: Store, *days: str) -> None:
    for day in days:
        record(store, spent(started=f"{day}T10:00:00.500+00:00", run=day))


def test_months_are_merged_and_cost_the_same(store: Store) -> None:
    fill(store, "2026-10-01", "2026-10-31", "2026-11-20", "2026-12-01", "2026-12-09")
    before = read_costs(store)
    assert merge(store, find_merges(store, ["late"], TODAY)) == 4
    assert read_costs(store) == before
    assert len(store.notes("costs/late")) == 4
    assert not list(find_merges(store, ["late"], TODAY))


def test_what_comes_later_is_merged_too(store: Store) -> None:
    fill(store, "2026-11-01", "2026-11-02")
    merge(store, find_merges(store, ["late"], date(2026, 11, 10)))
    fill(store, "2026-11-20", "2026-11-21")
    merge(store, find_merges(store, ["late"], date(2026, 11, 30)))
    before = read_costs(store)
    merge(store, find_merges(store, ["late"], TODAY))
    assert read_costs(store) == before
    assert len(before) == 4
    assert len(store.notes("costs/late")) == 1


def test_one_that_is_killed_between_writing_and_removing_counts_nothing_twice(store: Store) -> None:
    fill(store, "2026-11-01", "2026-11-02")
    before = read_costs(store)
    (found,) = find_merges(store, ["late"], TODAY)
    old = {name: store.notes("costs")[name] for name in found.old}
    merge(store, [found])
    for name, content in old.items():
        store.write_note(name, content)
    assert read_costs(store) == before
    merge(store, find_merges(store, ["late"], TODAY))
    assert read_costs(store) == before


def test_two_that_merge_at_once_lose_nothing(store: Store) -> None:
    fill(store, "2026-11-01", "2026-11-02")
    early = list(find_merges(store, ["late"], TODAY))
    fill(store, "2026-11-03")
    late = list(find_merges(store, ["late"], TODAY))
    before = read_costs(store)
    merge(store, late)
    merge(store, early)
    assert read_costs(store) == before
    merge(store, find_merges(store, ["late"], TODAY))
    assert read_costs(store) == before
    assert len(store.notes("costs/late")) == 1
