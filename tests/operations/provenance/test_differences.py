"""Differences between releases that real runs have made, and between environments."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ModelrailError
from pipeline.operations.provenance.metrics import compare_metric
from pipeline.steps.evaluate.results import Estimate

from .conftest import Story, as_person


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["diff", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_release_on_more_data_differs_in_partitions_metrics_and_importances(at_project: Story) -> None:
    found = told("line@v1.0.0", "line@v1.0.1")
    assert (found["before"]["tag"], found["after"]["tag"]) == ("line@v1.0.0", "line@v1.0.1")
    assert found["spec"] == []
    assert [(each["key"], each["kind"], each["rows_after"]) for each in found["data"]["partitions"]] == [
        ("2024-02", "added", 400)
    ]
    assert found["data"]["unchanged"] == 1
    rmse, r2 = found["metrics"]
    assert (rmse["metric"], r2["metric"]) == ("rmse", "r2")
    assert rmse["difference"] == pytest.approx(rmse["after"]["value"] - rmse["before"]["value"])
    assert rmse["before"]["low"] < rmse["before"]["value"] < rmse["before"]["high"]
    assert {each["column"] for each in found["importances"]} == {"x", "z"}
    assert found["importance_metric"] == "rmse"
    changed = {each["step"]: each["before"] != each["after"] for each in found["artifacts"]}
    assert changed == {"normalize": True, "train": True, "evaluate": True}
    assert found["artifacts"][0]["why"] == ["transform/2024-02"]
    assert not found["breaks_callers"]


def test_a_release_of_another_spec_differs_by_key(at_project: Story) -> None:
    found = told("line@1.0.1", "line@1.1.0")
    assert [each["path"] for each in found["spec"]] == ["normalize.z"]
    assert found["data"]["partitions"] == []
    said = call("line@v1.0.1", "line@v1.1.0").stdout
    assert re.search(r"normalize\.z +none +min_max", said)
    assert "the same commit" in said


def test_without_versions_the_newest_is_compared_with_the_one_before(at_project: Story) -> None:
    found = told("line")
    assert (found["before"]["version"], found["after"]["version"]) == ("1.0.1", "1.1.0")
    assert told("line@v1.0.0")["after"]["version"] == "1.1.0"


def test_a_difference_is_written_as_markdown(at_project: Story) -> None:
    said = call("line@v1.0.0", "line@v1.1.0", "--markdown").stdout
    assert said.startswith("### line@v1.0.0 → line@v1.1.0\n")
    assert "| partition |  | rows before | rows after | difference |\n|---|---|---:|---:|---:|\n" in said
    assert "| 2024-02 | added | – | 400 | +400 |" in said
    assert r"\<ann@example.org\>" not in said.partition("**Data**")[2]


def test_what_the_store_has_lost_is_noted_and_the_rest_is_told(at_project: Story, monkeypatch: Any) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", str(at_project.folder / "empty"))
    found = told("line@v1.0.0", "line@v1.0.1")
    assert found["importances"] == []
    assert "the importances of line@v1.0.0 are not in this store" in " ".join(found["notes"])
    assert found["metrics"][0]["difference"]


def test_data_that_are_gone_are_noted_and_the_rest_is_told(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    clone = tmp_path / "elsewhere"
    subprocess.run(["git", "clone", "-q", str(at_project.project), str(clone)], check=True)
    monkeypatch.chdir(clone)
    found = told("line@v1.0.0", "line@v1.0.1")
    assert found["data"] is None
    assert re.search(r"the data could not be compared: .*found no such folder", " ".join(found["notes"]))
    assert [each["metric"] for each in found["metrics"]] == ["rmse", "r2"]


def test_a_shallow_clone_says_how_to_get_the_rest(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    shallow = tmp_path / "project"
    source = at_project.project.as_uri()
    subprocess.run(["git", "clone", "-q", "--depth", "1", "--no-tags", source, str(shallow)], check=True)
    shutil.copytree(at_project.data, tmp_path / "data")
    as_person(shallow, "Ann <ann@example.org>", "fetch", "-q", "--depth", "1", "origin", "tag", "line@v1.1.0")
    as_person(shallow, "Ann <ann@example.org>", "fetch", "-q", "--depth", "1", "origin", "tag", "line@v1.0.1")
    monkeypatch.chdir(shallow)
    found = told("line@v1.0.1", "line@v1.1.0")
    assert "this clone is shallow: 'git fetch --unshallow' gets the rest" in " ".join(found["notes"])


def test_environments_differ_by_key_and_by_what_is_live(at_project: Story) -> None:
    found = told("line", "--environment", "local", "prod")
    assert [(each["path"], each["before"], each["after"]) for each in found["changes"]] == [
        ("evaluate.gate.rmse.at_most", 5.0, 4.0)
    ]
    live = {name: place and (place["release"], place["state"]) for name, place in found["live"].items()}
    assert live == {"local": ("line@v1.1.0", "live"), "prod": ("line@v1.0.0", "live")}
    said = call("--environment", "dev", "prod").stdout
    assert said.startswith("line: dev → prod")
    assert re.search(r"deploy\.workers +2 +1", said)
    assert re.search(r"dev +nothing yet", said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lime",), "found no release of 'lime'.*did you mean 'line'"),
        (
            ("line@v1.0.0", "line@v9.0.0"),
            r"found no release line@v9\.0\.0; expected one of v1\.1\.0, v1\.0\.1, v1\.0\.0",
        ),
        (("line", "line@newest"), "found the version 'newest'; expected one such as v1.2.3"),
        ((), "diff: found no model; expected one"),
        (("--environment", "dev", "prud"), "found 'prud'; expected one of 'dev', 'prod'; did you mean 'prod'"),
        (("line@v1.0.0", "--environment", "dev", "prod"), "found 'line@v1.0.0' beside --environment"),
        (("lime", "--environment", "dev", "prod"), "found no model 'lime'"),
    ],
)
def test_what_is_not_there_is_told(at_project: Story, arguments: tuple[str, ...], message: str) -> None:
    done = call(*arguments)
    said = done.output + (str(done.exception) if isinstance(done.exception, ModelrailError) else "")
    assert done.exit_code
    assert re.search(message, said)


def test_one_broken_spec_does_not_hide_the_environments_of_the_others(at_project: Story) -> None:
    broken = at_project.project / "models" / "other.yaml"
    broken.write_text("model: {name: other, trainer: magic}\n")
    try:
        done = call("--environment", "dev", "prod")
    finally:
        broken.unlink()
    assert done.exit_code == 2
    assert "line: dev → prod" in done.output
    assert "other.yaml" in done.output


@pytest.mark.parametrize(
    ("name", "before", "after", "better", "clear"),
    [
        ("rmse", Estimate(1.0, 0.9, 1.1), Estimate(0.5, 0.4, 0.6), True, True),
        ("rmse", Estimate(1.0, 0.9, 1.1), Estimate(1.05, 0.9, 1.2), False, False),
        ("r2", Estimate(0.5), Estimate(0.6), True, False),
        ("r2", Estimate(0.5), Estimate(0.50001), None, False),
        ("r2", Estimate(None), Estimate(0.5), None, False),
        ("r2", None, Estimate(0.5), None, False),
        ("unknown", Estimate(1.0), Estimate(2.0), None, False),
    ],
)
def test_a_metric_is_better_in_its_own_direction(
    name: str, before: Estimate | None, after: Estimate | None, *, better: bool | None, clear: bool
) -> None:
    found = compare_metric(name, before, after)
    assert (found.better, found.clear) == (better, clear)
