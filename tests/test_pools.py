from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.pools import Pool, close, count, make_pools, run


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("===== 3 failed, 12 passed, 1 skipped, 4 deselected, 2 warnings in 61.20s (0:01:01) =====\n",
         {"failed": 3, "passed": 12, "skipped": 1, "warning": 2}),
        ("== 1 passed, 2 errors in 0.10s ==", {"passed": 1, "error": 2}),
        ("== 4 deselected in 0.10s ==", {}),
        ("======= slowest 25 durations =======", {}),
        ("3 passed in 0.10s", {}),
    ],
)  # fmt: skip
def test_the_outcomes_of_a_closing_line_are_counted(line: str, counts: dict[str, int]) -> None:
    assert count(line) == Counter(counts)


def pool(name: str, printed: str, code: int = 0) -> Pool:
    return Pool(name, [sys.executable, "-c", f"print({printed!r}); raise SystemExit({code})"])


def test_pools_close_with_one_line_for_all(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([pool("units", "== 2 passed, 1 skipped in 1.0s =="), pool("services", "== 3 passed in 2.0s ==")]) == 0
    told = capfd.readouterr().out.splitlines()
    assert "units    | == 2 passed, 1 skipped in 1.0s ==" in told
    assert " 5 passed, 1 skipped in " in told[-1]
    assert told[-1].startswith("===")


@pytest.mark.parametrize("failing", [0, 1])
def test_one_pool_that_fails_fails_all(failing: int, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [("== 2 passed in 1.0s ==", 0)] * 2
    lines[failing] = ("== 1 failed, 1 passed in 1.0s ==", 1)
    assert run([pool(str(number), *each) for number, each in enumerate(lines)]) == 1
    assert " 1 failed, 3 passed in " in capfd.readouterr().out.splitlines()[-1]


def test_a_pool_that_breaks_off_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([pool("units", "== 2 passed in 1.0s =="), pool("cluster", "no cluster", 3)]) == 3
    assert " 2 passed, 1 error in " in capfd.readouterr().out.splitlines()[-1]


def test_each_test_is_in_one_pool() -> None:
    def marks(own: dict[str, str]) -> list[str]:
        return [each.command[each.command.index("-m", 3) + 1] for each in make_pools(own) if "-m" in each.command[3:]]

    units = "not (airflow or browser or cluster or rare)"
    assert marks({}) == [units, "(airflow or browser or cluster) and not rare"]
    assert marks({"cluster": ".ci/cluster"}) == [units, "(airflow or browser) and not rare and not cluster"]


def test_a_closing_line_looks_as_pytests_own() -> None:
    done = Pool("units", [], 1, counts=Counter(failed=1, passed=2, warning=2, error=2))
    assert close([done], 3661.5).strip("=") == " 1 failed, 2 passed, 2 warnings, 2 errors in 3661.50s (1:01:01) "
