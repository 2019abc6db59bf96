"""Every error that Modelrail raises on purpose.

::

    ModelrailError                exit code 1   the work was tried and failed
    ├── InputError                exit code 2   what the user wrote cannot be used
    │   └── SpecError                           … in a spec or an environment: every problem at once
    ├── DataError                               the data are not what the spec says
    ├── TrainingError                           the model could not be trained or converted
    ├── ReleaseError                            the release could not be recorded
    ├── StoreError                              the artifact store gave back something else than it was given
    │   └── DamagedError                        … an artifact whose bytes have changed: it is computed anew
    ├── DeploymentError                         the release could not be made live
    │   ├── AbortedError                        … since it did worse than what is live, on real requests
    │   └── HeldError                           … since nothing new may go live until a person says so
    └── TransientError            exit code 75  the same command may succeed later
        └── OvertakenError                      somebody else has changed what the decision was based on

A message says where, what was found, what was expected, and which key or command mends it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

# A name, token or password before the host of a URL; the name of ``ssh://git@…`` is everybody's.
_CREDENTIALS = re.compile(r"([a-z][a-z0-9+.-]*://)(?!git@)[^/\s'\"]*@", re.IGNORECASE)


def redact(text: str) -> str:
    """Hide the credentials in URLs: ``https://user:token@host`` becomes ``https://***@host``."""
    return _CREDENTIALS.sub(r"\1***@", text)


class ModelrailError(Exception):
    """An error with a message for the user, without credentials; the command line prints it without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))


class InputError(ModelrailError):
    """What the user wrote (an argument, a file) cannot be used as it is."""

    exit_code = 2


class DataError(ModelrailError):
    """The data are not what the spec says."""


class TrainingError(ModelrailError):
    """The model could not be trained, or not be converted faithfully."""


class ReleaseError(ModelrailError):
    """The release could not be recorded."""


class StoreError(ModelrailError):
    """The artifact store gave back something else than it was given."""


class DamagedError(StoreError):
    """An artifact has other bytes than were published; it was set aside, so that its step computes it anew.

    Attributes
    ----------
    key : str
        Of the artifact.
    step : str
        That made it.
    partition : str or None
        None where the step makes one artifact for all.
    """

    def __init__(self, message: str, key: str, step: str, partition: str | None) -> None:
        super().__init__(message)
        self.key, self.step, self.partition = key, step, partition


class DeploymentError(ModelrailError):
    """The release could not be made live."""


class AbortedError(DeploymentError):
    """A release was tried on real requests and taken back; what was live stays live.

    Attributes
    ----------
    stable : str
        Tag of the release that stays.
    """

    def __init__(self, message: str, stable: str) -> None:
        super().__init__(message)
        self.stable = stable


class HeldError(DeploymentError):
    """Nothing new may go live there until a person releases the hold."""


class TransientError(ModelrailError):
    """Nothing is wrong with the input; the same call may succeed later."""

    exit_code = 75


class OvertakenError(TransientError):
    """Somebody has changed, meanwhile, what a decision was based on: it must be made anew."""


def explain_os_error(error: OSError) -> ModelrailError:
    """Say what mends an error of the operating system, such as a full disk or a folder that is not ours."""
    store = os.environ.get("MODELRAIL_STORE")
    key = "MODELRAIL_STORE" if store and str(error.filename).startswith(store) else "MODELRAIL_HOME"
    return ModelrailError(f"{error}; expected a place that can be read and written ({key})")


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a file, at a position that an editor can jump to.

    Attributes
    ----------
    file : str
        Path as the user would write it.
    line, column : int
        Counted from 1; 0 where the mistake has no position.
    where : str
        Dotted path of the key, such as ``model.params.max_iter``; empty for the file itself.
    found, expected : str
        What stands there, and what should (with the mend).
    """

    file: str
    line: int
    column: int
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f" {self.where}:" if self.where else ""
        return f"{place}:{where} found {self.found}; expected {self.expected}"


class SpecError(InputError):
    """Everything that is wrong with one or more specs."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))
