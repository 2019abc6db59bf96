"""Processes that find each other at a socket, and add up over it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.steps.train.neural.group import Group, LostError
from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.neural.shards import shards
from pipeline.steps.train.neural.socket_rendezvous import SocketMember, SocketRendezvous, open_at, open_here
from pipeline.steps.train.neural.socket_wire import SocketWire
from tests.runs.pods.cluster import poll

SIZE = 3


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(SIZE) as pool:
        yield pool


@pytest.fixture
def left() -> Iterator[list[Group]]:
    """Yield a list of groups that are left in the end."""
    groups = list[Group]()
    yield groups
    for each in groups:
        each.leave()


@pytest.fixture(params=["beside", "at"])
def rendezvous(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SocketRendezvous]:
    made = open_here(tmp_path / "m", SIZE) if request.param == "beside" else open_at("127.0.0.1", "word", SIZE)
    with closing(made):
        made.begin()
        yield made


def member(rendezvous: SocketRendezvous, rank: int, place: str = "") -> SocketMember:
    return SocketMember(place or rendezvous.place, rank, SIZE, "127.0.0.1")


def joined(rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, rank: int) -> Future[SocketWire]:
    """Let one come, and wait until it has joined."""
    coming = threads.submit(member(rendezvous, rank).join)
    for _ in poll(60):
        assert not rendezvous.is_complete()
        if coming.done():
            return coming
    raise AssertionError("it did not come")


def gather(
    rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, left: list[Group], *there: Future[SocketWire]
) -> list[Group]:
    """Member all who are not there yet; gives the groups of all by rank."""
    coming = [*there, *(threads.submit(member(rendezvous, rank).join) for rank in range(len(there) + 1, SIZE))]
    for _ in poll(60):
        if rendezvous.is_complete():
            groups = [Group(each) for each in (rendezvous.connect(), *(each.result(60) for each in coming))]
            left += groups
            return groups
    raise AssertionError("they did not come")


def together(threads: ThreadPoolExecutor, groups: list[Group], do: Callable[[Group], object]) -> list[object]:
    doing: list[Future[object]] = [threads.submit(do, each) for each in groups]
    return [each.result(60) for each in doing]


def test_all_get_what_the_first_one_says_and_the_same_sum(
    rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, left: list[Group]
) -> None:
    groups = gather(rendezvous, threads, left)

    def add(group: Group) -> bytes:
        values = np.array([[0.1, 0.2], [0.3, group.rank]], np.float32)
        group.add_up(values)
        return values.tobytes()

    one = np.array([[0.1, 0.2], [0.3, 0]], np.float32)
    expected = one + (one + np.float32([[0, 0], [0, 1]])) + (one + np.float32([[0, 0], [0, 2]]))
    assert together(threads, groups, add) == [expected.tobytes()] * SIZE
    assert together(threads, groups, lambda group: group.share(b"abc" * (not group.rank))) == [b"abc"] * SIZE
    assert together(threads, groups, lambda group: group.announce(4.5 * (not group.rank))) == [[4.5]] * SIZE


def test_each_worker_gets_its_rows(
    rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, left: list[Group]
) -> None:
    first, *others = gather(rendezvous, threads, left)
    piece = Batch(np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7), None)
    made = shards(piece, 4, SIZE)
    for rank in (1, 2):
        first.send(made[rank], rank)
        got = others[rank - 1].receive(7, 4, 2, np.int64)
        assert (got.rows.features == made[rank].rows.features).all()
        assert (got.rows.target.tolist(), got.parts, got.sizes) == (
            made[rank].rows.target.tolist(),
            made[rank].parts,
            made[rank].sizes,
        )


def test_a_loss_is_noticed_by_all_and_they_meet_again(
    rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, left: list[Group]
) -> None:
    first, lost, lives = gather(rendezvous, threads, left)
    lost.leave()
    with pytest.raises(LostError):
        first.add_up(np.zeros(1))
    first.leave()
    with pytest.raises(LostError):
        lives.announce(0)
    rendezvous.begin()
    assert together(threads, gather(rendezvous, threads, left), lambda group: group.size) == [SIZE] * SIZE


def test_who_comes_later_with_a_rank_counts(
    rendezvous: SocketRendezvous, threads: ThreadPoolExecutor, left: list[Group]
) -> None:
    stale = joined(rendezvous, threads, 1)
    groups = gather(rendezvous, threads, left, joined(rendezvous, threads, 1))
    with closing(stale.result(60)) as wire, pytest.raises(LostError):
        Group(wire).announce(0)
    assert together(threads, groups, lambda group: group.announce(group.rank)) == [[0.0]] * SIZE


def test_who_does_not_know_the_secret_joins_nothing(threads: ThreadPoolExecutor) -> None:
    with closing(open_at("127.0.0.1", "word", SIZE)) as rendezvous:
        rendezvous.begin()
        coming = threads.submit(member(rendezvous, 1, rendezvous.place.replace("word", "other")).join)
        for _ in poll(60):
            assert not rendezvous.is_complete()
            if coming.done():
                break
        with pytest.raises(ConnectionError, match="nobody meets there any more: the connection was closed"):
            coming.result(0)
        assert not rendezvous._joined


def test_a_worker_follows_nobody_who_does_not_know_the_secret(threads: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        coming = threads.submit(SocketMember(f"tcp://127.0.0.1:{impostor.getsockname()[1]}/word", 1, SIZE, "").join)
        caught, _ = impostor.accept()
        with caught:
            caught.sendall(bytes(32))
            caught.recv(100)
            caught.sendall(bytes(32))
            with pytest.raises(ConnectionError, match="found somebody who does not know the shared secret"):
                coming.result(60)
