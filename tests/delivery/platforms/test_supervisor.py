from __future__ import annotations

import pytest

from pipeline.serving.process.workers import MAX_BACK_OFF_S, back_off_s


@pytest.mark.parametrize(("failures", "pause_s"), [(0, 0.0), (1, 0.1), (2, 0.2), (4, 0.8), (50, MAX_BACK_OFF_S)])
def test_the_pause_before_the_next_start_doubles(failures: int, pause_s: float) -> None:
    assert back_off_s(failures) == pytest.approx(pause_s)
