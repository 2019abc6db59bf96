"""How much memory there is: the machine's, and what control groups of both versions leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.runs.memory import available_bytes

MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\nSwapFree: 0 kB\n"}
FIRST = {"proc/self/cgroup": "9:name=systemd:/x\n4:cpu,memory:/pods/one\n0::/\n"}
SECOND = {"proc/self/cgroup": "0::/pods/one\n"}
ENDLESS = str(2**63 - 4096)


def group(limit: str, used: int, cached: int, *, first: bool, name: str = "") -> dict[str, str]:
    folder = f"sys/fs/cgroup/{'memory/' if first else ''}{name}"
    prefix = "total_" if first else ""
    return {
        f"{folder}{'memory.limit_in_bytes' if first else 'memory.max'}": f"{limit}\n",
        f"{folder}{'memory.usage_in_bytes' if first else 'memory.current'}": f"{used}\n",
        f"{folder}memory.stat": f"{prefix}inactive_file {cached}\n{prefix}active_file 1\n{prefix}anon 5\n",
    }


CASES = [
    pytest.param(MACHINE, 8_192_000, id="no groups"),
    pytest.param({}, None, id="nothing known"),
    pytest.param(
        MACHINE | FIRST | group("1000000", 600_000, 99_999, first=True, name="pods/one/"), 500_000, id="version 1"
    ),
    pytest.param(
        MACHINE
        | FIRST
        | group("900000", 100_000, 9, first=True, name="pods/one/")
        | group("500000", 100_000, 9, first=True, name="pods/"),
        400_010,
        id="the group around it has less",
    ),
    pytest.param(
        MACHINE | FIRST | group("1000000", 600_000, 99_999, first=True), 500_000, id="a container's own group"
    ),
    pytest.param(MACHINE | FIRST | group(ENDLESS, 1, 0, first=True), 8_192_000, id="no limit of version 1"),
    pytest.param(
        MACHINE | SECOND | group("1000000", 600_000, 99_999, first=False, name="pods/one/"), 500_000, id="version 2"
    ),
    pytest.param(
        MACHINE
        | SECOND
        | group("max", 600_000, 0, first=False, name="pods/one/")
        | group("700000", 600_000, 0, first=False, name="pods/"),
        100_001,
        id="no limit of its own, one around it",
    ),
    pytest.param(MACHINE | SECOND | group("max", 1, 0, first=False), 8_192_000, id="no limit of version 2"),
    pytest.param(MACHINE | SECOND | group("1000", 5000, 0, first=False), 0, id="more used than allowed"),
    pytest.param(MACHINE | SECOND | {"sys/fs/cgroup/memory.max": "7\n"}, 8_192_000, id="half of a group"),
]


@pytest.mark.parametrize(("files", "expected"), CASES)
def test_the_least_of_what_the_machine_and_its_groups_leave_counts(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_bytes(tmp_path) == expected


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="only Linux tells")
def test_this_machine_has_some_memory_and_not_more_than_all_of_it() -> None:
    found = available_bytes()
    assert found is not None
    assert 0 < found < 64 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
