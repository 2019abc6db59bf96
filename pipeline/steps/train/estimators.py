"""The estimators of scikit-learn behind the trainers, each imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pipeline.model.task import Task

ESTIMATORS: Mapping[tuple[str, Task], str] = {
    ("least_squares", "regression"): "sklearn.linear_model:LinearRegression",
    ("ridge", "classification"): "sklearn.linear_model:RidgeClassifier",
    ("ridge", "regression"): "sklearn.linear_model:Ridge",
    ("lasso", "regression"): "sklearn.linear_model:Lasso",
    ("elastic_net", "regression"): "sklearn.linear_model:ElasticNet",
    ("logistic_regression", "classification"): "sklearn.linear_model:LogisticRegression",
    ("decision_tree", "classification"): "sklearn.tree:DecisionTreeClassifier",
    ("decision_tree", "regression"): "sklearn.tree:DecisionTreeRegressor",
    ("random_forest", "classification"): "sklearn.ensemble:RandomForestClassifier",
    ("random_forest", "regression"): "sklearn.ensemble:RandomForestRegressor",
    ("extra_trees", "classification"): "sklearn.ensemble:ExtraTreesClassifier",
    ("extra_trees", "regression"): "sklearn.ensemble:ExtraTreesRegressor",
    ("gradient_boosting", "classification"): "sklearn.ensemble:GradientBoostingClassifier",
    ("gradient_boosting", "regression"): "sklearn.ensemble:GradientBoostingRegressor",
    ("hist_gradient_boosting", "classification"): "sklearn.ensemble:HistGradientBoostingClassifier",
    ("hist_gradient_boosting", "regression"): "sklearn.ensemble:HistGradientBoostingRegressor",
    ("k_neighbors", "classification"): "sklearn.neighbors:KNeighborsClassifier",
    ("k_neighbors", "regression"): "sklearn.neighbors:KNeighborsRegressor",
    ("svm", "classification"): "sklearn.svm:SVC",
    ("svm", "regression"): "sklearn.svm:SVR",
    ("linear_svm", "classification"): "sklearn.svm:LinearSVC",
    ("linear_svm", "regression"): "sklearn.svm:LinearSVR",
    ("mlp", "classification"): "sklearn.neural_network:MLPClassifier",
    ("mlp", "regression"): "sklearn.neural_network:MLPRegressor",
}


def estimator_class(trainer: str, task: Task) -> Any:
    """Import the class that trains for a task."""
    module, name = ESTIMATORS[trainer, task].split(":")
    return getattr(import_module(module), name)
