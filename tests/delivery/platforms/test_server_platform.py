"""A host under systemd: real SSH, real units, a real environment for the server; only the manager is a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.host import platform as host_platform
from pipeline.delivery.platforms.host.platform import units_of
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError, TransientError
from pipeline.serving.client import predict
from pipeline.serving.process.workers import listen
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.object_names import former_unit_name, unit_name
from pipeline.spec.schema.spec import Spec
from tests.conftest import git
from tests.delivery.platforms.test_platforms import make_release
from tests.serving.bundles import write_bundle
from tests.ssh import needs_sshd, ssh_server
from tests.ui.test_cli import make_project, modelrail, told

STAND_IN = Path(__file__).with_name("systemd_stand_in.py")
ANALYZE = shutil.which("systemd-analyze")
PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


@dataclass(frozen=True)
class Host:
    """A host that SSH reaches as ``shop``."""

    folder: Path
    port: int

    def target(self, **deploy: Any) -> Target:
        server = {"host": "shop", "folder": str(self.folder / "srv"), "units": "user"} | deploy.pop("server", {})
        return make_target(server, port=self.port, **deploy)

    @property
    def home(self) -> Path:
        return self.folder / "srv" / "modelrail-line-prod"


def make_target(server: dict[str, Any], **deploy: Any) -> Target:
    given = {
        "model": {"name": "line", "trainer": "linear_regression", "target": "y"},
        "environment": {"platform": "server"},
        "deploy": {"server": server, **deploy},
    }
    return Target(Spec.model_validate(given), "prod", Path())


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "bin").mkdir()
    write_program(folder / "bin" / "systemctl", f'exec {sys.executable} {STAND_IN} {folder} "$@"')
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "units"),
        **PIP,
    }
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    manager = subprocess.Popen([sys.executable, STAND_IN, folder], stdout=subprocess.PIPE)
    assert manager.stdout
    with manager, manager.stdout, ssh_server(folder, environment) as ssh_port, pytest.MonkeyPatch.context() as patch:
        assert manager.stdout.readline() == b"ready\n"
        ours = folder / "ours"
        ours.mkdir()
        (ours / "config").write_text(
            f"Host shop\n HostName 127.0.0.1\n Port {ssh_port}\n IdentityFile {folder / 'user'}\n"
            f" IdentitiesOnly yes\n UserKnownHostsFile {ours / 'known'}\n StrictHostKeyChecking accept-new\n"
        )
        write_program(ours / "ssh", f'exec {shutil.which("ssh")} -F {ours / "config"} "$@"')
        patch.setenv("PATH", f"{ours}:{os.environ['PATH']}")
        made = Host(folder, port)
        try:
            yield made
        finally:
            platform_of(made.target().spec).stop(made.target())
            manager.terminate()


def write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def put(target: Target, bundle: Path, version: str) -> Any:
    return platform_of(target.spec).deploy(target, release_of(version), bundle, None)


def release_of(version: str) -> Release:
    made = make_release(version)
    return replace(made, evidence=replace(made.evidence, model_digest=version.replace(".", "f") * 13))


@dataclass
class Count:
    answers: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@contextmanager
def asking(address: str) -> Iterator[Count]:
    """Ask again and again, each time by a new connection, until the end of the block."""
    count, over = Count(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                version = predict(address, {"x": 2}).version
            except (TransientError, DeploymentError) as error:
                count.lost.append(str(error))
            else:
                count.answers[version] = count.answers.get(version, 0) + 1
            over.wait(0.01)

    callers = [threading.Thread(target=ask) for _ in range(2)]
    for each in callers:
        each.start()
    try:
        yield count
    finally:
        over.set()
        for each in callers:
            each.join()


@needs_sshd
def test_releases_are_exchanged_and_taken_back_without_a_lost_request(host: Host, tmp_path: Path) -> None:
    target = host.target()
    platform = platform_of(target.spec)
    assert platform.live(target) is None
    first, second = write_bundle(tmp_path / "1"), write_bundle(tmp_path / "2", version="2.0.0", slope=3.0)
    made = put(target, first, "1.0.0")
    assert (made.version, made.replaced, made.address) == ("1.0.0", None, f"http://127.0.0.1:{host.port}")
    with asking(made.address) as count:
        assert put(target, second, "2.0.0").replaced == "1.0.0"
        answer = predict(made.address, {"x": 2}, send=platform.post(target))
        assert (answer.outputs, answer.version) == ((7.0,), "2.0.0")
        assert put(replace(target, at_once=True), first, "1.0.0").replaced == "2.0.0"
        anew = host.target(workers=2)  # other units: systemd starts the server anew, and holds the socket meanwhile
        assert put(anew, first, "1.0.0").version == "1.0.0"
        assert put(host.target(workers=2, strategy="recreate"), second, "2.0.0").version == "2.0.0"
    assert count.lost == []
    assert min(count.answers["1.0.0"], count.answers["2.0.0"]) > 0
    assert sorted(each.name[:6] for each in (host.home / "releases").iterdir()) == ["v1.0.0", "v2.0.0"]
    assert len([*(host.home / "runtimes").iterdir()]) == 1


OVERLAY = """\
environment: {{platform: server}}
deploy:
  port: {port}
  server: {{host: shop, folder: {folder}, units: user}}
"""


@needs_sshd
def test_the_commands_lead_from_a_commit_to_the_host_and_back(host: Host, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    project = make_project(tmp_path / "project")
    overlay = project / "environments" / "shop.yaml"
    overlay.parent.mkdir()
    overlay.write_text(OVERLAY.format(port=port, folder=host.folder / "srv"))

    def commit_and_run(epochs: int) -> Any:
        spec = project / "models" / "line.yaml"
        spec.write_text(
            f"model: {{name: LinearRegression, params: {{epochs: {epochs}}}}}\nenvironment: {{platform: Local}}\n"
        )
        git(project, "add", "--all")
        git(project, "commit", "--quiet", "--message", f"{epochs} epochs")
        return told(modelrail(["run", "line", "--environment", "shop", "--json"], project))

    def live() -> str:
        return predict(f"http://127.0.0.1:{port}", {"x": 0.5}).version

    try:
        assert commit_and_run(400)["outcome"] == "released"
        assert live() == "1.0.0"
        assert commit_and_run(500)["outcome"] == "released"
        second = live()
        assert second != "1.0.0"
        back = modelrail(["rollback", "LinearRegression", "--environment", "shop", "--why", "a test"], project)
        assert back.returncode == 0, back.stderr
        assert live() == "1.0.0"
        forward = modelrail(["promote", f"LinearRegression@{second}", "-e", "shop", "--why", "again"], project)
        assert forward.returncode == 0, forward.stderr
        assert live() == second
        assert "v1.0.0" in modelrail(["audit"], project).stdout
    finally:
        place = load_spec(project / "models" / "line.yaml", "shop").spec
        platform_of(place).stop(Target(place, "shop", project / ".modelrail"))


@needs_sshd
def test_a_release_that_the_server_refuses_changes_nothing(host: Host, tmp_path: Path) -> None:
    target = host.target()
    put(target, write_bundle(tmp_path / "1"), "1.0.0")
    broken = write_bundle(tmp_path / "3", version="3.0.0")
    (broken / "model.onnx").write_bytes(b"broken")
    link = (host.home / "current").readlink()
    with pytest.raises(AbortedError, match=r"line@v3.0.0: shop: reload the server.*version 1.0.0 stays live") as caught:
        put(target, broken, "3.0.0")
    assert caught.value.stable == "line@v1.0.0"
    assert (host.home / "current").readlink() == link
    live = platform_of(target.spec).live(target)
    assert live is not None
    assert predict(live.address, {"x": 2}).version == "1.0.0"
    assert b"model.onnx" in (host.folder / "journal").read_bytes()


@needs_sshd
def test_drift_is_shown_and_mended_by_the_next_deploy(host: Host, tmp_path: Path) -> None:
    target, bundle = host.target(), write_bundle(tmp_path / "1")
    platform = platform_of(target.spec)
    put(target, bundle, "1.0.0")
    assert platform.differences(target, release_of("1.0.0"), None) == []
    service = host.folder / "units/systemd/user/modelrail-line-prod.service"
    service.write_text(service.read_text().replace("PrivateTmp=yes", "PrivateTmp=no"))
    (host.home / "current").unlink()
    found = [str(each) for each in platform.differences(target, release_of("1.0.0"), None)]
    assert found[0].startswith("shop: modelrail-line-prod.service: found another text")
    assert found[1].startswith(f"shop: {host.home}/current: found nothing; expected v1.0.0-")
    put(target, bundle, "1.0.0")
    assert platform.differences(target, release_of("1.0.0"), None) == []
    assert "PrivateTmp=yes" in service.read_text()


@needs_sshd
def test_another_models_place_is_left_alone(host: Host, tmp_path: Path) -> None:
    put(host.target(), write_bundle(tmp_path / "1"), "1.0.0")
    owner = host.home / "owner"
    before = owner.read_text()
    owner.write_text("another#prod")
    with pytest.raises(DeploymentError, match=r"found it to be of another#prod; expected names that differ"):
        put(host.target(), tmp_path / "1", "1.0.0")
    owner.write_text(before)


@pytest.mark.rare
@needs_sshd
def test_what_an_earlier_version_named_ambiguously_keeps_its_place(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "1")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    target = replace(make_target({"host": "shop", "folder": str(host.folder / "srv"), "units": "user"}, port=port),
                     environment="eu-prod")  # fmt: skip
    platform = platform_of(target.spec)
    try:
        with monkeypatch.context() as earlier:
            earlier.setattr(host_platform, "unit_name", former_unit_name)
            put(target, bundle, "1.0.0")
        assert platform.live(target) is not None
        assert platform.differences(target, release_of("1.0.0"), None) == []
        put(target, bundle, "1.0.0")
        homes = {each.name for each in (host.folder / "srv").iterdir() if "eu-prod" in each.name}
        assert homes == {"modelrail-line-eu-prod"}
    finally:
        platform.stop(target)
    made = put(target, bundle, "1.0.0")
    try:
        assert (host.folder / "srv" / unit_name("line", "eu-prod") / "current").exists(), "anew, by its own name"
        assert made.version == "1.0.0"
    finally:
        platform.stop(target)


@needs_sshd
def test_what_a_host_lacks_is_said_all_at_once_and_nothing_is_changed(host: Host) -> None:
    fine = host.target(server={"folder": str(host.folder / "not" / "there")})
    platform_of(fine.spec).require_ready(fine, packages=True)
    assert not (host.folder / "not").exists()
    target = host.target(server={"folder": "/proc/modelrail", "python": "python2.7", "units": "system", "sudo": True})
    with pytest.raises(DeploymentError) as caught:
        platform_of(target.spec).require_ready(target, packages=True)
    said = str(caught.value).splitlines()
    assert all(each.startswith("shop: found ") for each in said)
    expected = ("MiB free for /proc/modelrail", "found systemd to say: ", "expected Python 3.11 or newer, with venv")
    assert [next(each for each in said if part in each) for part in expected]


@needs_sshd
def test_a_host_that_does_not_answer_is_worth_another_try(host: Host) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    target = host.target(server={"ssh_port": port})
    with pytest.raises(TransientError, match=r"shop: look at what is there: .*expected to reach it as 'ssh shop' does"):
        platform_of(target.spec).live(target)


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze: apt-get install systemd")
@pytest.mark.parametrize("server", [{}, {"user": "daemon"}, {"units": "user"}], ids=["system", "as a user", "user"])
def test_systemd_finds_no_fault_in_the_units(server: dict[str, Any], tmp_path: Path) -> None:
    target = make_target(
        {"host": "shop", "folder": str(tmp_path / "srv"), **server}, resources={"limits": {"cpu": "2"}}
    )
    python = tmp_path / "srv" / "modelrail-line-prod" / "runtime" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    files = []
    for name, text in units_of(target).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    which = ["--user"] if server.get("units") == "user" else ["--system"]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"}
    verified = subprocess.run(
        [str(ANALYZE), "verify", *which, *files], env=environment, capture_output=True, text=True, check=False
    )
    about_ours = [line for line in verified.stderr.splitlines() if "modelrail" in line]
    assert about_ours == [], verified.stderr
    assert verified.returncode == 0, verified.stderr
    if which == ["--system"]:
        command = [str(ANALYZE), "security", "--offline=yes", "--threshold=20", "--no-pager", str(files[1])]
        judged = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout + judged.stderr
