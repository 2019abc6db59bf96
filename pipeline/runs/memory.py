"""How much memory this process may still take: what is free on the machine, or below its container's limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class _Files(NamedTuple):
    """Where a version of Linux's control groups says what: limit, use, and the parts of the use that are cache."""

    mounted: str
    limit: str
    used: str
    cached: tuple[str, ...]


_FIRST = _Files(
    "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_SECOND = _Files("", "memory.max", "memory.current", ("inactive_file", "active_file"))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Compute how much more memory is available, file caches included; None where the system does not tell.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    free = [each for each in (_free_of_machine(root), *_left_by_limits(root)) if each is not None]
    return max(min(free), 0) if free else None


def _free_of_machine(root: Path) -> int | None:
    found = _numbers(root / "proc/meminfo")
    return None if "MemAvailable" not in found else 1024 * (found["MemAvailable"] + found.get("SwapFree", 0))


def _left_by_limits(root: Path) -> Iterator[int]:
    """Yield what is left below the limit of each control group of this process, and of the groups around it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, name = line.split(":", 2)
        files = _SECOND if not kinds else _FIRST if "memory" in kinds.split(",") else None
        if files is None:
            continue
        top = root / "sys/fs/cgroup" / files.mounted
        folder = top / name.strip("/")
        # in a container the name can be the machine's, while only its own group is mounted: at the top
        for group in (folder, *folder.parents) if folder.is_dir() else (top,):
            with suppress(OSError, ValueError, KeyError):
                yield _left_by(group, files)
            if group == top:
                break


def _left_by(group: Path, files: _Files) -> int:
    limit = int((group / files.limit).read_text())  # "max" is no number, and no limit
    used, parts = int((group / files.used).read_text()), _numbers(group / "memory.stat")
    return limit - used + sum(parts[name] for name in files.cached)


def _numbers(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    words = (line.replace(":", " ").split() for line in _lines(path))
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


@contextmanager
def returned_memory() -> Iterator[None]:
    """Return unused memory to the system after the block.

    Arrow's own allocators keep what was freed for each thread that freed it. The C library's is as fast here, is shared
    with NumPy, and knows how to give memory back.
    """
    import pyarrow as pa  # here: a plan asks for the memory that is free, and loads nothing heavy

    pool = pa.system_memory_pool()
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pool.release_unused()
