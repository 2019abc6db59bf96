"""Checks of ``deploy.settings`` and ``deploy.secret``: what the server is told in its pods."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.errors import InputError
from pipeline.messages import quote, suggest
from pipeline.spec.findings import Finding
from pipeline.spec.schema.deploy import Deploy

FOLDER = "/settings"
"""Where the server sees the files of the Secret."""
_NEED_A_WAY_OUT = frozenset({"otlp_endpoint", "capture_share", "capture_to", "capture_private", "capture_salt"})


def check_pod_settings(deploy: Deploy, platform: str) -> Iterator[Finding]:
    """Check that the server takes the settings, and finds the files that they name."""
    if platform != "kubernetes":
        for key in ("settings", "secret"):
            if getattr(deploy, key):
                expected = "the server's own environment variables there, or the platform kubernetes"
                yield Finding(("deploy", key), f"'{key}' with the platform {platform}", expected, "key")
        return
    known = _known()
    for name, value in deploy.settings.items():
        path = ("deploy", "settings", name)
        if name not in known:
            expected = suggest(name, known, "one of docs/serving.md, in small letters")
            yield Finding(path, f"the unknown setting {quote(name)}", expected, "key")
        elif name in _NEED_A_WAY_OUT:
            expected = "none such: the model's NetworkPolicy lets its server reach nothing"
            yield Finding(path, f"the setting {quote(name)}", expected, "key")
        elif name.endswith("_file") and not (deploy.secret and str(value).startswith(f"{FOLDER}/")):
            expected = f"{FOLDER}/ and the name of a file of the Secret that deploy.secret names"
            yield Finding(path, quote(str(value)), expected)
    yield from _check_values(deploy, known)
    if deploy.gateway and "tls_certificate_file" in deploy.settings:
        path = ("deploy", "settings", "tls_certificate_file")
        yield Finding(path, "a certificate with a gateway", "one at the gateway, which asks the pods over HTTP", "key")


def _known() -> frozenset[str]:
    from dataclasses import fields

    from pipeline.serving.settings import Settings

    return frozenset(field.name for field in fields(Settings))


def _check_values(deploy: Deploy, known: frozenset[str]) -> Iterator[Finding]:
    """Let the server's own reader say what it does not take."""
    from pipeline.serving.settings import PREFIX, settings_from

    given = {PREFIX + name.upper(): str(value) for name, value in deploy.settings.items() if name in known}
    try:
        settings_from(given)
    except InputError as error:
        for fault in re.finditer(PREFIX + r"(\w+): found (.*); expected (.*)", str(error)):
            expected = re.sub(PREFIX + r"(\w+)", lambda found: found[1].lower(), fault[3])
            yield Finding(("deploy", "settings", fault[1].lower()), fault[2], expected)
