"""Small partitions share packs: what comes of each is what would come of it by itself."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import DataError
from pipeline.operations.provenance.partitions import compare_partitions, digests_of
from pipeline.runs import packs
from pipeline.runs.job import open_job
from pipeline.runs.packs import FEW, SMALL_BYTES, pack
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run, run_one
from pipeline.runs.session import Session
from pipeline.storage.artifacts import Artifact
from pipeline.storage.git.repository import File, FileGroup
from tests.conftest import Commit

MANY = 400
DAYS = [str(date(2020, 1, 1) + timedelta(days=number)) for number in range(MANY)]
SPEC = """\
model: {name: daily, trainer: ridge, task: regression, target: y}
data:
  files: data/{day}.csv
  columns: {x: float, c: {type: str, allowed: [a, b, c]}, y: float}
  max_quarantined: 0.2
clean: {duplicates: drop, missing: {x: drop}}
split: {stratify: c}
evaluate: {bootstrap: 20}
deploy: {port: 0}
"""


UNDECLARED = """\
model: {name: daily, trainer: ridge, task: regression, target: y}
data: {files: "data/{day}.csv"}
deploy: {port: 0}
"""


def files(keys: list[str], size: int = 100) -> dict[str, File]:
    return {key: File(f"data/{key}.csv", key, size) for key in keys}


def test_packs_are_neighbours_and_hold_every_partition_once() -> None:
    found = pack(files(DAYS), MANY)
    assert [each for keys in found.values() for each in keys] == DAYS
    assert all(first == keys[0] for first, keys in found.items())
    assert 2 < len(found) < MANY / 20


@pytest.mark.parametrize("total", [1, FEW])
def test_few_partitions_stand_by_themselves(total: int) -> None:
    assert pack(files(DAYS[:total]), total) == {each: (each,) for each in DAYS[:total]}


def test_a_large_file_and_a_group_of_files_stand_by_themselves() -> None:
    large = File("data/large.csv", "1", SMALL_BYTES + 1)
    group = FileGroup.of("data/group/*", (File("data/group/1", "2", 10),))
    found = pack(files(DAYS) | {DAYS[10]: large, DAYS[20]: group}, MANY)
    assert (DAYS[10],) in found.values()
    assert (DAYS[20],) in found.values()


def test_a_partition_more_or_less_changes_its_own_pack_only() -> None:
    before = set(pack(files(DAYS), MANY).values())
    without = set(pack(files([each for each in DAYS if each != DAYS[200]]), MANY - 1).values())
    later = set(pack(files([*DAYS, "2099-01-01"]), MANY + 1).values())
    assert len(before - without) <= 2
    assert len(before - later) <= 1


def test_an_as_of_date_changes_the_last_pack_only() -> None:
    whole, then = set(pack(files(DAYS), MANY).values()), set(pack(files(DAYS[:50]), MANY).values())
    assert len(then - whole) <= 1


def test_a_pack_is_bounded() -> None:
    found = pack(files([f"{number:06}" for number in range(20_000)], SMALL_BYTES), 20_000)
    assert max(map(len, found.values())) <= 256
    assert max(map(len, found.values())) * SMALL_BYTES <= 4 * 2**20


def day(number: int, rows: int = 12) -> str:
    draw = random.Random(number)
    lines = ["x,c,y"]
    for _ in range(rows):
        x = round(draw.gauss(0, 1), 4)
        lines.append(f"{x},{draw.choice('abc')},{2 * x + draw.gauss(0, 0.1):.4f}")
    return "\n".join([*lines, ""])


@pytest.fixture
def project_of_days(live_project: Path, commit: Commit) -> Path:
    days = {f"data/{name}.csv": day(number) for number, name in enumerate(DAYS[:150])}
    days["data/2020-01-05.csv"] = day(4) + "1,z,1\n" + ",a,1\n"  # a broken row, and one that a rule drops
    days["data/2020-01-06.csv"] = day(5) + day(5).split("\n", 1)[1]  # every row twice
    days["data/2020-01-07.csv"] = "x,c,y\n"
    commit(days | {"models/daily.yaml": SPEC, ".gitignore": ".modelrail/\n"})
    return live_project


def carry_out() -> dict[str, StepResult]:
    steps: list[StepResult] = []
    run(RunRequest("models/daily.yaml"), steps.append)
    return {each.step: each for each in steps}


def artifacts(step: str) -> list[Artifact]:
    nodes = Session(open_job(RunRequest("models/daily.yaml"))).chain.nodes(step)
    return [each.artifact for each in nodes if each.artifact]


def frame(step: str, name: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(each.file(name)) for each in artifacts(step) if each.has(name)])


def test_packs_give_the_rows_sides_and_matrix_of_partitions_by_themselves(
    project_of_days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = carry_out()
    assert len(artifacts("clean")) < 20
    packed = {
        name: frame(step, name)
        for step, name in [
            ("clean", "rows.parquet"),
            ("clean", "quarantine.parquet"),
            ("normalize", "matrix.parquet"),
            ("normalize", "rows.parquet"),
        ]
    }
    assert found["clean"].rows == len(packed["rows.parquet"])
    assert (found["clean"].ran, found["transform"].ran) == (150, 150)
    monkeypatch.setattr(packs, "FEW", MANY)
    alone = carry_out()
    assert len(artifacts("clean")) == 150
    assert alone["clean"].ran == 150
    for name in ("matrix.parquet", "quarantine.parquet"):
        step = "normalize" if name == "matrix.parquet" else "clean"
        pd.testing.assert_frame_equal(packed[name], frame(step, name), rtol=1e-9)
    assert packed["quarantine.parquet"]["partition"].tolist() == ["2020-01-05"]
    sides = ["(side)", "(target)"]
    pd.testing.assert_frame_equal(packed["rows.parquet"][sides], frame("normalize", "rows.parquet")[sides])


def test_one_changed_partition_makes_one_pack_anew_and_lineage_names_it(project_of_days: Path, commit: Commit) -> None:
    carry_out()
    before = digests_of(artifacts("normalize")[0])
    commit({"data/2020-02-20.csv": day(9_999)})
    planned = json.loads(CliRunner().invoke(app, ["plan", "daily", "--json"]).stdout)
    (clean,) = [each for each in planned["steps"] if each["step"] == "clean" and each["action"] == "run"]
    assert clean["reason"] == "the data of 2020-02-20 changed since daily@v1.0.0"
    assert 1 < clean["partitions"] < 150
    done = carry_out()
    assert done["clean"].ran == done["transform"].ran == clean["partitions"]
    assert done["clean"].ran + done["clean"].reused == 150
    compared = compare_partitions(digests_of(artifacts("normalize")[0]), before)
    assert compared is not None
    assert compared.new == ("2020-02-20",)
    assert len(compared.same) == 149


def test_a_partition_that_is_only_written_otherwise_ends_the_work_at_clean(
    project_of_days: Path, commit: Commit
) -> None:
    carry_out()
    commit({"data/2020-02-20.csv": day(50).replace("\n", "\r\n")})
    done = carry_out()
    assert done["clean"].ran > 0
    assert done["transform"].action == "reused"


def test_a_pack_is_asked_for_by_any_of_its_partitions(project_of_days: Path) -> None:
    done = run_one("clean", RunRequest("models/daily.yaml"), ["2020-02-20"], None)
    assert 1 < done.ran < 150


def test_a_pack_of_partitions_that_differ_in_type_says_which(live_project: Path, commit: Commit) -> None:
    days = {f"data/{name}.csv": day(number) for number, name in enumerate(DAYS[:150])}
    days["data/2020-03-03.csv"] = "x,c,y\n1,a,2020-01-01\n"
    commit(days | {"models/daily.yaml": UNDECLARED})
    with pytest.raises(DataError, match=r"found float in partition '2020.*' and datetime in '2020-03-03'"):
        carry_out()
