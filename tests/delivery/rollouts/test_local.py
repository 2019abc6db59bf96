"""Canaries on this machine: real servers, a client that never stops, candidates that are bad in their own ways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from pipeline.delivery.platforms.local import deployments
from pipeline.delivery.platforms.local.canary import roll_out
from pipeline.delivery.platforms.local.state import DESIRED, ROLLOUT, folder_of, read_json, write_json
from pipeline.errors import AbortedError, DeploymentError, TransientError
from pipeline.serving.client import predict
from pipeline.serving.lineup import LineupEntry, Track
from pipeline.serving.process.workers import child_environment
from pipeline.spec.schema.deploy import Canary
from tests.delivery.rollouts.candidates import SLOPE, asking, erring_graph, slow_graph
from tests.serving.bundles import line_graph, write_bundle

PLAN = Canary.model_validate(
    {"steps": [{"weight": 20, "hold_s": 1}, {"weight": 50, "hold_s": 1}], "every_s": 1, "deadline_s": 60}
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    deployments.stop_all(tmp_path / "state")


@pytest.fixture
def release(tmp_path: Path, state: Path) -> Callable[..., deployments.Deployment]:
    """Return a function that writes a bundle and rolls it out."""

    def deploy(
        version: str, graph: onnx.ModelProto, plan: Canary = PLAN, track: Track = "canary"
    ) -> deployments.Deployment:
        folder = tmp_path / version
        bundle = folder if folder.exists() else write_bundle(folder, version=version, graph=graph)

        def put(path: Path, beside: tuple[str, ...], was: deployments.Deployment | None) -> deployments.Deployment:
            return deployments.deploy(path, model="line", port=0, state=state, beside=beside, instead_of=was)

        return roll_out(bundle, version, plan, model="line", name="line", state=state, put=put, track=track)

    return deploy


def test_a_good_candidate_is_promoted_and_no_request_is_dropped(
    release: Callable[..., deployments.Deployment], state: Path
) -> None:
    first = release("1.0.0", line_graph(SLOPE))
    with asking(first.address) as client:
        made = release("2.0.0", line_graph(SLOPE))
    assert (made.version, made.replaced, made.address, made.beside) == ("2.0.0", "1.0.0", first.address, ())
    assert client.dropped == []
    assert set(client.statuses) == {200}
    assert client.versions["1.0.0"] > client.versions["2.0.0"] > PLAN.min_requests
    assert not (folder_of("line", state) / ROLLOUT).exists()


@pytest.mark.parametrize(
    ("graph", "metric"),
    [(slow_graph(), "latency"), (erring_graph(), "errors"), (line_graph(1.2 * SLOPE), "outputs")],
    ids=["slow", "erring", "lying"],
)
def test_a_bad_candidate_is_aborted_and_no_request_is_dropped(
    release: Callable[..., deployments.Deployment], state: Path, graph: onnx.ModelProto, metric: str
) -> None:
    first = release("1.0.0", line_graph(SLOPE))
    with (
        asking(first.address) as client,
        pytest.raises(AbortedError, match=rf"line@v2.0.0: aborted: {metric}: .*; v1.0.0 stays live"),
    ):
        release("2.0.0", graph)
    assert client.dropped == []
    live = deployments.live("line", state)
    assert live is not None
    assert (live.version, live.beside, live.pid) == ("1.0.0", (), first.pid)
    assert {predict(live.address, [0.5]).version for _ in range(50)} == {"1.0.0"}


@pytest.mark.parametrize(
    ("graph", "ends"),
    [(line_graph(SLOPE), None), (erring_graph(), "errors"), (line_graph(1.2 * SLOPE), "outputs")],
    ids=["good", "erring", "lying"],
)
def test_a_shadow_is_asked_too_and_no_caller_gets_its_answers(
    release: Callable[..., deployments.Deployment], state: Path, graph: onnx.ModelProto, ends: str | None
) -> None:
    first = release("1.0.0", line_graph(SLOPE))
    plan = PLAN.model_copy(update={"metrics": {"errors": 0.01, "outputs": 0.25}})
    with asking(first.address) as client:
        if ends:
            with pytest.raises(AbortedError, match=rf"aborted: {ends}: "):
                release("2.0.0", graph, plan, track="shadow")
        else:
            release("2.0.0", graph, plan, track="shadow")
            deadline = time.monotonic() + 20
            while not client.versions["2.0.0"] and time.monotonic() < deadline:
                time.sleep(0.02)
    assert client.dropped == []
    assert set(client.statuses) == {200}
    assert bool(client.versions["2.0.0"]) is (ends is None)
    live = deployments.live("line", state)
    assert live is not None
    assert (live.version, live.beside) == ("1.0.0" if ends else "2.0.0", ())


def test_without_requests_it_is_aborted_at_the_deadline(
    release: Callable[..., deployments.Deployment], state: Path
) -> None:
    release("1.0.0", line_graph(SLOPE))
    with pytest.raises(AbortedError, match=r"0 of 200 requests were answered in the step when the deadline of 3 s"):
        release("2.0.0", line_graph(SLOPE), PLAN.model_copy(update={"deadline_s": 3}))
    assert deployments.live("line", state).beside == ()


def test_a_bundle_that_cannot_be_served_is_aborted_before_it_gets_a_request(
    release: Callable[..., deployments.Deployment], tmp_path: Path
) -> None:
    first = release("1.0.0", line_graph(SLOPE))
    broken = write_bundle(tmp_path / "2.0.0", version="2.0.0")
    (broken / "model.onnx").write_bytes(b"broken")
    with asking(first.address, threads=1) as client, pytest.raises(AbortedError, match=r"aborted: .*model.onnx"):
        release("2.0.0", line_graph(SLOPE))
    assert set(client.statuses) == {200}


_KILLED = """
import sys
from pathlib import Path
from pipeline.delivery.platforms.local import deployments
from pipeline.delivery.platforms.local.canary import roll_out
from pipeline.spec.schema.deploy import Canary
bundle, state, plan = Path(sys.argv[1]), Path(sys.argv[2]), Canary.model_validate_json(sys.argv[3])
def put(path, beside, was):
    return deployments.deploy(path, model="line", port=0, state=state, beside=beside, instead_of=was)
roll_out(bundle, "2.0.0", plan, model="line", name="line", state=state, put=put)
"""


def test_a_killed_deploy_is_taken_over_by_the_next_and_two_never_interleave(
    release: Callable[..., deployments.Deployment], state: Path, tmp_path: Path
) -> None:
    first = release("1.0.0", line_graph(SLOPE))
    bundle = write_bundle(tmp_path / "2.0.0", version="2.0.0", graph=line_graph(SLOPE))
    record = folder_of("line", state) / ROLLOUT
    command = [sys.executable, "-c", _KILLED, str(bundle), str(state), PLAN.model_dump_json()]
    with subprocess.Popen(command, env=child_environment()) as process:
        _until(lambda: (read_json(record) or {"rollout": {"step": -1}})["rollout"]["step"] == 0)
        with pytest.raises(TransientError, match="found another canary at work"):
            release("2.0.0", line_graph(SLOPE))
        os.kill(process.pid, signal.SIGKILL)
    left = read_json(record)
    assert left is not None
    with asking(first.address) as client:
        made = release("2.0.0", line_graph(SLOPE))
    assert made.version == "2.0.0"
    assert client.dropped == []
    assert not record.exists()


def test_what_a_killed_deploy_asked_for_is_waited_for_before_anybody_goes_on(
    release: Callable[..., deployments.Deployment], state: Path
) -> None:
    first, folder = release("1.0.0", line_graph(SLOPE)), folder_of("line", state)
    asked = read_json(folder / DESIRED)
    assert asked is not None
    canary = LineupEntry(Path(first.bundle), "canary", 0.25).argument()
    for signals in ((signal.SIGHUP,), ()):  # it was killed after it had told the supervisor, and before
        os.kill(first.pid, signal.SIGSTOP)
        write_json(folder / DESIRED, asked | {"request": os.urandom(8).hex(), "beside": [canary]})
        for each in signals:
            os.kill(first.pid, each)
        threading.Timer(0.5, os.kill, (first.pid, signal.SIGCONT)).start()
        found = deployments.settled("line", state)
        assert found is not None
        assert found.beside == (canary,)
        deployments.deploy(Path(first.bundle), model="line", port=0, state=state)


def test_a_rollback_in_the_middle_ends_the_canary(
    release: Callable[..., deployments.Deployment], state: Path, tmp_path: Path
) -> None:
    release("1.0.0", line_graph(SLOPE))
    found: list[BaseException] = []

    def candidate() -> None:
        try:
            release("2.0.0", line_graph(SLOPE))
        except DeploymentError as error:
            found.append(error)

    thread = threading.Thread(target=candidate)
    thread.start()
    _until(lambda: (deployments.live("line", state) or pytest.fail("down")).beside)
    deployments.deploy(tmp_path / "1.0.0", model="line", port=0, state=state)
    thread.join()
    assert "found version 1.0.0 live, by somebody else's hand; expected version 1.0.0 as it was" in str(found[0])
    assert deployments.live("line", state).beside == ()


def _until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        threading.Event().wait(0.01)


@pytest.mark.parametrize("track", ["canary", "shadow"])
def test_a_server_with_keys_is_asked_with_one_and_without_it_says_which_is_missing(
    release: Callable[..., deployments.Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: Track
) -> None:
    (tmp_path / "keys").write_text("modelrail secret\n")
    monkeypatch.setenv("MODELRAIL_SERVE_API_KEYS_FILE", str(tmp_path / "keys"))
    first = release("1.0.0", line_graph(SLOPE))
    mend = r"set MODELRAIL_API_KEY to one of the keys in the server's MODELRAIL_SERVE_API_KEYS_FILE"
    with pytest.raises(DeploymentError, match=f"found no credentials; .*{mend}"):
        predict(first.address, {"x": 1})
    with pytest.raises(DeploymentError, match=f"found no credentials; .*{mend}"):
        release("2.0.0", line_graph(SLOPE), track=track)
    monkeypatch.setenv("MODELRAIL_API_KEY", "secret")
    assert predict(first.address, {"x": 1}).version == "1.0.0"
    with asking(first.address) as client:
        assert release("2.0.0", line_graph(SLOPE), track=track).version == "2.0.0"
    assert client.dropped == []
