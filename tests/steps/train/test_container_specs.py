"""A command that trains, as a spec names it: its files are a part of the spec, and its model is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.errors import InputError, SpecError
from pipeline.runs.at_commit import open_job_at
from pipeline.runs.committed_specs import load_spec_at
from pipeline.runs.job import open_job
from pipeline.runs.plan.recipes import methods_of
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.runs.work.companion_files import read_companion_file
from pipeline.serving.client import predict
from pipeline.spec.loading.loading import load_spec
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit
from tests.test_documents import CONTAINERS, lay_out_containers, read_blocks

(SPEC, *_) = [block.text for block in read_blocks(CONTAINERS) if block.kind == "yaml"]
SAVED = "model:\n  name: old\n  trainer: mxnet\n  params: {symbol: net-symbol.json, weights: net-0000.params}\n"


@pytest.fixture
def spec(project: Path, commit: Commit) -> Path:
    (project / "models").mkdir()
    lay_out_containers(project / "models")
    commit({"models/own.yaml": SPEC + "deploy: {port: 0}\n", "models/old.yaml": SAVED, ".gitignore": ".modelrail/\n"})
    return project / "models/own.yaml"


@pytest.mark.extra("isolation")
def test_the_command_of_the_page_is_trained_released_and_served(
    spec: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    try:
        outcome, results = run(RunRequest(str(spec)), report=lambda _: None)
        assert outcome == "released"
        address = next(each.facts.address for each in results if each.step == "deploy")
        assert abs(predict(address, {"x": 0.5}).outputs[0] - 2) < 0.15
    finally:
        stop_all(project / ".modelrail")


def key(spec: Path) -> str:
    return methods_of(load_spec(spec).spec)["train"].digest


@pytest.mark.parametrize(
    ("name", "file"),
    [("own", "train.py"), ("own", "requirements.txt"), ("old", "net-symbol.json"), ("old", "net-0000.params")],
)
def test_another_content_of_a_file_is_another_model_and_is_not_released_uncommitted(
    spec: Path, name: str, file: str
) -> None:
    spec = spec.with_name(f"{name}.yaml")
    before = key(spec)
    assert key(spec) == before
    assert open_job(RunRequest(str(spec))).uncommitted == ()
    path = spec.with_name(file)
    path.write_bytes(path.read_bytes() + b"\n")
    assert key(spec) != before
    assert open_job(RunRequest(str(spec))).uncommitted == (f"models/{file}",)


def test_the_program_that_modelrail_ships_is_part_of_the_key(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(spec.with_name("old.yaml"))
    monkeypatch.setattr("pipeline.runs.plan.settings.shipped_digests", lambda _: {"train.py": "another"})
    assert key(spec.with_name("old.yaml")) != before


def test_the_spec_of_a_commit_has_the_files_of_that_commit(spec: Path, project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    first = repository.commit().id
    text = (project / "models/train.py").read_bytes()
    commit({"models/train.py": b"print()"})
    for revision, content in ((first, text), ("HEAD", b"print()")):
        (file,) = load_spec_at(repository, revision, "models/own.yaml", None).model.params["files"]
        job = open_job_at(RunRequest(str(spec)), revision)
        assert read_companion_file(job, file["file"], file["sha256"]) == content


def test_a_file_that_changes_after_the_spec_was_read_is_not_used(spec: Path) -> None:
    job = open_job(RunRequest(str(spec)))
    with pytest.raises(InputError, match=r"models/train\.py: found another content than when the spec was read"):
        read_companion_file(job, "train.py", "0" * 64)


BROKEN: list[tuple[str, str, str]] = [
    ("files: [train.py]", "files: [train.py, more.py]", r"files\.1: found 'more\.py', which cannot be read beside"),
    ("files: [train.py]", "files: [../train.py]", r"files: found .*expected a list of paths of files in the spec's"),
    ("files: [train.py]", "files: [train.py, job.json]", r"files\.1: found 'job\.json', which the command is given"),
    ("command: [python, train.py]", "command: []", "command: found .*expected a list of words"),
    ("command: [python, train.py]", "command: train.py", "command: found .*expected a list of words"),
    (
        "requirements: requirements.txt",
        "requirements: loose.txt",
        r"requirements: found 'loose\.txt' with the line 'numpy>=1'; expected each line pinned",
    ),
    ("arguments: {ridge: 0.1}", "python: 3.11", r"python: found 3\.11; expected a version of Python in quotes"),
    ("arguments: {ridge: 0.1}", "timeout_s: 0", "timeout_s: found 0; expected an integer ≥ 1"),
    (
        "requirements: requirements.txt",
        f"image: r.example/own@sha256:{'1' * 64}",
        r"image: found an image for a step that runs in a process; expected a pod for it \(run\.train: pod\)",
    ),
    ("arguments: {ridge: 0.1}", "image: r.example/own:1", "image: found .*expected an image by its digest"),
    (
        "arguments: {ridge: 0.1}",
        f"image: r.example/own@sha256:{'1' * 64}",
        "requirements: found it with an image, which has its own; expected one of both",
    ),
    ("trainer: container", "trainer: mxnet", "command: found a parameter that mxnet does not have"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_what_is_wrong_is_said_at_its_place(spec: Path, old: str, new: str, message: str) -> None:
    spec.with_name("loose.txt").write_text("numpy>=1\n")
    assert old in SPEC
    spec.write_text(SPEC.replace(old, new))
    with pytest.raises(SpecError, match=rf"own\.yaml:\d+:\d+: model\.params\.{message}"):
        load_spec(spec)


def test_an_image_is_part_of_the_key_and_does_not_share_its_pod(spec: Path) -> None:
    digest = "1" * 64
    run = "run: {train: pod, image: r.example/pipeline:1}\n"
    text = SPEC.replace("requirements: requirements.txt", f"image: r.example/own@sha256:{digest}") + run
    spec.with_name("requirements.txt").unlink()  # an image needs none
    spec.write_text(text)
    before = key(spec)
    spec.write_text(text.replace(digest, "2" * 64))
    assert key(spec) != before
    spec.write_text(text.replace("train: pod,", "default: pod, fuse: [normalize, train],"))
    with pytest.raises(SpecError, match=r"model\.params\.image: found an image for a step that shares its pod"):
        load_spec(spec)


def test_a_saved_model_is_named_as_a_whole_and_not_searched(spec: Path) -> None:
    old = spec.with_name("old.yaml")
    old.write_text(SAVED.replace(", weights: net-0000.params", ", shape: [1, 1, 1]"))
    with pytest.raises(SpecError, match=r"model\.params\.symbol: found it without weights; expected both or none"):
        load_spec(old)
    old.write_text(SAVED + "  search: {trials: 2, space: {epochs: [1, 2], symbol: [a, b]}}\n")
    with pytest.raises(SpecError, match="a search with symbol and weights, where nothing is trained") as caught:
        load_spec(old)
    assert "symbol: found a file, which no search can draw; expected it in model.params" in str(caught.value)
