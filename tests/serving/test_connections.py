"""What arrives on a socket and is no decent request: it is refused or left, and the server goes on."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.bundles import write_bundle
from tests.serving.conftest import Live, Start
from tests.serving.test_server import BODY, REQUEST, connect, predict

HEAD = b"POST /api/predict HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(autouse=True)
def _goes_on(line: Live) -> Iterator[None]:
    yield
    assert predict(line, BODY)[2]["outputs"] == [1.28]


def exchange(live: Live, sent: bytes) -> bytes:
    """Send, close the sending side, and give all that is answered; a reset ends it too."""
    received = b""
    with connect(live) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except OSError:
            pass
    return received


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"content-length: -1\r\n\r\n" + BODY,
        HEAD + b"content-length: 1e3\r\n\r\n" + BODY,
        HEAD + b"content-length: %b\r\n\r\n" % (b"9" * 40) + BODY,
        HEAD + b"content-length: 20\r\ncontent-length: 21\r\n\r\n" + BODY,
        HEAD + b"content-length: 20\r\ntransfer-encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n" + BODY,
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"x: \x00\r\n\r\n",
        b"POST /api/predict HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_400(line: Live, sent: bytes) -> None:
    assert exchange(line, sent).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("cut", [1, 10, 30, len(REQUEST) - len(BODY), len(REQUEST) - 1])
def test_a_request_that_is_cut_off_by_a_half_close_is_left(line: Live, cut: int) -> None:
    assert exchange(line, REQUEST[:cut]) == b"" or cut > len(HEAD)
    assert b"HTTP/1.1 5" not in exchange(line, REQUEST[:cut])


def test_before_what_is_not_http_all_is_answered(line: Live) -> None:
    answers = exchange(line, REQUEST * 3 + b"what?\r\n\r\n")
    assert answers.count(b'"outputs":[1.28]') == 3
    assert answers.count(b"HTTP/1.1 400 ") == 1


def test_pipelined_good_and_bad_requests_are_answered_in_order(line: Live) -> None:
    bodies = [BODY, b"{", b'{"inputs": [[NaN]]}', BODY, b'{"inputs": [[1], []]}', b"\xff", b"[" * 5000, BODY]
    sent = b"".join(HEAD + b"content-length: %d\r\n\r\n%b" % (len(each), each) for each in bodies)
    answers = exchange(line, sent).split(b"HTTP/1.1 ")[1:]
    assert [int(each[:3]) for each in answers] == [200, 400, 422, 200, 422, 400, 400, 200]


def test_damaged_requests_never_fail(line: Live) -> None:
    """Each differs from a good one in a few bytes, of the head or of the body."""
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(REQUEST)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.choice((0, 1, 1, 4))] = chance.choice(
                (bytes([chance.randrange(256)]), b"", b"\r\n", b"\x00", damaged[:20], b" " * 70_000)
            )
        assert b"HTTP/1.1 5" not in exchange(line, bytes(damaged))


def answered(connection: socket.socket) -> bytes:
    """Return all that comes until the other side ends."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


ENDLESS = {
    "a head": (HEAD, b"x-%d: " + b"a" * 1000 + b"\r\n"),
    "one header": (HEAD + b"x: ", b"a" * 1000),
    "trailers": (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x-%d: " + b"a" * 1000 + b"\r\n"),
    "trailers to a path that reads none": (
        b"POST /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        b"x: " + b"a" * 1000 + b"\r\n",
    ),
    "one trailer": (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 1000),
    "a chunk's extension": (HEAD + b"transfer-encoding: chunked\r\n\r\n5;", b"a" * 1000),
}


@pytest.mark.parametrize("pieces", [1, 2, 3, 200])
@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_does_not_end_is_refused_beyond_64_kib(line: Live, begin: bytes, more: bytes, pieces: int) -> None:
    sent = begin + b"".join(more % number if b"%d" in more else more for number in range(200))
    size = -(-len(sent) // pieces)
    with connect(line) as connection:
        try:
            for place in range(0, len(sent), size):
                connection.sendall(sent[place : place + size])
        except OSError:  # it was left by then
            pass
        answer = answered(connection)  # which ends, since the server ends the connection
    assert b"HTTP/1.1 5" not in answer


def test_a_head_of_nearly_64_kib_is_read(line: Live) -> None:
    head = HEAD + b"x: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (b"a" * 60_000, len(BODY))
    assert b'"outputs":[1.28]' in exchange(line, head + BODY)


@pytest.mark.parametrize("cuts", [(), (100,), (170,), (40, 100, 175)])
@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_an_offer_of_another_protocol_is_passed_over_with_its_body(
    line: Live, offer: bytes, cuts: tuple[int, ...]
) -> None:
    more = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %b\r\nhttp2-settings: AAMAAABk\r\n" % offer
    sent = HEAD + more + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY) + REQUEST
    with connect(line) as connection:
        for start, end in zip((0, *cuts), (*cuts, len(sent)), strict=True):
            connection.sendall(sent[start:end])
        connection.shutdown(socket.SHUT_WR)
        answers = answered(connection)
    assert answers.count(b'"outputs":[1.28]') == 2
    assert answers.count(b"HTTP/1.1 ") == 2


def test_a_length_of_thousands_of_digits_is_a_mistake_of_the_caller(line: Live) -> None:
    head = b"POST /v2/models/line/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: %b\r\n" % (b"9" * 5000)
    assert b"HTTP/1.1 400 " in exchange(line, head + b"content-length: 2\r\nconnection: close\r\n\r\n{}")


def test_a_caller_who_never_reads_is_left_and_holds_no_place(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_BODY_TIMEOUT_S", "1")
    monkeypatch.setenv("MODELRAIL_SERVE_MAX_CONCURRENT", "2")
    live = start(write_bundle(tmp_path / "bundle"))
    rows = b'{"inputs": [%b]}' % b",".join([b"[1]"] * 400_000)
    request = HEAD + b"content-length: %d\r\n\r\n%b" % (len(rows), rows)
    with connect(live) as one, connect(live) as other:
        for connection in (one, other):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request)
        deadline = time.monotonic() + 30
        while predict(live, BODY)[0] != 200:
            assert time.monotonic() < deadline, "their places were never given back"
            threading.Event().wait(0.1)


def test_a_body_that_nobody_reads_is_not_waited_for(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_BODY_TIMEOUT_S", "1")
    live = start(write_bundle(tmp_path / "bundle"))
    with connect(live) as connection:
        connection.settimeout(20)
        connection.sendall(b"POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc")
        assert b"HTTP/1.1 405 " in answered(connection)  # and then the connection ended, though nothing more came
