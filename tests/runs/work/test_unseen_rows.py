"""By which columns captured answers are joined with rows that tell the truth."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.model.signature import Input, Signature
from pipeline.runs.work.unseen_rows import joined_by

SIGNATURE = Signature("regression", (Input("id", "int"), Input("delay", "float"), Input("carrier", "str")))
WITH_IMAGE = Signature("regression", (Input("id", "int"), Input("photo", "image", image={"features": ["pixels"]})))
ALL: dict[str, Any] = {"id": 1, "delay": 2.0, "carrier": "AA"}


@pytest.mark.parametrize(
    ("key", "signature", "records", "expected"),
    [
        (["id"], SIGNATURE, [ALL], (["id"], [])),
        (["carrier", "id"], SIGNATURE, [ALL], (["id"], ["carrier"])),
        ([], SIGNATURE, [ALL], (["id", "delay"], ["carrier"])),
        (["number"], SIGNATURE, [ALL], (["id", "delay"], ["carrier"])),  # a key that nobody sends
        (["id"], SIGNATURE, [{"id": 1}], (["id"], [])),  # what else is hidden does not matter
        (["id"], SIGNATURE, [ALL, {"delay": 1.0, "carrier": "AA"}], None),
        ([], SIGNATURE, [{"id": 1, "delay": 1.0}], None),
        (["id"], SIGNATURE, [], None),
        (["id"], WITH_IMAGE, [{"id": 1, "photo": "…"}], (["id"], [])),
        ([], WITH_IMAGE, [{"id": 1, "photo": "…"}], None),
    ],
)
def test_captures_are_joined_by_the_key_else_by_all_that_was_asked(
    key: list[str], signature: Signature, records: list[dict[str, Any]], expected: Any
) -> None:
    assert joined_by(key, signature, [{"record": each, "output": 1.0} for each in records]) == expected
