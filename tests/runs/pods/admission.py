"""What the API server asks this machine before it makes objects; and libraries lent so, since PyTorch alone is 4 GB."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .cluster import IMAGE, Namespace, namespace

OWN_IMAGES: Mapping[str, str] = {
    framework: image
    for framework in ("torch", "tensorflow")
    if (image := os.environ.get(f"MODELRAIL_TEST_{framework.upper()}_IMAGE"))
}
"""Framework → image of the pipeline that has it inside, if one was built (docs/pods.md)."""
NOT_INSIDE = "no image with {0} inside: build one, and set MODELRAIL_TEST_{1}_IMAGE (docs/pods.md)"
_VOLUME = {"name": "lent", "hostPath": {"path": sysconfig.get_path("purelib")}}
_MOUNT = {"name": "lent", "mountPath": "/lent", "readOnly": True}
_VARIABLE = {"name": "PYTHONPATH", "value": "/app/site:/app:/lent"}


def _lent(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's specification whose first container finds the libraries."""
    first, *others = pod["containers"]
    first = first | {
        "volumeMounts": [*first.get("volumeMounts", ()), _MOUNT],
        "env": [*first.get("env", ()), _VARIABLE],
    }
    return pod | {"containers": [first, *others], "volumes": [*pod.get("volumes", ()), _VOLUME]}


Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""From the API server's request to what is said of it, beside its ``uid``."""


def _lend(asked: dict[str, Any]) -> dict[str, Any]:
    patch = json.dumps([{"op": "replace", "path": "/spec", "value": _lent(asked["object"]["spec"])}])
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(patch.encode()).decode()}


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
            response = {"uid": asked["uid"], **answer(asked)}
            said = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _registration(namespace: str, group: str, resource: str, url: str, authority: bytes) -> dict[str, Any]:
    hook = {
        "name": f"{resource}.{namespace}.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": ["CREATE"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"{resource}-{namespace}"},
        "webhooks": [hook],
    }


@contextmanager
def asked(namespace: Namespace, group: str, resource: str, answer: Answer, folder: Path) -> Iterator[None]:
    """Have the API server ask about every object of a kind before it makes it in a namespace.

    Parameters
    ----------
    folder : Path
        For a key and its certificate.
    """
    node, key, certificate = os.environ["NODE_ADDRESS"], folder / f"{resource}.key", folder / f"{resource}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=asked"]
    command += ["-addext", f"subjectAltName=IP:{node}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate, key)
    with ThreadingHTTPServer((node, 0), _handler(answer)) as server:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, authority = f"https://{node}:{server.server_port}/", certificate.read_bytes()
        made = _registration(namespace.name, group, resource, url, authority)
        try:
            namespace.kubectl("apply", "--filename", "-", stdin=json.dumps(made))
            yield
        finally:
            namespace.kubectl("delete", "mutatingwebhookconfiguration", made["metadata"]["name"])
            server.shutdown()


def inside(framework: str) -> list[pytest.MarkDecorator]:
    """Return the marks of what is tried only where an image has the framework inside."""
    reason = NOT_INSIDE.format(framework, framework.upper())
    return [pytest.mark.extra(framework), pytest.mark.skipif(framework not in OWN_IMAGES, reason=reason)]


@contextmanager
def with_framework(framework: str, folder: Path) -> Iterator[tuple[Namespace, str]]:
    """Yield a namespace and an image for pods that have a framework: inside it, if there is such an image, or lent."""
    if image := OWN_IMAGES.get(framework):
        with namespace() as own:
            yield own, image
    else:  # what is lent is a folder of the node, which restricted pods may not have
        with namespace(level="privileged") as own, asked(own, "", "pods", _lend, folder):
            yield own, IMAGE
