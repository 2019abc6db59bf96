from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline.errors import InputError, TrainingError, TransientError
from pipeline.home import CHECKOUT
from pipeline.model.graphs import run
from pipeline.spec.requirement_files import find_unpinned
from pipeline.spec.schema.spec import Model
from pipeline.spec.shipped_programs import SHIPPED, shipped_files
from pipeline.steps.train.isolation.environments import make_environment
from pipeline.steps.train.results import Matrix, Support, Trained
from pipeline.steps.train.training import train

pytestmark = pytest.mark.extra("isolation")
FOLDER = CHECKOUT / "tests" / "isolated"
FILES = {name: (FOLDER / name).read_bytes() for name in ("train.py", "requirements.txt")}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder for environments, which are made once for all tests of the module."""
    folder = tmp_path_factory.mktemp("state")
    yield folder
    shutil.rmtree(folder)


def pinned(name: str) -> dict[str, str]:
    return {"file": name, "sha256": hashlib.sha256(FILES[name]).hexdigest()}


@pytest.fixture
def teach(matrix: Callable[..., Matrix], state: Path) -> Callable[..., Trained]:
    def teach(
        kind: str = "values",
        told: list[Any] | None = None,
        timeout_s: int = 300,
        class_weight: Any = None,
        *,
        missing: bool = False,
        **arguments: Any,
    ) -> Trained:
        params = {
            "files": [pinned("train.py")],
            "requirements": pinned("requirements.txt"),
            "arguments": arguments,
            "timeout_s": timeout_s,
        }
        tell = (told if told is not None else []).extend
        support = Support(read=lambda name, _: FILES[name], state=state, tell=tell)
        task = "regression" if kind == "values" else "classification"
        settings = Model(name="m", trainer="container", params=params, class_weight=class_weight)
        return train(matrix(kind, missing=missing), settings, task, flag=kind == "flag", support=support)

    return teach


@pytest.mark.parametrize("kind", ["values", "flag", "texts"])
def test_what_a_command_leaves_becomes_a_graph_like_that_of_every_trainer(teach, matrix, kind) -> None:
    trained = teach(kind)
    assert trained.estimator_graph is not None
    onnx.checker.check_model(trained.estimator_graph, full_check=True)
    assert trained.parity.holds
    rows = matrix(kind)
    found = run(trained.estimator_graph, {"matrix": rows.validation})
    if kind == "values":
        assert np.allclose(found["prediction"], line_through(rows, rows.train_target[:, None])[:, 0], atol=1e-4)
        return
    names = [trained.classes.index(each if kind == "texts" else bool(each)) for each in rows.train_target]
    scores = np.exp(line_through(rows, np.eye(len(trained.classes))[names] * 4))
    assert np.allclose(found["probabilities"], scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
    assert (found["label"] == scores.argmax(axis=1)).all()


def line_through(rows: Matrix, goals: Any) -> Any:
    """Return what least squares predict for the validation rows."""
    design = np.concatenate([rows.train, np.ones((len(rows.train), 1))], axis=1)
    weights = np.linalg.lstsq(design, goals, rcond=None)[0]
    return rows.validation @ weights[:-1] + weights[-1]


@pytest.mark.parametrize("trainer", ["container", "mxnet"])
def test_classes_that_weigh_more_are_predicted_more_often(teach, matrix, state, tmp_path, trainer) -> None:
    counts = []
    for weight in ({"true": 0.02}, {"true": 50.0}):
        if trainer == "container":
            trained = teach("flag", class_weight=weight)
        else:
            trained = teach_mxnet(matrix("flag"), "classification", state, tmp_path, class_weight=weight, epochs=3)
        counts.append(run(trained.estimator_graph, {"matrix": matrix("flag").validation})["probabilities"][:, 1].sum())
    assert counts[0] < counts[1] - 3


def test_missing_values_that_a_spec_keeps_reach_the_command(teach) -> None:
    assert teach(missing=True).parity.holds


def test_its_libraries_are_its_own_and_its_metrics_and_losses_are_kept(teach) -> None:
    told: list[Any] = []
    trained = teach(told=told)
    assert trained.metrics == {"rows_seen": 180, "numpy": 1.26}
    assert float(np.__version__[0]) >= 2
    assert [each["loss"] for each in trained.history] == [1.0, 0.5, 1 / 3]


def test_it_sees_none_of_our_environment_variables(teach, state, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-you")
    teach(tell=True)
    logs = [each.read_text() for each in (state / "logs" / "train").glob("*.log")]
    assert any('"VIRTUAL_ENV"' in each for each in logs)
    assert not any("not-for-you" in each for each in logs)


FAILURES = [
    ("exit", "ended with exit code 1, saying: no such luck; expected it to end with 0"),
    ("kill", r"killed by signal 9 \(SIGKILL\), saying: numpy 1\.26\.4; expected"),
    ("nothing", r"found no model\.onnx; expected the command to write it"),
    ("metrics", r"found no metrics\.json; expected the command to write it"),
    ("garbage", r"found model\.onnx, which is no valid ONNX"),
    ("external", r"found model\.onnx with tensors stored in other files; expected all of them inside"),
    ("operator", r"found model\.onnx with the operators RandomUniformLike; expected those of ONNX"),
    ("shape", r"found model\.onnx to give the shape \(1, 2\) for 1 rows; expected \(1,\) or \(1, 1\)"),
]


@pytest.mark.parametrize(("fail", "message"), FAILURES)
def test_what_goes_wrong_is_said_with_the_log(teach, state, fail, message) -> None:
    with pytest.raises(TrainingError, match=rf"^train: .*{message}.*; its log: {re.escape(str(state))}") as caught:
        teach(fail=fail)
    log = Path(str(caught.value).rpartition("its log: ")[2])
    assert "numpy 1.26.4" in log.read_text()


def test_scores_instead_of_probabilities_are_refused(teach) -> None:
    with pytest.raises(TrainingError, match="to give scores; expected probabilities, whose sum is 1"):
        teach("texts", softmax=False)


def test_the_time_limit_ends_the_command_and_all_that_it_has_started(teach, state) -> None:
    with pytest.raises(TrainingError, match=r"'python train.py' still at work after 3 s; expected .*timeout_s"):
        teach(fail="sleep", timeout_s=3)
    left = subprocess.run(["pgrep", "-f", f"^{state}.*train.py"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_an_environment_is_made_once_and_whole_or_not_at_all(state) -> None:
    root = state / "environments"
    folder = make_environment(FILES["requirements.txt"], "3.11", root)
    made = folder.stat().st_ctime_ns
    assert make_environment(FILES["requirements.txt"], "3.11", root) == folder
    assert folder.stat().st_ctime_ns == made
    before = {*root.iterdir()}
    wrong = FILES["requirements.txt"].replace(b"sha256:", b"sha256:0", 1)
    with pytest.raises(InputError, match=r"uv could not make the environment.*\(model\.params\.requirements"):
        make_environment(wrong, "3.11", root)
    assert {each for each in root.iterdir() if each.is_dir()} == {each for each in before if each.is_dir()}


def test_in_the_pod_of_an_image_the_command_runs_with_what_the_image_has_and_nowhere_else(
    matrix, state, monkeypatch
) -> None:
    python = make_environment(FILES["requirements.txt"], "3.11", state / "environments") / "bin" / "python"
    image = f"registry.example/own@sha256:{'1' * 64}"
    params = {"command": [str(python), "train.py"], "files": [pinned("train.py")], "image": image}
    settings = Model(name="m", trainer="container", params=params)
    support = Support(read=lambda name, _: FILES[name], state=state)
    with pytest.raises(InputError, match=r"outside of a pod that has it; expected Airflow to run .*run\.train: pod"):
        train(matrix("values"), settings, "regression", support=support)
    monkeypatch.setenv("MODELRAIL_IMAGE", image)
    assert train(matrix("values"), settings, "regression", support=support).metrics["numpy"] == 1.26


UNPINNED = [
    ("numpy==1.26.4 --hash=sha256:" + "a" * 64, []),
    ("numpy==1.26.4 \\\n    --hash=sha256:" + "a" * 64 + "\n# a remark\n\n", []),
    ("numpy==1.26.4", ["numpy==1.26.4"]),
    ("numpy>=1 --hash=sha256:" + "a" * 64, ["numpy>=1 --hash=sha256:" + "a" * 64]),
    ("-r other.txt", ["-r other.txt"]),
    ("--index-url https://example.org/simple", ["--index-url https://example.org/simple"]),
]


@pytest.mark.parametrize(("text", "found"), UNPINNED)
def test_requirements_must_be_pinned_and_hashed(text: str, found: list[str]) -> None:
    assert find_unpinned(text) == found


@pytest.mark.parametrize("trainer", sorted(SHIPPED))
def test_the_lock_of_a_shipped_program_is_pinned_and_names_no_host(trainer: str) -> None:
    lock = shipped_files(trainer)["requirements.txt"].decode()
    assert find_unpinned(lock) == []
    assert "://" not in lock
    file = CHECKOUT / "pipeline/steps/train/containers" / trainer / "requirements.in"
    wanted = file.read_text().splitlines()
    assert all(each in lock for each in wanted if "==" in each)


def saved_models(state: Path, folder: Path) -> None:
    """Have MXNet itself save two models, in the ways of its two interfaces."""
    environment = make_environment(shipped_files("mxnet")["requirements.txt"], "3.11", state / "environments")
    script = CHECKOUT / "tests" / "isolated" / "save_mxnet.py"
    subprocess.run([environment / "bin" / "python", script], cwd=folder, check=True, capture_output=True)


def teach_mxnet(rows: Matrix, task: Any, state: Path, folder: Path, **params: Any) -> Trained:
    for name in ("symbol", "weights"):
        if name in params:
            params[name] = {"file": params[name], "sha256": ""}
    weight = params.pop("class_weight", None)
    support = Support(read=lambda name, _: (folder / name).read_bytes(), state=state)
    flag = task == "classification" and rows.train_target.dtype != object
    settings = Model(name="m", trainer="mxnet", params=params, seed=3, class_weight=weight)
    return train(rows, settings, task, flag=flag, support=support)


@pytest.mark.parametrize(("kind", "task"), [("values", "regression"), ("texts", "classification")])
def test_mxnet_trains_a_perceptron_that_repeats(matrix, state, tmp_path, kind, task) -> None:
    quick = {"layers": [8], "learning_rate": 0.03, "epochs": 12, "dropout": 0.1, "activation": "tanh"}
    trained, again = (teach_mxnet(matrix(kind), task, state, tmp_path, **quick) for _ in range(2))
    assert trained.parity.holds
    assert any("its framework and the graph differ by at most" in each for each in trained.notes)
    losses = [each["loss"] for each in trained.history]
    assert len(losses) == 12
    assert losses[-1] < losses[0] * 0.8
    assert trained.metrics["loss"] == losses[-1]
    assert trained.estimator_graph.SerializeToString() == again.estimator_graph.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "task", "symbol", "weights"),
    [
        ("texts", "classification", "gluon-symbol.json", "gluon-0000.params"),
        ("texts", "classification", "module-symbol.json", "module-0001.params"),
        ("values", "regression", "values-symbol.json", "values-0001.params"),
    ],
)
def test_a_model_that_mxnet_has_saved_predicts_as_it_did_there(
    matrix, state, tmp_path, kind, task, symbol, weights
) -> None:
    saved_models(state, tmp_path)
    rows = matrix(kind)
    trained = teach_mxnet(rows, task, state, tmp_path, symbol=symbol, weights=weights)
    assert trained.history == ()
    name = symbol.partition("-")[0]
    given, expected = np.load(tmp_path / "rows.npy"), np.load(tmp_path / f"{name}.npy")
    found = run(trained.estimator_graph, {"matrix": given})
    assert np.allclose(found["prediction" if task == "regression" else "probabilities"], expected, atol=1e-5)


def test_weights_that_do_not_fit_the_symbol_are_refused(matrix, state, tmp_path) -> None:
    saved_models(state, tmp_path)
    with pytest.raises(TrainingError, match=r"ended with exit code 1, saying: gluon-symbol\.json: found the inputs"):
        teach_mxnet(
            matrix("texts"), "classification", state, tmp_path, symbol="gluon-symbol.json", weights="module-0001.params"
        )


def test_a_package_index_that_does_not_answer_is_worth_another_try(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    lock = (FOLDER.parents[1] / "requirements-isolation.txt").read_bytes()
    with pytest.raises(TransientError, match=r"expected a package index that answers \(UV_DEFAULT_INDEX\)"):
        make_environment(lock, "3.11", tmp_path)
    assert [each for each in tmp_path.iterdir() if each.is_dir()] == []
