"""What MLflow loads of a model that ONNX alone cannot express: Modelrail must be installed, and this says so.

It goes into the model in MLflow's registry as it is, and imports nothing of Modelrail before it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _load_pyfunc(path: str) -> Any:
    """Load the model in a folder; MLflow calls this by its name."""
    try:
        from pipeline.runs.tracking.loaded_model import LoadedModel
        from pipeline.serving.scoring.model import load_model
    except ImportError as error:
        raise ImportError(
            f"{path}: found no Modelrail ({error}); expected it, since this model has no graph of ONNX alone: install"
            " what the model's requirements.txt lists, or ask a server ('modelrail serve')"
        ) from error
    return LoadedModel(load_model(Path(path)))
