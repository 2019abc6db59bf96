"""The five steps as Kedro nodes: ``kedro run`` in the project's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bare
import pandas as pd
from kedro.pipeline import Pipeline, node


def clean(partitions: Mapping[str, Callable[[], pd.DataFrame]]) -> pd.DataFrame:
    return bare.join([bare.clean_partition(load()) for _, load in sorted(partitions.items())])


def register(
    model: Any, features: bare.Features, losses: dict[str, list[float]], results: bare.Results, out: str
) -> Any:
    Path(out).mkdir(exist_ok=True)
    bare.register(model, features, losses, results, Path(out))
    return results.metrics


def register_pipelines() -> dict[str, Pipeline]:
    job = Pipeline(
        [
            node(clean, "flights", "rows"),
            node(bare.make_features, "rows", "features"),
            node(bare.train, "features", ["model", "losses"]),
            node(bare.evaluate, ["model", "features", "losses"], "results"),
            node(register, ["model", "features", "losses", "results", "params:out"], "registered"),
        ]
    )
    return {"__default__": job}
