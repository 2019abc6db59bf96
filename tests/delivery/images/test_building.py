"""Building images: what is asked of each program."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.delivery.images.building import BUILDERS, Image, Program, build, build_command, default_base
from pipeline.delivery.images.registry import Registry, digest_of
from pipeline.errors import DeploymentError, InputError
from pipeline.home import CHECKOUT
from tests.delivery.images.conftest import Start, needs_registry
from tests.ports import CLOSED

NOWHERE = f"localhost:{CLOSED}/python:3"


@pytest.mark.parametrize("program", BUILDERS)
def test_each_program_builds_the_dockerfile_with_the_base_and_the_options(program: Program) -> None:
    command = " ".join(build_command("serving", "r.example/s:1", program, "r.example/python:3", ["--network", "host"]))
    assert command.startswith(f"{program} build ")
    assert "--build-arg BASE_IMAGE=r.example/python:3 --network host --file docker/serving.Dockerfile" in command
    assert command.endswith("--tag r.example/s:1 .")
    assert "tls-verify" not in command


def test_a_base_on_this_machine_is_pulled_without_tls() -> None:
    assert "--tls-verify=false" in build_command("serving", "s", "buildah", "localhost:5001/python:3")


def test_a_program_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"found no program 'podman' on this machine; expected it \(--with\)"):
        build("serving", "r.example/s:1", "podman", base=NOWHERE)
    with pytest.raises(InputError, match="found none of buildah, podman, docker"):
        build("serving", "r.example/s:1")


def test_a_build_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeploymentError, match=r"docker build .*: found exit code 3"):
        build("serving", "r.example/s:1", base=NOWHERE)


@needs_registry
def test_a_base_is_built_by_its_digest_and_stands_in_the_labels(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host, content = start(), b'{"schemaVersion": 2, "manifests": []}'
    index = "application/vnd.oci.image.index.v1+json"
    with closing(Registry(host)) as registry:
        registry.put_manifest("python", "3", content, index)
    program, said = tmp_path / "docker", tmp_path / "said"
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    for base in (f"{host}/python:3", f"{host}/python:4", NOWHERE):
        build("serving", "r.example/s:1", "docker", base=base)
    pinned, absent, unanswered = said.read_text().splitlines()
    assert f"BASE_IMAGE={host}/python@{digest_of(content)} " in pinned
    assert f"--label org.opencontainers.image.base.name={host}/python:3 " in pinned
    assert f"--label org.opencontainers.image.base.digest={digest_of(content)} " in pinned
    assert f"BASE_IMAGE={host}/python:4 " in absent, "this machine may have it"
    assert f"BASE_IMAGE={NOWHERE} " in unanswered
    assert "--label" not in absent + unanswered


@pytest.mark.parametrize("image", ["serving", "pipeline"])
def test_a_dockerfile_names_its_base_once(image: Image) -> None:
    assert default_base(image) == "python:3.11-slim"


def test_the_serving_image_has_every_module_that_the_server_imports(tmp_path: Path) -> None:
    copied = tmp_path / "pipeline"
    subprocess.run([sys.executable, CHECKOUT / "docker/modules.py", CHECKOUT / "pipeline", copied], check=True)
    assert not (copied / "running.py").exists(), "only those"
    every = (
        "import pkgutil, pipeline.serving as server\n"
        "for each in pkgutil.iter_modules(server.__path__): __import__(f'{server.__name__}.{each.name}')"
    )
    command = [sys.executable, "-P", "-c", every]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
