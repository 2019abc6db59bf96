"""A pod that the cluster itself has ended, as the cluster says it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.errors import TransientError
from pipeline.runs.pods.step_pod import explain_end, manifest
from pipeline.spec.loading.loading import load_spec

from .cluster import HOW, is_here, namespace, poll

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(not is_here(), reason=HOW)]
IMAGE = os.environ.get("MODELRAIL_PIPELINE_IMAGE")
FILL = "open('x', 'wb').write(bytes(60_000_000)); import time; time.sleep(300)"


def test_an_eviction_is_told_from_what_the_cluster_says(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(f"model: {{name: m}}\nrun: {{train: pod, image: '{IMAGE}'}}\n")
    with namespace() as own:
        pod = manifest(load_spec(tmp_path / "spec.yaml").spec, "train", [], {})
        pod["metadata"]["namespace"] = own.name
        pod["spec"]["containers"][0]["command"] = ["python", "-c", FILL]
        pod["spec"]["volumes"][0]["emptyDir"] = {"sizeLimit": "10Mi"}
        own.kubectl("apply", "--filename", "-", stdin=json.dumps(pod))
        for _ in poll(120):
            (seen,) = own.pods()
            if seen["status"]["phase"] == "Failed":
                break
        error = explain_end(seen, "train", 60)
    assert type(error) is TransientError
    assert "train: pod m-train: found it evicted from its node (Usage of EmptyDir volume" in str(error)
