"""Recording events: in this process, or in a second one while this one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from pipeline.errors import ModelrailError, TransientError
from pipeline.runs.tracking.events import Event, Learning


class Recorder(Protocol):
    """What events are told to."""

    def tell(self, event: Event) -> str:
        """Record an event; return the id of the MLflow run it belongs to (empty if it is not known yet)."""

    def run_id(self) -> str | None:
        """Return the id of the run that is open.

        Raises
        ------
        ModelrailError
            If something could not be recorded.
        """

    def finish(self) -> None:
        """Wait until everything told is recorded.

        Raises
        ------
        ModelrailError
            If something could not be recorded.
        """


class DirectRecorder:
    """Records in this process."""

    def __init__(self, tracking: str, artifacts: Path, run: str | None = None) -> None:
        from pipeline.runs.tracking.runs import Tracker  # MLflow: imported only by the process that records

        self._tracker = Tracker(tracking, artifacts, run)

    def tell(self, event: Event) -> str:  # noqa: D102
        return self._tracker.record(event)

    def run_id(self) -> str | None:  # noqa: D102
        return self._tracker.run

    def experiment_id(self) -> str:
        """Return the id of the experiment of the run that was opened here; empty if none was."""
        return self._tracker.experiment

    def finish(self) -> None:  # noqa: D102
        return


class PipedRecorder:
    """Records in a second process, while this one goes on.

    If this process is killed, the other one sees the pipe end and marks the run as killed.
    """

    def __init__(self, tracking: str, artifacts: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.runs.tracking", str(artifacts)],
            # not an argument: there may be a password in it, and everybody can read those
            env=os.environ | {"MLFLOW_TRACKING_URI": tracking},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run; it closes the record in order
        )
        self._unanswered = 0
        self._run: str | None = None
        self._failure: tuple[str, bool] | None = None

    def tell(self, event: Event) -> str:  # noqa: D102
        pipe = self._process.stdin
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        with suppress(BrokenPipeError):  # finish() says why the other process is gone
            if pipe is not None:
                pipe.write(line.encode() + b"\n")
                pipe.flush()
        # there may be thousands of these before anybody listens, more than the pipe holds answers
        self._unanswered += not isinstance(event, Learning)
        return ""

    def run_id(self) -> str | None:  # noqa: D102
        self._hear()
        self._raise()
        return self._run

    def finish(self) -> None:  # noqa: D102
        self._hear()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None:
            text, transient = self._failure
            raise (TransientError if transient else ModelrailError)(text)

    def _hear(self) -> None:
        while self._unanswered:
            self._unanswered -= 1
            line = self._process.stdout.readline() if self._process.stdout else b""
            reply = json.loads(line) if line else {"error": "tracking: the recording process ended early"}
            self._run = reply.get("run") or self._run
            if "error" in reply and self._failure is None:
                self._failure = (reply["error"], bool(reply.get("transient")))
