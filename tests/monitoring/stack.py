"""A real Prometheus and a real Alertmanager beside a live server, with a webhook that takes what they tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from pipeline.monitoring.rendering import RENDERERS, Asked
from tests.ports import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_stack = pytest.mark.skipif(
    shutil.which("prometheus") is None or ALERTMANAGER is None,
    reason="no Prometheus or Alertmanager: 'apt install prometheus prometheus-alertmanager'",
)
_SOON = "1s"


@dataclass(frozen=True)
class Told:
    """What the webhook was told: path and alerts of each call."""

    calls: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)

    def alerts(self, name: str) -> list[tuple[str, dict[str, str]]]:
        """List the alerts of a name: to which path they came, and their labels."""
        return [(path, each["labels"]) for path, alerts in list(self.calls) for each in alerts
                if each["labels"]["alertname"] == name]  # fmt: skip


@dataclass(frozen=True)
class Stack:
    prometheus: str
    told: Told

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus; an expression that it cannot read fails."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=20)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Ask again until it is true; fails if it never is."""
    deadline = monotonic() + timeout_s
    while not (value := condition()):
        assert monotonic() < deadline, f"never: {what}"
        threading.Event().wait(0.1)
    return value


@contextmanager
def watching(folder: Path, asked: Asked, server: str) -> Iterator[Stack]:
    """Start both with what is rendered for them, but that they look every second, and wait for nothing."""
    with ExitStack() as stack:
        told = Told()
        webhook = stack.enter_context(_webhook(told))
        routes = _rendered("alertmanager", Asked(asked.models, f"http://{webhook}/alerts"))
        _hasten(routes, {"group_wait": "0s", "group_interval": _SOON})
        alertmanager = f"127.0.0.1:{free_port()}"
        config = folder / "alertmanager.yml"
        config.write_text(json.dumps(routes))
        command = [str(ALERTMANAGER), f"--config.file={config}", f"--web.listen-address={alertmanager}"]
        command += [f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
        stack.enter_context(running(command, folder / "alertmanager.log"))
        rules = _rendered("prometheus", asked)
        _hasten(rules, {"interval": _SOON})
        (folder / "rules.yml").write_text(json.dumps(rules))
        prometheus, config = f"127.0.0.1:{free_port()}", folder / "prometheus.yml"
        settings = {
            "global": {"scrape_interval": _SOON, "evaluation_interval": _SOON},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
            "scrape_configs": [{"job_name": "models", "static_configs": [{"targets": [server]}]}],
        }
        config.write_text(json.dumps(settings))
        command = ["prometheus", f"--config.file={config}", f"--web.listen-address={prometheus}"]
        command += [f"--storage.tsdb.path={folder / 'tsdb'}"]
        stack.enter_context(running(command, folder / "prometheus.log"))
        for each in (prometheus, alertmanager):
            until(lambda: answers(f"http://{each}/-/ready"), f"{each} ready")  # noqa: B023
        yield Stack(f"http://{prometheus}", told)


def _rendered(program: str, asked: Asked) -> Any:
    ((_, text),) = RENDERERS[program](asked)
    return YAML(typ="safe").load(text)


def _hasten(document: Any, times: dict[str, str]) -> None:
    """Set times wherever they stand."""
    if isinstance(document, list):
        for each in document:
            _hasten(each, times)
    elif isinstance(document, dict):
        document.update({name: value for name, value in times.items() if name in document})
        for each in document.values():
            _hasten(each, times)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def _webhook(told: Told) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.calls.append((self.path, body["alerts"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
