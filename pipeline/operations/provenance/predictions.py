"""What this machine has on record of a release's predictions: servers' logs, and captured samples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ID = re.compile(r"(?P<release>[A-Za-z][A-Za-z0-9_-]*@v\d+\.\d+\.\d+):(?P<digits>[0-9a-f]{32})")
_FIELD = '"http.request.id":"{}'
_LOGS = ("server.log.1", "server.log")
_CAPTURES = "MODELRAIL_SERVE_CAPTURE_TO"


@dataclass(frozen=True)
class Record:
    """One prediction.

    Attributes
    ----------
    logged : dict
        The server's log line; empty if the log has none (any more).
    captured : tuple of dict
        Records with their outputs, where the sample has them.
    """

    id: str
    logged: dict[str, Any]
    captured: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Recorded:
    """The requests of a release in the logs of this machine's servers."""

    count: int
    first: str = ""
    last: str = ""


def release_of(prediction_id: str) -> str | None:
    """Read the tag of the release from a prediction id; None if it is no such id."""
    match = _ID.fullmatch(prediction_id)
    return match["release"] if match else None


def count_predictions(state: Path, tag: str) -> Recorded:
    """Count a release's requests in the logs; a log keeps its newest 10 to 20 MB."""
    wanted = _FIELD.format(f"{tag}:").encode()
    times = sorted(_time_of(line) for line in _lines(state, tag) if wanted in line)
    return Recorded(len(times), times[0], times[-1]) if times else Recorded(0)


def find_prediction(state: Path, prediction_id: str) -> Record:
    """Look one prediction up in the logs and in captured samples, where those are in a folder."""
    wanted = prediction_id.encode()
    tag = release_of(prediction_id) or ""
    line = next((line for line in _lines(state, tag) if wanted in line), b"{}")
    captured = tuple(json.loads(line) for line in _captured(tag) if wanted in line)
    return Record(prediction_id, json.loads(line), captured)


def _lines(state: Path, tag: str) -> Iterator[bytes]:
    model = tag.partition("@")[0]
    for folder in sorted((state / "deployments").glob(f"{model}*")):
        if folder.name.partition("#")[0] == model:
            yield from _read(folder / name for name in _LOGS)


def _captured(tag: str) -> Iterator[bytes]:
    root, (model, _, version) = os.environ.get(_CAPTURES, ""), tag.partition("@v")
    if root and "://" not in root:
        yield from _read(Path(root, "captures", model).glob(f"*{version}/*/*.jsonl"))


def _read(files: Iterator[Path]) -> Iterator[bytes]:
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                yield from stream


def _time_of(line: bytes) -> str:
    return line.partition(b'"@timestamp":"')[2].partition(b'"')[0].decode()
