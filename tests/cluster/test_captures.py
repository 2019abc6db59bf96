"""Captures of real pods in a real object store."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

from pipeline.delivery.images.building import build
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.serving.client import predict
from pipeline.storage.captures import CaptureFiles

from .conftest import BASE_IMAGE, BUILD, REGISTRY, wait_until
from .lines import Line, line_in

STORE = "AWS_ENDPOINT_URL"
DAY_S = 86_400.0

pytestmark = pytest.mark.skipif(STORE not in os.environ, reason=f"no object store: set {STORE}")


@pytest.fixture(scope="module")
def image_with_s3(serving_image: str) -> str:
    """Build the serving image with what an object store needs; the other one is its first layers."""
    assert serving_image
    options = [*BUILD, "--build-arg", "EXTRAS=s3"]
    return build("serving", f"{REGISTRY}/modelrail/serving:s3", None, BASE_IMAGE, push=True, options=options)


@pytest.fixture
def line(namespace: str, image_with_s3: str, tmp_path: Path) -> Line:
    """Return the model, whose pods find the store's credentials and a salt in a Secret."""
    made = line_in(namespace, image_with_s3, tmp_path)
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    given["MODELRAIL_SERVE_CAPTURE_SALT"] = "salt-of-all-pods"
    literals = [f"--from-literal={name}={value}" for name, value in given.items()]
    made.kubectl("create", "secret", "generic", "line-captures", *literals)
    port = int(os.environ[STORE].rpartition(":")[2])
    capture = {"share": 1, "to": f"s3://store/{uuid.uuid4().hex}", "private": {"x": "hash"}, "keep": "30 days"}
    return made.with_deploy(replicas=2, capture=capture | {"secret": "line-captures", "port": port})


def test_pods_keep_captures_and_remove_old_ones(line: Line) -> None:
    capture = line.target.spec.deploy.capture
    assert capture is not None
    files, now = CaptureFiles(capture.to), time.time()
    for age in (29, 40):
        files.write("line", "0.9.0", b'{"time": %d}\n' % (now - age * DAY_S), now - age * DAY_S)
    line.deploy("1.0.0")
    post = platform_of(line.target.spec).post(line.target)
    ids = [predict("http://line", [[0.5]], send=post).id for _ in range(20)]
    said = line.kubectl("get", "all,configmaps,networkpolicies,serviceaccounts", "--output", "json")
    for secret in ("test-secret", "salt-of-all-pods", os.environ["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in said
    assert "s3://store/" in said
    line.kubectl("delete", "deployment/line", "--wait")  # what is waiting is written when a server ends
    wait_until(lambda: not line.get("pods")["items"], "the pods to end")
    rows = list(files.read("line", "1.0.0"))
    assert {each["id"] for each in rows} >= {*ids}
    (hashed,) = {each["record"]["x"] for each in rows if each["id"] in ids}
    assert len(hashed) == 16
    old = files.read("line", "0.9.0")
    assert [round((now - each["time"]) / DAY_S) for each in old] == [29]
