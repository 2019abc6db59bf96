"""The page on Kubernetes: its commands do what it says."""

from __future__ import annotations

from pathlib import Path

from tests.test_documents import KUBERNETES, find_missing, read_blocks, run_shell

from .conftest import BASE_IMAGE, REGISTRY, kubectl


def test_what_the_page_on_kubernetes_shows_is_so(serving_image: str, namespace: str, tmp_path: Path) -> None:
    folder = tmp_path / "start"
    folder.mkdir()
    here = {
        "registry.example/modelrail/serving:1": serving_image,
        "registry.example": f"{REGISTRY}/{namespace}",
        "--image python:3.11-slim": f"--image {BASE_IMAGE}",
        "create namespace models": "get namespace models",
        "namespace models": f"namespace {namespace}",
        "namespace: models": f"namespace: {namespace}",
        ".models.svc": f".{namespace}.svc",
    }
    # A namespace as users have it: the page's own pod is as plain as it can be.
    kubectl(namespace, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline", "--overwrite")
    said = ""
    for block in read_blocks(KUBERNETES):
        text = block.text
        for shown, own in here.items():
            text = text.replace(shown, own)
        place = f"{KUBERNETES.name}:{block.line}"
        if block.kind == "sh" and "images build" not in text:  # what the fixture does
            said, folder = run_shell(text, folder, place)
        elif block.kind == "text":
            missing = find_missing(text, said)
            assert missing is None, f"{place}: found no line with '{missing}' in:\n{said}"
