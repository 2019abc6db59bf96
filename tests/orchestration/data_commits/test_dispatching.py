"""Every data commit starts exactly one run, whatever happens in between."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import pytest

from pipeline.errors import ModelrailError, TransientError
from pipeline.orchestration.data_commits.dispatching import dispatch
from pipeline.orchestration.data_commits.sources import find_watched
from tests.conftest import git

from .conftest import Data, Killed


@pytest.fixture
def begun(data: Data) -> Data:
    """Return a repository that was looked at once."""
    data.spec("{on_data_commit: every}")
    data.month(1)
    data.dispatch()
    return data


def test_the_first_look_runs_the_newest_commit_and_leaves_history_alone(data: Data) -> None:
    data.spec("{on_data_commit: every}")
    data.month(1)
    newest = data.month(2)
    assert "first look at" in data.lines()
    assert data.runs.started() == [newest]
    assert list(data.runs.runs["m"]) == [f"data__{newest}"]


def test_each_new_commit_is_run_once_and_in_order(begun: Data) -> None:
    wanted = [begun.month(number) for number in range(2, 8)]
    begun.dispatch()
    begun.dispatch()
    assert begun.runs.started()[1:] == wanted
    reasons = [conf["reason"] for conf in begun.runs.runs["m"].values()]
    assert reasons[1] == f"data commit {wanted[0][:10]}, month 2: 2013-02"


def test_only_the_newest_is_run_where_the_spec_says_latest(begun: Data) -> None:
    begun.spec("{on_data_commit: latest}")
    *others, newest = [begun.month(number) for number in range(2, 8)]
    begun.commit({"notes.txt": "of no concern"})
    said = begun.lines()
    assert begun.runs.started()[1:] == [newest]
    assert f"{len(others)} commits are passed over for {newest[:10]}" in said


def test_a_commit_that_touches_nothing_that_a_model_reads_starts_nothing(begun: Data) -> None:
    begun.commit({"notes.txt": "1"})
    begun.commit()
    begun.commit({"data/x/2013-02.csv": "deeper"})
    assert "3 commits touch nothing that it reads" in begun.lines()
    assert len(begun.runs.started()) == 1


def test_only_the_models_whose_partitions_changed_are_run(begun: Data) -> None:
    text = (begun.models / "m.yaml").read_text()
    (begun.models / "other.yaml").write_text(text.replace("name: m,", "name: other,").replace("data/", "weather/"))
    begun.commit({"weather/2013-01.csv": "x,y\n1,2\n"})
    begun.dispatch()
    weather, month = begun.commit({"weather/2013-01.csv": "x,y\n1,3\n"}), begun.month(2)
    begun.dispatch()
    assert begun.runs.started("m")[1:] == [month]
    assert begun.runs.started("other")[1:] == [weather]


def test_a_removed_partition_is_a_change(begun: Data) -> None:
    begun.month(2)
    begun.dispatch()
    gone = begun.commit({"data/2013-02.csv": None})
    begun.dispatch()
    assert begun.runs.started()[-1] == gone


def test_a_merge_is_one_commit(begun: Data) -> None:
    begun.git("checkout", "-q", "-b", "side")
    begun.month(2)
    begun.month(3)
    begun.git("checkout", "-q", "main")
    begun.commit({"notes.txt": "1"})
    begun.git("-c", "user.name=T", "-c", "user.email=t@t", "merge", "-q", "--no-ff", "-m", "side", "side")
    begun.dispatch()
    assert begun.runs.started()[1:] == [begun.git("rev-parse", "HEAD")]


def test_going_back_to_earlier_content_is_a_change_like_any_other(begun: Data) -> None:
    wanted = [begun.month(1, "5,6\n"), begun.month(1)]
    begun.dispatch()
    assert begun.runs.started()[1:] == wanted


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_a_process_that_dies_at_any_call_loses_nothing_and_doubles_nothing(data: Data, policy: str) -> None:
    data.spec(f"{{on_data_commit: {policy}, cron: '0 3 1 * *', replay: true}}")
    data.month(1)
    data.dispatch()
    commits = [data.month(number) for number in range(2, 6)] + [data.month(2, "7,8\n")]
    before = data.runs
    for die_at in range(1, 22):
        runs = type(before)()
        runs.marks, runs.runs, runs.die_at = dict(before.marks), {"m": dict(before.runs["m"])}, die_at
        with suppress(Killed):
            dispatch(find_watched(data.models), runs)
        runs.die_at = None
        dispatch(find_watched(data.models), runs)
        assert runs.started()[1:] == (commits if policy == "every" else commits[-1:]), die_at
        assert len(runs.replays) == 1, die_at
    assert runs.calls < die_at, "expected to have died at every call"


def test_a_lost_mark_costs_time_only(begun: Data) -> None:
    wanted = [begun.month(number) for number in range(2, 5)]
    begun.dispatch()
    begun.runs.marks.clear()
    newer = [begun.month(number) for number in range(5, 8)]
    assert f"the newest run is of {wanted[-1][:10]}" in begun.lines()
    assert begun.runs.started()[1:] == wanted + newer


def test_a_dag_that_airflow_does_not_know_yet_is_tried_again(begun: Data) -> None:
    wanted = begun.month(2)
    begun.runs.known = False
    assert "Airflow does not know its DAG yet" in begun.lines()
    begun.runs.known = True
    begun.dispatch()
    assert begun.runs.started()[1:] == [wanted]


def test_a_rewritten_history_with_the_same_content_runs_nothing(begun: Data) -> None:
    wanted = [begun.month(2), begun.month(3)]
    begun.dispatch()
    begun.git("reset", "-q", "--hard", "HEAD~2")
    begun.month(2, "1,2\n")
    begun.git("-c", "user.name=T", "-c", "user.email=t@t", "commit", "-q", "--amend", "-m", "another message")
    begun.month(3)
    new = begun.month(4)
    said = begun.lines()
    assert "FORCE-PUSH" in said
    assert "2 commits undone, 3 new" in said
    assert "2 of the new commits are as run before, 1 are not" in said
    assert begun.runs.started()[1:] == [*wanted, new]


def test_an_amended_commit_with_other_content_is_run(begun: Data) -> None:
    first = begun.month(2)
    begun.dispatch()
    begun.git("reset", "-q", "--hard", "HEAD~1")
    amended = begun.month(2, "9,9\n")
    begun.dispatch()
    assert begun.runs.started()[1:] == [first, amended]


def test_a_branch_that_goes_back_runs_nothing_and_says_so(begun: Data) -> None:
    begun.month(2)
    begun.dispatch()
    begun.git("reset", "-q", "--hard", "HEAD~1")
    said = begun.lines()
    assert "nothing is run again" in said
    assert "modelrail run models/m.yaml --data-commit" in said
    assert len(begun.runs.started()) == 2


def test_a_commit_that_is_gone_altogether_is_compared_by_content(begun: Data) -> None:
    begun.month(2)
    begun.dispatch()
    begun.git("checkout", "-q", "--orphan", "fresh")
    begun.git("branch", "-q", "-D", "main")
    begun.commit(subject="squashed")
    begun.git("branch", "-q", "-m", "main")
    begun.git("reflog", "expire", "--expire=now", "--all")
    begun.git("gc", "-q", "--prune=now")
    assert "FORCE-PUSH" in begun.lines()
    assert len(begun.runs.started()) == 2
    new = begun.month(3)
    begun.dispatch()
    assert begun.runs.started()[2:] == [new]


def test_a_repository_that_cannot_be_reached_changes_nothing(data: Data) -> None:
    data.address = data.folder.as_uri()
    data.spec("{on_data_commit: every}")
    data.month(1)
    data.dispatch()
    away = data.folder.rename(data.folder.with_name("away"))
    with pytest.raises((TransientError, ModelrailError)):
        data.dispatch()
    away.rename(data.folder)
    newer = data.month(2)
    data.dispatch()
    assert data.runs.started()[1:] == [newer]


def test_a_year_away_is_caught_up_in_linear_time(begun: Data) -> None:
    stream = []
    for number in range(1000):
        start, content = "from refs/heads/main^0\n" if number == 0 else "", f"x,y\n{number},1\n"
        stream.append(f"commit refs/heads/main\ncommitter T <t@t> {1700000000 + number} +0000\ndata 1\nx\n{start}")
        stream.append(f"M 100644 inline data/2013-{number % 12 + 1:02d}.csv\ndata {len(content)}\n{content}\n")
    importing = ["git", "-C", str(begun.folder), "fast-import", "--quiet"]
    subprocess.run(importing, input="".join(stream).encode(), check=True)
    started = time.process_time()
    begun.dispatch()
    assert len(begun.runs.started()) == 1001
    assert time.process_time() - started < 5


def test_what_the_replay_limit_leaves_out_comes_with_a_command_for_the_top_of_the_repository(data: Data) -> None:
    data.spec("{on_data_commit: every, cron: '0 3 1 * *', replay: true, replay_limit: 1}")
    for number in range(1, 5):
        data.month(number)
    data.dispatch()
    changed = data.month(1, "7,8\n")
    said = data.lines()
    assert "REPLAY LIMIT: 3 later dates are left out" in said
    command = "modelrail backfill models/m.yaml --from 2013-03-01 --to 2013-05-01"
    assert f"{command} --commit {changed[:10]} runs them" in said


def test_replays_that_wait_become_one_at_the_newest_commit(data: Data) -> None:
    data.spec("{on_data_commit: every, cron: '0 3 1 * *', replay: true}")
    for number in range(1, 6):
        data.month(number)
    data.dispatch()
    data.runs.busy = True
    for number in (4, 2):
        data.month(number, f"{number},9\n")
        assert "waits for another backfill" in data.lines()
    newest = data.month(3, "3,9\n")
    data.runs.busy = False
    data.dispatch()
    (replay,) = data.runs.replays
    assert (replay.commit, [each.month for each in replay.dates]) == (newest, [3, 4, 5, 6])


def test_an_image_that_rows_name_is_part_of_their_partition(begun: Data) -> None:
    text = (begun.models / "m.yaml").read_text()
    keys = 'files: "rows/{day}.csv", images: "photos/{day}", columns: {photo: image, x: float, y: float}'
    named = text.replace("name: m,", "name: named,").replace(text[text.index("files:") : text.index("}}\n")], keys[:-1])
    (begun.models / "named.yaml").write_text(named)
    begun.commit({"rows/mon.csv": "photo,x,y\na.png,1,2\n", "photos/mon/a.png": "1", "photos/mon/b.png": "1"})
    begun.dispatch()
    other = begun.commit({"photos/mon/a.png": "2"})
    begun.commit({"photos/unasked.png": "1"})
    fewer = begun.commit({"photos/mon/b.png": None})
    begun.dispatch()
    assert begun.runs.started("named")[1:] == [other, fewer]
    assert begun.runs.runs["named"][f"data__{fewer}"]["reason"].endswith(": mon")
    assert len(begun.runs.started("m")) == 1


def test_a_replay_names_the_commit_of_its_spec_where_it_has_one(data: Data) -> None:
    data.spec("{on_data_commit: every, cron: '0 3 1 * *', replay: true}")
    for number in (1, 2):
        data.month(number)
    data.dispatch()
    data.month(1, "7,8\n")
    data.dispatch()
    project = data.models.parent
    git(project, "add", "models")
    git(project, "commit", "-q", "-m", "The spec")
    data.month(1, "9,8\n")
    data.dispatch()
    assert [each.spec_commit for each in data.runs.replays] == ["", git(project, "rev-parse", "HEAD").strip()]
