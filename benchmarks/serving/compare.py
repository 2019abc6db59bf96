"""One-row requests: Modelrail beside a bare echo, FastAPI with scikit-learn, MLflow's server, BentoML and MLServer.

``.venv/bin/python -m benchmarks.serving.compare [--only echo modelrail] [--models forest] [--seconds 8]``

Needs `wrk` and two cores: the server has one, the load the other. All serve the same two models (a scaled logistic
regression; a forest of 100 trees of depth 10), are asked for the same rows, and have their recommended settings;
Modelrail has metrics, logs and checks on, and its log goes to a file. ``--soak MINUTES`` lets Modelrail answer half as
much as it can instead, and looks at its memory.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import say_machine
from benchmarks.serving.contenders import CONTENDERS, Row
from benchmarks.serving.loading import Load, Serving, serving, stay_away
from benchmarks.serving.models import MODELS, make_releases, make_table, prepare_peer
from benchmarks.serving.soaking import soak

WARM_S = 1.0
_COLUMNS = (
    *("server", "requests/s", "of the echo's", "Modelrail's by it", "p50 ms", "p99 ms"),
    *("CPU µs", "echo's CPU by it", "MiB", "ready s", "errors"),
)
Found = Mapping[str, tuple[Load, float]]
"""What each contender did, and how long it took to be ready."""


@dataclass(frozen=True)
class Bench:
    """Where the models and the virtual environments are, and what is asked for."""

    scratch: Path
    cache: Path
    rows: Sequence[Row]

    @contextmanager
    def serve(self, name: str, model: str) -> Iterator[Serving]:
        """Start a contender with a model."""
        contender = CONTENDERS[name]
        folder = self.scratch / (contender.peer or "modelrail") / model
        tools, log = self.cache / (contender.peer or "") / "bin", self.scratch / f"{name}.log"
        with serving(contender, folder, tools, self.rows[0], log) as server:
            server.load(self.rows, 16, WARM_S)
            yield server


def prepare(scratch: Path, cache: Path, names: Sequence[str], models: Sequence[str]) -> Bench:
    """Fit the models, each contender by its own means."""
    table = scratch / "table.csv"
    rows = make_table(table)
    make_releases(scratch / "modelrail", table, models)
    for name in names:
        peer = CONTENDERS[name].peer
        if peer:
            prepare_peer(peer, cache, table, scratch / peer)
    return Bench(scratch, cache, rows)


def measure(
    bench: Bench, name: str, model: str, connections: Sequence[int], seconds: float
) -> list[tuple[Load, float]]:
    """Start a contender and load it with each number of connections."""
    with bench.serve(name, model) as server:
        found = [(server.load(bench.rows, count, seconds), server.ready_s) for count in connections]
    rates = ", ".join(f"{load.rate:.0f}/s on {count}" for (load, _), count in zip(found, connections, strict=True))
    print(f"{model}: {name}: {rates}", flush=True)
    return found


def show(title: str, found: Found) -> None:
    """Print a table for people and for Markdown."""
    print(f"\n{title}\n\n| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|")
    echo, ours = found.get("echo"), found.get("modelrail")
    for name, (load, ready_s) in found.items():
        cells = [
            name,
            f"{load.rate:,.0f}",
            f"{load.rate / echo[0].rate:.2f}" if echo else "",
            f"{ours[0].rate / load.rate:.2f} ×" if ours else "",
            f"{load.p50_ms:.2f}",
            f"{load.p99_ms:.2f}",
            f"{load.cpu_us:.1f}",
            f"{echo[0].cpu_us / load.cpu_us:.2f}" if echo else "",
            f"{load.mib:.0f}",
            f"{ready_s:.2f}",
            f"{load.errors}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--connections", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="of half load, for each model")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks" / "serving")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = prepare(Path(scratch), given.cache, [] if given.soak else given.only, given.models)
        say_machine()
        stay_away()
        for model in given.models:
            if given.soak:
                print(f"{model}:")
                with bench.serve("modelrail", model) as server:
                    soak(server, bench.rows, given.soak)
                continue
            found = {name: measure(bench, name, model, given.connections, given.seconds) for name in given.only}
            for place, count in enumerate(given.connections):
                show(f"{model}, {count} connections", {name: each[place] for name, each in found.items()})


if __name__ == "__main__":
    main()
