"""Broken requests, chosen by what they reach: ``python -m benchmarks.serving.guided [--inputs 1000000]``.

The same parsers, requests and demands as in `benchmarks.serving.fuzz`, but atheris keeps an input that reaches
something new of Modelrail's own code, and goes on from there: half of the time it changes bytes itself, else it
damages as `fuzz` does. ``pip install atheris`` into a virtual environment of its own with the project's
requirements; it is none of the project's.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["pipeline.serving", "pipeline.model.signature", "pipeline.model.texts"]):
    from benchmarks.serving.fuzz import DIALECTS, HUNG_S, Target, damage, good_requests, resident_mib

MAX_BYTES = 4000
_NAMES = tuple(DIALECTS)
_OTHERS = [body for _, body, _ in good_requests()]


def pack(dialect: str, body: bytes, end: int | None) -> bytes:
    """Write a request as one input: two bytes say which parser, and where its JSON ends."""
    place = 255 if end is None else min(end, 254)
    return bytes([_NAMES.index(dialect), place]) + body


def unpack(data: bytes) -> tuple[str, bytes, int | None]:
    """Read what `pack` wrote; any two bytes mean something."""
    return _NAMES[data[0] % len(_NAMES)], data[2:], None if data[1] == 255 else data[1]


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change an input, as atheris wants it."""
    chance = random.Random(seed)  # noqa: S311  # to be drawn the same again
    if len(data) < 3 or chance.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    dialect, body, end = unpack(data)
    changed, stop = damage(body, len(body) if end is None else end, _OTHERS, chance)
    return pack(dialect, changed, None if end is None else max(stop, 0))[:max_size]


class Count:
    """How far it is, and what memory was at a tenth of it."""

    def __init__(self, target: Target, inputs: int) -> None:
        self.target, self.inputs = target, inputs
        self.asked, self.before = 0, 0.0
        self.began = time.monotonic()

    def ask(self, data: bytes) -> None:
        """Ask one input, and stop at the first fault."""
        self.asked += 1
        if self.asked == self.inputs // 10:
            self.before = resident_mib()
        if len(data) < 2:
            return
        dialect, body, end = unpack(data)
        self.target.ask(dialect, body, None if end is None else b"%d" % end)
        if self.target.faults:
            raise AssertionError(next(iter(self.target.faults.values())))
        if self.asked == self.inputs:
            self.tell()

    def tell(self) -> None:
        """Print how it went, after the last input: atheris ends the process at once."""
        seconds = time.monotonic() - self.began
        slowest_ms = self.target.slowest_s * 1000
        print(f"{self.asked:,} inputs to 2 models in {seconds:.0f} s; the slowest took {slowest_ms:.0f} ms")
        self.target.tell(resident_mib() - self.before)
        sys.stdout.flush()


def main() -> None:
    """Let atheris choose; it ends the process itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, (dialect, body, head) in enumerate(good_requests()):
            (corpus / str(number)).write_bytes(pack(dialect, body, None if head is None else int(head)))
        count = Count(Target(Path(folder)), given.inputs)
        options = [f"-runs={given.inputs}", f"-seed={given.seed}", f"-max_len={MAX_BYTES}", f"-timeout={HUNG_S}"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], count.ask, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
