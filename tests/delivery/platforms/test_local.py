from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.delivery.platforms.local import deployments as local
from pipeline.delivery.platforms.local.deployments import Deployment, deploy, deployments, live, stop, stop_all
from pipeline.delivery.platforms.local.state import folder_of, read_json
from pipeline.errors import DeploymentError, InputError, TransientError
from pipeline.serving.client import predict
from pipeline.serving.process.workers import child_environment, listen
from tests.serving.bundles import seal, write_bundle

BODY = b'{"inputs": [[1]]}'


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for state; whatever is deployed there ends with the test."""
    folder = tmp_path / "state"
    yield folder
    stop_all(folder)
    assert not processes_of(folder)


@pytest.fixture
def bundles(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that gives release N, which predicts N · x + 1."""

    def make(number: int) -> Path:
        folder = tmp_path / f"bundle-{number}"
        return folder if folder.exists() else write_bundle(folder, version=f"{number}.0.0", slope=float(number))

    return make


def processes_of(state: Path) -> list[psutil.Process]:
    """Return all processes that have to do with this state; servers name its metrics folder."""
    found = []
    for each in psutil.process_iter(["cmdline", "status"]):
        command = " ".join(each.info["cmdline"] or [])
        if str(state) in command and each.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(each)
    return found


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Ask again until it is true; fails if it never is."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never became true"
        threading.Event().wait(0.01)
    return value


def answers(address: str) -> list[float]:
    """Predict, once somebody answers."""
    return list(until(lambda: try_predict(address)))


def try_predict(address: str) -> tuple[Any, ...]:
    try:
        return predict(address, [1]).outputs
    except TransientError:
        return ()


def worker_pids(model: str, state: Path) -> list[int]:
    record = read_json(folder_of(model, state) / "deployment.json")
    assert record is not None
    return [each.pid for each in psutil.Process(record["pid"]).children()]


def test_a_release_is_live_on_loopback_when_deploy_returns(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    assert deployed.address == f"http://127.0.0.1:{deployed.port}"
    assert (deployed.version, deployed.replaced, deployed.note) == ("2.0.0", None, None)
    assert predict(deployed.address, [1]).outputs == (3.0,)
    assert live("line", state) == deployed
    assert deployments(state) == (deployed,)


def test_an_unchanged_release_is_confirmed_at_once(state: Path, bundles: Callable[[int], Path]) -> None:
    first = deploy(bundles(2), model="line", port=0, state=state)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        again = deploy(bundles(2), model="line", port=0, state=state)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.02
    assert again == first


def test_the_module_imports_little() -> None:
    imports = "import pipeline.delivery.platforms.local.deployments"
    code = f"import sys; before = set(sys.modules); {imports}; print(*set(sys.modules) - before)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=child_environment(), check=True
    )
    assert {name.partition(".")[0] for name in found.stdout.split()} & {
        "subprocess",
        "socket",
        "numpy",
        "psutil",
    } == set()


def test_another_release_takes_the_same_port_and_process(state: Path, bundles: Callable[[int], Path]) -> None:
    first = deploy(bundles(2), model="line", port=0, state=state)
    second = deploy(bundles(3), model="line", port=0, state=state)
    assert (second.version, second.replaced, second.pid, second.port) == ("3.0.0", "2.0.0", first.pid, first.port)
    assert predict(second.address, [1]).version == "3.0.0"


def test_a_broken_release_leaves_the_old_one_live(state: Path, bundles: Callable[[int], Path]) -> None:
    first = deploy(bundles(2), model="line", port=0, state=state)
    broken = bundles(3)
    (broken / "model.onnx").write_bytes(b"broken")
    seal(broken, "3.0.0")
    with pytest.raises(
        DeploymentError, match=r"deploy line 3\.0\.0: .*expected an ONNX graph; version 2\.0\.0 stays live"
    ):
        deploy(broken, model="line", port=0, state=state)
    assert predict(first.address, [1]).version == "2.0.0"
    assert live("line", state) == first


def test_a_first_release_that_is_broken_leaves_nothing_behind(state: Path, tmp_path: Path) -> None:
    broken = write_bundle(tmp_path / "b")
    (broken / "model.onnx").write_bytes(b"broken")
    with pytest.raises(DeploymentError, match=r"deploy line 1\.0\.0: .*model\.onnx: found SHA-256"):
        deploy(broken, model="line", port=0, state=state)
    assert live("line", state) is None
    until(lambda: not processes_of(state))


def test_what_is_no_bundle_is_refused(state: Path, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"expected a bundle with its release\.json"):
        deploy(tmp_path, model="line", port=0, state=state)


def test_a_name_that_leaves_the_folder_is_refused(state: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found the name '\.\./x'; expected a model's name"):
        deploy(tmp_path, model="../x", port=0, state=state)


def test_a_taken_port_gives_another_and_says_so(state: Path, bundles: Callable[[int], Path]) -> None:
    with listen("127.0.0.1", 0) as other:
        taken = other.getsockname()[1]
        deployed = deploy(bundles(2), model="line", port=taken, state=state)
        assert deploy(bundles(2), model="line", port=taken, state=state) == deployed
    assert deployed.port != taken
    assert deployed.note == f"port {taken} is taken; {deployed.port} is used instead (deploy.port)"
    assert predict(deployed.address, [1]).outputs == (3.0,)


def test_another_port_moves_the_deployment(state: Path, bundles: Callable[[int], Path]) -> None:
    first = deploy(bundles(2), model="line", port=0, state=state)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    moved = deploy(bundles(2), model="line", port=port, state=state)
    assert (moved.port, moved.replaced) == (port, None)
    assert predict(moved.address, [1]).outputs == (3.0,)
    until(lambda: not try_predict(first.address))


class Hammer:
    """Asks without a pause on kept and on fresh connections, and remembers every failure."""

    def __init__(self, deployment: Deployment, kept: int, fresh: int) -> None:
        self._port = deployment.port
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.versions: list[str] = []
        self.reconnects = 0
        targets = [self._keep] * kept + [self._renew] * fresh
        self._threads = [threading.Thread(target=target) for target in targets]

    def __enter__(self) -> Hammer:
        for each in self._threads:
            each.start()
        until(lambda: len(self.versions) > 100)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Ask once; True if the server wants the connection closed. An error is never tried again."""
        try:
            connection.request("POST", "/api/predict", BODY)
            response = connection.getresponse()
            answer = json.loads(response.read())
            slope = float(answer["version"].partition(".")[0])
            assert answer["outputs"] == [slope + 1], answer
            self.versions.append(answer["version"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, AssertionError) as error:
            self.failures.append(repr(error))
            return True
        else:
            return response.will_close

    def _keep(self) -> None:
        connection = self._connect()
        while not self._stop.is_set():
            if self._ask(connection):
                self.reconnects += 1
                connection.close()
                connection = self._connect()
            self._stop.wait(0.002)
        connection.close()

    def _renew(self) -> None:
        while not self._stop.is_set():
            with closing(self._connect()) as connection:
                self._ask(connection)
            self._stop.wait(0.002)


@pytest.mark.parametrize("workers", [1, 2])
def test_five_swaps_drop_no_request_and_no_connection(
    state: Path, bundles: Callable[[int], Path], workers: int
) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state, workers=workers)
    with Hammer(deployed, kept=8, fresh=2) as hammer:
        for number in (3, 4, 5, 6, 7):
            assert (
                deploy(bundles(number), model="line", port=0, state=state, workers=workers).version == f"{number}.0.0"
            )
            seen = len(hammer.versions)
            until(lambda seen=seen: len(hammer.versions) > seen + 100)
    assert hammer.failures == []
    assert hammer.reconnects == 0
    assert set(hammer.versions) == {f"{number}.0.0" for number in range(2, 8)}


def test_a_change_of_the_servers_code_replaces_its_processes_without_a_dropped_request(
    state: Path, bundles: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    before = worker_pids("line", state)
    with Hammer(deployed, kept=8, fresh=2) as hammer:
        for number in range(3):
            monkeypatch.setattr(local, "code_fingerprint", lambda number=number: f"code {number}")
            deploy(bundles(3), model="line", port=0, state=state)
            seen = len(hammer.versions)
            until(lambda seen=seen: len(hammer.versions) > seen + 100)
    assert hammer.failures == []
    until(lambda: len(worker_pids("line", state)) == 1)
    assert not set(before) & set(worker_pids("line", state))


def test_more_workers_can_take_over(state: Path, bundles: Callable[[int], Path]) -> None:
    deploy(bundles(2), model="line", port=0, state=state)
    deployed = deploy(bundles(2), model="line", port=0, state=state, workers=3)
    until(lambda: len(worker_pids("line", state)) == 3)
    assert predict(deployed.address, [1]).outputs == (3.0,)


def test_a_crashed_server_is_started_again_with_the_live_release(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    deploy(bundles(3), model="line", port=0, state=state)
    for _ in range(2):
        (pid,) = until(lambda: worker_pids("line", state))
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: worker_pids("line", state) not in ([pid], []))
        assert answers(deployed.address) == [4.0]


def test_a_release_can_be_deployed_while_the_server_lies_crashed(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    os.kill(worker_pids("line", state)[0], signal.SIGKILL)
    assert deploy(bundles(3), model="line", port=0, state=state).version == "3.0.0"
    assert answers(deployed.address) == [4.0]


def test_a_killed_supervisor_takes_its_server_along_and_the_next_deploy_starts_anew(
    state: Path, bundles: Callable[[int], Path]
) -> None:
    first = deploy(bundles(2), model="line", port=0, state=state)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: live("line", state) is None)
    second = deploy(bundles(2), model="line", port=0, state=state)
    assert second.pid != first.pid
    assert second.port == first.port
    assert predict(second.address, [1]).outputs == (3.0,)
    until(lambda: len(processes_of(state)) == 2)


def test_a_supervisor_whose_folder_is_gone_ends_with_its_server(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    started = [psutil.Process(deployed.pid), *psutil.Process(deployed.pid).children()]
    shutil.rmtree(folder_of("line", state))
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in started))


def test_a_record_of_a_dead_supervisor_is_not_believed(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    record = folder_of("line", state) / "deployment.json"
    stop("line", state)
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"pid": os.getpid()}))  # as if its id were another process's now
    assert live("line", state) is None
    assert stop("line", state) is None
    assert deploy(bundles(2), model="line", port=0, state=state).port == deployed.port


def test_two_deploys_at_once_follow_each_other(state: Path, bundles: Callable[[int], Path]) -> None:
    numbers = (2, 3, 4, 5)
    folders = [bundles(number) for number in numbers]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda folder: deploy(folder, model="line", port=0, state=state), folders))
    assert {each.version for each in made} == {f"{number}.0.0" for number in numbers}
    assert len({each.pid for each in made}) == 1
    last = live("line", state)
    assert last is not None
    assert predict(last.address, [1]).version == last.version


def test_a_deployment_outlives_its_caller_and_the_callers_group(state: Path, bundles: Callable[[int], Path]) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipeline.delivery.platforms.local.deployments import deploy\n"
        "print(deploy(Path(sys.argv[1]), model='line', port=0, state=Path(sys.argv[2])).address, flush=True)\n"
        "os.killpg(0, 9)"
    )
    command = [sys.executable, "-c", code, str(bundles(2)), str(state)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=child_environment(), start_new_session=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert predict(ended.stdout.strip(), [1]).outputs == (3.0,)
    deployed = live("line", state)
    assert deployed is not None
    assert os.getsid(deployed.pid) != os.getsid(0)


def test_stop_leaves_no_process(state: Path, bundles: Callable[[int], Path]) -> None:
    for model in ("line", "other"):
        deploy(bundles(2), model=model, port=0, state=state, workers=2)
    assert len(processes_of(state)) == 6
    stopped = stop_all(state)
    assert [each.model for each in stopped] == ["line", "other"]
    assert processes_of(state) == []
    assert deployments(state) == ()
    assert stop("line", state) is None
    assert stop("unknown", state) is None


def test_a_long_log_is_continued_in_another_file(state: Path, bundles: Callable[[int], Path]) -> None:
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    log = folder_of("line", state) / "server.log"
    with log.open("ab") as file:
        file.write(b"\n" * (11 * 2**20))
    until(lambda: log.with_name("server.log.1").exists())
    until(lambda: predict(deployed.address, [1]) and log.exists() and b'status_code":200' in log.read_bytes())
    assert log.stat().st_size < 2**20


def test_a_deployment_that_speaks_https_is_asked_by_its_own_certificate(
    state: Path, bundles: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "theirs"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=models.example.org"]
        command += ["-days", "1", "-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("MODELRAIL_SERVE_TLS_CERTIFICATE_FILE", str(tmp_path / "ours.pem"))
    monkeypatch.setenv("MODELRAIL_SERVE_TLS_KEY_FILE", str(tmp_path / "ours.key"))
    deployed = deploy(bundles(2), model="line", port=0, state=state)
    assert deployed.address.startswith("https://127.0.0.1:")
    assert predict(deployed.address, [1]).outputs == (3.0,)
    monkeypatch.setenv("MODELRAIL_SERVE_TLS_CERTIFICATE_FILE", str(tmp_path / "theirs.pem"))
    with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
        predict(deployed.address, [1])
