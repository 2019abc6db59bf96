"""What is XGBoost's and LightGBM's own: parameters, links, early stopping, missing values that training never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.spec.catalogue.parameters import parameters_of
from pipeline.spec.schema.spec import EarlyStopping, Model
from pipeline.steps.train.boosting.trees import read_lightgbm, read_xgboost
from pipeline.steps.train.training import train

pytestmark = pytest.mark.extra("boosting")

TRAINERS = ("xgboost", "lightgbm")
OPTIONS = [
    ("xgboost", {"objective": "count:poisson"}),
    ("xgboost", {"objective": "reg:gamma"}),
    ("xgboost", {"objective": "reg:tweedie"}),
    ("xgboost", {"objective": "reg:absoluteerror"}),
    ("xgboost", {"tree_method": "exact", "max_depth": 3}),
    ("xgboost", {"tree_method": "approx", "grow_policy": "lossguide", "max_leaves": 7, "subsample": 0.5}),
    ("xgboost", {"max_depth": 1, "gamma": 1e9}),
    ("lightgbm", {"objective": "poisson"}),
    ("lightgbm", {"objective": "gamma"}),
    ("lightgbm", {"objective": "tweedie"}),
    ("lightgbm", {"objective": "huber"}),
    ("lightgbm", {"objective": "quantile", "alpha": 0.5}),
    ("lightgbm", {"objective": "regression_l1"}),
    ("lightgbm", {"extra_trees": True, "path_smooth": 1.0, "subsample": 0.5, "subsample_freq": 1}),
    ("lightgbm", {"min_child_samples": 10_000}),
]


@pytest.mark.parametrize(("trainer", "params"), OPTIONS)
def test_parameters_that_change_the_graph_keep_parity(matrix, trainer, params) -> None:
    rows = matrix("values")
    rows = replace(rows, train_target=np.exp(rows.train_target), validation_target=np.exp(rows.validation_target))
    trained = train(rows, Model(name="m", trainer=trainer, params={"n_estimators": 20, **params}), "regression")
    assert trained.parity.holds
    assert trained.native is None


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_target_does_not_matter(matrix, trainer, unit) -> None:
    rows = matrix("values")
    rows = replace(rows, train_target=rows.train_target * unit, validation_target=rows.validation_target * unit)
    parity = train(rows, Model(name="m", trainer=trainer), "regression").parity
    assert parity.holds
    assert parity.max_difference < 2e-6


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("kind", ["flag", "texts"])
def test_a_value_missing_only_when_it_is_served_goes_where_the_library_sends_it(matrix, trainer, kind) -> None:
    rows = matrix(kind)
    gaps = rows.validation.copy()
    gaps[::3, 1] = np.nan
    gaps[::5] = np.nan
    trained = train(replace(rows, validation=gaps), Model(name="m", trainer=trainer), "classification")
    assert trained.parity.holds
    assert trained.parity.labels_differing == 0


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("kind", ["flag", "texts", "values"])
def test_a_split_between_missing_and_present_values_keeps_parity(matrix, trainer, kind) -> None:
    task = "regression" if kind == "values" else "classification"
    trained = train(matrix(kind, rows=4000, missing=True), Model(name="m", trainer=trainer), task)
    assert trained.parity.holds


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_validation_rows_end_the_training_and_the_best_round_stays(matrix, trainer) -> None:
    model = Model(
        name="m",
        trainer=trainer,
        params={"n_estimators": 500, "learning_rate": 0.5},
        early_stopping=EarlyStopping(patience=5),
    )
    trained = train(matrix("flag"), model, "classification")
    losses = [each["validation_loss"] for each in trained.history]
    assert len(losses) < 100
    assert trained.notes == (f"stopped after {len(losses)} of 500 rounds",)
    best = next(i for i, each in enumerate(losses) if each <= min(losses) + 1e-4)
    assert len(losses) - best - 1 == 5
    fewer = Model(name="m", trainer=trainer, params={"n_estimators": best + 1, "learning_rate": 0.5})
    assert trained.estimator_graph == train(matrix("flag"), fewer, "classification").estimator_graph


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_same_seed_gives_the_same_model_bit_for_bit(matrix, trainer) -> None:
    def graph(seed: int) -> bytes:
        params = {"n_estimators": 10, "colsample_bytree": 0.5, "subsample": 0.5}
        params |= {"subsample_freq": 1} if trainer == "lightgbm" else {}
        found = train(matrix("texts"), Model(name="m", trainer=trainer, params=params, seed=seed), "classification")
        assert found.estimator_graph is not None
        return found.estimator_graph.SerializeToString(deterministic=True)

    assert graph(1) == graph(1)
    assert graph(1) != graph(2)


def test_the_parameters_are_those_that_the_libraries_have() -> None:
    import lightgbm
    import xgboost

    for trainer, kinds in (
        ("xgboost", (xgboost.XGBClassifier, xgboost.XGBRegressor)),
        ("lightgbm", (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor)),
    ):
        for task, kind in zip(("classification", "regression"), kinds, strict=True):
            known = {*kind().get_params(), "alpha", "path_smooth", "max_bin", "extra_trees"}
            assert set(parameters_of(trainer, task)) <= known  # type: ignore[arg-type]


def test_lightgbms_own_defaults_are_ours() -> None:
    import lightgbm

    theirs = lightgbm.LGBMRegressor().get_params()
    ours = {name: each["default"] for name, each in parameters_of("lightgbm", "regression").items()}
    assert {name: theirs[name] for name in ours if theirs.get(name) is not None} == {
        name: ours[name] for name in ours if theirs.get(name) is not None
    }


def test_trees_are_read_as_the_libraries_predict(matrix) -> None:
    import lightgbm
    import xgboost

    rows = matrix("values")
    boosted = xgboost.train(
        {"base_score": 3.0}, xgboost.DMatrix(rows.train, label=rows.train_target), num_boost_round=2
    )
    trees, base = read_xgboost(boosted.save_raw("json"))
    assert len(trees) == 2
    assert base.tolist() == [3.0]
    lighter = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(rows.train, rows.train_target), num_boost_round=3)
    trees, base = read_lightgbm(lighter.model_to_string(), 1)
    assert len(trees) == 3
    assert base.tolist() == [0.0]
