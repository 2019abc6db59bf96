"""HTTP/1.1 on a socket: uvicorn's protocol, with a short way for small predictions.

A request for ``/api/predict`` that is complete in one read of the socket needs no task, no events and no messages of
ASGI: it is handed to the inference at once, and its answer is written in one piece. Everything else (bodies in parts,
requests pipelined behind a slow one, other paths) is answered through ASGI, with the same result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.serving.http.application import PREDICT, Application
from pipeline.serving.inference.inference import Exchange
from pipeline.serving.protocols.predicting import read_prediction
from pipeline.serving.scoring.answers import Reply

_NO_TUNNEL = b'{"error":"found CONNECT; expected a request to this server"}'
_UPGRADE = frozenset({b"connection", b"upgrade", b"http2-settings"})
_NOT_HTTP = b'{"error":"found no valid HTTP request; expected HTTP/1.1"}'
_PREDICT = PREDICT.encode()
# What only the way through ASGI deals with: 100 Continue, upgrades, compressed bodies, pages of other origins.
_ASGI_ONLY = frozenset({b"expect", b"upgrade", b"content-encoding", b"origin"})
_GONE = 499  # a caller who went away: no standard has a status for it, this one is nginx's

_MAX_HEAD_BYTES = 64 * 2**10
"""Of the head of a request, and of its trailers: the request line, the names and the values."""
_FRAMING = 8
"""Bytes that may come with each byte of a body in chunks: one chunk a byte has five."""
_MIN_READ_BYTES = 32 * 2**10
"""A caller takes at least so many bytes of its answers in the time that it has for a body, or is left."""


class _Openings:
    """The first lines of answers: the status, and the headers that all have; the date makes them differ each second."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._known: dict[int, bytes] = {}

    def of(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Write the first lines of an answer."""
        if headers is not self._headers:  # uvicorn makes a new list when the date changes
            self._headers, self._known = headers, {}
        if status not in self._known:
            self._known[status] = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()) + _lines(headers)
        return self._known[status]


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 that also answers callers who close their sending side after the request, as `nc` does."""

    application: Application
    openings = _Openings()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._held = False
        self._body: list[bytes] = []
        self._pending = 0
        self._in_head, self._in_message, self._deaf = False, False, False
        self._head_bytes, self._came_bytes, self._body_bytes = 0, 0, 0
        self._begun, self._upgrades = 0, False
        self._message_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._ends = False
        self._names: dict[bytes, bytes] = {}
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Limit the time in which a new caller must send the head of its first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.application.settings.body_timeout_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the caller."""
        self._stop_timer()
        for timer in (self._idle_timer, self._message_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; a prediction that is not complete by then is handed to ASGI."""
        if self._deaf:
            return
        self._idle_since, begun = None, self._begun
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._held:
            self._release()
        if self._in_message and self.parser is not None:
            self._limit_message(len(data) if begun == self._begun else 0)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request again as one that asks for no other protocol.

        Some clients offer HTTP/2 with each request, and a server may go on without. The parser would take the body for
        the other protocol, and what comes after it for the next request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(b"501 Not Implemented", _NO_TUNNEL)
            return
        kept = [header for header in self.headers if header[0] not in _UPGRADE]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.url, _lines(kept))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(head + rest)

    def pause_writing(self) -> None:
        """Watch a caller who does not read its answers."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Stop watching: the answers have been taken."""
        super().resume_writing()
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _watch_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        time_s = self.application.settings.body_timeout_s
        self._reading_timer = self.loop.call_later(time_s, self._leave_unless_reading, left)

    def _leave_unless_reading(self, left: int) -> None:
        """Break the connection off where next to nothing was read: closing it would wait for the caller too."""
        if left - self.transport.get_write_buffer_size() < _MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reading()

    # The parser's callbacks
    def on_message_begin(self) -> None:
        """Begin a request; what ASGI needs to know is assembled only if ASGI answers it."""
        self.url, self.headers = b"", []
        self._in_head = self._in_message = True
        self._begun += 1
        self._head_bytes, self._came_bytes, self._body_bytes = 0, 0, 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the path."""
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer: that one is counted, and forgotten."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide whether the request takes the short way or ASGI."""
        self._in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        self._upgrades = self.parser.should_upgrade()
        if self._deaf or self._upgrades:
            return
        # HTTP/1.1 answers in order: while ASGI works on an earlier request, this one goes the same way.
        idle = self.cycle is None or self.cycle.response_complete
        self._names = dict(self.headers)
        if (
            self.url == _PREDICT
            and idle
            and not self.flow.write_paused
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and _ASGI_ONLY.isdisjoint(self._names)
        ):
            self._held, self._body = True, []
            return
        self._go_slowly()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        if self._deaf:
            return
        if self._held:
            self._body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a prediction that is complete."""
        self._in_message = False
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None
        if self._deaf or self._upgrades:
            return
        if not self._held:
            super().on_message_complete()
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if len(body) > self.application.settings.inline_bytes:  # it would hold up the event loop, ASGI has a thread
            self._release()
            super().on_message_complete()
            return
        self._held = False
        inference = self.application.inference
        exchange = inference.begin(PREDICT, self._names, read_prediction)
        self._pending += 1
        inference.submit(exchange, body, self._answer)

    def _release(self) -> None:
        """Hand the request that was held back to ASGI."""
        self._held = False
        body, self._body = self._body, []
        self._go_slowly()
        for part in body:
            super().on_body(part)

    def _go_slowly(self) -> None:
        if self._pending:  # those before it are answered first
            self.application.inference.flush()
        url, headers = self.url, self.headers
        super().on_message_begin()  # makes the scope of ASGI, around its own list of headers
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def _answer(self, exchange: Exchange, reply: Reply) -> None:
        self._pending -= 1
        status, transport = reply.status, self.transport
        ends = self._ends or reply.close or self.application.draining
        if transport is None or transport.is_closing():
            status = _GONE
        else:
            transport.write(self._written(exchange, reply, ends=ends))
        exchange.reply = reply
        self.application.inference.end(exchange, status)
        self.server_state.total_requests += 1
        if self._pending or status == _GONE:
            return
        if ends:
            transport.close()
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        """Close a connection that has been idle for long; one timer serves many answers."""
        self._idle_timer = None
        if self._idle_since is None:  # a request is on its way, or went the way of ASGI, which has a timer of its own
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._end_if_idle)
        elif not self.transport.is_closing():
            self.transport.close()

    def _written(self, exchange: Exchange, reply: Reply, *, ends: bool) -> bytes:
        """Write an answer as it is sent."""
        return b"%b%b%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            self.openings.of(reply.status, self.server_state.default_headers),
            _lines(self.application.reply_headers(exchange, reply)),
            b"connection: close\r\n" if ends else b"",
            reply.content_type,
            len(reply.body),
            reply.body,
        )

    # The ends of a connection
    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the answer, if a whole request waits for one."""
        if self._pending:
            self._ends = True
            return True
        newest = self.cycle
        if newest is None or newest.response_complete or newest.more_body:
            return None
        newest.keep_alive = False
        return True

    def shutdown(self) -> None:
        """End once what is in flight is answered."""
        if self._pending:
            self._ends = True
            return
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in JSON like every other refusal; `msg` says no more than that."""
        del msg
        self._refuse(b"400 Bad Request", _NOT_HTTP)

    def _limit_message(self, came: int) -> None:
        """Limit the time and the size of a request that comes in parts, whichever part it is in.

        Its body is limited where it is read. All else (a head, trailers, what frames chunks) is limited here.
        """
        self._came_bytes += came
        if self._came_bytes - self._body_bytes > _MAX_HEAD_BYTES + _FRAMING * self._body_bytes:
            self._refuse_head()
        time_s = self.application.settings.body_timeout_s
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(time_s, self._give_up)
        elif not self._in_head and self._message_timer is None:
            self._message_timer = self.loop.call_later(time_s, self._leave_unread)

    def _leave_unread(self) -> None:
        """Leave a caller whose request was answered without its body, which does not end."""
        self._message_timer = None
        if self.cycle is not None and self.cycle.response_complete and not self.transport.is_closing():
            self.transport.close()

    def _refuse_head(self) -> None:
        if not self._deaf:
            self._refuse(b"431 Request Header Fields Too Large", b'{"error":"found a head of more than 64 KiB"}')

    def _give_up(self) -> None:
        """Close a connection on which the head does not arrive; one on which nothing arrived gets no answer."""
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(b"408 Request Timeout", b'{"error":"found no whole head in time; expected a request"}')
        elif self.cycle is None and not self._pending:
            self.transport.close()

    def _refuse(self, status: bytes, body: bytes) -> None:
        """End the connection with an answer, unless one has begun; nothing more is taken from the caller."""
        self._deaf = True
        if self.transport.is_closing():
            return
        if self._pending:  # those before it are answered first
            self.application.inference.flush()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
