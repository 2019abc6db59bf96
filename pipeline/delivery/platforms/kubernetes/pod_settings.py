"""What ``deploy.settings`` and ``deploy.secret`` change in a pod and in requests to it; pure."""

from __future__ import annotations

from typing import Any

from pipeline.serving.settings import PREFIX, Settings
from pipeline.spec.checking.placing import FOLDER
from pipeline.spec.schema.deploy import Capture, Deploy

_VOLUME = "settings"
_SCRAPE_KEY = "scrape-key"
"""File of the Secret with which Prometheus asks a server that wants a key."""
_SPARE_S = 5
"""Time that a server has beyond what it gives itself for the requests in flight."""


def variables(deploy: Deploy) -> list[dict[str, str]]:
    """Write the settings as a container's variables.

    They are the pods' own, not the ConfigMap's: so they come and go with the pods that they were written for.
    """
    settings = {**deploy.settings, **_capture_settings(deploy.capture)}
    return [{"name": PREFIX + name.upper(), "value": str(value)} for name, value in sorted(settings.items())]


def _capture_settings(capture: Capture | None) -> dict[str, str | int | float]:
    if capture is None:
        return {}
    found: dict[str, str | int | float] = {"capture_share": capture.share, "capture_to": capture.to}
    if capture.keep:
        found["capture_keep_days"] = capture.keep_days
    if capture.private:
        found["capture_private"] = ",".join(f"{name}={how}" for name, how in sorted(capture.private.items()))
    return found


def variables_of_secrets(deploy: Deploy) -> list[dict[str, Any]]:
    """Name the Secret whose values are variables of the server; what they are stands in no object of ours."""
    capture = deploy.capture
    return [{"secretRef": {"name": capture.secret}}] if capture and capture.secret else []


def egress(deploy: Deploy) -> list[dict[str, Any]]:
    """List what a server may reach: nothing, but for captures DNS and the object store's port."""
    if deploy.capture is None:
        return []
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [{"ports": [*dns, {"port": deploy.capture.port, "protocol": "TCP"}]}]


def volumes(deploy: Deploy) -> list[dict[str, Any]]:
    """Build the volume of the Secret, which the server's group may read."""
    if deploy.secret is None:
        return []
    return [{"name": _VOLUME, "secret": {"secretName": deploy.secret, "defaultMode": 0o440}}]


def mounts(deploy: Deploy) -> list[dict[str, Any]]:
    """Build the mount through which the server sees the Secret."""
    return [{"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}] if deploy.secret else []


def speaks_tls(deploy: Deploy) -> bool:
    """Tell whether the server speaks HTTPS."""
    return "tls_certificate_file" in deploy.settings


def scheme(deploy: Deploy) -> str:
    """Return the scheme of the server's addresses."""
    return "https" if speaks_tls(deploy) else "http"


def service_port(deploy: Deploy) -> int:
    """Return the usual port of that scheme."""
    return 443 if speaks_tls(deploy) else 80


def drain_requests_s(deploy: Deploy) -> int:
    """Return how long requests in flight may take once the server is told to end."""
    return int(deploy.settings.get("drain_s", Settings.drain_s)) + _SPARE_S


def scraping(service: str, deploy: Deploy) -> dict[str, Any]:
    """Build the settings with which Prometheus asks the server, which has its own certificate and may want a key.

    It knows the server by that very certificate, as what asks a server on this machine does: whoever made it may be
    known to no one else. It is asked for by the name of its Service, since Prometheus goes to the pods' addresses.
    """
    tls: dict[str, Any] = {}
    if speaks_tls(deploy):
        certificate = str(deploy.settings["tls_certificate_file"]).removeprefix(f"{FOLDER}/")
        known = {"secret": {"name": deploy.secret, "key": certificate}}
        tls = {
            "scheme": "https",
            "tlsConfig": {"ca": known, "serverName": f"{service}.{deploy.namespace}.svc"},
        }
    if not {"api_keys_file", "jwt_key_file"} & {*deploy.settings}:
        return tls
    return {**tls, "authorization": {"credentials": {"name": deploy.secret, "key": _SCRAPE_KEY}}}
