"""Kills the process in a pod from outside: at once, and with no chance to notice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.runs.pods.cluster import namespace

from .conftest import BASE_IMAGE

# A process with the number 1 of its container is killed by nobody inside it, and a pod that is deleted has a grace
# period, in which it goes on. This one sees all processes of the node; of each it asks to which pod it belongs.
KILLER = """
import os, sys
for line in sys.stdin:
    count = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cgroup") as of, open(f"/proc/{process}/cmdline") as command:
                if line.strip() in of.read().replace("_", "-") and "pipeline" in command.read():
                    os.kill(int(process), 9)
                    count += 1
        except OSError:
            pass
    print(count, flush=True)
"""


@contextmanager
def killing() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that kills the pipeline's process in a pod, as a node does that is out of memory."""
    with namespace("privileged") as own:
        container = {
            "name": "killer",
            "image": BASE_IMAGE,
            "command": ["sleep", "infinity"],
            "securityContext": {"privileged": True},
        }
        spec = {"containers": [container], "hostPID": True, "terminationGracePeriodSeconds": 0}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "killer"}, "spec": spec}
        own.kubectl("apply", "--filename", "-", stdin=json.dumps(pod))
        own.kubectl("wait", "pod/killer", "--for=condition=Ready", "--timeout=90s")
        command = ["kubectl", "--namespace", own.name, "exec", "-i", "killer", "--", "python3", "-c", KILLER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
            assert killer.stdin
            assert killer.stdout

            def kill(victim: dict[str, Any]) -> None:
                print(victim["metadata"]["uid"], file=killer.stdin, flush=True)
                assert int(killer.stdout.readline()) > 0, "it found no process of the pod"  # type: ignore[union-attr]

            yield kill
            killer.stdin.close()
