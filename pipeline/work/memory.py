"""Memory that a step no longer uses, given back to the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def returned_memory() -> Iterator[None]:
    """Give back what is unused after the block.

    Arrow's own allocators keep what was freed for each thread that freed it. The C library's is as fast here, is shared
    with NumPy, and knows how to give memory back.
    """
    pool = pa.system_memory_pool()
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pool.release_unused()
