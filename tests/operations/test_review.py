"""Plans for review: of a commit or branch, since what is live, with what would change in the deployment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.delivery.promotion import promote, rollback
from pipeline.errors import InputError, SpecError
from pipeline.home import CHECKOUT
from pipeline.operations.review import Review, review
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from tests.conftest import Commit, git
from tests.ui.test_cli import modelrail

SPEC = """
model: {name: line, trainer: ridge, target: y, params: {alpha: 1.0}}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {behind_champion_at_most: 100}}, bootstrap: 0}
deploy: {port: 0}
"""


def part(slope: float) -> str:
    return "x,y\n" + "".join(f"{x / 10},{slope * x / 10 + 1}\n" for x in range(60))


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    """Return a model whose first release is live."""
    commit({"models/line.yaml": SPEC, "data/1.csv": part(2), "data/2.csv": part(3), ".gitignore": ".modelrail/\n"})
    path = live_project / "models/line.yaml"
    run_job(path)
    return path


def run_job(spec: Path, **changes: Any) -> None:
    run(RunRequest(str(spec), **changes), report=lambda _: None)


def look(spec: Path, revision: str | None = None, **changes: Any) -> Review:
    return review(RunRequest(str(spec), **changes), revision)


def reasons(found: Review) -> dict[str, str]:
    return {f"{each.step}/{each.partition or 'all'}": each.reason for each in found.todo if each.action == "run"}


def test_a_branch_is_planned_without_a_checkout_as_it_is_planned_with_one(
    spec: Path, project: Path, commit: Commit
) -> None:
    git(project, "checkout", "-q", "-b", "change")
    changed = SPEC.replace("alpha: 1.0", "alpha: 2.0")
    tip = commit({"models/line.yaml": changed, "data/2.csv": part(4), "data/3.csv": part(5)})
    there = look(spec)
    git(project, "checkout", "-q", "main")
    spec.write_text("nothing that could be read: [")
    for revision in ("change", tip, tip[:9]):
        found = look(spec, revision)
        assert found.to_json() == there.to_json()
    assert reasons(found) == {
        "clean/2": "the data changed since line@v1.0.0",
        "clean/3": "a new partition",
    }
    assert (found.outcome, found.job.spec_commit, found.job.data_commit) == ("candidate", tip, tip)
    assert found.say.startswith("a new release (minor: the spec or the code changed; major if")
    assert "would replace line@v1.0.0 in local, if it passes its gate" in found.say


def test_a_key_that_differs_from_what_is_live_is_named(spec: Path, commit: Commit) -> None:
    commit({"models/line.yaml": SPEC.replace("alpha: 1.0", "alpha: 2.0")})
    assert reasons(look(spec)) == {"train/all": "the spec changed: model.params.alpha: 1.0 → 2.0 since line@v1.0.0"}
    run_job(spec)
    commit({"models/line.yaml": SPEC.replace("alpha: 1.0", "alpha: 3.0")})
    assert reasons(look(spec)) == {"train/all": "the spec changed: model.params.alpha: 2.0 → 3.0 since line@v1.1.0"}
    rollback("line", None, None, why="the first was better")
    assert reasons(look(spec)) == {"train/all": "the spec changed: model.params.alpha: 1.0 → 3.0 since line@v1.0.0"}


def test_a_key_that_differs_is_named_though_the_data_differ_too(spec: Path, commit: Commit) -> None:
    """Or nobody who reviews a change of the spec would see it while newer data wait."""
    changed = SPEC.replace("alpha: 1.0", "alpha: 2.0")
    commit({"models/line.yaml": changed, "data/2030.csv": "x,y\n1,2\n2,4\n"}, "more data, another model")
    found = {each.step: each.reason for each in look(spec).steps if each.action == "wait"}
    said = "its input is computed first; the spec changed: model.params.alpha: 1.0 → 2.0 since line@v1.0.0"
    waiting = "its input is computed first"
    assert found == {"transform": waiting, "normalize": waiting, "train": said, "evaluate": said}


def test_a_clone_that_never_ran_anything_compares_with_what_is_live(spec: Path, project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(project, "clone", "-q", str(project), str(clone))
    found = look(clone / "models/line.yaml")
    assert set(reasons(found).values()) == {
        "its artifact is missing from the store, or its code changed since line@v1.0.0"
    }
    shallow = tmp_path / "shallow"
    git(project, "commit", "-q", "--allow-empty", "-m", "later")
    git(project, "clone", "-q", "--depth", "1", "--no-tags", f"file://{project}", str(shallow))
    (note,) = look(shallow / "models/line.yaml").notes
    assert note == "no live release is known here; this clone is shallow: 'git fetch --unshallow' gets the rest"


def test_settings_of_the_deployment_are_compared_with_those_it_has(spec: Path, commit: Commit) -> None:
    assert not look(spec).changes_something
    commit({"models/line.yaml": SPEC.replace("port: 0", "port: 0, workers: 2") + "monitoring: {metrics: [rmse]}\n"})
    found = look(spec)
    assert [str(each) for each in found.changes] == ["deploy.workers: 1 → 2", 'monitoring.metrics: [] → ["rmse"]']
    assert found.changes_something
    run_job(spec)
    assert not look(spec).changes, "they are applied, though evaluated anew only"


def test_what_would_happen_to_the_deployment_is_said(spec: Path, project: Path, commit: Commit) -> None:
    stays = look(spec)
    assert (stays.outcome, stays.say) == ("stays", "line@v1.0.0 in local stays")
    commit({"data/2.csv": part(4)})
    assert look(spec).say == (
        "a new release (patch: only the data changed) would replace line@v1.0.0 in local, if it passes its gate"
    )
    (project / "data/2.csv").write_text(part(6))
    assert look(spec).say.endswith("if it passes its gate, once data/2.csv is committed")
    git(project, "checkout", "-q", "data/2.csv")
    run_job(spec)
    rollback("line", None, None, why="no")
    held = look(spec)
    assert held.outcome == "refused"
    assert held.say.startswith("line@v1.0.1 is held, since local was rolled back from it")
    promote("line", "v1.0.1", "local", why="yes")
    commit({"environments/prod.yaml": "evaluate: {gate: {rmse: {at_most: 1000}}}\n"})
    first = look(spec, environment="prod")
    assert first.live is None
    assert first.outcome == "candidate", "evaluated by the gate of prod"


def test_a_branch_that_is_broken_is_told_with_its_commit(spec: Path, project: Path, commit: Commit) -> None:
    git(project, "checkout", "-q", "-b", "broken")
    tip = commit({"models/line.yaml": SPEC.replace("trainer", "trainr")})
    git(project, "checkout", "-q", "main")
    with pytest.raises(SpecError, match=rf"broken:models/line\.yaml:2|{tip[:10]}:models/line\.yaml:2"):
        look(spec, "broken")
    with pytest.raises(InputError, match="found no commit 'nosuch'; expected a branch, tag or commit id"):
        look(spec, "nosuch")
    with pytest.raises(InputError, match=r"found no models/other\.yaml in commit"):
        look(spec.with_name("other.yaml"), "main")


def test_the_command_tells_a_change_from_an_error_by_its_exit_code(spec: Path, project: Path, commit: Commit) -> None:
    def code(*arguments: str, folder: Path = project) -> int:
        done = modelrail(list(arguments), folder)
        assert "Traceback" not in done.stderr
        return done.returncode

    assert code("plan", "--detailed-exitcode") == 0
    git(project, "checkout", "-q", "-b", "change")
    commit({"data/3.csv": part(5), "models/new.yaml": SPEC.replace("name: line", "name: new")})
    git(project, "checkout", "-q", "main")
    assert code("plan", "--detailed-exitcode") == 0
    assert code("plan", "--commit", "change", "--detailed-exitcode") == 2
    assert code("plan", "new", "--commit", "change", "--detailed-exitcode") == 2
    wrong = (["--nosuch"], ["a", "b"], ["--commit"], ["--commit", "nosuch"], ["--as-of", "soon"], ["-e", "nosuch"])
    for options in wrong:
        assert code("plan", "--detailed-exitcode", *options) == 1, options
        assert code("plan", *options) == 2, options
    assert code("pln", "--detailed-exitcode") == 1
    assert code("plan", "--detailed-exitcode", folder=project.parent) == 1
    assert code("plan", "--detailed-exitcode", "--help") == 0


def test_a_trainer_that_cannot_hold_the_rows_is_told_before_they_are_computed(spec: Path, commit: Commit) -> None:
    pod = "run: {train: {where: pod, memory: %s}, image: registry.example/p:1, trainer: t}\n"
    files = {"data/3.csv": part(4)}
    commit({"models/line.yaml": SPEC.replace("ridge", "k_neighbors").replace("alpha: 1.0", "n_neighbors: 2"), **files})
    assert look(spec).notes == ()  # this machine has room for a few numbers
    text = spec.read_text()
    for memory, told in (("1Ki", True), ("1Mi", False)):
        spec.write_text(text + pod % memory)
        assert bool(look(spec).notes) is told
    spec.write_text(text + pod % "1Ki")
    (note,) = look(spec).notes
    needed, room = note.split(" is what ")
    assert re.fullmatch(
        r"train: k_neighbors would hold 0\.0\d+ MB of memory at least, for \d+ rows with 1 feature "
        r"\(as in line@v1\.0\.0\), and 0\.00102 MB",
        needed,
    )
    assert room == "its pod has (run.train.memory): it would end with an error"


def test_a_plan_is_told_as_text_markdown_and_json(spec: Path, project: Path, commit: Commit) -> None:
    commit({"data/2.csv": part(4), "models/line.yaml": SPEC.replace("port: 0", "port: 0, workers: 2")})
    said = modelrail(["plan", "line"], project).stdout
    assert "deployment: a new release (patch: only the data changed) would replace line@v1.0.0 in local" in said
    assert "  deploy.workers: 1 → 2" in said
    table = modelrail(["plan", "line", "--markdown"], project).stdout
    assert "| run | clean | 2 | the data changed since line@v1.0.0 |" in table
    assert "| setting | now | then |\n| --- | --- | --- |\n| deploy.workers | 1 | 2 |" in table
    told = json.loads(modelrail(["plan", "line", "--json"], project).stdout)
    assert told["deployment"]["live"] == "line@v1.0.0"
    assert told["deployment"]["changes"] == [{"path": "deploy.workers", "before": 1, "after": 2}]
    assert told["estimate"]["unknown"] == 0
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True).stdout == b""


def test_a_new_partition_is_expected_to_take_what_the_others_took(spec: Path, project: Path, commit: Commit) -> None:
    commit({"data/3.csv": part(5), "data/4.csv": part(6)})
    told = json.loads(modelrail(["plan", "line", "--json"], project).stdout)
    took = {
        (each["step"], each["partition"]): each["estimate_s"] for each in told["steps"] if each["action"] != "reuse"
    }
    history = json.loads((project / ".modelrail/history/line.json").read_text())["steps"]
    known = [history[f"clean/{number}"]["took"]["seconds"] for number in (1, 2)]
    assert took["clean", "3"] == took["clean", "4"]
    assert min(known) <= took["clean", "3"] <= max(known)
    assert told["estimate"]["unknown"] == 0
    assert told["estimate"]["seconds"] == pytest.approx(sum(took.values()))


def test_the_workflow_of_the_documents_shows_the_plan_and_passes_on_what_changes(
    spec: Path, project: Path, commit: Commit, tmp_path: Path
) -> None:
    text = (CHECKOUT / "docs/pull-requests.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    workflow = YAML(typ="safe").load(blocks[0])
    scripts = [each["run"] for each in workflow["jobs"]["plan"]["steps"] if "run" in each]
    assert len(scripts) == 2
    commit({"environments/prod.yaml": "deploy: {workers: 2}\n", "data/2.csv": part(9)})

    def follow() -> tuple[int, str, str]:
        files = {name: tmp_path / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        for each in files.values():
            each.write_text("")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {name: str(file) for name, file in files.items()} | {"PATH": path}
        codes = [
            subprocess.run(["bash", "-e", "-c", script], cwd=project, env=environment, check=False).returncode
            for script in scripts
        ]
        return max(codes), files["GITHUB_STEP_SUMMARY"].read_text(), files["GITHUB_OUTPUT"].read_text()

    code, summary, output = follow()
    assert (code, output) == (0, "changes=2\n")
    assert "### line" in summary
    assert "would be live in prod" in summary
    commit({"environments/prod.yaml": "deploy: {wrkers: 2}\n"})
    assert follow()[0] != 0


def test_a_plan_beside_what_is_live_imports_nothing_heavy(spec: Path) -> None:
    code = (
        "import sys; from pipeline.operations.review import review; from pipeline.runs.request import RunRequest\n"
        "review(RunRequest(sys.argv[1]), None)\n"
        "print([name for name in ('pandas', 'numpy', 'pyarrow', 'mlflow', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, spec], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
