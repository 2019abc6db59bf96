"""MLflow: one run tree a run, a child a step, and the registry. The only package that imports MLflow.

What happened is told by events (plain JSON), so that the same code records in this process (a task of
Airflow, where MLflow is already imported) or in a second one (``modelrail run``, where importing MLflow and
waiting for its database would cost as much as training does).
"""

from pipeline.runs.tracking.events import (
    Event,
    Learning,
    LookedBack,
    Released,
    RunClosed,
    RunOpened,
    StepDone,
    UnseenEvaluated,
)
from pipeline.runs.tracking.recording import DirectRecorder, PipedRecorder, Recorder

__all__ = [
    "DirectRecorder",
    "Event",
    "Learning",
    "LookedBack",
    "PipedRecorder",
    "Recorder",
    "Released",
    "RunClosed",
    "RunOpened",
    "StepDone",
    "UnseenEvaluated",
]
