from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.steps.row_hashes import draw, row_hashes

GOLDEN_ROWS = [10566513272864962484, 3713772729163092688, 7083309346248532396]
GOLDEN_TEXTS = [16099740236088124479, 8041213898104264070, 9599590886958908435]


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [1.0, -0.0, np.nan],
            "text": pd.array(["EWR", "é", None], dtype="str"),
            "time": pd.to_datetime(["2013-01-01 10:00", "1969-12-31 00:00", None]).astype("datetime64[us]"),
        }
    )


def test_hashes_are_the_same_everywhere() -> None:
    assert row_hashes(frame(), []).tolist() == GOLDEN_ROWS
    assert row_hashes(frame(), ["text"]).tolist() == GOLDEN_TEXTS


def test_hash_follows_the_published_algorithm() -> None:
    """The algorithm once more, in plain integers."""
    from hashlib import blake2b

    def mix(bits: int) -> int:
        bits = (bits + 0x9E3779B97F4A7C15) % 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    def of_text(text: str) -> int:
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")

    one = int.from_bytes(np.float64(1).tobytes(), "little")
    time = int(pd.Timestamp("2013-01-01 10:00").timestamp()) * 10**6
    cells = {"number": one, "text": of_text("EWR"), "time": time}
    expected = mix(sum(mix(bits ^ of_text(name)) for name, bits in cells.items()) % 2**64)
    assert row_hashes(frame(), [])[0] == expected


def test_hash_does_not_depend_on_the_order_of_columns_or_on_other_rows() -> None:
    rows = frame()
    hashes = row_hashes(rows, [])
    assert (row_hashes(rows[["time", "number", "text"]], []) == hashes).all()
    assert row_hashes(rows.iloc[[2, 1]], []).tolist() == hashes[[2, 1]].tolist()


@pytest.mark.parametrize("one", [[0.0], [np.nan]])
def test_equal_numbers_have_equal_hashes(one: list[float]) -> None:
    other = [-each for each in one]
    assert (row_hashes(pd.DataFrame({"x": one}), []) == row_hashes(pd.DataFrame({"x": other}), [])).all()


def test_a_missing_cell_hashes_alike_in_every_kind() -> None:
    kinds = [pd.Series([value], dtype=dtype) for value, dtype in (("NaT", "datetime64[us]"), (None, "str"))]
    hashes = {int(row_hashes(pd.DataFrame({"x": each}), ["x"])[0]) for each in [pd.Series([np.nan]), *kinds]}
    assert len(hashes) == 1


def test_the_same_value_in_another_column_hashes_differently() -> None:
    swapped = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    assert len(set(row_hashes(swapped, []).tolist())) == 2


def test_draws_are_uniform_and_independent_between_purposes() -> None:
    hashes = row_hashes(pd.DataFrame({"x": np.arange(100_000.0)}), [])
    split, sample = draw(hashes, "split"), draw(hashes, "sample")
    counts = np.histogram2d(split, sample, bins=10, range=[[0, 1], [0, 1]])[0]
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 149  # the 99.9 % quantile with 99 degrees of freedom
    assert len(np.unique(hashes)) == 100_000


def test_a_missing_key_column_is_named() -> None:
    with pytest.raises(DataError, match=r"found no column 'flight'; expected it \(data.key\)"):
        row_hashes(frame(), ["number", "flight"])


def test_the_input_is_not_changed() -> None:
    rows = frame()
    row_hashes(rows, [])
    pd.testing.assert_frame_equal(rows, frame())
    assert np.signbit(rows["number"][1])
