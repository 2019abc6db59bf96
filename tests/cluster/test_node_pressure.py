"""A whole node runs out of disk while a release is rolled out.

The kubelet evicts pods then, whoever's they are, so it is done only where one says how: with two commands. It takes
about eight minutes, since a kubelet takes a node's word back only when it was well for five.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import AbortedError

from .conftest import wait_until
from .lines import Line, begin

VARIABLES = ("MODELRAIL_TEST_FILL_DISK", "MODELRAIL_TEST_FREE_DISK")
FILL, FREE = (shlex.split(os.environ.get(each, "")) for each in VARIABLES)

pytestmark = pytest.mark.skipif(
    not (FILL and FREE),
    reason=f"set {' and '.join(VARIABLES)} to commands that fill the node's disk, and free it again",
)


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    """Give the model with its first release live, and strategies that do not wait for long."""
    made = begin(namespace, serving_image, tmp_path)
    return made.with_deploy(strategy="rolling", canary=None, ready_within_s=30)


def is_pressed(line: Line) -> bool:
    (node,) = line.get("nodes")["items"]
    return any(each["type"] == "DiskPressure" and each["status"] == "True" for each in node["status"]["conditions"])


def test_no_release_takes_over_on_a_node_without_disk_and_what_was_live_comes_back(line: Line) -> None:
    subprocess.run(FILL, check=True)
    try:
        wait_until(lambda: is_pressed(line), "the node's word", 120)
        with pytest.raises(AbortedError, match=r"untolerated taint.*'kubectl describe nodes'.*1\.0\.0 stays live"):
            line.deploy("2.0.0")
    finally:
        subprocess.run(FREE, check=True)
    wait_until(lambda: not is_pressed(line), "the node to be well", 480, every_s=5)
    wait_until(lambda: line.live() == "1.0.0", "what was live", 120)
    assert line.deploy("2.0.0").replaced == "1.0.0"
