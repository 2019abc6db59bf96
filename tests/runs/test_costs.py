from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.releases import Evidence, Release, Version
from pipeline.errors import StoreError
from pipeline.runs.costs import GIB, GROUPS, Spent, Usage, add_up, by_release, read_costs, record
from pipeline.storage.artifacts import FolderStore, Store
from pipeline.storage.artifacts.objects import ObjectStore

EURO = {"cpu_hour": 0.5, "gib_hour": 0.1, "currency": "EUR"}


def spent(**changes: Any) -> Spent:
    facts: dict[str, Any] = {
        "model": "late", "step": "train", "run": "r1", "started": "2026-11-20T10:00:00.500+00:00", "seconds": 3600.0,
        "cpu_s": 7200.0, "peak_bytes": 2 * GIB, "computed": 1, "done": True, "data_commit": "a" * 40,
        "spec_commit": "b" * 40, "environment": None, "trigger": "command line", "prices": EURO,
    }  # fmt: skip
    return Spent(**facts | changes)


def release(tag: str, date: str) -> Release:
    model, _, version = tag.partition("@")
    evidence = Evidence(**dict.fromkeys(Evidence.__dataclass_fields__))  # type: ignore[arg-type]
    return Release(model, Version.parse(version), evidence, "c", datetime.fromisoformat(date).replace(tzinfo=UTC))


def test_memory_is_counted_at_its_peak_for_as_long_as_a_step_runs() -> None:
    usage = Usage.of(seconds=1800, cpu_s=3600, peak_bytes=4 * GIB)
    assert usage.gib_hours == 2
    assert usage.price({"cpu_hour": 0.5, "gib_hour": 0.1}) == pytest.approx(0.5 + 0.2)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("model", {"late": 3, "fares": 1}),
        ("step", {"train": 3, "clean": 1}),
        ("run", {"r1": 2, "r2": 1, "r3": 1}),
        ("commit", {"a" * 40: 3, "d" * 40: 1}),
    ],
)
def test_costs_are_added_up_by(by: str, expected: dict[str, int]) -> None:
    every = [spent(step="clean"), spent(), spent(run="r2", data_commit="d" * 40), spent(run="r3", model="fares")]
    assert {each.name: each.steps for each in add_up(every, GROUPS[by])} == expected


def test_a_total_has_time_price_and_failures() -> None:
    other = spent(
        prices=EURO | {"currency": "USD"}, done=False, peak_bytes=GIB, started="2026-11-21T00:00:00.000+00:00"
    )
    (total,) = add_up([spent(), spent(run="r2", prices=None), other], GROUPS["model"])
    assert (total.runs, total.steps, total.failed) == (2, 3, 1)
    assert total.usage == Usage(3 * 3600, 3 * 7200, 5.0)
    assert total.amounts == {"EUR": pytest.approx(1.2), "USD": pytest.approx(1.1)}
    assert (total.first[:10], total.last[:10], total.peak_bytes) == ("2026-11-20", "2026-11-21", 2 * GIB)


def test_a_release_costs_all_the_runs_that_led_to_it() -> None:
    tags = [release("late@v1.0.0", "2026-11-20T10:00:00"), release("late@v1.1.0", "2026-11-22T09:00:00")]
    made = spent(run="r1")
    verified = spent(run="r1", step="verify", started="2026-11-20T10:00:09.000+00:00")
    refused = spent(run="r2", started="2026-11-21T10:00:00.000+00:00")
    released = spent(run="r3", started="2026-11-22T08:59:00.000+00:00")
    new = spent(run="r4", started="2026-11-23T08:59:00.000+00:00")
    every = [made, verified, refused, released, new]
    totals = {each.name: each.steps for each in add_up(every, by_release(tags, every))}
    assert totals == {"late@v1.0.0": 2, "late@v1.1.0": 2, "late: not released": 1}


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return FolderStore(tmp_path) if request.param == "folder" else ObjectStore(f"memory://{tmp_path}", tmp_path)


def test_what_was_spent_is_kept_in_the_store_oldest_first(store: Store) -> None:
    assert read_costs(store) == []
    late, early = spent(started="2026-11-21T10:00:00.000+00:00"), spent(model="fares")
    for each in (late, early):
        record(store, each)
    assert read_costs(store) == [early, late]
    assert read_costs(store, "late") == [late]
    assert read_costs(store, since=datetime(2026, 11, 21)) == [late]  # noqa: DTZ001 - as a user writes it


def test_a_damaged_note_is_named(store: Store) -> None:
    store.write_note("costs/late/2026-11-20/1.json", b"{")
    with pytest.raises(StoreError, match=r"notes/costs/late/2026-11-20/1\.json: found .*; expected what a step cost"):
        read_costs(store)


@pytest.mark.parametrize("by", ["model", "step", "run"])
def test_no_figure_is_cut_off_where_the_terminal_is_narrow(tmp_path: Path, by: str) -> None:
    folder = FolderStore(tmp_path)
    record(folder, spent(model="flight-delay-of-tomorrow", run="manual__2026-11-20T10:00:00.500000+00:00"))
    dear = EURO | {"cpu_hour": 99}
    record(folder, spent(model="flight-delay-of-tomorrow", done=False, seconds=12_345.0, prices=dear))
    said = {width: tell_costs(tmp_path, width, "--by", by) for width in ("40", "80", "400")}
    assert "…" not in said["40"] + said["80"]
    assert said["40"].split() == said["80"].split() == said["400"].split()
    assert {"GiB-hours", "2,147", "MB", "EUR"} <= set(said["80"].split())


def tell_costs(store: Path, columns: str, *options: str) -> str:
    """Run the command as a program of its own, into a pipe."""
    environment = os.environ | {"MODELRAIL_STORE": str(store), "COLUMNS": columns}
    command = [sys.executable, "-m", "pipeline", "cost", *options]
    done = subprocess.run(command, env=environment, cwd=store, capture_output=True, text=True, check=True)
    return done.stdout


def test_costs_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    told = CliRunner().invoke(app, ["cost"]).output
    assert "nothing was computed" in told
    record(FolderStore(tmp_path), spent())
    shown = json.loads(CliRunner().invoke(app, ["cost", "--by", "step", "--json"]).output)
    assert shown["totals"][0]["usage"] == {"seconds": 3600.0, "cpu_s": 7200.0, "gib_hours": 2.0}
    refused = CliRunner().invoke(app, ["cost", "--since", "soon"])
    assert "--since: found 'soon'; expected a date such as 2026-11-01" in str(refused.exception)
