"""The API server is stopped for everybody while releases are rolled out.

Everything else that uses the cluster suffers too, so it is done only where one says how: with two commands.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import made_namespace, wait_until
from .lines import NAME, Line, begin
from .test_canaries import start

VARIABLES = ("MODELRAIL_TEST_STOP_API_SERVER", "MODELRAIL_TEST_START_API_SERVER")
STOP, START = (shlex.split(os.environ.get(each, "")) for each in VARIABLES)
AWAY_S = 30

pytestmark = pytest.mark.skipif(
    not (STOP and START),
    reason=f"set {' and '.join(VARIABLES)} to commands that stop the cluster's API server, and start it again",
)


def command(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=300)


@pytest.fixture
def lines(serving_image: str, tmp_path: Path) -> Iterator[tuple[Line, Line]]:
    """Yield a model twice, each in a namespace of its own, with a client that never stops: a canary, and pod by pod."""
    with ExitStack() as stack:
        found = []
        for name in ("canary", "rolling"):
            (tmp_path / name).mkdir()
            found.append(begin(stack.enter_context(made_namespace()), serving_image, tmp_path / name))
        canary, rolling = found
        yield canary, rolling.with_deploy(strategy="rolling", canary=None, replicas=2, ready_within_s=180)


def test_rollouts_go_on_after_nobody_reached_the_api_server_for_half_a_minute(lines: tuple[Line, Line]) -> None:
    canary, rolling = lines
    with start(canary, "2.0.0") as first:
        wait_until(lambda: canary.rollout().get("step") == 0, "the canary's first step")
        with start(rolling, "2.0.0") as second:
            wait_until(lambda: len(rolling.pods("stable")) > 1, "a new pod", every_s=0.05)
            command(STOP)
            try:
                time.sleep(AWAY_S)
                assert first.poll() is None, "a canary goes on"
            finally:
                command(START)
            for line, process in ((canary, first), (rolling, second)):
                _, said = process.communicate(timeout=240)
                if process.returncode:  # what it was just asking for is not known: whoever runs it tries again
                    assert said.startswith(b"TransientError: cluster"), said.decode()
                    line.deploy("2.0.0")
    for line, replicas in ((canary, 1), (rolling, 2)):
        assert line.live() == "2.0.0"
        assert line.tracks() == {NAME: replicas}
        assert line.dropped() == {}, line.target.spec.deploy.strategy
