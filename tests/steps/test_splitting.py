from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError, InputError
from pipeline.model.columns import Side
from pipeline.spec.schema.spec import Split
from pipeline.steps.splitting import assign, row_hashes

MIDNIGHT = datetime(2013, 1, 2, tzinfo=UTC)
GOLDEN = [0, 0, 2, 2, 2, 0, 0, 2, 0, 0, 2, 0, 2, 2, 2, 0, 2, 0, 2, 1]


def numbered(rows: int, start: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"id": np.arange(start, start + rows, dtype=np.float64)})


def sides_of(frame: pd.DataFrame, split: Split, key: tuple[str, ...] = ()) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    return assign(frame, row_hashes(frame, key), split)


def test_shares_are_those_of_the_spec() -> None:
    sides = sides_of(numbered(100_000), Split(test=0.2, validation=0.1))
    counts = np.bincount(sides, minlength=3)
    expected = np.array([70_000, 10_000, 20_000])
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # the 99.9 % quantile with 2 degrees of freedom
    assert sides.dtype == np.int8


def test_sides_are_the_same_on_every_machine() -> None:
    assert sides_of(numbered(20), Split(test=0.3, validation=0.2)).tolist() == GOLDEN


@pytest.mark.parametrize("split", [Split(), Split(by="group", column="id")])
def test_a_row_keeps_its_side_when_rows_arrive(split: Split) -> None:
    before, after = numbered(500), numbered(2000).sample(frac=1, random_state=1)
    sides = pd.Series(sides_of(after, split), index=after["id"])
    assert sides.loc[before["id"]].tolist() == sides_of(before, split).tolist()


def test_a_larger_test_share_only_adds_rows_to_the_test() -> None:
    small = sides_of(numbered(1000), Split(test=0.1)) == Side.TEST
    large = sides_of(numbered(1000), Split(test=0.3)) == Side.TEST
    assert (large[small]).all()


def test_equal_rows_without_a_key_share_a_side() -> None:
    frame = pd.concat([numbered(300), numbered(300)], ignore_index=True)
    for split in (Split(), Split(stratify="id"), Split(test=0.37, validation=0.21)):
        sides = sides_of(frame, split)
        assert (sides[:300] == sides[300:]).all()


def test_a_group_stays_together() -> None:
    frame = numbered(1000).assign(plane=pd.array([f"N{i % 50}" for i in range(999)] + [None], dtype="str"))
    sides = pd.Series(sides_of(frame, Split(by="group", column="plane", test=0.3), ("id",)))
    by_plane = sides.groupby(frame["plane"])
    assert (by_plane.min() == by_plane.max()).all()
    assert sides.nunique() == 3


def test_time_cuts_at_the_two_moments() -> None:
    frame = pd.DataFrame({"when": pd.date_range("2013-01-01", periods=4, freq="D", unit="us")})
    split = Split(by="time", column="when", validation_from=MIDNIGHT, test_from=MIDNIGHT + timedelta(days=2))
    assert sides_of(frame, split).tolist() == [Side.TRAIN, Side.VALIDATION, Side.VALIDATION, Side.TEST]


def test_time_is_compared_in_utc() -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(["2013-01-01 22:30", "2013-01-01 23:30"]).astype("datetime64[us]")})
    start = datetime(2013, 1, 2, 1, tzinfo=timezone(timedelta(hours=2)))
    assert sides_of(frame, Split(by="time", column="when", test_from=start)).tolist() == [Side.TRAIN, Side.TEST]
    assert start.astimezone(UTC).hour == 23


@pytest.mark.parametrize(
    ("frame", "split", "message"),
    [
        (
            pd.DataFrame({"when": pd.to_datetime(["2013-01-01", None]).astype("datetime64[us]")}),
            Split(by="time", column="when", test_from=MIDNIGHT),
            r"1 of 2 rows have no 'when'.*\(clean.missing.when: drop\)",
        ),
        (numbered(2), Split(by="time", column="id"), r"'id' is float64; expected a datetime \(split.column\)"),
        (numbered(2), Split(by="group", column="plane"), r"found no column 'plane'; expected one of \['id'\]"),
        (numbered(2), Split(stratify="late"), r"found no column 'late'.*\(split.stratify\)"),
    ],
)
def test_an_unfit_column_is_refused(frame: pd.DataFrame, split: Split, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sides_of(frame, split)


def test_strata_go_with_the_key_only() -> None:
    with pytest.raises(InputError, match=r"expected 'by: key' \(split.by\)"):
        sides_of(numbered(2), Split(by="group", column="id", stratify="id"))


def test_each_stratum_gets_its_shares_to_within_one_row() -> None:
    late = pd.array(["yes"] * 37 + ["no"] * 963, dtype="str")
    frame = numbered(1000).assign(late=late)
    sides = sides_of(frame, Split(test=0.2, validation=0.1, stratify="late"), ("id",))
    for stratum, size in (("yes", 37), ("no", 963)):
        counts = np.bincount(sides[frame["late"] == stratum], minlength=3)
        assert np.abs(counts - size * np.array([0.7, 0.1, 0.2])).max() <= 1


def test_small_strata_get_their_shares_on_average() -> None:
    split = Split(test=0.2, validation=0.1, stratify="late")
    counts = np.zeros(3)
    for partition in range(1000):
        frame = numbered(3, start=3 * partition).assign(late=1.0)
        counts += np.bincount(sides_of(frame, split, ("id",)), minlength=3)
    assert counts / 3000 == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_a_stratum_does_not_depend_on_the_order_of_rows() -> None:
    frame = numbered(100).assign(late=np.arange(100.0) % 3)
    split = Split(stratify="late")
    shuffled = frame.sample(frac=1, random_state=2)
    assert (sides_of(frame, split, ("id",))[shuffled.index] == sides_of(shuffled, split, ("id",))).all()


@pytest.mark.parametrize("split", [Split(), Split(stratify="id"), Split(by="group", column="id")])
@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_partition_and_a_single_row_are_split(split: Split, rows: int) -> None:
    assert len(sides_of(numbered(rows), split)) == rows
