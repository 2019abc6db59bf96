from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.spec.catalogue.metrics import DEFAULT_METRICS, METRICS
from pipeline.spec.catalogue.parameters import ParameterProblem, parameter_problems, parameters_of
from pipeline.spec.catalogue.tasks import task_of
from pipeline.spec.catalogue.trainers import NETWORK_EXTRAS, TRAINER_KINDS, TRAINERS, suggest_trainer, trainer_name
from pipeline.spec.schema.spec import Column, Data, Model, Spec
from pipeline.steps.train.estimators import ESTIMATORS
from pipeline.steps.train.parameters import TARGET, render_parameters

NAMES = [
    ("LinearRegression", None, "linear_regression"),
    ("AIModel", None, "linear_regression"),
    ("flight-delay", "hist_gradient_boosting", "hist_gradient_boosting"),
    ("m", "Hist-Gradient Boosting", "hist_gradient_boosting"),
    ("m", "RandomForestClassifier", "random_forest"),
    ("m", "HistGradientBoostingRegressor", "hist_gradient_boosting"),
    ("m", "SVC", "svm"),
    ("m", "LinearSVR", "linear_svm"),
    ("m", "KNN", "k_neighbors"),
    ("m", "elasticnet", "elastic_net"),
    ("random_forest", "lasso", "lasso"),
    ("m", "XGBClassifier", "xgboost"),
    ("m", "LightGBM", "lightgbm"),
    ("LinearRegression", "catboost", None),
]


@pytest.mark.parametrize(("name", "trainer", "expected"), NAMES)
def test_trainers_are_known_by_the_names_that_people_use(name, trainer, expected) -> None:
    assert trainer_name(Model(name=name, trainer=trainer)) == expected


def test_a_misspelt_trainer_is_suggested() -> None:
    assert suggest_trainer("hist_gradient_bosting") == "hist_gradient_boosting"
    assert suggest_trainer("zzz") is None


TASKS = [
    ({"trainer": "random_forest", "task": "regression"}, {}, {}, "regression"),
    ({"trainer": "lasso", "target": "b"}, {"b": "bool"}, {}, "regression"),
    ({"trainer": "SVC"}, {}, {}, "classification"),
    ({"trainer": "svm", "target": "b"}, {"b": "bool"}, {}, "classification"),
    ({"trainer": "svm", "target": "s"}, {"s": "str"}, {}, "classification"),
    ({"trainer": "svm", "target": "f"}, {"f": "float"}, {}, "regression"),
    ({"trainer": "svm", "target": "i"}, {"i": "int"}, {}, None),
    ({"trainer": "svm", "target": "late"}, {"f": "float"}, {"late": "f > 15"}, "classification"),
    ({"trainer": "svm", "target": "speed"}, {"f": "float"}, {"speed": "f / 2"}, "regression"),
    ({"trainer": "svm", "target": "copy"}, {"b": "bool"}, {"copy": "b"}, "classification"),
    ({"trainer": "svm", "target": "bad"}, {"f": "float"}, {"bad": "f >"}, None),
    ({"trainer": "svm"}, {}, {}, None),
    ({"trainer": "nothing"}, {}, {}, None),
]


@pytest.mark.parametrize(("model", "columns", "derive", "expected"), TASKS)
def test_the_task_follows_from_what_is_said(model, columns, derive, expected) -> None:
    data = Data(columns={name: Column(type=each) for name, each in columns.items()}, derive=derive)
    assert task_of(Spec(model=Model(name="m", **model), data=data)) == expected


PROBLEMS = [
    ("hist_gradient_boosting", "classification", {"max_iter": 100, "learning_rate": 1, "max_depth": None}, []),
    ("hist_gradient_boosting", "classification", {"max_iter": 0}, [("max_iter", "0", "an integer ≥ 1")]),
    ("hist_gradient_boosting", "classification", {"max_iter": 1.5}, [("max_iter", "1.5", "an integer ≥ 1")]),
    ("hist_gradient_boosting", "classification", {"max_bins": 256}, [("max_bins", "256", "an integer ≥ 2 and ≤ 255")]),
    (
        "hist_gradient_boosting",
        "classification",
        {"learning_rat": 0.1},
        [("learning_rat", "a parameter that hist_gradient_boosting does not have", "'learning_rate'")],
    ),
    (
        "random_forest",
        "regression",
        {"random_state": 1, "n_jobs": 2},
        [
            ("random_state", "a parameter that model.params does not set", "model.seed"),
            ("n_jobs", "a parameter that model.params does not set", "nothing: every core is used"),
        ],
    ),
    (
        "gradient_boosting",
        "regression",
        {"tol": 1e-3},
        [("tol", "a parameter that model.params does not set", "model.early_stopping.min_improvement")],
    ),
    ("mlp", "regression", {"tol": 1e-3, "hidden_layer_sizes": [10, 5]}, []),
    ("random_forest", "regression", {"bootstrap": 1}, [("bootstrap", "1", "true or false")]),
    (
        "random_forest",
        "regression",
        {"criterion": "gini"},
        [("criterion", '"gini"', "absolute_error, poisson, squared_error")],
    ),
    ("random_forest", None, {"criterion": "gini"}, []),
    ("svm", "classification", {"gamma": "auto", "C": True}, [("C", "true", "a number > 0")]),
    ("svm", "classification", {"kernel": "precomputed"}, [("kernel", '"precomputed"', "linear, poly, rbf, sigmoid")]),
    ("decision_tree", "regression", {"max_depth": "deep"}, [("max_depth", '"deep"', "an integer ≥ 1 or null")]),
    (
        "linear_regression",
        "regression",
        {"learning_rate": 0, "epochs": 100, "alpha": 1},
        [
            ("learning_rate", "0", "a number > 0"),
            ("alpha", "a parameter that linear_regression does not have", "one of learning_rate, epochs, tolerance"),
        ],
    ),
    ("linear_svm", "regression", {"epsilon": -0.5}, []),
    ("torch_mlp", "regression", {"layers": [], "activation": "tanh", "clip_norm": None}, []),
    ("torch_mlp", "regression", {"layers": [0]}, [("layers", "[0]", "a list of whole numbers ≥ 1")]),
    ("tensorflow_mlp", "classification", {"loss": "mse"}, [("loss", '"mse"', "cross_entropy")]),
    ("svm", "classification", {"C": float("inf")}, []),
    ("svm", "classification", {"C": float("nan")}, [("C", "NaN", "a number > 0")]),
]


@pytest.mark.parametrize(("trainer", "task", "params", "expected"), PROBLEMS)
def test_impossible_parameters_are_found(trainer, task, params, expected) -> None:
    assert parameter_problems(trainer, task, params) == [ParameterProblem(*each) for each in expected]


def test_every_default_is_accepted() -> None:
    for trainer, info in TRAINERS.items():
        for task in info.tasks:
            defaults = {name: each["default"] for name, each in parameters_of(trainer, task).items()}
            assert parameter_problems(trainer, task, defaults) == []


def test_the_parameters_are_those_of_the_installed_scikit_learn() -> None:
    assert TARGET.read_text(encoding="utf-8") == render_parameters(), "run python -m pipeline.steps.train.parameters"


def test_every_trainer_has_an_estimator_for_each_of_its_tasks() -> None:
    ours = {("linear_regression", "regression")}
    plain = {
        name: info for name, info in TRAINERS.items() if info.extra not in {*NETWORK_EXTRAS, "boosting", "isolation"}
    }
    assert {(name, task) for name, info in plain.items() for task in info.tasks} == set(ESTIMATORS) | ours


def test_every_trainer_is_of_one_kind() -> None:
    assert sorted(name for names in TRAINER_KINDS.values() for name in names) == sorted(TRAINERS)


def test_default_metrics_suit_their_task() -> None:
    assert all(task in METRICS[name].tasks for task, names in DEFAULT_METRICS.items() for name in names)


def test_the_catalogue_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pipeline.spec.catalogue import parameters as c; "
        "c.parameter_problems('ridge', None, {'alpha': 1});"
        "print([m for m in ('sklearn', 'numpy', 'pandas', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
