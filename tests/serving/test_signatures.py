"""Signatures: made by model-signing, checked by the server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pipeline.delivery.bundles import KEY, SIGNATURE, sign_bundle
from pipeline.errors import DeploymentError, InputError
from pipeline.home import CHECKOUT
from pipeline.serving.process.workers import child_environment
from pipeline.serving.scoring.model import load_model
from tests.serving.bundles import seal, write_bundle
from tests.serving.conftest import Start
from tests.serving.test_server import BODY, predict

pytestmark = pytest.mark.extra("signing")


def write_keys(folder: Path, key: Any) -> tuple[Path, Path]:
    """Write a private and a public key as PEM."""
    folder.mkdir(exist_ok=True)
    private, public = folder / "private.pem", folder / "public.pem"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    form_of_public = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form_of_public))
    return private, public


def signed(folder: Path, curve: ec.EllipticCurve | None = None, **bundle: Any) -> tuple[Path, Path]:
    """Write and sign a bundle; gives it and the public key."""
    private, public = write_keys(folder / "keys", ec.generate_private_key(curve or ec.SECP256R1()))
    written = write_bundle(folder / "b", **bundle)
    sign_bundle(written, {KEY: str(private)})
    return written, public


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signed_bundle_is_loaded(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    bundle, public = signed(tmp_path, curve)
    assert load_model(bundle, signature_key=public).version == "1.0.0"


def test_model_signings_own_verifier_agrees(tmp_path: Path) -> None:
    """In a process of its own, since it brings much."""
    bundle, public = signed(tmp_path)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(bundle)]
    command += ["--signature", str(bundle / SIGNATURE), "--public_key", str(public)]
    command += ["--ignore-paths", str(bundle / SIGNATURE)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr


def test_without_a_key_nothing_is_signed_and_a_signature_stays(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "plain")
    sign_bundle(bundle, {})
    assert not (bundle / SIGNATURE).exists()
    again, _ = signed(tmp_path)
    before = (again / SIGNATURE).read_bytes()
    sign_bundle(again, {KEY: str(tmp_path / "keys/private.pem")})
    assert (again / SIGNATURE).read_bytes() == before


def test_a_key_that_cannot_sign_is_named(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    with pytest.raises(InputError, match=f"{KEY}: found .*none.pem.*; expected a PEM private key of P-256"):
        sign_bundle(bundle, {KEY: str(tmp_path / "none.pem")})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b"]


def test_a_bundle_that_was_changed_after_it_was_signed_is_refused(tmp_path: Path) -> None:
    """The record is made anew for the changed graph, so that only the signature tells."""
    bundle, public = signed(tmp_path)
    write_bundle(tmp_path / "evil", slope=-1.0)
    (bundle / "model.onnx").write_bytes((tmp_path / "evil/model.onnx").read_bytes())
    with pytest.raises(DeploymentError, match=r"model\.onnx: found SHA-256 .*; expected .* \(release\.json\)"):
        load_model(bundle, signature_key=public)
    signature = (bundle / SIGNATURE).read_bytes()
    (bundle / SIGNATURE).unlink()
    seal(bundle)
    (bundle / SIGNATURE).write_bytes(signature)
    with pytest.raises(DeploymentError, match=r"release\.json: found SHA-256 .*\(model\.sig\): it was changed after"):
        load_model(bundle, signature_key=public)


def test_a_bundle_without_a_signature_is_refused_where_one_is_required(tmp_path: Path) -> None:
    bundle, public = signed(tmp_path)
    (bundle / SIGNATURE).unlink()
    with pytest.raises(DeploymentError, match=r"model\.sig: found none; expected a signed bundle \(MODELRAIL_SERVE_"):
        load_model(bundle, signature_key=public)


def test_another_ones_signature_is_refused(tmp_path: Path) -> None:
    bundle, _ = signed(tmp_path)
    _, other = write_keys(tmp_path / "other", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(DeploymentError, match=r"model\.sig: found one that does not hold by .*public\.pem"):
        load_model(bundle, signature_key=other)


def test_a_statement_that_was_changed_is_refused(tmp_path: Path) -> None:
    bundle, public = signed(tmp_path)
    envelope = json.loads((bundle / SIGNATURE).read_text())
    payload = base64.b64decode(envelope["dsseEnvelope"]["payload"])
    envelope["dsseEnvelope"]["payload"] = base64.b64encode(payload + b" ").decode()
    (bundle / SIGNATURE).write_text(json.dumps(envelope))
    with pytest.raises(DeploymentError, match="found one that does not hold"):
        load_model(bundle, signature_key=public)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"dsseEnvelope": {"payload": "%"}}', b"\xff"])
def test_what_is_no_signature_is_refused(tmp_path: Path, content: bytes) -> None:
    bundle, public = signed(tmp_path)
    (bundle / SIGNATURE).write_bytes(content)
    with pytest.raises(DeploymentError, match=r"model\.sig: found .*; expected a signature of model-signing"):
        load_model(bundle, signature_key=public)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    bundle, _ = signed(tmp_path)
    _, public = write_keys(tmp_path / "rsa", rsa.generate_private_key(65537, 2048))
    with pytest.raises(DeploymentError, match="found another kind of key; expected a PEM public key of an elliptic"):
        load_model(bundle, signature_key=public)


def test_the_server_serves_what_is_signed_only(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, public = signed(tmp_path)
    monkeypatch.setenv("MODELRAIL_SERVE_SIGNATURE_KEY_FILE", str(public))
    assert predict(start(bundle), BODY)[0] == 200
    plain = write_bundle(tmp_path / "plain")
    command = [sys.executable, "-m", "pipeline.serving.process.server", "--bundle", str(plain), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert ended.returncode == 1
    assert "model.sig: found none; expected a signed bundle" in ended.stderr


def test_keys_made_as_the_page_says_sign_and_verify(tmp_path: Path) -> None:
    page = CHECKOUT / "docs" / "serving.md"
    commands = [line for line in page.read_text().splitlines() if line.startswith("openssl ")]
    for command in commands:
        subprocess.run(command, shell=True, check=True, capture_output=True, cwd=tmp_path)  # noqa: S602  # as it is shown
    bundle = write_bundle(tmp_path / "b")
    sign_bundle(bundle, {KEY: str(tmp_path / "signing.pem")})
    assert load_model(bundle, signature_key=tmp_path / "signing.pub.pem").version == "1.0.0"
