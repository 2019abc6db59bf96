"""``POST /api/truth``: what came true of rows that were answered."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from pipeline.serving.observing.truth import Told, TruthMeters
from pipeline.serving.rows.bodies import parse
from pipeline.serving.rows.faults import Fault, RejectedError, describe
from pipeline.serving.scoring.answers import Reply, content
from pipeline.serving.settings import PREFIX

MOST = 10_000
"""Truths of one request."""
_MOST_FAULTS = 100
_ID = re.compile(r"([^@\s]{1,200})@v([^@:\s]{1,100}):([0-9a-f]{16})[0-9a-f]{16}")
_KEYS = {"id", "row", "truth"}
_EXPECTED = '{"truths": [{"id": "MODEL@vVERSION:…", "row": 0, "truth": …}]}'


def take_truth(meters: TruthMeters, body: bytes | bytearray, remembered: int) -> Reply:
    """Count the truths of a body, and answer what became of them.

    Parameters
    ----------
    remembered : int
        How many answers are remembered.

    Raises
    ------
    RejectedError
        If the body is malformed (400), or something in it is no truth of an answer (422): then none is counted; or if
        no answers are remembered (404).
    """
    if not remembered:
        raise RejectedError(404, f"found no answer that is remembered; expected some ({PREFIX}TRUTH_ROWS)")
    return content(200, asdict(meters.tell(read_truths(body))))


def read_truths(body: bytes | bytearray) -> list[Told]:
    """Read what was told; whether a truth fits is seen where the answer is found."""
    document = parse(body)
    listed = document.get("truths") if isinstance(document, dict) and document.keys() == {"truths"} else None
    if not isinstance(listed, list):
        raise RejectedError(400, f"found {describe(document)}; expected {_EXPECTED}")
    if len(listed) > MOST:
        raise RejectedError(422, f"found {len(listed)} truths; expected at most {MOST} in a request")
    found = [_read(place, each) for place, each in enumerate(listed)]
    if faults := [each for each in found if isinstance(each, Fault)]:
        raise RejectedError(422, str(faults[0]), faults[:_MOST_FAULTS])
    return [each for each in found if isinstance(each, Told)]


def _read(place: int, entry: Any) -> Told | Fault:
    if not isinstance(entry, dict) or not {"id", "truth"} <= entry.keys() <= _KEYS:
        return Fault(describe(entry), "an id, a truth, and maybe a row", place)
    named, row = entry["id"], entry.get("row", 0)
    match = _ID.fullmatch(named) if isinstance(named, str) else None
    if match is None:
        return Fault(describe(named), "the id of a prediction", place, "id")
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < 2**32:
        return Fault(describe(row), "the number of a row of that request, from 0", place, "row")
    model, version, digits = match.groups()
    return Told(model, version, int.from_bytes(bytes.fromhex(digits), "little"), row, entry["truth"])
