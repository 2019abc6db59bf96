"""What arrives on a socket and is no decent request: it is refused or left, and the server goes on."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from tests.serving.conftest import Live
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
