"""The recording process of a run: it records the events that it reads from standard input."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import ModelrailError, TransientError
from pipeline.runs.tracking.events import EVENTS, Learning, RunClosed
from pipeline.runs.tracking.runs import Tracker

# MLflow works without these (its distribution `mlflow-skinny` brings none of them) and a record needs none; importing
# them would cost this process half of its memory and a second.
_NOT_NEEDED = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn")


def _serve() -> None:
    """Record the events that come in by standard input, one a line, and answer each by a line."""
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it then fails as if it were not installed
    tracker = Tracker(os.environ["MLFLOW_TRACKING_URI"], Path(sys.argv[1]), None)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints must not be taken for an answer
    closed = False
    for line in sys.stdin:
        facts = json.loads(line)
        event = EVENTS[facts.pop("event")](**facts)
        closed = isinstance(event, RunClosed)
        if isinstance(event, Learning):  # not answered; what fails here fails again when the step has ended
            with suppress(ModelrailError):
                tracker.record(event)
            continue
        try:
            tracker.record(event)
            reply: dict[str, Any] = {"run": tracker.run}
        except ModelrailError as error:
            reply = {"error": str(error), "transient": isinstance(error, TransientError)}
        with suppress(BrokenPipeError):
            answers.write(json.dumps(reply) + "\n")
    if tracker.run is not None and not closed:
        tracker.record(RunClosed("KILLED", {"modelrail.outcome": "killed"}))
    sys.stderr.flush()
    os._exit(0)  # all is committed; an orderly end of MLflow's and SQLAlchemy's threads would take most of a second


if __name__ == "__main__":
    _serve()
