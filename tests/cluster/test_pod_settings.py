"""Servers that want a key and speak TLS, in real pods."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.delivery.bundles import KEY, sign_bundle
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.errors import AbortedError, DataError, DeploymentError, TransientError
from pipeline.serving.client import API_KEY, predict
from tests.delivery.rollouts.candidates import SLOPE
from tests.serving.bundles import line_graph
from tests.serving.test_signatures import write_keys

from .lines import NAME, Line, line_in

SETTINGS = {
    "api_keys_file": "/settings/keys",
    "tls_certificate_file": "/settings/tls.crt",
    "tls_key_file": "/settings/tls.key",
    "max_rows": 2,
}


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Return the model, whose pods find a certificate and the key ``secret`` in a Secret."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=line"]
    subprocess.run(
        [*command, "-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")],
        check=True,
        capture_output=True,
    )
    (tmp_path / "keys").write_text("tester secret\n")
    made = line_in(namespace, serving_image, tmp_path)
    files = [f"--from-file={tmp_path / name}" for name in ("tls.key", "tls.crt", "keys")]
    made.kubectl("create", "secret", "generic", "line-serving", *files)
    monkeypatch.setenv(API_KEY, "secret")
    return made.with_deploy(settings=SETTINGS, secret="line-serving")


def ask(line: Line, rows: int = 1, address: str = "https://line") -> str:
    post = platform_of(line.target.spec).post(line.target)
    return predict(address, [[0.5]] * rows, send=post).version


@contextmanager
def asked(line: Line) -> Iterator[list[str]]:
    """Ask all the time, as whoever has the key does; gives the versions that answer."""
    over, versions = threading.Event(), list[str]()

    def go_on() -> None:
        while not over.is_set():
            with suppress(TransientError):  # the API server, by way of which it goes, is busy
                versions.append(ask(line))
            over.wait(0.05)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield versions
    finally:
        over.set()
        thread.join()


def test_a_server_with_keys_and_tls_is_deployed_asked_and_tried_as_a_canary(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = line.deploy("1.0.0")
    assert made.address == f"https://{NAME}.{line.target.spec.deploy.namespace}.svc"
    assert line.get("service", NAME)["spec"]["ports"][0]["port"] == 443
    assert ask(line) == "1.0.0"
    with pytest.raises(DataError, match=r"found 3 rows; expected at most 2"):
        ask(line, rows=3)
    canary = line.with_canary(steps=[{"weight": 33, "hold_s": 0}], min_requests=10, metrics={"errors": 0.01}, every_s=1)
    with asked(line) as versions:
        assert canary.deploy("2.0.0").replaced == "1.0.0"
    assert {*versions} == {"1.0.0", "2.0.0"}

    monkeypatch.delenv(API_KEY)
    with pytest.raises(DeploymentError, match=r"found no credentials; .*set MODELRAIL_API_KEY"):
        ask(line)
    with pytest.raises(DeploymentError, match=r"pod line-canary-.*found no credentials; .*set MODELRAIL_API_KEY"):
        canary.deploy("3.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.live() == "2.0.0"


@pytest.mark.extra("signing")
def test_a_server_with_tokens_and_signatures_serves_only_what_was_signed_to_whoever_has_a_token(
    namespace: str, serving_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = write_keys(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "tokens").write_text("0123456789abcdef" * 2)
    line = line_in(namespace, serving_image, tmp_path)
    files = [f"--from-file={tmp_path / name}" for name in ("public.pem", "tokens")]
    line.kubectl("create", "secret", "generic", "line-serving", *files)
    settings = {"signature_key_file": "/settings/public.pem", "jwt_key_file": "/settings/tokens"}
    line = line.with_deploy(settings={**settings, "jwt_audience": "line"}, secret="line-serving", ready_within_s=60)

    def token(audience: str) -> str:
        claims = {"sub": "tester", "aud": audience, "exp": time.time() + 600}
        return jwt.encode(claims, (tmp_path / "tokens").read_text(), "HS256")

    monkeypatch.setenv(API_KEY, token("line"))
    sign_bundle(line.bundle("1.0.0", line_graph(SLOPE)), {KEY: str(private)})
    line.deploy("1.0.0")
    assert ask(line, address="http://line") == "1.0.0"
    with pytest.raises(AbortedError, match=r"ends again and again, .*expected a signed bundle.*1\.0\.0 stays live"):
        line.deploy("2.0.0")
    monkeypatch.setenv(API_KEY, token("another"))
    with pytest.raises(DeploymentError, match=r"found a token that does not hold \(Audience doesn't match\)"):
        ask(line, address="http://line")


def test_settings_go_with_the_pods_that_they_were_written_for(line: Line) -> None:
    line.deploy("1.0.0")
    wrong = line.with_deploy(settings={**SETTINGS, "api_keys_file": "/settings/nothing"}, ready_within_s=60)
    with pytest.raises(AbortedError, match=r"ends again and again, .*/settings/nothing.*1\.0\.0 stays live"):
        wrong.deploy("2.0.0")
    assert ask(line) == "1.0.0"
    (container,) = line.get("deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert {"name": "MODELRAIL_SERVE_API_KEYS_FILE", "value": "/settings/keys"} in container["env"]
    assert "secret\n" not in json.dumps(line.get("deployment,configmap")), "no key leaves the Secret"
