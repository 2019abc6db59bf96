"""The five steps as a ZenML pipeline: ``python pipeline.py FLIGHTS OUT``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import bare
import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import pipeline, step
from zenml.materializers import CloudpickleMaterializer


@step
def clean(flights: str) -> Annotated[pd.DataFrame, "rows"]:
    return bare.clean(Path(flights))


@step(output_materializers=CloudpickleMaterializer)  # by default a dataclass becomes JSON, which takes far longer
def make_features(rows: pd.DataFrame) -> Annotated[bare.Features, "features"]:
    return bare.make_features(rows)


@step
def train(features: bare.Features) -> tuple[Annotated[Pipeline, "model"], Annotated[dict[str, list[float]], "losses"]]:
    model, losses = bare.train(features)
    return model, losses  # ZenML reads from the source that these are two artifacts


@step(output_materializers=CloudpickleMaterializer)
def evaluate(
    model: Pipeline, features: bare.Features, losses: dict[str, list[float]]
) -> Annotated[bare.Results, "results"]:
    return bare.evaluate(model, features, losses)


@step
def register(
    model: Pipeline, features: bare.Features, losses: dict[str, list[float]], results: bare.Results, out: str
) -> None:
    bare.register(model, features, losses, results, Path(out))


@pipeline(enable_cache=True)
def flight_delay(flights: str, out: str) -> None:
    features = make_features(clean(flights))
    model, losses = train(features)
    results = evaluate(model, features, losses)
    register(model, features, losses, results, out)


if __name__ == "__main__":
    flight_delay(sys.argv[1], sys.argv[2])
