"""Modelrail: from a Git commit to a model in production."""

import os

# Nothing here reports home. ONNX Runtime (from 1.29 on) and MLflow would tell their makers what runs on this machine;
# each reads its variable once, when it is loaded, and everything that loads them is imported through this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
