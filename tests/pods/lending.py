"""Libraries of this machine for the pods of a namespace, instead of an image with PyTorch, which is 4 GB."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .cluster import Namespace

_VOLUME = {"name": "lent", "hostPath": {"path": sysconfig.get_path("purelib")}}
_MOUNT = {"name": "lent", "mountPath": "/lent", "readOnly": True}
_VARIABLE = {"name": "PYTHONPATH", "value": "/app/site:/app:/lent"}


def _lent(pod: dict[str, Any]) -> dict[str, Any]:
    """Give a pod's specification whose first container finds the libraries."""
    first, *others = pod["containers"]
    first = first | {
        "volumeMounts": [*first.get("volumeMounts", ()), _MOUNT],
        "env": [*first.get("env", ()), _VARIABLE],
    }
    return pod | {"containers": [first, *others], "volumes": [*pod.get("volumes", ()), _VOLUME]}


class _Lender(BaseHTTPRequestHandler):
    """Answers what the API server asks about each new pod."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
        patch = json.dumps([{"op": "replace", "path": "/spec", "value": _lent(asked["object"]["spec"])}])
        response = {"uid": asked["uid"], "allowed": True, "patchType": "JSONPatch"}
        response["patch"] = base64.b64encode(patch.encode()).decode()
        said = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _registration(namespace: str, url: str, authority: bytes) -> dict[str, Any]:
    hook = {
        "name": f"{namespace}.lending.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
    }
    metadata = {"name": f"lending-{namespace}"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [hook],
    }


@contextmanager
def lending(namespace: Namespace, folder: Path) -> Iterator[None]:
    """Lend to every pod that is made in a namespace, by a webhook that the API server asks.

    Parameters
    ----------
    folder : Path
        For its key and certificate.
    """
    node, key, certificate = os.environ["NODE_ADDRESS"], folder / "lending.key", folder / "lending.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lending"]
    command += ["-addext", f"subjectAltName=IP:{node}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate, key)
    with ThreadingHTTPServer((node, 0), _Lender) as server:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = _registration(namespace.name, f"https://{node}:{server.server_port}/", certificate.read_bytes())
        try:
            namespace.kubectl("apply", "--filename", "-", stdin=json.dumps(made))
            yield
        finally:
            namespace.kubectl("delete", "mutatingwebhookconfiguration", made["metadata"]["name"])
            server.shutdown()
