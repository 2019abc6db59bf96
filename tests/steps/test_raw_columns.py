"""What raw columns look like, merged and whole."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from pipeline.model.images.rules import ImageRule
from pipeline.steps import raw_columns
from pipeline.steps.quantiles import summarize
from pipeline.steps.raw_columns import Known, measure_raw, merge_raw, read_raw, write_raw

TINY = ImageRule(("pixels",), (1, 2), "gray")
ROWS = pd.DataFrame(
    {
        "x": [3.0, np.nan, -1.0, 3.0, np.inf],
        "at": pd.to_datetime(
            ["2013-01-31 05:59:59", None, "1969-12-31 23:59", "2013-02-03", "2013-02-04"], format="ISO8601"
        ).astype("datetime64[us]"),
        "word": pd.array(["a", None, "b", "a", ""], dtype="str"),
        "photo[0,0,0]": [0.0, 1.0, np.nan, 0.5, 0.5],
        "photo[0,0,1]": [1.0, 1.0, np.nan, 0.5, 0.0],
    }
)


def measure(rows):
    return measure_raw(rows, ["x", "at", "photo[0,0,0]", "photo[0,0,1]"], ["word"], {"photo": TINY})


def test_each_column_is_read_as_servers_will_read_it():
    found = write_raw(measure(ROWS))
    assert list(found) == ["x", "at[hour]", "at[weekday]", "photo[brightness]", "word", "word[length]"]
    assert found["x"]["extremes"] == [-1.0, 3.0]
    assert found["at[hour]"] == {"rows": 5, "counts": {"": 1, "0": 2, "23": 1, "5": 1}}
    assert found["at[weekday]"]["counts"] == {"": 1, "0": 1, "2": 1, "3": 1, "6": 1}, "Monday is 0"
    assert found["word"]["counts"] == {"": 2, "a": 2, "b": 1}
    measured = measure(ROWS)
    assert list(measured["photo[brightness]"].quantiles.values) == [0.25, 0.5, 1.0]
    assert (measured["x"].rows, measured["x"].quantiles.count) == (5, 3.0), "what is no number is missing"


@pytest.mark.parametrize("cuts", [[0, 2, 5], [0, 0, 1, 5], [0, 1, 2, 3, 4, 5]])
def test_merging_parts_gives_the_whole_whatever_the_parts(cuts):
    parts = [measure(ROWS.iloc[a:b]) for a, b in pairwise(cuts)]
    whole = write_raw(measure(ROWS))
    assert write_raw(merge_raw(parts)) == whole
    assert write_raw(merge_raw(parts[::-1])) == whole


def test_prose_is_measured_and_not_kept():
    found = measure_raw(ROWS, [], ["word"], {}, ["word"])
    assert write_raw(found)["word"] == {"rows": 5, "counts": None}
    assert found["word[length]"].quantiles.count == 3


def test_what_is_known_already_is_taken_as_it_is():
    known = Known({"x": summarize(np.array([-1.0, 3.0, 3.0]))}, {"word": {"": 2, "a": 2, "b": 1}})
    found = measure_raw(ROWS, ["x"], ["word"], {}, known=known)
    assert write_raw(found) == {name: each for name, each in write_raw(measure(ROWS)).items() if name in found}


def test_they_survive_json():
    columns = measure(ROWS.iloc[:2])
    again = read_raw(json.loads(json.dumps(write_raw(columns), allow_nan=False)))
    assert write_raw(again) == write_raw(columns)


def test_a_column_of_very_many_texts_is_not_counted_whoever_finds_out(monkeypatch):
    monkeypatch.setattr(raw_columns, "MAX_CATEGORIES", 2)
    many = pd.DataFrame({"word": pd.array(["a", "b", "c"], dtype="str")})
    parts = [measure_raw(many.iloc[a:b], [], ["word"], {}) for a, b in ((0, 2), (2, 3))]
    assert measure_raw(many, [], ["word"], {})["word"].counts is None
    merged = merge_raw(parts)
    assert (merged["word"].counts, merged["word"].rows) == (None, 3)
    assert merge_raw([merged, parts[0]])["word"].counts is None
