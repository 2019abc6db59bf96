"""The main job as a plain script: pandas, scikit-learn and MLflow, no framework.

``python benchmarks/main_job/bare.py FLIGHTS OUT [--no-mlflow]``

FLIGHTS is the example's data repository (``modelrail example flights FLIGHTS``), OUT an empty folder. The steps are
functions, so that ``peers/`` can run the very same work under other frameworks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEED = 0
TEST, VALIDATION = 0.2, 0.1
RESAMPLES = 200
IMPORTANCE_ROWS = 5_000
KEY = ["year", "month", "day", "carrier", "flight", "origin"]
RANGES = {
    "month": (1, 12),
    "day": (1, 31),
    "dep_time": (0, 2400),
    "sched_dep_time": (0, 2400),
    "dep_delay": (-120, 1800),
    "arr_time": (0, 2400),
    "sched_arr_time": (0, 2400),
    "arr_delay": (-120, 1800),
    "air_time": (0, 1000),
    "distance": (0, 10_000),
    "hour": (0, 24),
    "minute": (0, 60),
}
PATTERNS = {"carrier": r"[A-Z0-9]{2}", "origin": "EWR|JFK|LGA", "dest": r"[A-Z]{3}"}
REQUIRED = ["sched_dep_time", "carrier", "origin"]
READING: dict[str, Any] = {
    "engine": "pyarrow",
    "dtype": dict.fromkeys(RANGES, "float64") | dict.fromkeys(["carrier", "tailnum", "origin", "dest"], "str"),
    "parse_dates": ["time_hour"],
}
NUMBERS = ["dep_delay", "distance"]
PERIODS = {"sched_dep_time": 2400.0, "sched_arr_time": 2400.0, "hour": 24.0, "month": 12.0}
FEATURES = [*NUMBERS, *PERIODS, "carrier", "origin", "dest"]
PARAMS = {"learning_rate": 0.1, "max_iter": 100, "early_stopping": False, "random_state": SEED}
SLICES = ["origin", "carrier"]


class Cyclic(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sine and cosine of the place in a turn."""

    def __init__(self, period: float) -> None:
        self.period = period

    def fit(self, _x: Any, _y: Any = None) -> Cyclic:
        """Do nothing: the period is known."""
        self.n_features_in_ = 1
        return self

    def transform(self, x: Any) -> Any:
        """Return two columns for one."""
        angle = np.asarray(x, dtype=float) * (2 * np.pi / self.period)
        return np.hstack([np.sin(angle), np.cos(angle)])


class Frequency(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Share of the training rows that have the same value; 0 for a new one."""

    def fit(self, x: pd.DataFrame, _y: Any = None) -> Frequency:
        """Count the values."""
        self.n_features_in_ = 1
        self.shares_ = x.iloc[:, 0].value_counts(normalize=True).to_dict()
        return self

    def transform(self, x: pd.DataFrame) -> Any:
        """Look the shares up."""
        return x.iloc[:, 0].map(self.shares_).fillna(0.0).to_numpy(dtype=float)[:, None]


@dataclass
class Features:
    """Raw columns, encoded columns and target by side, with the fitted encoder."""

    encoder: ColumnTransformer
    raw: dict[str, pd.DataFrame]
    encoded: dict[str, np.ndarray]
    target: dict[str, np.ndarray]


@dataclass
class Results:
    """What is known of a model: metrics with intervals, by slice, importances, plots as PNG."""

    metrics: dict[str, dict[str, float]]
    slices: dict[str, dict[str, dict[str, float]]]
    importances: dict[str, float]
    plots: dict[str, bytes]


def clean(folder: Path) -> pd.DataFrame:
    """Read, check and clean all partitions."""
    paths = sorted((folder / "flights").glob("*.csv"))
    return join([clean_partition(pd.read_csv(path, **READING)) for path in paths])


def join(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True).drop_duplicates(KEY)


def clean_partition(frame: pd.DataFrame) -> pd.DataFrame:
    good = frame[REQUIRED].notna().all(axis=1)
    for name, (low, high) in RANGES.items():
        good &= frame[name].between(low, high) | frame[name].isna()
    for name, pattern in PATTERNS.items():
        distinct = frame[name].dropna().unique()
        fitting = distinct[pd.Series(distinct).str.fullmatch(pattern).to_numpy(dtype=bool)]
        good &= frame[name].isin(fitting) | frame[name].isna()
    return frame[good].drop_duplicates(KEY).dropna(subset=["arr_delay", "dep_delay"])


def make_features(frame: pd.DataFrame) -> Features:
    """Split by a hash of the key; fit imputation, encoding and scaling on the training rows."""
    draw = pd.util.hash_pandas_object(frame[KEY], index=False).to_numpy() / 2.0**64
    edges = np.digitize(draw, [TEST, TEST + VALIDATION])
    target = (frame["arr_delay"] > 15).to_numpy()
    sides = {"train": edges == 2, "validation": edges == 1, "test": edges == 0}
    raw = {side: frame.loc[rows, FEATURES] for side, rows in sides.items()}
    encoder = make_encoder()
    encoded = {"train": encoder.fit_transform(raw["train"]).astype(np.float32)}
    encoded |= {side: encoder.transform(raw[side]).astype(np.float32) for side in ("validation", "test")}
    return Features(encoder, raw, encoded, {side: target[rows] for side, rows in sides.items()})


def make_encoder() -> ColumnTransformer:
    cycles = [
        (name, make_pipeline(SimpleImputer(strategy="median"), Cyclic(period), StandardScaler()), [name])
        for name, period in PERIODS.items()
    ]
    categories = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            *cycles,
            ("categories", categories, ["carrier", "origin"]),
            ("frequency", make_pipeline(Frequency(), StandardScaler()), ["dest"]),
        ]
    )


def train(features: Features) -> tuple[Pipeline, dict[str, list[float]]]:
    """Fit the model; give it with its encoder, and its losses round by round."""
    model = HistGradientBoostingClassifier(**PARAMS)
    model.fit(features.encoded["train"], features.target["train"])
    losses = {side: staged_losses(model, features, side) for side in ("train", "validation")}
    return Pipeline([("encode", features.encoder), ("model", model)]), losses


def staged_losses(model: HistGradientBoostingClassifier, features: Features, side: str) -> list[float]:
    """Return the loss after each round, on a thousand rows as is enough for a curve."""
    rows = np.linspace(0, len(features.target[side]) - 1, 1000).astype(int)
    truth = features.target[side][rows]
    staged = model.staged_predict_proba(features.encoded[side][rows])
    return [float(-np.log(np.where(truth, each[:, 1], each[:, 0])).mean()) for each in staged]


def evaluate(pipeline: Pipeline, features: Features, losses: dict[str, list[float]]) -> Results:
    """Judge the model on the test rows."""
    raw, truth = features.raw["test"], features.target["test"]
    scores = pipeline.predict_proba(raw)[:, 1]
    labels = scores > 0.5
    metrics = measure(truth, labels, scores)
    bounds = bootstrap(truth, labels, scores)
    importances = permute(pipeline, raw, truth)
    return Results(
        {name: {"value": value, "low": bounds[name][0], "high": bounds[name][1]} for name, value in metrics.items()},
        {
            column: {
                str(value): measure(truth[rows], labels[rows], scores[rows])
                for value, rows in raw.reset_index(drop=True).groupby(column).indices.items()
            }
            for column in SLICES
        },
        importances,
        draw_plots(truth, labels, scores, importances, losses),
    )


def measure(truth: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    both = len(np.unique(truth)) == 2
    return {
        "accuracy": float(accuracy_score(truth, labels)),
        "precision": float(precision_score(truth, labels, zero_division=0.0)),
        "recall": float(recall_score(truth, labels, zero_division=0.0)),
        "f1": float(f1_score(truth, labels, zero_division=0.0)),
        "roc_auc": float(roc_auc_score(truth, scores)) if both else float("nan"),
        "log_loss": float(log_loss(truth, scores, labels=[False, True])),
    }


def bootstrap(truth: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals; a draw counts how often each row was drawn, so nothing is sorted again."""
    random = np.random.default_rng(SEED)
    total = len(truth)
    cells = 2 * truth + labels
    levels, level = np.unique(scores, return_inverse=True)
    loss = -np.log(np.where(truth, scores, 1 - scores))
    sides = level + len(levels) * truth  # negatives by level, then positives
    found = np.empty((RESAMPLES, 6))
    for place in range(RESAMPLES):
        weights = np.bincount(random.integers(0, total, total), minlength=total)
        (tn, fp), (fn, tp) = np.bincount(cells, weights, 4).reshape(2, 2)
        negative, positive = np.bincount(sides, weights, 2 * len(levels)).reshape(2, -1)
        above = np.cumsum(positive[::-1])[::-1] - positive / 2
        auc = (negative * above).sum() / (negative.sum() * positive.sum())
        found[place] = (
            (tp + tn) / total,
            tp / (tp + fp),
            tp / (tp + fn),
            2 * tp / (2 * tp + fp + fn),
            auc,
            weights @ loss / total,
        )
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    names = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)}


def permute(pipeline: Pipeline, raw: pd.DataFrame, truth: np.ndarray) -> dict[str, float]:
    """Return the loss of accuracy when a raw column is shuffled; all shuffled copies are predicted in one call."""
    random = np.random.default_rng(SEED)
    rows = random.choice(len(raw), IMPORTANCE_ROWS, replace=False)
    sample, answers = raw.iloc[rows].reset_index(drop=True), truth[rows]
    order = random.permutation(IMPORTANCE_ROWS)
    copies = [sample, *(sample.assign(**{name: sample[name].to_numpy()[order]}) for name in FEATURES)]
    labels = pipeline.predict(pd.concat(copies)).reshape(len(copies), -1)
    best, *shuffled = (labels == answers).mean(axis=1)
    drops = {name: float(best - each) for name, each in zip(FEATURES, shuffled, strict=True)}
    return dict(sorted(drops.items(), key=lambda each: -each[1]))


def draw_plots(
    truth: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    importances: dict[str, float],
    losses: dict[str, list[float]],
) -> dict[str, bytes]:
    def confusion(axes: Any) -> None:
        counts = np.bincount(2 * truth + labels, minlength=4).reshape(2, 2)
        axes.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            axes.text(column, row, f"{count:,}", ha="center", va="center")

    def roc(axes: Any) -> None:
        axes.plot(*roc_curve(truth, scores)[:2])

    def pr(axes: Any) -> None:
        precision, recall, _ = precision_recall_curve(truth, scores)
        axes.plot(recall, precision)

    def calibration(axes: Any) -> None:
        groups = np.array_split(np.argsort(scores), 10)
        axes.plot([scores[each].mean() for each in groups], [truth[each].mean() for each in groups], marker="o")

    def importance(axes: Any) -> None:
        axes.barh(list(importances)[::-1], list(importances.values())[::-1])

    def loss(axes: Any) -> None:
        for name, curve in losses.items():
            axes.plot(curve, label=name)
        axes.legend()

    return {draw.__name__: render(draw) for draw in (confusion, roc, pr, calibration, importance, loss)}


def render(draw: Any) -> bytes:
    figure = Figure(figsize=(5.6, 4.4), dpi=110)
    draw(figure.add_axes((0.15, 0.13, 0.8, 0.75)))
    image = BytesIO()
    FigureCanvasAgg(figure).print_png(image)  # type: ignore[no-untyped-call]
    return image.getvalue()


def register(
    pipeline: Pipeline, features: Features, losses: dict[str, list[float]], results: Results, out: Path
) -> None:
    """Log all of it in MLflow (SQLite), and the model as a new registered version with the alias ``champion``."""
    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(f"sqlite:///{out.resolve() / 'mlflow.db'}")
    name = "flight-delay"
    if mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, artifact_location=(out.resolve() / "mlartifacts").as_uri())
    mlflow.set_experiment(name)
    with mlflow.start_run():
        mlflow.log_params(PARAMS)
        mlflow.log_metrics({metric: each["value"] for metric, each in results.metrics.items()})
        mlflow.log_metrics({f"{metric}_low": each["low"] for metric, each in results.metrics.items()})
        mlflow.log_metrics({f"{metric}_high": each["high"] for metric, each in results.metrics.items()})
        log_curves(losses)
        mlflow.log_artifacts(str(write_reports(results, out)), "evaluation")
        example = features.raw["test"].head(1)
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            signature=infer_signature(example, pipeline.predict(example)),
            input_example=example,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn", "pandas"],  # else MLflow spends seconds on finding them out
            registered_model_name=name,
        )
    client = mlflow.MlflowClient()
    newest = max(int(each.version) for each in client.search_model_versions(f"name='{name}'"))
    client.set_registered_model_alias(name, "champion", str(newest))


def log_curves(losses: dict[str, list[float]]) -> None:
    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [
        Metric(f"{side}_loss", each, now, step) for side, curve in losses.items() for step, each in enumerate(curve)
    ]
    mlflow.MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=points)


def write_reports(results: Results, out: Path) -> Path:
    folder = out / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in results.plots.items():
        (folder / f"{name}.png").write_bytes(content)
    report = {"metrics": results.metrics, "slices": results.slices, "importances": results.importances}
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--no-mlflow", action="store_true")
    given = parser.parse_args()
    features = make_features(clean(given.flights))
    pipeline, losses = train(features)
    results = evaluate(pipeline, features, losses)
    write_reports(results, given.out)
    if not given.no_mlflow:
        register(pipeline, features, losses, results, given.out)
    print(json.dumps(results.metrics, indent=1))


if __name__ == "__main__":
    main()
