"""The HTTP interface of the prediction server, as a plain ASGI application.

=============================================  =========================================================
``POST /api/predict``                          rows in, predictions out, by the first model
``POST /api/models/M[/versions/V]/predict``    the same by another model or version
``POST /invocations``                          MLflow's scoring protocol
``/v2/…``                                      the Open Inference Protocol V2
``POST /api/truth``                            what came true of rows that were answered
``GET /healthz``, ``/ping``                    the process is alive
``GET /readyz``                                it accepts requests: 503 while it drains
``GET /version``                               which release this is, and what it was made from
``GET /metrics``                               for Prometheus
``GET /openapi.json``, ``/docs``               the interface, for programs and for people
``GET /``                                      what is served here
=============================================  =========================================================
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.serving.http.openapi import openapi
from pipeline.serving.http.requests import GoneError, Message, Receive, Send, read_body
from pipeline.serving.http.truths import take_truth
from pipeline.serving.inference.fleet import Fleet
from pipeline.serving.inference.inference import Exchange, Inference
from pipeline.serving.observing.exposition import exposition
from pipeline.serving.observing.metrics import Meters
from pipeline.serving.protocols.invocations import read_invocation
from pipeline.serving.protocols.open_inference import EXTENSIONS, metadata, read_inference
from pipeline.serving.protocols.predicting import read_prediction
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.answers import Headers, Reply, content, refuse
from pipeline.serving.scoring.questions import Dialect
from pipeline.serving.settings import Settings

Handle = Callable[[Message, Receive, Send], Awaitable[None]]
Methods = Mapping[str, Handle]

PREDICT = "/api/predict"
_CLIENT_GONE = 499
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready", "/docs"})
"""These are answered without credentials: probes, and a page without content of its own."""
_NAMED = re.compile(r"(/api|/v2)/models/([^/]+)(?:/versions/([^/]+))?(/predict|/infer|/ready)?")
_PAGE = Path(__file__).with_name("page.html")
_PAGE_POLICY = (
    b"default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PREFLIGHT: Headers = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, traceparent, x-api-key"),
    (b"access-control-max-age", b"600"),
)


class Application:
    """Routes requests, and answers all that are no predictions itself."""

    def __init__(self, fleet: Fleet, meters: Meters, settings: Settings | None = None, log_fd: int = 1) -> None:
        self.settings = settings or Settings()
        self.inference = Inference(fleet, self.settings, log_fd)
        self.meters = meters
        self.draining = False
        self._routes: Mapping[str, Methods] = {
            PREDICT: self._post(read_prediction),
            "/api/truth": {"POST": self._take_truth},
            "/invocations": self._post(read_invocation),
            "/healthz": self._get(lambda: content(200, {"status": "alive"})),
            "/ping": self._get(lambda: content(200, {"status": "alive"})),
            "/readyz": self._get(lambda: self._readiness({"status": "ready"}, {"status": "draining"})),
            "/version": self._get(lambda: content(200, self._release())),
            "/metrics": {"GET": self._metrics, "HEAD": self._metrics},
            "/openapi.json": self._get(lambda: content(200, openapi(self.inference.fleet))),
            "/docs": self._get(self._page),
            "/v2": self._get(lambda: content(200, self._server())),
            "/v2/health/live": self._get(lambda: content(200, {"live": True})),
            "/v2/health/ready": self._get(lambda: self._readiness({"ready": True}, {"ready": False})),
            "/": self._get(lambda: content(200, self._index())),
        }

    def swap(self, fleet: Fleet) -> None:
        """Answer all requests from now on with `fleet`; those in flight end with what they began with."""
        self.inference.fleet = fleet
        self.meters.features.remove_old(fleet.keys)
        self.meters.truth.remove_old(fleet.keys)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI wants it."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        methods = self._routes.get(path) or self._named(path)
        if methods is None:
            message = f"found no {path[:100]}; expected one of {', '.join(self._routes)}"
            await self._send(scope, send, refuse(RejectedError(404, message)))
        elif method == "OPTIONS" and self.settings.cors_origins:
            await self._send(scope, send, Reply(204, b"", _PREFLIGHT))
        elif method not in methods:
            reply = refuse(RejectedError(405, f"{path[:100]}: found {method}; expected {', '.join(methods)}"))
            reply.headers = ((b"allow", ", ".join(methods).encode()),)
            await self._send(scope, send, reply)
        else:
            await methods[method](scope, receive, send)

    def reply_headers(self, exchange: Exchange, reply: Reply) -> Headers:
        """Build the headers of a prediction, except for those that every answer has."""
        headers: Headers = (
            (b"x-model-version", exchange.served.version_header),
            (b"x-prediction-id", exchange.id.encode()),
            *reply.headers,
        )
        return (*headers, (b"traceparent", exchange.span.header())) if exchange.span else headers

    async def _predict(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        dialect: Dialect,
        name: str | None = None,
        version: str | None = None,
    ) -> None:
        inference, headers = self.inference, dict(scope["headers"])
        exchange = inference.begin(scope["path"], headers, dialect, name, version)
        status = _CLIENT_GONE
        try:
            if exchange.reply is None:
                exchange.reply = await self._reply(exchange, receive)
            reply = exchange.reply
            reply.headers = self.reply_headers(exchange, reply)
            await self._send(scope, send, reply)
            status = reply.status
        except GoneError:
            pass
        finally:
            inference.end(exchange, status)

    async def _reply(self, exchange: Exchange, receive: Receive) -> Reply:
        try:
            body = await read_body(exchange.headers, receive, self.settings)
        except RejectedError as error:
            return refuse(error, exchange.id)
        if len(body) > self.settings.inline_bytes:
            return await self.inference.compute(exchange, body)
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(_: Exchange, reply: Reply) -> None:
            if not answered.done():
                answered.set_result(reply)

        self.inference.submit(exchange, body, done)
        return await answered

    async def _send(self, scope: Message, send: Send, reply: Reply) -> None:
        headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
        if reply.close or self.draining:
            headers.append((b"connection", b"close"))
        if self.settings.cors_origins:
            headers += self._cors(scope)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _cors(self, scope: Message) -> Headers:
        origin = dict(scope["headers"]).get(b"origin", b"")
        allowed = self.settings.cors_origins
        if "*" not in allowed and origin.decode("latin-1") not in allowed:
            return ((b"vary", b"origin"),)
        exposed = b"x-model-version, x-prediction-id, traceparent"
        return (
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin or b"*"),
            (b"access-control-expose-headers", exposed),
        )

    def _named(self, path: str) -> Methods | None:
        """Find the route of a path that names a model, and maybe a version."""
        match = _NAMED.fullmatch(path)
        if match is None:
            return None
        api, name, version, action = match.groups()
        if (api, action) == ("/api", "/predict"):
            return self._post(read_prediction, name, version)
        if (api, action) == ("/v2", "/infer"):
            return self._post(read_inference, name, version)
        if api == "/v2" and action in {None, "/ready"}:
            return self._get(partial(self._describe, name, version, ready=action == "/ready"))
        return None

    def _post(self, dialect: Dialect, name: str | None = None, version: str | None = None) -> Methods:
        return {"POST": partial(self._predict, dialect=dialect, name=name, version=version)}

    def _get(self, answer: Callable[[], Reply]) -> Methods:
        async def handle(scope: Message, _receive: Receive, send: Send) -> None:
            await self._send(scope, send, self._checked(scope) or _try(answer))

        return {"GET": handle, "HEAD": handle}

    def _checked(self, scope: Message) -> Reply | None:
        """Check the caller; return the refusal if the caller may not see this."""
        try:
            if scope["path"] not in _OPEN_PATHS:
                self.inference.access.check(dict(scope["headers"]))
        except RejectedError as error:
            return refuse(error)
        return None

    async def _take_truth(self, scope: Message, receive: Receive, send: Send) -> None:
        reply = self._checked(scope)
        if reply is not None:
            reply.close = True  # its body is not read
        else:
            try:
                body = await read_body(dict(scope["headers"]), receive, self.settings)
                reply = await asyncio.to_thread(take_truth, self.meters.truth, body, self.settings.truth_rows)
            except RejectedError as error:
                reply = refuse(error)
            except GoneError:
                return
        await self._send(scope, send, reply)

    async def _metrics(self, scope: Message, _receive: Receive, send: Send) -> None:
        refusal = self._checked(scope)
        if refusal is None:
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            body, content_type = await asyncio.to_thread(exposition, self.meters, accept, self.inference.fleet.keys)
            refusal = Reply(200, body, content_type=content_type.encode())
        await self._send(scope, send, refusal)

    def _readiness(self, ready: Any, draining: Any) -> Reply:
        return content(503, draining) if self.draining else content(200, ready)

    def _describe(self, name: str, version: str | None, *, ready: bool) -> Reply:
        model = self.inference.fleet.find(name)
        served = self.inference.fleet.choose(name, version, 1.0)
        if ready:
            return self._readiness({"name": name, "ready": True}, {"name": name, "ready": False})
        return content(200, metadata(served.model, list(model.versions)))

    def _server(self) -> dict[str, Any]:
        return {"name": "modelrail", "version": self.inference.fleet.default.live.tag, "extensions": EXTENSIONS}

    def _release(self) -> dict[str, Any]:
        release = self.inference.fleet.default.live.model.release
        return {key: value for key, value in release.items() if key != "files"}

    def _index(self) -> dict[str, Any]:
        fleet, model = self.inference.fleet, self.inference.fleet.default.live.model
        signature = model.signature
        return {
            "model": model.model,
            "version": model.version,
            "task": signature.task,
            "inputs": [{"name": each.name, "type": each.type, "nullable": each.nullable} for each in signature.inputs],
            "classes": signature.classes,
            "example": {"inputs": [signature.example]},
            "served": [{"release": each.tag, "track": each.track, "share": each.share} for each in fleet.releases],
            "endpoints": {path: " ".join(methods) for path, methods in self._routes.items()},
        }

    def _page(self) -> Reply:
        headers: Headers = ((b"content-security-policy", _PAGE_POLICY), (b"x-content-type-options", b"nosniff"))
        return Reply(200, _PAGE.read_bytes(), headers, content_type=b"text/html; charset=utf-8")


def _try(answer: Callable[[], Reply]) -> Reply:
    try:
        return answer()
    except RejectedError as error:
        return refuse(error)
