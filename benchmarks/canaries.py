"""How soon a canary is decided on a cluster: ``python -m benchmarks.canaries --base IMAGE`` (KUBECONFIG, REGISTRY).

One stable pod, a canary and its baseline; a client of three threads that never stops; a step of 5 s, looks 2 s apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import say_machine
from pipeline.delivery.rollouts.analysis import analyse
from pipeline.errors import AbortedError
from tests.cluster.conftest import kubectl
from tests.cluster.lines import begin
from tests.delivery.rollouts.candidates import SLOPE, erring_graph, slow_graph
from tests.delivery.rollouts.simulation import Server
from tests.serving.bundles import line_graph

CANDIDATES: Mapping[str, Callable[[], Any]] = {
    "good": lambda: line_graph(SLOPE),
    "slow": slow_graph,
    "errs on 5 %": erring_graph,
    "lies": lambda: line_graph(1.2 * SLOPE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="the serving image")
    base = parser.parse_args().base
    say_machine()
    say_one_look()
    namespace = f"modelrail-{uuid.uuid4().hex[:8]}"
    kubectl(namespace, "create", "namespace", namespace)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(namespace, base, Path(folder))
    finally:
        kubectl(namespace, "delete", "namespace", namespace, "--wait=false")


def measure(namespace: str, base: str, folder: Path) -> None:
    line = begin(namespace, base, folder)
    for number, (name, graph) in enumerate(CANDIDATES.items(), 2):
        version, made = f"{number}.0.0", graph()
        line.deploy(f"1.{number}.0", at_once=True)
        before = line.answered().get(version, 0)
        began = time.monotonic()
        try:
            line.deploy(version, made)
            verdict = "promoted"
        except AbortedError as error:
            verdict = str(error).partition("aborted: ")[2].partition(":")[0] + ": aborted"
        seconds = time.monotonic() - began
        print(
            f"{name:<12} {verdict:<18} {seconds:5.1f} s, {line.answered().get(version, 0) - before} requests answered"
        )
    print(f"dropped: {line.dropped() or 0}")


def say_one_look() -> None:
    """Say what one comparison of 100,000 requests each costs, once SciPy is loaded."""
    random = np.random.default_rng(0)
    canary, baseline = (Server().answer(100_000, random) for _ in range(2))
    limits = {"errors": 0.01, "latency": 1.5, "outputs": 0.25}
    seconds = []
    for _ in range(21):
        began = time.perf_counter()
        analyse(canary, baseline, limits, min_requests=1, false_alarm=0.05, look=1)
        seconds.append(time.perf_counter() - began)
    print(f"one look at 2 × 100,000 requests: {sorted(seconds)[10] * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
