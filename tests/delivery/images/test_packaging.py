"""Images of releases, in a real registry (Debian's docker-registry, a process of the test)."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.images.logins import find_login
from pipeline.delivery.images.packaging import Image, model_layer, package
from pipeline.delivery.images.registry import MANIFESTS, Blob, Registry, digest_of
from pipeline.errors import DeploymentError, InputError, TransientError
from pipeline.spec.image_names import Reference, address_of, is_plain
from tests.delivery.images.conftest import Start, needs_registry
from tests.ports import CLOSED

PASSWORDS = "test:$2b$05$5y8kFopNRdspTsqjqlEFm.Oj2HtRH3m8xyKHGUT3QG23pemmTR3Ce\n"  # secret
INDEX, MANIFEST = MANIFESTS[:2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "v1.0.0"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(os.urandom(100_000))
    (folder / "release.json").write_text("{}")
    return folder


def push_base(host: str, name: str = "modelrail/serving", architecture: str = "amd64") -> bytes:
    """Push a small image, and give its manifest."""
    layer = f"a layer for {architecture}".encode()
    config = json.dumps(
        {"architecture": architecture, "config": {"Env": ["A=1"]}, "rootfs": {"diff_ids": [digest_of(layer)]}}
    ).encode()
    with closing(Registry(host)) as registry:
        for each in (layer, config):
            registry.push(name, Blob(each))
        parts = [{"digest": digest_of(each), "size": len(each), "mediaType": "x"} for each in (config, layer)]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]})
        registry.put_manifest(name, f"1-{architecture}", manifest.encode(), MANIFEST)
    return manifest.encode()


def read(image: Image) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes]:
    """Return an image's manifest, its configuration and its last layer."""
    reference = Reference.parse(image.reference)
    with closing(Registry(reference.host)) as registry:
        found = registry.manifest(reference.name, reference.version)
        assert found is not None
        manifest = json.loads(found[0])
        blobs = [registry.blob(reference.name, manifest[key]["digest"]) for key in ("config",)]
        return manifest, json.loads(blobs[0]), registry.blob(reference.name, manifest["layers"][-1]["digest"])


@needs_registry
def test_a_release_is_one_more_layer_and_the_same_digest_each_time(start: Start, bundle: Path) -> None:
    host = start()
    push_base(host)
    labels = {"modelrail.dev/spec-commit": "abc"}
    made = package(bundle, f"{host}/modelrail/serving:1-amd64", f"{host}/models/line", "v1.0.0", labels)
    assert made.blobs == {"mounted": 1, "pushed": 2}, "the base's layers are not copied"
    assert made.tag == f"{host}/models/line:v1.0.0-{made.reference.partition('sha256:')[2][:12]}"

    manifest, config, layer = read(made)
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert config["config"] == {"Env": ["A=1"], "Labels": labels}
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        found = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        assert {name: file.read() for name, file in found.items() if file} == {
            f"model/{file.name}": file.read_bytes() for file in bundle.iterdir()
        }

    (bundle / "model.onnx").touch()
    again = package(bundle, f"{host}/modelrail/serving:1-amd64", f"{host}/models/line", "v1.0.0", labels)
    assert again.reference == made.reference
    assert not again.blobs, "all is there"


@needs_registry
def test_layers_are_copied_between_registries(start: Start, bundle: Path) -> None:
    one, other = start(), start()
    push_base(one)
    made = package(bundle, f"{one}/modelrail/serving:1-amd64", f"{other}/models/line", "v1.0.0", {})
    assert made.blobs == {"copied": 1, "pushed": 2}
    assert made.reference.startswith(f"{other}/models/line@sha256:")


@needs_registry
def test_a_base_of_several_architectures_gives_an_image_of_as_many(start: Start, bundle: Path) -> None:
    host = start()
    children = []
    for architecture in ("amd64", "arm64"):
        manifest = push_base(host, architecture=architecture)
        platform = {"os": "linux", "architecture": architecture}
        children.append(
            {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest), "platform": platform}
        )
    attestation = {**children[0], "platform": {"os": "unknown", "architecture": "unknown"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*children, attestation]}
    with closing(Registry(host)) as registry:
        registry.put_manifest("modelrail/serving", "1", json.dumps(index).encode(), INDEX)
    made = package(bundle, f"{host}/modelrail/serving:1", f"{host}/models/line", "v1.0.0", {})
    with closing(Registry(host)) as registry:
        reference = Reference.parse(made.reference)
        found = registry.manifest(reference.name, reference.version)
        assert found is not None
        appended = json.loads(found[0])["manifests"]
        assert [each["platform"]["architecture"] for each in appended] == ["amd64", "arm64"]
        assert all(registry.manifest(reference.name, each["digest"]) for each in appended)


@needs_registry
def test_a_base_that_is_not_there_is_said_with_the_command_that_makes_it(start: Start, bundle: Path) -> None:
    host = start()
    with pytest.raises(DeploymentError, match=r"serving:1: found no such image; .*'modelrail images build serving"):
        package(bundle, f"{host}/modelrail/serving:1", f"{host}/models/line", "v1.0.0", {})


def test_a_registry_that_does_not_answer_can_be_tried_again(bundle: Path) -> None:
    host = f"localhost:{CLOSED}"
    with pytest.raises(TransientError, match=f"registry {host}: found .*; expected it to answer"):
        package(bundle, f"{host}/modelrail/serving:1", f"{host}/models/line", "v1.0.0", {})


@needs_registry
def test_a_login_is_taken_from_dockers_configuration(
    start: Start, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = start(PASSWORDS)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with pytest.raises(DeploymentError, match=f"found no right to it .*'docker login {host}'"):
        push_base(host)
    write_login(tmp_path / "docker/config.json", host, "test:secret")
    push_base(host)
    assert package(bundle, f"{host}/modelrail/serving:1-amd64", f"{host}/models/line", "v1", {}).blobs
    write_login(tmp_path / "docker/config.json", host, "test:wrong")
    with pytest.raises(DeploymentError, match="found no right to it"):
        push_base(host)


def write_login(file: Path, host: str, login: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(login.encode()).decode()}}}))


def test_a_login_is_asked_of_a_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-here"
    program.write_text('#!/bin/sh\nread host\necho "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    (tmp_path / "auth.json").write_text('{"credHelpers": {"registry.example": "here", "other.example": "gone"}}')
    assert find_login("registry.example") == ("registry.example", "s")
    with pytest.raises(InputError, match="found no program docker-credential-gone"):
        find_login("other.example")


def test_a_token_is_fetched_where_the_registry_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/token"):
                asked.append((self.path, self.headers.get("authorization")))
                self.answer(200, body=b'{"token": "abc"}')
            elif self.headers.get("authorization") == "Bearer abc":
                self.answer(404)
            else:
                realm = f"http://{self.headers['host']}/token"
                self.answer(401, {"www-authenticate": f'Bearer realm="{realm}",service="here"'})

        def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        host = f"localhost:{server.server_port}"
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        write_login(tmp_path / "config.json", host, "test:secret")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with closing(Registry(host)) as registry:
            assert registry.manifest("models/line", "1") is None
        server.shutdown()
        thread.join()
    basic = "Basic " + base64.b64encode(b"test:secret").decode()
    assert asked == [("/token?service=here&scope=repository%3Amodels%2Fline%3Apull%2Cpush", basic)]


def test_the_layer_does_not_know_when_and_by_whom_it_was_made(bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (other / "model.onnx").chmod(0o600)
    os.utime(other / "release.json", (1, 1))
    assert model_layer(bundle) == model_layer(other)


@pytest.mark.parametrize(
    ("text", "host", "name", "version"),
    [
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim"),
        ("someone/image", "docker.io", "someone/image", "latest"),
        ("localhost:5001/a/b:1", "localhost:5001", "a/b", "1"),
        (f"r.example/a:1@sha256:{'0' * 64}", "r.example", "a", f"sha256:{'0' * 64}"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, host: str, name: str, version: str) -> None:
    found = Reference.parse(text)
    assert (found.host, found.name, found.version) == (host, name, version)


@pytest.mark.parametrize("text", ["", "r.example/", "r.example/UPPER", "r.example/a:", "r.example/a@sha256:1", "a b"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="found the image"):
        Reference.parse(text)


@needs_registry
def test_a_registry_may_have_another_address_here_than_its_images_name(
    start: Start, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = start()
    push_base(address)
    monkeypatch.setenv("MODELRAIL_REGISTRIES", f"r.example=https://other.example,kind:5001=http://{address}/")
    made = package(bundle, "kind:5001/modelrail/serving:1-amd64", "kind:5001/models/line", "v1.0.0", {})
    assert made.blobs == {"mounted": 1, "pushed": 2}
    assert made.reference.startswith("kind:5001/models/line@sha256:")
    again = package(bundle, f"{address}/modelrail/serving:1-amd64", f"{address}/models/line", "v1.0.0", {})
    assert not again.blobs, "by its other name it is the same registry"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("r.example", "https://r.example"),
        ("localhost:5001", "http://localhost:5001"),
    ],
)
def test_a_registry_is_spoken_to_at_its_name_where_nothing_else_is_said(host: str, url: str) -> None:
    assert address_of(host) == url


def test_only_registries_of_this_machine_or_named_so_are_spoken_to_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_PLAIN_REGISTRIES", "kind-registry:5000")
    found = [
        is_plain(each) for each in ("localhost:5001", "127.0.0.1", "kind-registry:5000", "r.example", "localhosts")
    ]
    assert found == [True, True, True, False, False]
