from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline.errors import DataError, TrainingError
from pipeline.extras import is_installed
from pipeline.model.graphs import Graph, compose, run
from pipeline.spec.catalogue.trainers import TRAINERS, TrainerInfo
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.results import Matrix, Scorer, Trained
from pipeline.steps.train.training import thin, train
from tests.extras import BOOSTERS, IN_PROCESS, NETWORKS, suited, with_extras

CASES = [
    (trainer, task, kind)
    for trainer, info in IN_PROCESS.items()
    for task, kinds in (("classification", ("flag", "texts")), ("regression", ("values",)))
    if task in info.tasks
    for kind in kinds
]
QUICK: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "gradient_boosting": {"n_estimators": 10},
    "hist_gradient_boosting": {"max_iter": 10},
    "mlp": {"hidden_layer_sizes": [8], "max_iter": 60, "learning_rate_init": 0.03},
    "decision_tree": {"max_depth": 4},
    **NETWORKS,
    **BOOSTERS,
}
MISSING_CASES = [case for case in CASES if TRAINERS[case[0]].handles_missing]


def model(trainer: str, **keys: Any) -> Model:
    keys.setdefault("params", QUICK.get(trainer, {}))
    return Model(name="m", trainer=trainer, **keys)


def output_of(trained: Trained, matrix: Matrix) -> dict[str, Any]:
    assert trained.estimator_graph is not None, trained.notes
    onnx.checker.check_model(trained.estimator_graph, full_check=True)
    return run(trained.estimator_graph, {"matrix": matrix.validation})


@pytest.mark.parametrize(("trainer", "task", "kind"), with_extras(CASES))
def test_every_trainer_becomes_a_graph_that_predicts_the_same(matrix, trainer, task, kind) -> None:
    rows = suited(matrix(kind), trainer)
    trained = train(rows, model(trainer), task, flag=kind == "flag")
    outputs = output_of(trained, rows)
    assert trained.parity.holds
    assert trained.parity.rows > len(rows.validation)
    assert trained.native is None
    if task == "regression":
        assert set(outputs) == {"prediction"}
        assert outputs["prediction"].shape == (60,)
        assert np.corrcoef(outputs["prediction"], rows.validation_target)[0, 1] > 0.5
        assert trained.classes is None
    else:
        assert trained.classes == ((False, True) if kind == "flag" else ("high", "low", "mid", "top"))
        assert outputs["label"].dtype == np.int64
        assert outputs["probabilities"].shape == (60, len(trained.classes))
        assert outputs["probabilities"].dtype == np.float32
        np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-6)
        truth = rows.validation_target.astype(bool) if kind == "flag" else rows.validation_target
        predicted = np.array(trained.classes, dtype=truth.dtype)[outputs["label"]]
        assert (predicted == truth).mean() > 0.5


@pytest.mark.parametrize(("trainer", "task", "kind"), with_extras(MISSING_CASES))
def test_trees_take_missing_values(matrix, trainer, task, kind) -> None:
    rows = matrix(kind, missing=True)
    trained = train(rows, model(trainer), task, flag=kind == "flag")
    assert trained.parity.holds
    assert np.isfinite(next(iter(output_of(trained, rows).values()))).all()


OPTIONS = [
    ("svm", "texts", {"kernel": "linear"}),
    ("svm", "texts", {"kernel": "poly", "degree": 2, "coef0": 1.0}),
    ("svm", "values", {"kernel": "sigmoid", "gamma": 0.01}),
    ("linear_svm", "texts", {"multi_class": "crammer_singer"}),
    ("k_neighbors", "texts", {"weights": "distance", "n_neighbors": 4}),
    ("k_neighbors", "values", {"weights": "distance", "metric": "manhattan"}),
    ("k_neighbors", "values", {"metric": "chebyshev"}),
    ("k_neighbors", "values", {"p": 3}),
    ("mlp", "texts", {"activation": "tanh", "hidden_layer_sizes": [5, 4], "max_iter": 20}),
    ("mlp", "values", {"activation": "logistic", "hidden_layer_sizes": 5, "max_iter": 20, "solver": "lbfgs"}),
    ("mlp", "flag", {"activation": "identity", "max_iter": 20, "solver": "sgd"}),
    ("gradient_boosting", "flag", {"loss": "exponential", "n_estimators": 5}),
    ("gradient_boosting", "values", {"loss": "huber", "init": "zero", "n_estimators": 5}),
    ("hist_gradient_boosting", "values", {"loss": "absolute_error", "max_iter": 5}),
    ("hist_gradient_boosting", "values", {"loss": "quantile", "quantile": 0.9, "max_iter": 5}),
    (
        "hist_gradient_boosting",
        "flag",
        {"interaction_cst": "no_interactions", "monotonic_cst": [1, -1, 0, 0], "max_iter": 5},
    ),
    ("decision_tree", "values", {"criterion": "absolute_error", "max_depth": 4}),
    ("random_forest", "texts", {"criterion": "entropy", "n_estimators": 5, "max_samples": 0.5}),
    ("logistic_regression", "flag", {"solver": "liblinear", "l1_ratio": 1.0, "fit_intercept": False}),
]


@pytest.mark.parametrize(("trainer", "kind", "params"), OPTIONS)
def test_parameters_that_change_the_graph_keep_parity(matrix, trainer, kind, params) -> None:
    task = "regression" if kind == "values" else "classification"
    rows = matrix(kind, digits=6 if trainer == "k_neighbors" else 1)
    trained = train(rows, model(trainer, params=params), task)
    assert trained.parity.holds, trained.notes
    assert trained.params | params == trained.params


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_losses_with_a_logarithm_keep_parity(matrix, loss) -> None:
    rows = matrix("values")
    rows = replace(rows, train_target=np.exp(rows.train_target), validation_target=np.exp(rows.validation_target))
    trained = train(rows, model("hist_gradient_boosting", params={"loss": loss, "max_iter": 5}), "regression")
    assert trained.parity.holds


def test_large_targets_keep_parity(matrix) -> None:
    rows = matrix("values")
    rows = replace(rows, train_target=rows.train_target * 1e9, validation_target=rows.validation_target * 1e9)
    for trainer in ("hist_gradient_boosting", "random_forest", "least_squares"):
        assert train(rows, model(trainer), "regression").parity.holds


def test_a_model_without_a_graph_is_given_in_its_native_format_and_says_so(matrix) -> None:
    import skops.io

    rows = matrix("flag")
    trained = train(rows, model("k_neighbors", params={"metric": "canberra"}), "classification")
    assert trained.estimator_graph is None
    assert trained.notes == (
        "k_neighbors: there is no graph for the metric canberra; released in its native format (skops) instead",
    )
    assert trained.native is not None
    loaded = skops.io.loads(trained.native, trusted=skops.io.get_untrusted_types(data=trained.native))
    assert set(loaded.predict(rows.validation)) <= {0, 1}


def test_a_graph_that_would_break_ties_otherwise_is_not_released(matrix) -> None:
    rows = matrix("values", digits=0)
    trained = train(rows, model("k_neighbors", params={"metric": "chebyshev"}), "regression")
    assert trained.estimator_graph is None
    assert trained.native is not None
    assert "k_neighbors: the graph differs from the model by up to" in trained.notes[0]
    assert "released in its native format (skops) instead" in trained.notes[0]


SCRIPT = """
import hashlib, json, sys
sys.path.insert(0, {tests!r})
from conftest import make_matrix
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.training import train
for trainer, params in {quick!r}.items():
    trained = train(make_matrix("texts"), Model(name="m", trainer=trainer, params=params, seed=7), "classification")
    print(trainer, hashlib.sha256(trained.estimator_graph.SerializeToString(deterministic=True)).hexdigest())
"""


BY_THREADS = {"torch_cnn", "torch_custom", "xgboost"}
"""They add up in an order that the number of threads decides; with as many threads they repeat."""


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_other_threads(matrix, request) -> None:
    quick = QUICK | {"logistic_regression": {}, "svm": {}}
    quick = {
        name: params
        for name, params in quick.items()
        if (not (extra := TRAINERS[name].extra) or is_installed(extra)) and name not in BY_THREADS
    }
    script = SCRIPT.format(tests=str(request.path.parent), quick=quick)
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            cwd=request.config.rootpath,
            env={"PATH": "", "OMP_NUM_THREADS": threads, "PYTHONPATH": str(request.config.rootpath)},
        ).stdout
        for threads in ("1", "2")
    ]
    assert runs[0].count("\n") == len(quick)
    assert runs[0] == runs[1]


def test_another_seed_gives_another_forest(matrix) -> None:
    digests = set()
    for seed in (1, 1, 2):
        graph = train(matrix("flag"), model("random_forest", seed=seed), "classification").estimator_graph
        digests.add(hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest())
    assert len(digests) == 2


STOPPING = [("linear_regression", {"learning_rate": 0.5, "epochs": 5000}), ("gradient_boosting", {"n_estimators": 400})]
STOPPING += [("hist_gradient_boosting", {"max_iter": 400}), ("mlp", {"max_iter": 3000, "learning_rate_init": 0.01})]


@pytest.mark.parametrize(("trainer", "params"), STOPPING)
def test_early_stopping_ends_training_on_the_validation_rows(matrix, trainer, params) -> None:
    settings = model(trainer, params=params, early_stopping={"patience": 3, "min_improvement": 1e-3})
    trained = train(matrix("values"), settings, "regression")
    assert any(note.startswith("stopped after") for note in trained.notes)
    assert trained.parity.holds
    losses = [each["validation_loss"] for each in trained.history]
    assert len(losses) < 400
    assert min(losses) < losses[0]


@pytest.mark.parametrize("trainer", ["gradient_boosting", "hist_gradient_boosting", "mlp"])
def test_early_stopping_works_for_classes(matrix, trainer) -> None:
    settings = model(trainer, early_stopping={"patience": 2}, class_weight="balanced")
    assert train(matrix("texts"), settings, "classification").parity.holds


@pytest.mark.parametrize("trainer", with_extras(name for name, info in IN_PROCESS.items() if info.class_weight))
def test_a_heavier_class_is_predicted_more_often(matrix, trainer) -> None:
    rows = matrix("flag")
    counts = []
    for weight in ({"true": 0.02}, {"True": 50.0}):
        trained = train(rows, model(trainer, class_weight=weight), "classification", flag=True)
        counts.append(output_of(trained, rows)["probabilities"][:, 1].sum())
    assert counts[0] <= counts[1]


@pytest.mark.parametrize("trainer", ["linear_regression", "gradient_boosting", "hist_gradient_boosting", "mlp"])
def test_rounds_leave_a_loss_history(matrix, trainer) -> None:
    history = train(matrix("values"), model(trainer), "regression").history
    assert [each["step"] for each in history] == list(range(1, len(history) + 1))
    assert history[-1]["loss"] < history[0]["loss"]
    if trainer != "mlp":
        assert history[-1]["validation_loss"] < history[0]["validation_loss"]


def test_trees_and_lines_tell_which_features_matter(matrix) -> None:
    for trainer in ("random_forest", "least_squares", "linear_regression"):
        importances = train(matrix("values"), model(trainer), "regression").feature_importances
        assert importances is not None
        assert max(importances, key=importances.__getitem__) == "a"
    assert train(matrix("values"), model("k_neighbors"), "regression").feature_importances is None


def test_a_warning_of_the_trainer_becomes_a_note(matrix) -> None:
    trained = train(matrix("flag"), model("mlp", params={"max_iter": 2}), "classification")
    assert any("hasn't converged yet" in note and note.startswith("mlp: ") for note in trained.notes)


def with_target(rows: Matrix, *values: Any) -> Matrix:
    return Matrix(rows.train[: len(values)], np.array(values), rows.validation[:0], np.array(values)[:0], rows.columns)


WRONG: list[tuple[Callable[[Matrix], Matrix], str, str, dict[str, Any], str]] = [
    (
        lambda rows: with_target(rows, "x", "x"),
        "logistic_regression",
        "classification",
        {},
        "train: found only class 'x' in the training rows; expected at least two (model.target, clean, split)",
    ),
    (
        with_target,
        "ridge",
        "regression",
        {},
        "train: found no training rows; expected at least one (split, clean)",
    ),
    (
        lambda rows: with_target(rows, "x", "y"),
        "ridge",
        "regression",
        {},
        "train: found the texts 'x', 'y' in the target; expected numbers for regression (model.target, or model.task: ",
    ),
    (
        lambda rows: with_target(rows, "1.5", "unknown"),
        "ridge",
        "regression",
        {},
        "train: found the texts 'unknown' in the target among ",
    ),
    (
        lambda rows: with_target(rows, 1.0, np.nan),
        "ridge",
        "regression",
        {},
        "train: found 1 missing or infinite targets; expected none (clean.missing, by target: drop)",
    ),
    (
        lambda rows: with_target(rows, "x", ""),
        "ridge",
        "classification",
        {},
        "train: found 1 missing targets; expected none (clean.missing, by target: drop)",
    ),
    (
        lambda rows: with_target(rows, 1.0, 2.0, 3.0),
        "k_neighbors",
        "regression",
        {"params": {"n_neighbors": 5}},
        "train: found 5 neighbours asked for and 3 training rows; expected at most as many (model.params.n_neighbors)",
    ),
    (
        lambda rows: with_target(rows, "x", "y", "y"),
        "svm",
        "classification",
        {},
        "train: found a class with one training row; expected at least two of each for svm, which needs them for prob",
    ),
    (
        lambda rows: rows,
        "logistic_regression",
        "classification",
        {"class_weight": {"maybe": 2.0}},
        "model.class_weight: found 'maybe'; expected classes of the target: '0', '1' (model.class_weight)",
    ),
    (
        lambda rows: with_target(rows, *range(100)),
        "hist_gradient_boosting",
        "regression",
        {"early_stopping": {}},
        "train: found no validation rows; expected some for model.early_stopping (split.validation)",
    ),
    (
        lambda rows: rows,
        "random_forest",
        "classification",
        {"params": {"bootstrap": False, "max_samples": 5}},
        "expected parameters that suit each other and the data (model.params.",
    ),
    (
        lambda rows: rows,
        "linear_svm",
        "classification",
        {"params": {"penalty": "l1", "loss": "hinge"}},
        "expected parameters that suit each other and the data (model.params.penalty)",
    ),
]


@pytest.mark.parametrize(("change", "trainer", "task", "keys", "message"), WRONG)
def test_what_cannot_be_learnt_is_said(matrix, change, trainer, task, keys, message) -> None:
    with pytest.raises((DataError, TrainingError)) as caught:
        train(change(matrix("flag")), model(trainer, **keys), task)
    assert message in str(caught.value)


def test_missing_and_infinite_features_are_named(matrix) -> None:
    rows = matrix("flag", missing=True)
    with pytest.raises(DataError) as caught:
        train(rows, model("logistic_regression"), "classification")
    assert str(caught.value) == (
        "train: found missing values in 'a', 'b', 'c', 'd'; expected none with this trainer "
        "(clean.missing, or a model.trainer that takes them, such as hist_gradient_boosting)"
    )
    features = matrix("flag").train.copy()
    features[3, 1] = np.inf
    with pytest.raises(DataError, match="train: found infinite values in 'b'; expected finite ones"):
        train(replace(matrix("flag"), train=features), model("decision_tree"), "classification")


def test_a_quantity_is_not_taken_for_classes(matrix) -> None:
    rows = with_target(matrix("values", rows=2000), *np.linspace(0, 1, 1200))
    with pytest.raises(DataError, match=r"found 1,200 classes in the target; expected at most 1,000 \(model.task: reg"):
        train(rows, model("decision_tree"), "classification")


def test_validation_rows_of_unseen_classes_are_left_out_aloud(matrix) -> None:
    rows = matrix("texts")
    target = rows.validation_target.copy()
    target[:2] = "new"
    trained = train(replace(rows, validation_target=target), model("hist_gradient_boosting"), "classification")
    assert trained.notes[0] == "left out 2 validation rows of classes that no training row has"


def test_one_row_is_enough_for_a_regression(matrix) -> None:
    rows = with_target(matrix("values"), 3.0)
    trained = train(rows, model("linear_regression"), "regression")
    assert trained.parity.holds


def test_ten_thousand_columns_are_no_problem() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 10_000)).astype(np.float32)
    names = tuple(f"f{each}" for each in range(10_000))
    rows = Matrix(features[:50], features[:50, 0].astype(float), features[50:], features[50:, 0].astype(float), names)
    for trainer, params in (("ridge", {}), ("linear_regression", {"learning_rate": 1e-3, "epochs": 20})):
        assert train(rows, model(trainer, params=params), "regression").parity.holds


def rmse(truth: Any, predicted: Any) -> float:
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


@pytest.mark.parametrize("method", ["random", "halving"])
def test_a_search_keeps_the_best_trial(matrix, method) -> None:
    space = {"max_depth": [1, 2, 3, 4], "min_samples_leaf": {"low": 1, "high": 20, "integer": True}}
    settings = model("decision_tree", search={"method": method, "trials": 6, "space": space})
    rows = matrix("values", rows=1200)
    trained = train(rows, settings, "regression", scorer=Scorer("rmse", rmse))
    last = [each for each in trained.trials if each["rows"] == 900]
    best = min(last, key=lambda each: each["score"])
    assert trained.params | best["params"] == trained.params
    assert trained.notes[0].startswith(f"best of 6 trials: max_depth {best['params']['max_depth']}, min_samples_leaf ")
    assert rmse(rows.validation_target, output_of(trained, rows)["prediction"]) == pytest.approx(
        best["score"], rel=1e-6
    )
    again = train(rows, settings, "regression", scorer=Scorer("rmse", rmse))
    assert again.trials == trained.trials


def test_the_graph_joins_the_preprocessing(matrix) -> None:
    first = Graph("preprocess")
    numbers = first.input("numbers", "double", 4)
    first.output("matrix", first.cast(numbers, "float"), "float", 4)
    preprocess, rows = first.build(), matrix("texts")
    for trainer in ("hist_gradient_boosting", "k_neighbors", "svm"):
        trained = train(rows, model(trainer), "classification")
        assert trained.estimator_graph is not None
        joined = run(compose(preprocess, trained.estimator_graph), {"numbers": rows.validation.astype(np.float64)})
        np.testing.assert_array_equal(joined["probabilities"], output_of(trained, rows)["probabilities"])


def test_a_long_history_is_thinned_with_both_ends() -> None:
    history = [{"step": each} for each in range(1, 5001)]
    thinned = thin(history, 1000)
    assert (len(thinned), thinned[0], thinned[-1]) == (1000, {"step": 1}, {"step": 5000})


def test_the_table_of_trainers_has_only_known_abilities() -> None:
    assert all(isinstance(each, TrainerInfo) and each.tasks for each in TRAINERS.values())
