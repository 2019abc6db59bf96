"""Running dates anew: what is refused before Airflow is asked. What Airflow does is in ``tests/airflow``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.operations.backfill import backfill, find_login, request_replay, split_dates
from pipeline.orchestration.data_commits.replaying import Replay
from pipeline.storage.git.repository import File
from tests.conftest import Commit
from tests.ports import CLOSED

SPEC = """
model: {name: m, trainer: ridge, target: y}
data: {files: "data/{month}.csv", columns: {x: float, y: float}}
schedule: {cron: "0 3 1 * *"}
"""
REPLAY = Replay("c" * 40, (datetime(2013, 2, 1, 3, tzinfo=UTC),))


@pytest.fixture
def spec(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    commit({"models/m.yaml": SPEC, ".gitignore": ".modelrail/\n", "data/2013-01.csv": "x,y\n1,2\n"})
    return project / "models/m.yaml"


def refusal(spec: Path, first: str = "2013-02-01", last: str = "2013-03-01") -> str:
    with pytest.raises(InputError) as caught:
        backfill(spec, first, last, None, dry_run=True)
    return str(caught.value)


def test_a_model_without_dates_has_none_to_run(spec: Path) -> None:
    spec.write_text(SPEC.replace('schedule: {cron: "0 3 1 * *"}\n', ""))
    assert "schedule.cron: found none; expected one" in refusal(spec)


def test_a_date_that_is_none_is_named_with_its_option(spec: Path) -> None:
    assert refusal(spec, first="2013-13-01") == "--from: found '2013-13-01'; expected a date such as 2013-12-31"
    assert refusal(spec, last="March") == "--to: found 'March'; expected a date such as 2013-12-31"


def test_dates_before_the_first_partition_has_ended_are_told_apart() -> None:
    partitions = {key: File(f"data/{key}.csv", "0" * 40, 1) for key in ("2013-01", "2013-02")}
    dates = [datetime(2013, month, 1, 3, tzinfo=UTC) for month in (1, 2, 3)]
    assert split_dates(dates, partitions) == (((dates[1], 1), (dates[2], 2)), (dates[0],))


def test_data_that_are_not_committed_are_no_data_commit(spec: Path, project: Path) -> None:
    (project / "data/2013-02.csv").write_text("x,y\n3,4\n")
    assert "found data that are not committed; expected a data commit (--commit HEAD)" in refusal(spec)


def test_a_spec_that_is_not_committed_is_no_spec_for_every_date(spec: Path) -> None:
    spec.write_text(SPEC.replace("ridge", "lasso"))
    said = "found changes of models/m.yaml that are not committed; expected none, since every date runs the spec of one"
    assert said in refusal(spec)


def test_without_an_airflow_the_command_that_starts_one_is_named(spec: Path) -> None:
    said = f"backfill: found no Airflow running for {spec.parents[1]}; expected one: modelrail up --detach, there"
    assert refusal(spec) == said


def test_the_airflow_of_the_specs_project_is_asked_for_wherever_the_command_is_given(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"found no Airflow running for {spec.parents[1]}; expected one" in refusal(spec)


def test_a_replay_waits_while_airflow_cannot_be_reached(spec: Path) -> None:
    assert spec.exists()
    assert find_login() is None
    assert request_replay("m", REPLAY) == "unreachable"
    nobody = f"http://127.0.0.1:{CLOSED}"
    assert request_replay("m", REPLAY, (nobody, "admin", "x")) == "unreachable"
