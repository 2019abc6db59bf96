"""Traces of everything that a release is made of, and of what came of it, in a story of real runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import live
from pipeline.delivery.releases import Release, find_release
from pipeline.delivery.stages import assign
from pipeline.errors import InputError
from pipeline.operations.provenance.code import commit_of
from pipeline.operations.provenance.sources import Sources, open_sources
from pipeline.operations.provenance.tracing import trace
from pipeline.runs.tracking.runs import open_client
from pipeline.serving.client import predict
from pipeline.storage.artifacts import open_store
from pipeline.storage.git.repository import open_repository

from .conftest import ANN, Story, as_person

Json = dict[str, Any]
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.fixture
def sources(at_project: Story) -> Sources:
    return open_sources(at_project.project)


@pytest.fixture
def newest(sources: Sources) -> Release:
    return sources.releases["line"][-1]


def call(name: str) -> Json:
    done = CliRunner().invoke(app, ["trace", name, "--json"])
    assert done.exit_code == 0, done.output + str(done.exception)
    found: Json = json.loads(done.stdout)
    return found


def nodes(found: Any, kind: str) -> Iterator[Json]:
    for each in found if isinstance(found, list) else [found]:
        if each["kind"] == kind:
            yield each
        yield from nodes(each["nodes"], kind)


def tags(found: Json) -> list[str]:
    return [each["name"] for each in found["chains"]] + found["others"]


def marked(found: Json) -> list[str]:
    def walk(node: Json) -> Iterator[str]:
        if node["here"]:
            yield node["name"]
        for each in node["nodes"]:
            yield from walk(each)

    return [name for chain in found["chains"] for name in walk(chain)]


def test_a_release_has_its_whole_chain(at_project: Story) -> None:
    found = call("line@v1.0.1")
    (chain,) = found["chains"]
    (data,) = nodes(chain, "data")
    assert (data["name"], data["facts"]["subject"]) == (at_project.commits["February"], "February")
    assert [(each["name"], each["facts"]["partitions"]) for each in nodes(chain, "partitions")] == [
        ("1 new since line@v1.0.0", ["2024-02"]),
        ("1 as in line@v1.0.0", ["2024-01"]),
    ]
    (spec,) = nodes(chain, "spec")
    assert (spec["name"], spec["facts"]["path"]) == (at_project.commits["A line"], "models/line.yaml")
    steps = {each["name"]: each["nodes"] for each in nodes(chain, "step")}
    assert {name: len(made) for name, made in steps.items()} == {
        "clean": 2, "transform": 2, "normalize": 1, "train": 1, "evaluate": 1}  # fmt: skip
    assert [each["facts"]["partition"] for each in steps["clean"]] == ["2024-01", "2024-02"]
    assert [each["name"] for each in nodes(chain, "stage")] == ["line#local#2"]
    (stage,) = nodes(chain, "stage")
    assert (stage["facts"]["next"], stage["facts"]["action"]) == ("line#local#3", "deploy")
    assert len(list(nodes(chain, "run"))) == 1


def test_a_release_that_is_live_says_where_since_when_and_by_whom(at_project: Story) -> None:
    (first,) = call("v1.0.0")["chains"]
    stages = {each["name"]: each["facts"] for each in nodes(first, "stage")}
    assert {name: (each["action"], each["next"]) for name, each in stages.items()} == {
        "line#local#1": ("deploy", "line#local#2"),
        "line#prod#1": ("deploy", "line#prod#2"),
        "line#prod#3": ("rollback", None),
    }
    assert stages["line#prod#3"]["why"] == "not better"
    assert [each["name"] for each in nodes(first, "deployment")] == ["prod"]
    (newest,) = call("line")["chains"]
    assert newest["name"] == "line@v1.1.0"
    assert [each["name"] for each in nodes(newest, "deployment")] == ["local"]
    (predictions,) = nodes(newest, "predictions")
    assert predictions["facts"]["requests"] >= 1, "the run has verified it"


@pytest.mark.parametrize(
    ("commit", "found"),
    [
        ("January", ["line@v1.0.0"]),
        ("February", ["line@v1.1.0", "line@v1.0.1"]),
        ("A line", ["line@v1.0.1", "line@v1.0.0"]),
        ("Scale z", ["line@v1.1.0"]),
    ],
)
def test_a_commit_leads_to_its_releases(at_project: Story, commit: str, found: list[str]) -> None:
    whole = at_project.commits[commit]
    told = call(whole[:10])
    assert tags(told) == found
    assert set(marked(told)) == {whole}


def test_a_commit_that_no_release_names_leads_to_what_followed_it(at_project: Story) -> None:
    told = call(at_project.commits["Notes"])
    assert tags(told) == ["line@v1.0.1", "line@v1.1.0"]
    assert "2 made from what followed it, first line@v1.0.1" in told["found"]["said"]


def test_a_branch_stands_for_its_newest_commit(at_project: Story) -> None:
    assert call("HEAD")["found"]["name"] == at_project.commits["Scale z"]
    assert tags(call("main~1")) == ["line@v1.0.1", "line@v1.0.0"]


def test_the_code_leads_to_what_it_has_made(sources: Sources, newest: Release) -> None:
    commit = commit_of(newest.evidence.code)
    assert commit is not None
    found = trace(commit, sources)
    assert [each.name for each in found.chains] == ["line@v1.0.0", "line@v1.0.1", "line@v1.1.0"]
    assert found.subject.said.startswith("a commit of the code")
    assert all(node.here for chain in found.chains for node in chain.find("code"))


def test_an_artifact_leads_to_every_release_that_it_went_into(sources: Sources) -> None:
    first = sources.releases["line"][0]
    features = sources.catalogue.features(first)["2024-01"]
    rows = sources.catalogue.rows(first, features, "2024-01")
    assert features is not None
    assert rows is not None
    for key in (rows.key, features.key[:12]):
        found = trace(key, sources)
        assert [each.name for each in found.chains] == ["line@v1.1.0", "line@v1.0.1", "line@v1.0.0"]
    trained = trace(first.evidence.artifacts["train"], sources)
    assert [each.name for each in trained.chains] == ["line@v1.0.0"]


def test_a_run_and_its_steps_lead_to_the_release(sources: Sources, newest: Release) -> None:
    run = newest.evidence.mlflow_run
    assert run is not None
    assert [each.name for each in trace(run, sources).chains] == ["line@v1.1.0"]
    client = open_client(f"sqlite:///{sources.state / 'mlflow.db'}")
    experiment = client.get_run(run).info.experiment_id
    (train, *_) = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run}' and run_name = 'train'")
    found = trace(train.info.run_id, sources)
    assert found.subject.said == f"the step train of the run {run}"
    assert [each.name for each in found.chains] == ["line@v1.1.0"]


def test_a_prediction_leads_to_its_release_and_its_line_in_the_log(at_project: Story) -> None:
    deployment = live("line", at_project.project / ".modelrail")
    assert deployment is not None
    answer = predict(deployment.address, {"x": 1.0, "z": 2.0})
    assert answer.id is not None
    found = call(answer.id)
    assert tags(found) == ["line@v1.1.0"]
    assert found["found"]["node"]["facts"]["logged"]["http.request.id"] == answer.id
    assert marked(found) == [answer.id]
    unknown = call(f"line@v1.0.0:{'0' * 32}")
    assert "no log or captured sample of this machine has it" in unknown["found"]["said"]
    assert tags(unknown) == ["line@v1.0.0"]


def test_a_captured_prediction_is_shown(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    wanted = f"line@v1.0.0:{'a' * 32}"
    folder = tmp_path / "captures/line/1.0.0/2024-05-01"
    folder.mkdir(parents=True)
    line = {"id": wanted, "row": 0, "time": 1.0, "record": {"x": 1.0}, "output": 3.0}
    (folder / "1.jsonl").write_text(json.dumps(line) + "\n")
    monkeypatch.setenv("MODELRAIL_SERVE_CAPTURE_TO", str(tmp_path))
    assert call(wanted)["found"]["node"]["facts"]["captured"] == [line]


def test_a_stage_leads_to_its_release(at_project: Story) -> None:
    found = call("line#prod#2")
    assert tags(found) == ["line@v1.1.0"]
    assert marked(found) == ["line#prod#2"]


def test_people_see_a_tree_with_what_they_asked_for_marked(at_project: Story) -> None:
    said = CliRunner().invoke(app, ["trace", at_project.commits["January"]]).stdout
    assert re.search(r"^│  ├─ data \w{12} of \.\./data, .*January, by Bob.* ◀ here$", said, re.MULTILINE)
    assert re.search(r"^├─ made from$", said, re.MULTILINE)
    assert re.search(r"^   ├─ stage line#prod#1 deployed ", said, re.MULTILINE)


def test_what_the_store_has_lost_is_said(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "empty"))
    (chain,) = call("line@v1.0.1")["chains"]
    assert [each["said"] for each in nodes(chain, "partitions")] == ["what changed is not in this store"]
    assert {each["nodes"][0]["said"] for each in nodes(chain, "step") if each["nodes"]} == {"not in this store"}
    assert len(list(nodes(chain, "stage"))) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("lime@v1.0.0", r"found nothing that 'lime@v1\.0\.0' stands for in .*did you mean 'line@v1\.0\.0'"),
        ("line#prud#3", r"did you mean 'line#prod#3'"),
        ("0123456789abcdef", "expected a release, a stage, a commit, an MLflow run, an artifact's key or a prediction"),
        (f"line@v7.0.0:{'0' * 32}", r"found no release line@v7\.0\.0 .*it was deleted, or is not fetched yet"),
        ("HEAD~99", "found nothing that 'HEAD~99' stands for"),
        ("", "found nothing that '' stands for"),
    ],
)
def test_what_stands_for_nothing_is_told(sources: Sources, asked: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(asked, sources)


def test_digits_that_stand_for_several_things_are_refused(sources: Sources, tmp_path: Path, monkeypatch: Any) -> None:
    made = (each.manifest for each in sources.catalogue.artifacts.values())
    real = next(each for each in made if each["step"] == "train")
    facts = {name: value for name, value in real.items() if name not in ("key", "digest", "files")}
    store = open_store(str(tmp_path / "store"), tmp_path)
    for last in "12":
        with store.draft() as folder:
            (folder / "a.txt").write_text(last)
            store.publish("abcd" * 15 + f"000{last}", folder, facts)
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "store"))
    with pytest.raises(InputError, match=r"found several things that begin with 'abcd': .*; expected more digits"):
        trace("abcd", open_sources(sources.repository.root))


def test_a_clone_without_state_or_remote_still_traces(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(at_project.project), str(clone)], check=True)
    as_person(clone, ANN, "remote", "remove", "origin")
    monkeypatch.chdir(clone)
    found = call("line@v1.1.0")
    (data,) = nodes(found["chains"], "data")
    assert data["facts"]["subject"] is None, "its repository is not here"
    assert data["name"] == at_project.commits["February"]
    assert tags(call(at_project.commits["February"][:8])) == ["line@v1.1.0", "line@v1.0.1"]


def test_a_foreign_tag_of_another_model_does_not_stop_a_trace(at_project: Story) -> None:
    as_person(at_project.project, ANN, "tag", "-a", "-m", "by hand", "other@v1.0.0")
    try:
        assert tags(call("v1.0.0")) == ["line@v1.0.0"]
    finally:
        as_person(at_project.project, ANN, "tag", "-d", "other@v1.0.0")


def test_a_cluster_that_does_not_answer_stops_no_trace(at_project: Story, tmp_path: Path, monkeypatch: Any) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(at_project.project), str(clone)], check=True)
    overlay = "environment: {platform: kubernetes}\ndeploy: {image: {registry: 127.0.0.1:9/models}}\n"
    (clone / "environments/cluster.yaml").write_text(overlay)
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(clone)
    repository = open_repository(clone)
    released = find_release(repository, "line@v1.0.1")
    assign(repository, released, "cluster", action="promote", why="there", push=False, who=ANN)
    place = next(each for each in open_sources(clone).places("line") if each.environment == "cluster")
    assert (place.state, place.version) == ("unknown", "v1.0.1")
    stages = [each["name"] for each in nodes(call("line@v1.0.1")["chains"], "stage")]
    assert stages == ["line#cluster#1", "line#local#2"]


def test_a_repository_without_releases_has_nothing_to_trace(project: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["trace", "line@v1.0.0"])
    assert isinstance(done.exception, InputError)
