"""A reference is somebody else's input: what is not one is refused, in words."""

from __future__ import annotations

import json

import pytest

from pipeline.model.reference import read_reference
from pipeline.model.signature import Input, Signature

SIGNATURE = Signature("regression", (Input("x", "float"), Input("word", "str"), Input("at", "datetime")))
NUMBERS = {
    "name": "x", "column": "x", "reading": "value", "rows": 10,
    "bins": {"kind": "numbers", "starts": [0, 1], "high": 2}, "shares": [0.5, 0, 0.25, 0.25, 0],
}  # fmt: skip
WORDS = {
    "name": "word", "column": "word", "reading": "value", "rows": 10,
    "bins": {"kind": "categories", "values": ["a"], "rare": ["b"]}, "shares": [0, 0, 0.5, 0.5],
}  # fmt: skip
HOURS = {
    "name": "at[hour]", "column": "at", "reading": "hour", "rows": 10,
    "bins": {"kind": "parts", "size": 24}, "shares": [1] + [0] * 24,
}  # fmt: skip


def read(*features, **more):
    return read_reference(json.dumps({"version": 1, "features": features, **more}).encode(), SIGNATURE)


def test_what_is_one_is_read():
    found = read(NUMBERS, WORDS, HOURS, metrics={"rmse": 0.5})
    assert [each.bins.count for each in found.features] == [5, 4, 25]
    assert found.metrics == {"rmse": 0.5}


@pytest.mark.parametrize(
    ("features", "fault"),
    [
        ([NUMBERS | {"column": "y"}], "found the value of 'y'; expected a column of the model"),
        ([NUMBERS | {"reading": "hour"}], "found the hour of"),
        ([NUMBERS | {"column": "", "reading": "value"}], "found the value of"),
        ([NUMBERS | {"bins": {"kind": "parts", "size": 4}}], "found bins of the kind PartBins"),
        ([WORDS | {"bins": {"kind": "parts", "size": 3}}], "found bins of the kind PartBins"),
        ([NUMBERS, NUMBERS], "twice"),
        ([NUMBERS | {"shares": [1]}], "found 1 shares; expected 5 that add up to 1"),
        ([NUMBERS | {"shares": [0.5, 0, 0, 0.25, 0]}], "expected 5 that add up to 1"),
        ([NUMBERS | {"shares": [2, 0, 0, 0, -1]}], "expected a reference"),
        ([NUMBERS | {"bins": {"kind": "numbers", "starts": [1, 0], "high": 2}}], "found bins that do not rise"),
        ([NUMBERS | {"bins": {"kind": "numbers", "starts": [0, 1], "high": 0}}], "found bins that do not rise"),
        ([NUMBERS | {"bins": {"kind": "numbers", "starts": list(range(99)), "high": 99}}], "expected a reference"),
        ([WORDS | {"bins": {"kind": "categories", "values": ["a"], "rare": ["a"]}}], "found a category twice"),
        ([WORDS | {"bins": {"kind": "categories", "values": [1], "rare": []}}], "expected a reference"),
        ([HOURS | {"bins": {"kind": "parts", "size": 10**9}}], "expected a reference"),
        ([NUMBERS | {"more": 1}], "expected a reference"),
    ],
)
def test_what_is_not_one_is_refused(features, fault):
    with pytest.raises(ValueError, match=r"found .*expected") as refused:
        read(*features)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"version": 2, "features": []}', b'{"version": 1, "features": [], "calibration": [{}]}', b"\xff"],
)
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match="expected a reference"):
        read_reference(content, SIGNATURE)


def test_a_calibration_belongs_to_a_score():
    with pytest.raises(ValueError, match="found a calibration of 1 bins; expected that of the score's bins"):
        read(NUMBERS, calibration=[{"rows": 1, "score": 0.5, "true": 1}])


def test_a_metric_has_the_name_of_one():
    with pytest.raises(ValueError, match="expected letters, digits and _"):
        read(metrics={'x"}': 1})
