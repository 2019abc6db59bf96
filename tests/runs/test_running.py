"""The main job in one process, on small real repositories."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.delivery.releases import releases
from pipeline.errors import DataError, InputError, ModelrailError, TransientError
from pipeline.runs.costs import add_up, by_release, read_costs
from pipeline.runs.job import open_job
from pipeline.runs.plan.planning import ORDER
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run, run_one
from pipeline.runs.session import Session
from pipeline.serving.scoring.model import load_model
from pipeline.storage.artifacts import digest_listing
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

SPEC = """
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {id: int, delay: {type: float, range: [-60, 600]}, carrier: str, arrival: float}
  derive: {late: arrival > 15}
  key: [id]
clean: {duplicates: drop, missing: {arrival: drop}}
features: {select: [delay, carrier]}
evaluate: {metrics: [roc_auc, accuracy], gate: {roc_auc: {at_least: 0.6, behind_champion_at_most: 0.05}}, bootstrap: 50}
deploy: {port: 0}
"""


ARRIVAL = """
model: {{name: m, trainer: ridge, task: regression, target: arrival}}
data:
  files: "data/{{part}}.csv"
  columns: {{id: int, delay: float, carrier: str, arrival: float}}
  max_missing_target: {most}
evaluate: {{bootstrap: 0}}
deploy: {{port: 0}}
"""


def month(seed: int, rows: int = 300, first: int | None = None) -> str:
    """Make a partition: the arrival follows the departure, with noise."""
    draw = random.Random(seed)
    lines = ["id,delay,carrier,arrival"]
    for row in range(rows):
        delay = draw.gauss(10, 20)
        carrier = draw.choice(["UA", "AA", "DL"])
        lines.append(f"{(first or seed * 1000) + row},{delay:.1f},{carrier},{delay + draw.gauss(0, 10):.1f}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    """Commit a spec and three months of data."""
    files: dict[str, str | bytes] = {f"data/2013-{number:02}.csv": month(number) for number in (1, 2, 3)}
    commit({"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n", **files})
    return live_project / "models/late.yaml"


def run_job(spec: Path, **changes: Any) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
    return outcome, {each.step: each for each in results}


def counts(results: dict[str, StepResult]) -> dict[str, tuple[int, int]]:
    """Return step → how many partitions ran and were reused."""
    return {step: (each.ran, each.reused) for step, each in results.items() if each.ran + each.reused}


def test_a_commit_becomes_a_release_that_answers(spec: Path) -> None:
    outcome, results = run_job(spec, reason="the first")
    assert outcome == "released"
    assert counts(results) == {
        "clean": (3, 0),
        "transform": (3, 0),
        "normalize": (1, 0),
        "train": (1, 0),
        "evaluate": (1, 0),
    }
    facts = results["verify"].facts
    assert facts.prediction in (True, False)
    answer = subprocess.run(str(facts.curl), shell=True, check=True, capture_output=True, text=True).stdout  # noqa: S602
    assert json.loads(answer)["outputs"] == [facts.prediction]
    (release,) = releases(open_repository(spec.parent), "late")
    assert release.tag == "late@v1.0.0"
    assert release.evidence.why == "the first"
    assert release.evidence.data_commit == open_repository(spec.parent).commit().id


def test_an_unchanged_rerun_computes_nothing_and_imports_nothing_heavy(spec: Path) -> None:
    run_job(spec)
    code = (
        "import sys; from pipeline.runs.running import run; from pipeline.runs.request import RunRequest\n"
        f"print(run(RunRequest({str(spec)!r}), report=lambda _: None)[0])\n"
        "print(sorted({'pandas', 'sklearn', 'mlflow', 'onnxruntime', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")
    assert told[:2] == ["unchanged", "[]"]
    assert len(releases(open_repository(spec.parent), "late")) == 1


def test_a_new_partition_costs_only_itself_and_makes_a_patch_release(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2013-04.csv": month(4)})
    outcome, results = run_job(spec)
    assert outcome == "released"
    assert counts(results)["clean"] == (1, 3)
    assert counts(results)["transform"] == (1, 3)
    assert results["deploy"].facts.replaced.removeprefix("v") == "1.0.0"
    assert [each.tag for each in releases(open_repository(spec.parent), "late")] == ["late@v1.0.0", "late@v1.0.1"]


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("clean", {"models/late.yaml": SPEC.replace("arrival > 15", "arrival > 14")}),
        ("transform", {"data/2013-04.csv": month(4)}),
        ("normalize", {"models/late.yaml": SPEC.replace("model: {", "model: {params: {C: 0.5}, ")}),
        ("train", {"models/late.yaml": SPEC.replace("bootstrap: 50", "bootstrap: 40")}),
    ],
)
def test_an_artifact_with_a_turned_bit_is_computed_anew_and_said(
    spec: Path, commit: Commit, step: str, change: dict[str, str]
) -> None:
    run_job(spec)
    store = spec.parents[1] / ".modelrail/store"
    manifests = {path: json.loads(path.read_bytes()) for path in store.glob("??/*/manifest.json")}
    for path in (path for path, facts in manifests.items() if facts["step"] == step):
        for name in manifests[path]["files"]:
            damaged = bytearray((path.parent / name).read_bytes())
            damaged[len(damaged) // 2] ^= 1
            (path.parent / name).write_bytes(damaged)
    commit(change)
    _, results = run_job(spec)
    said = " ".join(each.reason for each in results.values())
    assert f"(step '{step}'" in said
    assert "has other bytes than were published" in said
    assert run_job(spec)[0] in {"unchanged", "not released"}


def test_a_change_that_ends_in_the_same_bytes_stops_there(spec: Path, commit: Commit) -> None:
    run_job(spec)
    first = month(1)
    commit({"data/2013-01.csv": first + first.splitlines()[1] + "\n"})
    _, results = run_job(spec)
    assert counts(results)["clean"] == (1, 2), "the file has a repeated row more"
    assert counts(results)["transform"] == (0, 3), "which cleaning drops"
    assert counts(results)["train"] == (0, 1)


def test_a_changed_setting_runs_what_reads_it(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"models/late.yaml": SPEC.replace("target: late}", "target: late, params: {C: 0.5}}")})
    _, results = run_job(spec)
    assert counts(results) == {
        "clean": (0, 3),
        "transform": (0, 3),
        "normalize": (0, 1),
        "train": (1, 0),
        "evaluate": (1, 0),
    }
    assert results["release"].facts.version == "v1.1.0"


def test_the_plan_gives_the_reason(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"models/late.yaml": SPEC.replace("range: [-60, 600]", "range: [-60, 500]"), "data/2013-02.csv": month(9)})
    steps = Session(open_job(RunRequest(str(spec)))).plan()
    reasons = {(each.step, each.partition): each.reason for each in steps if each.action == "run"}
    changed = "the spec changed: data.columns.delay.range: [-60.0, 600.0] → [-60.0, 500.0]"
    assert reasons["clean", "2013-01"] == changed
    assert reasons["clean", "2013-02"] == f"the data changed; {changed}"
    assert all(each.estimate_s is not None for each in steps if each.step == "clean")


def test_the_plan_tells_a_new_partition_from_a_first_run(spec: Path, commit: Commit) -> None:
    def reasons() -> dict[tuple[str, str | None], str]:
        steps = Session(open_job(RunRequest(str(spec)))).plan()
        return {(each.step, each.partition): each.reason for each in steps if each.action != "reuse"}

    assert reasons()["clean", "2013-01"] == "it never ran here"
    assert reasons()["train", None] == "its input is computed first"
    run_job(spec)
    assert reasons() == {}
    commit({"data/2013-04.csv": month(4)})
    assert reasons()["clean", "2013-04"] == "a new partition"


def test_a_lost_artifact_is_said_and_made_again(spec: Path) -> None:
    run_job(spec)
    session = Session(open_job(RunRequest(str(spec))))
    session.chain.artifact("normalize").file("matrix.parquet").unlink()
    steps = {each.step: each for each in Session(open_job(RunRequest(str(spec)))).plan()}
    assert steps["normalize"].reason == "its artifact is missing from the store"
    outcome, results = run_job(spec)
    assert counts(results)["normalize"] == (1, 0)
    assert counts(results)["train"] == (0, 1), "the same bytes came out again"
    assert outcome == "unchanged"
    assert results["release"].action == "reused"


def test_uncommitted_changes_run_but_are_not_released_until_committed(
    spec: Path, commit: Commit, project: Path
) -> None:
    (project / "data/2013-04.csv").write_text(month(4))
    outcome, results = run_job(spec)
    assert outcome == "not released"
    assert results["release"].reason.startswith("not released: commit data/2013-04.csv first")
    assert results["deploy"].action == "skipped"
    commit()
    outcome, results = run_job(spec)
    assert outcome == "released"
    assert all(ran == 0 for ran, _ in counts(results).values()), "all work was reused"


def test_a_model_that_misses_the_gate_is_refused_and_the_live_one_stays(
    spec: Path, commit: Commit, project: Path
) -> None:
    run_job(spec)
    noise = random.Random(0)
    lines = [f"{90_000 + row},{noise.gauss(10, 20):.1f},UA,{noise.gauss(10, 20):.1f}" for row in range(6000)]
    commit({"data/2013-04.csv": "id,delay,carrier,arrival\n" + "\n".join(lines) + "\n"})
    outcome, results = run_job(spec)
    assert outcome == "not released"
    assert "roc_auc" in results["release"].reason
    assert "behind" in " ".join(results["release"].facts.verdict) or "is not at least" in results["release"].reason
    now = live("late", project / ".modelrail")
    assert now is not None
    assert now.version.removeprefix("v") == "1.0.0"
    assert run_job(spec)[0] == "not released", "the same verdict again, from what is stored"


def test_a_repeated_key_across_partitions_counts_once(spec: Path, commit: Commit) -> None:
    _, before = run_job(spec)
    commit({"data/2013-04.csv": month(1)})
    _, after = run_job(spec)
    assert counts(after)["clean"] == (0, 4), "the same bytes were cleaned before, under another name"
    assert after["normalize"].rows == before["normalize"].rows
    assert counts(after)["train"] == (0, 1), "the matrix is the same, so nothing is trained"


def test_an_as_of_date_leaves_out_later_partitions_and_is_a_look_back(spec: Path) -> None:
    outcome, results = run_job(spec, as_of="2013-02-28")
    assert counts(results)["clean"] == (2, 0)
    assert outcome == "not released"
    assert "a look back to 2013-02-28 leaves out 1 newer partitions" in results["release"].reason


def test_an_old_commit_can_be_run_by_its_name(spec: Path, commit: Commit) -> None:
    old = open_repository(spec.parent).commit().id
    commit({"data/2013-04.csv": month(4)})
    _, results = run_job(spec, data_commit=old[:10])
    assert counts(results)["clean"] == (3, 0)


def test_force_computes_everything_again_and_changes_nothing(spec: Path) -> None:
    run_job(spec)
    outcome, results = run_job(spec, force=True)
    assert all(reused == 0 for _, reused in counts(results).values())
    assert outcome == "unchanged"


def test_the_two_line_spec_learns_the_line(
    project: Path, commit: Commit, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    commit(
        {
            "models/line.yaml": "model: {name: LinearRegression}\nenvironment: {platform: Local}\n",
            ".gitignore": ".modelrail/\n",
        }
    )
    try:
        outcome, results = run_job(project / "models/line.yaml")
        assert outcome == "released"
        assert results["verify"].facts.prediction == pytest.approx(
            2 * results["verify"].facts.record["x"] + 1, abs=0.15
        )
    finally:
        stop_all(project / ".modelrail")


def test_the_same_work_gives_the_same_bytes_elsewhere(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(spec)
    digest = Session(open_job(RunRequest(str(spec)))).chain.artifact("train").digest
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "elsewhere"))
    run_job(spec)
    assert Session(open_job(RunRequest(str(spec)))).chain.artifact("train").digest == digest


@pytest.mark.parametrize(
    "address",
    [
        "memory://{unique}",
        pytest.param(
            "s3://store/{unique}",
            marks=[
                pytest.mark.cluster,
                pytest.mark.skipif("AWS_ENDPOINT_URL" not in os.environ, reason="no cluster: set AWS_ENDPOINT_URL"),
            ],
        ),
    ],
)
def test_an_object_store_serves_as_well_as_a_folder(spec: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", address.format(unique=uuid.uuid4().hex))
    assert run_job(spec)[0] == "released"
    assert run_job(spec)[0] == "unchanged"


def test_mlflow_holds_one_tree_a_run(spec: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    run_job(spec)
    with sqlite3.connect(project / ".modelrail/mlflow.db") as database:
        names = {name for (name,) in database.execute("select name from runs where status = 'FINISHED'")}
        tags = dict(database.execute("select key, value from tags where key like 'modelrail.%'").fetchall())
        metrics = {key for (key,) in database.execute("select distinct key from metrics")}
        aliases = database.execute("select name, alias from registered_model_aliases").fetchall()
    assert {"clean", "transform", "normalize", "train", "evaluate"} < names
    assert tags["modelrail.outcome"] == "released"
    assert tags["modelrail.release"] == "v1.0.0"
    assert {"roc_auc", "roc_auc_low", "cpu_s", "peak_memory_mb", "rows"} <= metrics
    assert aliases == [("late", "champion")]


def test_a_locked_mlflow_database_is_transient_and_the_work_is_kept(
    spec: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)  # as on the command line: recorded by a second process
    (project / ".modelrail").mkdir(exist_ok=True)
    database = sqlite3.connect(project / ".modelrail/mlflow.db")
    database.execute("begin exclusive")
    with pytest.raises(TransientError, match=r"tracking: MLflow at sqlite:.* did not answer"):
        run_job(spec)
    assert releases(open_repository(project), "late") == []
    database.close()
    outcome, results = run_job(spec)
    assert all(ran == 0 for ran, _ in counts(results).values())
    assert outcome == "released"


def test_a_broken_mlflow_database_says_what_to_mend(spec: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (project / ".modelrail").mkdir(exist_ok=True)
    (project / ".modelrail/mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(ModelrailError, match="mend it or set MLFLOW_TRACKING_URI"):
        run_job(spec)


def test_a_mlflow_database_that_may_only_be_read_is_told_in_one_line(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{tmp_path / 'm.db'}").search_experiments()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{tmp_path / 'm.db'}?mode=ro&uri=true")
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)  # as on the command line: recorded by a second process
    capfd.readouterr()
    with pytest.raises(ModelrailError, match="attempt to write a readonly database"):
        run_job(spec)
    assert capfd.readouterr().err == ""


def test_a_platform_that_cannot_be_deployed_to_is_refused_before_anything_runs(spec: Path, commit: Commit) -> None:
    commit({"models/late.yaml": SPEC + "environment: {platform: AWS}\n"})
    with pytest.raises(InputError, match=r"environment\.platform: found 'aws'.*expected local"):
        run_job(spec)


def _start(spec: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "run", str(spec)]
    return subprocess.Popen(command, cwd=spec.parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("after", ["clean", "transform", "normalize", "train", "evaluate", "release"])
def test_a_run_killed_after_any_step_is_completed_by_the_next(spec: Path, project: Path, after: str) -> None:
    process = _start(spec)
    assert process.stdout is not None
    for line in process.stdout:
        if after.encode() in line:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    outcome, _ = run_job(spec)
    assert outcome in ("released", "unchanged")
    assert len(releases(open_repository(project), "late")) == 1
    assert list((project / ".modelrail/store/drafts").iterdir()) == []


def test_a_run_killed_at_random_moments_still_ends_in_one_release(spec: Path, project: Path) -> None:
    moments = random.Random(7)
    for _ in range(4):
        process = _start(spec)
        try:
            process.wait(timeout=moments.uniform(0.3, 4))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
    run_job(spec)
    assert len(releases(open_repository(project), "late")) == 1


def test_two_runs_at_once_make_one_release(spec: Path, project: Path) -> None:
    began = time.monotonic()
    both = [_start(spec), _start(spec)]
    told = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(releases(open_repository(project), "late")) == 1
    assert time.monotonic() - began < 300


def test_a_clone_that_knows_the_release_but_has_another_store_makes_it_live_again(
    spec: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(spec)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
    monkeypatch.chdir(clone)
    try:
        outcome, results = run_job(clone / "models/late.yaml")
        assert outcome == "unchanged", "the same commit gives the same model, which is released"
        assert results["deploy"].facts.version.removeprefix("v") == "1.0.0"
    finally:
        stop_all(clone / ".modelrail")


def test_what_a_run_took_is_kept_step_by_step_and_what_is_reused_costs_nothing(spec: Path, commit: Commit) -> None:
    commit({"models/late.yaml": SPEC + "environment: {prices: {cpu_hour: 0.5, gib_hour: 0.1}}\n"})
    store = Session(open_job(RunRequest(str(spec)))).artifacts.store
    run_job(spec)
    run_job(spec)
    spent = read_costs(store, "late")
    assert [each.step for each in spent] == list(ORDER)
    assert len({each.run for each in spent}) == 1
    assert spent[0].computed == 3
    assert all(each.cpu_s > 0 and each.peak_bytes > 10e6 and each.done for each in spent if each.step != "verify")
    (total,) = add_up(spent, by_release(releases(open_repository(spec.parent), "late"), spent))
    assert total.name == "late@v1.0.0"
    assert total.amounts["EUR"] > 0


def test_a_step_that_fails_has_cost_something_too(spec: Path, commit: Commit) -> None:
    commit({"data/2013-02.csv": "id,delay,carrier,arrival\n1,2,UA\n"})
    with pytest.raises(ModelrailError):
        run_job(spec)
    (spent,) = read_costs(Session(open_job(RunRequest(str(spec)))).artifacts.store)
    assert (spent.step, spent.done) == ("clean", False)


def test_a_replay_is_never_released_even_where_it_leaves_nothing_out(spec: Path) -> None:
    outcome, results = run_job(spec, as_of="2014-01-01", replay=True)
    assert outcome == "not released"
    assert "a replay of 2014-01-01 is evaluated only" in results["release"].reason


@pytest.mark.parametrize(
    ("step", "wanted", "message"),
    [
        (
            "clean",
            ["2013-1"],
            "found no partition '2013-1'; expected one of '2013-01', '2013-02'; did you mean '2013-01'",
        ),
        ("transform", ["2013-01", "x"], "transform: found no partition 'x'; expected one of '2013-01', '2013-02'"),
        ("train", ["2013-01"], "train: found --partition '2013-01'; expected none: only clean, transform work by part"),
        ("verify", ["2013-01"], "verify: found --partition '2013-01'; expected none"),
    ],
)
def test_a_partition_that_a_step_does_not_have_is_refused(
    project: Path, commit: Commit, step: str, wanted: list[str], message: str
) -> None:
    commit({"models/late.yaml": SPEC, "data/2013-01.csv": month(1, 3), "data/2013-02.csv": month(2, 3)})
    with pytest.raises(InputError, match=message):
        run_one(step, RunRequest(str(project / "models/late.yaml")), wanted, None)


def _without_arrival(source: str, every: int) -> str:
    """Take the target out of each so-manieth row."""
    head, *lines = source.splitlines()
    emptied = [f"{line.rpartition(',')[0]},NA" if place % every == 0 else line for place, line in enumerate(lines)]
    return "\n".join([head, *emptied]) + "\n"


@pytest.mark.parametrize(
    ("every", "most", "said"),
    [
        (30, 0.2, None),
        (10, 0.2, "the target 'arrival' of 30 of 300 rows (10.0%) is missing"),
        (4, 0.5, "the target 'arrival' of 75 of 300 rows (25.0%) is missing"),
    ],
)
def test_a_run_says_that_many_targets_are_missing(
    live_project: Path, commit: Commit, every: int, most: float, said: str | None
) -> None:
    commit({"models/m.yaml": ARRIVAL.format(most=most), "data/a.csv": _without_arrival(month(1), every)})
    request = RunRequest(str(live_project / "models/m.yaml"))
    for _ in ("when made", "when reused"):
        found = [run_one(step, request, None, None) for step in ("clean", "transform", "normalize")]
        warned = found[-1].warnings
        assert [said is not None and said in each for each in warned] == ([] if said is None else [True])


def test_a_run_refuses_to_leave_out_a_quarter_of_the_rows_unasked(live_project: Path, commit: Commit) -> None:
    commit({"models/m.yaml": ARRIVAL.format(most=0.2), "data/a.csv": _without_arrival(month(1), 4)})
    with pytest.raises(DataError, match=r"75 of 300 rows \(25\.0%\) is missing; .* 20% \(data\.max_missing_target"):
        run_job(live_project / "models/m.yaml")


def test_a_release_holds_the_reference_of_what_it_will_be_asked(spec: Path) -> None:
    run_job(spec)
    job = open_job(RunRequest(str(spec)))
    (release,) = releases(open_repository(spec.parent), "late")
    served = load_model(bundle_of(release, Session(job).artifacts.store, job.state))
    assert served.reference is not None
    features = {each.name: each for each in served.reference.features}
    assert set(features) == {"delay", "carrier", "(prediction)", "(score)"}
    assert sorted(features["carrier"].bins.values) == ["AA", "DL", "UA"]
    normalized = Session(job).chain.artifact("normalize")
    assert features["delay"].rows == normalized.manifest["sides"]["train"], "training rows, of all partitions"
    assert set(served.reference.metrics) == {"roc_auc", "accuracy"}


def test_the_reference_is_no_part_of_what_is_trained(spec: Path) -> None:
    run_job(spec)
    chain = Session(open_job(RunRequest(str(spec)))).chain
    (node,) = chain.nodes("normalize")
    files = {name: each["sha256"] for name, each in node.artifact.manifest["files"].items() if name != "columns.json"}
    assert node.content == digest_listing(files) != node.artifact.digest


def test_columns_that_are_counted_are_evaluated_anew_and_nothing_else(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"models/late.yaml": SPEC + "monitoring: {features: 1}\n"})
    results = run_job(spec)[1]
    assert [step for step, each in results.items() if each.ran and step in ORDER[:5]] == ["evaluate"]
