"""What must survive: odd data, odd repositories, odd machines. Each gives the right result or a clear error."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.delivery.platforms.local.state import RECORD, folder_of, read_json, supervisor_lives
from pipeline.delivery.releases import releases
from pipeline.errors import DataError, InputError, ModelrailError, ReleaseError, StoreError, TransientError
from pipeline.operations.review import review
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import close_run, open_run, run, run_step
from pipeline.runs.session import Session
from pipeline.serving.client import predict
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

# MLflow's own database layer warns of what it will change.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPEC = """
model: {{name: m, {model}}}
data: {{files: "{files}"{data}}}
evaluate: {{bootstrap: 0}}
deploy: {{port: 0{deploy}}}
{more}
"""
DECLARED = ", columns: {x: float, c: str, y: float}"
Run = Callable[..., dict[str, StepResult]]
Write = Callable[..., Path]


def write_spec(
    model: str = "trainer: least_squares, target: y",
    data: str = "",
    more: str = "",
    files: str = "data/{part}.csv",
    deploy: str = "",
) -> str:
    return SPEC.format(model=model, data=data, more=more, files=files, deploy=deploy)


def make_rows(
    seed: int = 0, rows: int = 120, header: str = "x,c,y", target: Callable[[float], Any] | None = None
) -> str:
    """Make a CSV file: y follows x."""
    draw = random.Random(seed)
    lines = [header]
    for _ in range(rows):
        x = draw.gauss(0, 1)
        y = f"{2 * x + draw.gauss(0, 0.1):.4f}" if target is None else target(x)
        lines.append(f"{x:.4f},{draw.choice('abc')},{y}")
    return "\n".join(lines) + "\n"


ROWS = make_rows()


@pytest.fixture
def write(project: Path, commit: Commit) -> Write:
    """Return a function that commits a spec and files, and gives the spec's path."""

    def make(contents: dict[str, Any] | None = None, **spec: str) -> Path:
        kept = {"models/m.yaml": write_spec(**spec), ".gitignore": ".modelrail/\n"}
        commit(kept | (contents or {"data/1.csv": ROWS}))
        return project / "models/m.yaml"

    return make


@pytest.fixture
def do(live_project: Path) -> Run:
    """Return a function that runs a spec."""

    def run_it(spec: Path, **changes: Any) -> dict[str, StepResult]:
        _, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
        return {each.step: each for each in results}

    return run_it


def zipped(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, content)
    return target.getvalue()


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def tags_of(project: Path) -> list[str]:
    """Return the releases' tags; those of the stages are beside the point here."""
    return git(project, "tag", "--list", "*@*").split()


BINARY = random.Random(1).randbytes(3000)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
LOGISTIC = "trainer: logistic_regression, target: y"
RIDGE = "trainer: ridge, task: regression, target: "

REFUSED: list[tuple[str, dict[str, Any], dict[str, str], type[ModelrailError], str]] = [
    (
        "cut in a quoted field",
        {"data/1.csv": 'x,c,y\n1,"a,2\n3,b,4\n'},
        {},
        DataError,
        r"data/1\.csv:2: found a quoted",
    ),
    ("binary", {"data/1.csv": BINARY}, {}, DataError, r"data/1\.csv: found a NUL byte"),
    ("an image", {"data/1.csv": b"\x89PNG\r\n\x1a\n" + BINARY}, {}, DataError, "looks like a PNG image"),
    ("a pointer", {"data/1.csv": POINTER}, {}, DataError, r"Git LFS pointer.*git lfs pull"),
    ("no bytes", {"data/1.csv": ROWS, "data/2.csv": ""}, {}, DataError, r"data/2\.csv: is empty \(0 bytes\)"),
    ("header only", {"data/1.csv": "x,c,y\n"}, {}, DataError, r"no training rows: 0 rows read; expected"),
    (
        "one row",
        {"data/1.csv": "x,c,y\n1,a,2\n"},
        {},
        DataError,
        r"no training rows: 1 row read, split into 0 to train, 0 to validate, 1 to test; expected at least one",
    ),
    (
        "rows that rules drop",
        {"data/1.csv": "x,c,y\n1,a,2\n,b,2\n3,c,\n-1,d,2\n-1,d,2\n"},
        {
            "data": ", columns: {x: {type: float, range: [0, 5]}, c: str, y: float}, max_quarantined: 0.9",
            "more": "clean: {missing: {x: drop}}\nsplit: {test: 0.89}",
        },
        DataError,
        r"5 rows read, left out: 2 by the contract \(data\.columns\), 1 by clean\.missing\.x, 1 by a missing 'y'",
    ),
    (
        "no target value",
        {"data/1.csv": "x,y\n1,\n2,\n"},
        {"data": ", columns: {x: float, y: float}"},
        DataError,
        "no training rows: 2 rows read, left out: 2 by a missing 'y'; expected",
    ),
    ("a missing column", {"data/1.csv": "x,c\n1,a\n"}, {"data": DECLARED}, DataError, "found no column 'y' among"),
    ("a missing target", {"data/1.csv": "x,c\n1,a\n"}, {}, InputError, r"model\.target: 'y' is not a column; expected"),
    (
        "an extra column",
        {"data/1.csv": "x,c,y,z\n1,a,2,3\n"},
        {"data": f"{DECLARED}, extra_columns: error"},
        DataError,
        "found extra column 'z'",
    ),
    (
        "columns of one partition",
        {"data/1.csv": ROWS, "data/2.csv": "x,c\n1,a\n"},
        {},
        DataError,
        "partition '2' has no column 'y', but '1' has",
    ),
    (
        "types of one partition",
        {"data/1.csv": ROWS, "data/2.csv": "x,c,y\nfoo,a,1\nbar,b,2\n"},
        {},
        DataError,
        "'x': found float in partition '1' and str in '2'",
    ),
    ("another delimiter", {"data/1.csv": ROWS.replace(",", ";")}, {}, InputError, "expected one of x;c;y"),
    ("another encoding", {"data/1.csv": ROWS.replace("a", "ñ").encode("latin-1")}, {}, DataError, "not utf-8"),
    (
        "one class",
        {"data/1.csv": make_rows(target=lambda _: "yes")},
        {"model": LOGISTIC},
        DataError,
        "only class 'yes'",
    ),
    (
        "too large for the matrix",
        {"data/1.csv": ROWS},
        {"data": ", derive: {z: x * 1.0e300}", "more": "normalize: {'*': none}"},
        DataError,
        "infinite values in",
    ),
    (
        "a required value",
        {"data/1.csv": "x,y\n,1\n,2\n"},
        {"data": ", columns: {x: {type: float, nullable: false}, y: float}"},
        DataError,
        r"2 of 2 rows \(100\.0%\) break the contract",
    ),
    (
        "a cut archive",
        {"data/1.csv.gz": gzip.compress(ROWS.encode())[:-30]},
        {"files": "data/{part}.csv.gz"},
        DataError,
        "damaged or cut off",
    ),
    (
        "a cut zip",
        {"data/1.csv.zip": zipped("1.csv", ROWS.encode())[:-40]},
        {"files": "data/{part}.csv.zip"},
        DataError,
        "damaged or cut off",
    ),
    (
        "a cut parquet",
        {"data/1.parquet": b"PAR1" + BINARY},
        {"files": "data/{part}.parquet"},
        DataError,
        "is no Parquet file, damaged or cut off",
    ),
    ("our own name", {"data/1.csv": "(side),x,y\n1,a,2\n"}, {}, InputError, r"'\(side\)', a name that Modelrail keeps"),
    (
        "the name of an indicator",
        {"data/1.csv": "x,x_missing,y\n1,2,3\n,2,3\n"},
        {"more": "clean: {missing: {x: {fill: mean, indicator: true}}}"},
        InputError,
        "two features are named 'x_missing'",
    ),
    ("a line break in a file name", {"data/a\nb.csv": ROWS}, {}, InputError, "found a line break in the file name"),
]


@pytest.mark.parametrize(
    ("files", "spec", "kind", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_data_that_cannot_be_used_are_refused_by_name(
    write: Write, do: Run, files: dict[str, Any], spec: dict[str, str], kind: type[ModelrailError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        do(write(files, **spec))
    assert type(caught.value) is kind
    assert len(str(caught.value)) < 1000


def odd_rows(header: list[str]) -> str:
    """Make rows with odd texts, in which the third column follows the first."""
    draw, target = random.Random(3), io.StringIO()
    writer = csv.writer(target)
    writer.writerow(header)
    for row in range(150):
        x = round(draw.gauss(0, 1), 3)
        text = draw.choice(["a b", 'ü"q', "new\nline", "it's", "=cmd()", "日本", "", "[/bold]", "x" * 300])
        writer.writerow([x, text, 2 * x, *[row] * (len(header) - 3)])
    return target.getvalue()


ACCEPTED: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("a cut last line", {"data/1.csv": ROWS[:-9]}, {}),
    ("an extra column", {"data/1.csv": ROWS.replace("\n", ",1\n").replace("y,1", "y,z")}, {"data": DECLARED}),
    ("an empty partition", {"data/1.csv": ROWS, "data/2.csv": "x,c,y\n"}, {}),
    ("a null column", {"data/1.csv": ROWS.replace("\n", ",\n").replace("y,\n", "y,z\n")}, {}),
    (
        "declared null columns",
        {"data/1.csv": ROWS.replace("\n", ",,,,\n").replace("y,,,,", "y,n,s,t,b")},
        {"data": ", columns: {x: float, c: str, y: float, n: float, s: str, t: datetime, b: bool}"},
    ),
    ("infinities", {"data/1.csv": f"{ROWS}inf,a,1\n-inf,b,1\n1,a,inf\n"}, {}),
    (
        "infinite results",
        {"data/1.csv": f"{ROWS}0,a,1\n"},
        {"data": ", derive: {w: 1 / x}", "more": "transform: {x: log}"},
    ),
    ("odd names", {"data/1.csv": odd_rows(["x y", 'ca"t\n2', "yé"])}, {"model": f"{RIDGE}yé"}),
    (
        "our own names",
        {"data/1.csv": odd_rows(["candidate", "matrix", "numbers", "index", "texts", "labels", "(weight)"])},
        {"model": f"{RIDGE}numbers"},
    ),
    (
        "names like our features",
        {"data/1.csv": odd_rows(["x", "prediction", "y", "x_isnull", "label"])},
        {
            "model": f"{RIDGE}y",
            "more": "clean: {missing: {x: {fill: mean, indicator: true}}}",
        },
    ),
    ("odd file names", {"data/ü ä.csv": ROWS, 'data/it\'s "q".csv': make_rows(2), "data/a\tb.csv": make_rows(4)}, {}),
    ("gzip", {"data/1.csv.gz": gzip.compress(ROWS.encode())}, {"files": "data/{part}.csv.gz"}),
    ("zip", {"data/1.csv.zip": zipped("1.csv", ROWS.encode())}, {"files": "data/{part}.csv.zip"}),
    ("latin-1", {"data/1.csv": ROWS.replace("a", "ñ").encode("latin-1")}, {"data": ", encoding: latin-1"}),
    ("UTF-16 with a mark", {"data/1.csv": ROWS.replace("a", "ñ").encode("utf-16")}, {}),
    (
        "three classes",
        {"data/1.csv": make_rows(target=lambda x: "low" if x < -0.5 else "mid" if x < 0.5 else "high")},
        {"model": LOGISTIC},
    ),
    ("numeric classes", {"data/1.csv": make_rows(target=lambda x: 3 if x < -0.5 else 5)}, {"model": LOGISTIC}),
    ("flags", {"data/1.csv": make_rows(target=lambda x: x > 0)}, {"model": LOGISTIC}),
]


@pytest.mark.parametrize(("files", "spec"), [each[1:] for each in ACCEPTED], ids=[each[0] for each in ACCEPTED])
def test_odd_data_become_a_release_that_answers_as_expected(
    write: Write, do: Run, files: dict[str, Any], spec: dict[str, str]
) -> None:
    results = do(write(files, **spec))
    assert results["release"].facts.tag == "m@v1.0.0"
    assert results["verify"].action == "ran", "the answer is what was computed before the release"


def test_ten_thousand_columns_become_a_model(write: Write, do: Run) -> None:
    draw = random.Random(0)
    lines = [",".join([*(f"f{each}" for each in range(10_000)), "y"])]
    lines += [",".join(f"{draw.gauss(0, 1):.2f}" for _ in range(10_001)) for _ in range(20)]
    spec = write({"data/1.csv": "\n".join(lines) + "\n"}, model=f"{RIDGE}y")
    assert do(spec)["normalize"].reason.startswith("10,000 features")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a data repository with two commits; a tag and a branch stand at the first."""
    folder = tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for number in (1, 2):
        (folder / f"data/{number}.csv").write_text(make_rows(number))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "data")
        if number == 1:
            git(folder, "tag", "-a", "first", "-m", "first")
            git(folder, "branch", "side")
    return folder


@pytest.mark.parametrize("form", ["{}", "file://{}"])
@pytest.mark.parametrize(
    ("branch", "data_commit", "partitions"),
    [("", None, 2), (", branch: side", None, 1), ("", "first", 1), ("", "HEAD~1", 1), (", branch: side", "main", 2)],
)
def test_a_plan_reads_the_named_commit_of_another_repository(
    write: Write, elsewhere: Path, form: str, branch: str, data_commit: str | None, partitions: int
) -> None:
    spec = write(data=f", repository: '{form.format(elsewhere)}'{branch}")
    assert plan_of(spec, data_commit=data_commit) == partitions


def plan_of(spec: Path, **changes: Any) -> int:
    return len(open_job(RunRequest(str(spec), **changes)).partitions)


def test_a_plan_needs_no_place_to_write_in(write: Write, do: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write()
    monkeypatch.setenv("MODELRAIL_HOME", "/proc/nowhere")
    assert review(RunRequest(str(spec))).outcome == "candidate"
    with pytest.raises(OSError, match="/proc/nowhere"):
        do(spec)


def test_a_url_is_read_anew_each_time_and_a_commit_that_came_later_is_found(write: Write, elsewhere: Path) -> None:
    spec = write(data=f", repository: 'file://{elsewhere}'")
    assert plan_of(spec) == 2
    (elsewhere / "data/3.csv").write_text(make_rows(3))
    git(elsewhere, "add", "-A")
    git(elsewhere, "commit", "-q", "-m", "data")
    assert plan_of(spec, data_commit=git(elsewhere, "rev-parse", "HEAD")) == 3
    assert plan_of(spec) == 3


WRONG_REPOSITORIES = [
    ("misspelt", "", InputError, "misspelt: found no such folder; expected a Git repository"),
    ("file:///nowhere/at/all.git", "", InputError, r"git clone of file:///nowhere[\s\S]*\(data\.repository\)"),
    (
        "https://me:s3cret@127.0.0.1:9/x.git",
        "",
        TransientError,
        r"git clone of https://\*\*\*@127\.0\.0\.1:9/x\.git failed",
    ),
    ("https://s3cret@127.0.0.1:9/x.git", "", TransientError, r"https://\*\*\*@127\.0\.0\.1"),
    ("ext::sh -c touch% x", "", InputError, "found no such folder"),
    (None, "nope", InputError, "found no commit 'nope'"),
    (None, "--all", InputError, "found no commit '--all'"),
    (None, "HEAD:data/1.csv", InputError, "found no commit"),
]


@pytest.mark.parametrize(("repository", "data_commit", "kind", "message"), WRONG_REPOSITORIES)
def test_a_repository_or_commit_that_is_not_there_is_named_without_credentials(
    write: Write, repository: str | None, data_commit: str, kind: type[ModelrailError], message: str
) -> None:
    spec = write(data=f", repository: '{repository}'" if repository else "")
    with pytest.raises(kind, match=message) as caught:
        plan_of(spec, data_commit=data_commit or None)
    assert type(caught.value).exit_code == kind.exit_code
    assert "s3cret" not in str(caught.value)


INJECTIONS = [
    *("--upload-pack=touch INJECTED", "-cprotocol.ext.allow=always", "--output=INJECTED", "--exec=touch INJECTED"),
    *("-h", "--", "--help", "--all", "--stdin", "--git-dir=/tmp", "-C/tmp", "--work-tree=/", "--batch"),
    *("main --output=INJECTED", "main\n--all", "main\t-p", "$(touch INJECTED)", "`touch INJECTED`", ";touch INJECTED"),
    *("main..side", "main...side", "^main", "main^@", "main:data", ":/Add", "refs/heads/*", "@{u}", "+main:refs/x"),
]


def test_a_partition_without_any_target_is_told_in_each_run(write: Write, do: Run) -> None:
    lines = make_rows(2).splitlines()
    unlabelled = "\n".join([lines[0], *(f"{line.rpartition(',')[0]}," for line in lines[1:])])
    spec = write(
        {"data/1.csv": make_rows(0, 900), "data/2.csv": f"{unlabelled}\n"},
        data=", columns: {x: float, c: str, y: float}",
    )
    for _ in range(2):
        assert do(spec)["transform"].warnings == ("partition 2: found no 'y' in any of its 120 rows",)


@pytest.mark.parametrize("name", INJECTIONS)
def test_what_names_a_commit_or_a_branch_is_never_an_option_or_a_command(
    write: Write, elsewhere: Path, project: Path, name: str
) -> None:
    before = sorted(git(elsewhere, "for-each-ref"))
    with pytest.raises(InputError):
        plan_of(write(data=f", repository: 'file://{elsewhere}'"), data_commit=name)
    with pytest.raises(InputError):
        plan_of(write(data=f", repository: 'file://{elsewhere}', branch: {json.dumps(name)}"))
    with pytest.raises(InputError):
        plan_of(write(data=f", repository: {json.dumps(name)}"))
    assert not [*project.rglob("INJECTED"), *elsewhere.rglob("INJECTED"), *Path.cwd().glob("INJECTED")]
    assert sorted(git(elsewhere, "for-each-ref")) == before


@pytest.mark.parametrize("labels", [(-1, 1), (0, 1), (3, 7)])
def test_classes_that_are_numbers_come_back_as_they_are(write: Write, do: Run, labels: tuple[int, int]) -> None:
    rows = make_rows(target=lambda x: labels[x > 0])
    results = do(write({"data/1.csv": rows}, model="trainer: logistic_regression, target: y, task: classification"))
    address = str(results["verify"].facts.address)
    assert predict(address, [{"x": -2.0, "c": "a"}, {"x": 2.0, "c": "b"}]).outputs == labels


def test_credentials_in_a_data_url_stay_out_of_everything_that_is_kept(
    write: Write, do: Run, elsewhere: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "file://{elsewhere}"]\n\tinsteadOf = https://example.org/flights.git\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'own.db'}")
    do(write(data=", repository: 'https://me:s3cret@example.org/flights.git'"))
    assert "https://***@example.org/flights.git" in git(project, "for-each-ref", "--format=%(contents)", "refs/tags")
    kept = [project / ".git/objects", *(project / ".modelrail").iterdir(), tmp_path / "own.db"]
    for place in kept:
        files = [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
        assert [each for each in files if b"s3cret" in each.read_bytes()] == []
    assert "s3cret" not in git(project, "for-each-ref", "--format=%(contents)", "refs/tags")


def test_a_spec_outside_git_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(write_spec())
    with pytest.raises(InputError, match="found no Git repository; expected one: 'git init"):
        plan_of(tmp_path / "m.yaml")


def test_without_any_commit_a_model_is_made_but_not_released(project: Path, do: Run) -> None:
    (project / "data").mkdir()
    (project / "models").mkdir()
    (project / "data/1.csv").write_text(ROWS)
    (project / "models/m.yaml").write_text(write_spec())
    assert "commit data/1.csv, models/m.yaml first" in do(project / "models/m.yaml")["release"].reason


def test_a_detached_head_is_as_good_as_a_branch(write: Write, do: Run, project: Path) -> None:
    spec = write()
    git(project, "checkout", "-q", "--detach")
    assert do(spec)["release"].facts.released


def test_a_tag_that_cannot_be_signed_is_no_release(write: Write, do: Run, project: Path) -> None:
    spec = write()
    git(project, "config", "tag.gpgSign", "true")
    git(project, "config", "user.signingKey", "nobody")
    with pytest.raises(ReleaseError, match=r"git tag m@v1\.0\.0 failed"):
        do(spec)
    assert tags_of(project) == []
    git(project, "config", "tag.gpgSign", "false")
    assert do(spec)["release"].facts.tag == "m@v1.0.0"


def test_a_remote_that_refuses_the_tag_leaves_no_release_behind(
    write: Write, do: Run, project: Path, tmp_path: Path
) -> None:
    spec = write(deploy=", push_tags: true")
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    hook = remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no tags for you >&2\nexit 1\n")
    hook.chmod(0o755)
    git(project, "remote", "add", "origin", str(remote))
    with pytest.raises(ReleaseError, match=r"no tags for you[\s\S]*check the rights to push tags"):
        do(spec)
    assert tags_of(project) == []
    git(project, "remote", "set-url", "origin", "https://me:s3cret@127.0.0.1:9/x.git")
    with pytest.raises(TransientError, match="nothing was recorded, run again") as caught:
        do(spec)
    assert "s3cret" not in str(caught.value)
    assert tags_of(project) == []
    hook.unlink()
    git(project, "remote", "set-url", "origin", str(remote))
    assert do(spec)["train"].action == "reused"
    assert tags_of(project) == tags_of(remote) == ["m@v1.0.0"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MODELRAIL_STORE", "/proc/store", "store: .*set MODELRAIL_STORE to"),
        ("MODELRAIL_STORE", "models/m.yaml", "store: .*set MODELRAIL_STORE to"),
        ("MODELRAIL_STORE", "nonesuch://me:s3cret@x", r"MODELRAIL_STORE: found 'nonesuch://\*\*\*@x'"),
        ("MLFLOW_TRACKING_URI", "nonesuch://x", "mend it or set MLFLOW_TRACKING_URI"),
        ("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlflow.db", "mend it or set MLFLOW_TRACKING_URI"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(
    write: Write, do: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    spec = write()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ModelrailError, match=message) as caught:
        do(spec)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("size_kb", [8, 40, 80])
def test_a_full_disk_is_told_and_the_run_goes_on_where_it_stopped(
    write: Write, do: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_kb: int
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    monkeypatch.setenv("MODELRAIL_STORE", str(place))
    spec = write({"data/1.csv": make_rows(rows=1000)})
    try:
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.runs.preflight._LEAST_FREE", -(1 << 20))  # it was filled after it was asked
            with pytest.raises(StoreError, match=r"No space left on device.*make room there"):
                do(spec)
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        assert do(spec)["release"].facts.released
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("as_of", "partitions"),
    [("2013-01-31", 1), ("2013-02-01T00:00:00+00:00", 1), ("2013-02-28", 2), ("9999-12-31", 2)],
)
def test_an_as_of_date_counts_whole_periods(write: Write, as_of: str, partitions: int) -> None:
    spec = write({"data/2013-01.csv": ROWS, "data/2013-02.csv": make_rows(2)})
    assert plan_of(spec, as_of=as_of) == partitions


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("2013-13-01", "expected a date such as"),
        ("yesterday", "expected a date such as"),
        ("2013-01-31 or so", "expected a date such as"),
        ("", "expected a date such as"),
        ("0001-01-01", "none up to 0001-01-01; expected a later as-of date"),
    ],
)
def test_an_as_of_date_that_leaves_nothing_is_refused(write: Write, as_of: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(write({"data/2013-01.csv": ROWS}), as_of=as_of)


def test_a_spec_edited_during_a_run_is_noticed(write: Write, do: Run, project: Path) -> None:
    del do
    spec = write()
    opened = open_run(RunRequest(str(spec)))
    assert run_step("clean", opened).action == "ran"
    spec.write_text(write_spec(more="split: {test: 0.3}"))
    with pytest.raises(InputError, match="found another spec than when the run began"):
        run_step("transform", opened)
    close_run(opened, "failed")
    assert tags_of(project) == []


def test_an_environment_may_change_the_gate(write: Write, do: Run) -> None:
    overlay = "evaluate: {gate: {rmse: {at_most: 0.0001}}}\n"
    spec = write({"data/1.csv": ROWS, "environments/strict.yaml": overlay})
    strict = do(spec, environment="strict")
    assert not strict["release"].facts.released
    assert "is not at most" in strict["release"].reason
    assert strict["deploy"].action == "skipped"
    loose = do(spec)
    assert loose["train"].action == "reused"
    assert loose["release"].facts.released


def test_two_specs_share_a_repository_and_what_they_have_in_common(write: Write, do: Run, commit: Commit) -> None:
    spec = write()
    do(spec)
    commit(
        {
            "models/n.yaml": write_spec()
            .replace("name: m", "name: n")
            .replace("least_squares", "ridge, task: regression")
        }
    )
    results = do(spec.with_name("n.yaml"))
    assert results["normalize"].action == "reused"
    assert results["release"].facts.tag == "n@v1.0.0"
    assert do(spec)["release"].facts.tag == "m@v1.0.0"


def test_a_killed_deployment_is_made_live_again(write: Write, do: Run, project: Path) -> None:
    spec, state = write(), project / ".modelrail"
    do(spec)
    before = live("m", state)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    while supervisor_lives(folder_of("m", state)):
        pass
    results = do(spec)
    after = live("m", state)
    assert results["deploy"].action == "ran"
    assert after is not None
    assert after.pid != before.pid
    assert results["verify"].facts.version == after.version


@pytest.mark.parametrize("lost", ["releases", "store", "registered", "history", "deployments", "store/train"])
def test_what_is_lost_is_made_again_without_another_release(write: Write, do: Run, project: Path, lost: str) -> None:
    spec, state = write(), project / ".modelrail"
    before = do(spec)
    if lost == "store/train":
        key = str(before["release"].key)
        (state / "store" / key[:2] / key / "model.onnx").unlink()
    else:
        stop_all(state)
        shutil.rmtree(state / lost, ignore_errors=True)
    after = do(spec)
    assert after["release"].facts.tag == "m@v1.0.0"
    assert after["verify"].facts.prediction == before["verify"].facts.prediction
    assert tags_of(project) == ["m@v1.0.0"]


def test_commits_of_a_clock_that_went_back_are_still_in_order(
    write: Write, do: Run, commit: Commit, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write()
    do(spec)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    commit({"data/2.csv": make_rows(2)})
    assert do(spec)["release"].facts.tag == "m@v1.0.1"
    assert [each.tag for each in releases(open_repository(project), "m")] == ["m@v1.0.0", "m@v1.0.1"]


def test_a_killed_server_is_started_again_by_its_supervisor(write: Write, do: Run, project: Path) -> None:
    address = str(do(write())["verify"].facts.address)
    record = read_json(folder_of("m", project / ".modelrail") / RECORD)
    assert record is not None
    for worker in record["worker_pids"]:
        os.kill(worker, signal.SIGKILL)
    for _ in range(200):
        with contextlib.suppress(TransientError):
            assert isinstance(predict(address, {"x": 0.0, "c": "a"}).outputs[0], float)
            return
    raise AssertionError("no answer after the server was killed")


def test_specs_that_run_at_once_do_not_disturb_each_other(
    write: Write, do: Run, commit: Commit, project: Path, tracking: str
) -> None:
    del do, tracking
    write()
    other = write_spec().replace("name: m", "name: n")
    commit({"models/n.yaml": other})
    command = [sys.executable, "-m", "pipeline", "run"]
    both = [
        subprocess.Popen([*command, name], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name in ("m", "n")
    ]
    told = [each.communicate()[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    assert tags_of(project) == ["m@v1.0.0", "n@v1.0.0"]


@pytest.mark.parametrize(
    ("trainer", "estimator"),
    [
        ("ridge", Ridge(random_state=0)),
        ("decision_tree", DecisionTreeRegressor(random_state=0)),
        ("hist_gradient_boosting", HistGradientBoostingRegressor(random_state=0, early_stopping=False)),
    ],
)
def test_the_live_model_answers_as_scikit_learn_does_on_the_very_matrix(
    write: Write, do: Run, trainer: str, estimator: Any
) -> None:
    spec = write({"data/1.csv": make_rows(rows=400)}, model=f"trainer: {trainer}, task: regression, target: y")
    address = str(do(spec)["verify"].facts.address)
    normalized = Session(open_job(RunRequest(str(spec)))).chain.artifact("normalize")
    sides = pd.read_parquet(normalized.file("rows.parquet"))
    matrix = pd.read_parquet(normalized.file("matrix.parquet")).to_numpy()
    training = (sides["(side)"] == 0).to_numpy()
    estimator.fit(matrix[training], sides["(target)"][training])
    graph = onnxruntime.InferenceSession(normalized.file("preprocess.onnx"))
    odd = [(None, "a"), (0.0, None), (0.0, "never seen"), (1e9, "b"), (-1e9, "c"), (float(1 / 3), "a")]
    features = graph.run(
        None,
        {
            "numbers": np.array([[np.nan if x is None else x] for x, _ in odd]),
            "texts": np.array([[c or ""] for _, c in odd], dtype=object),
        },
    )[0]
    served = predict(address, [{"x": x, "c": c} for x, c in odd]).outputs
    np.testing.assert_allclose(served, estimator.predict(features), rtol=1e-5, atol=1e-5)


def test_the_live_model_answers_odd_records_or_says_why_not(write: Write, do: Run) -> None:
    results = do(write())
    address = str(results["verify"].facts.address)
    for record in ({"x": None, "c": None}, {"x": 0.0, "c": "never seen"}, {"x": 1e30, "c": "a"}, {"x": -0.0, "c": ""}):
        assert isinstance(predict(address, record).outputs[0], float)
    wrong = {
        "found the text": {"x": "text", "c": "a"},
        "'q'": {"c": "a", "q": 1},
        "'x'": {"x": [1], "c": "a"},
        "row 0: found values too large": {"x": -1e300, "c": "a"},
    }
    for message, record in wrong.items():
        with pytest.raises(DataError, match=message):
            predict(address, record)
