"""Whether a bundle is signed with a key that this server trusts.

A signature has the format of OpenSSF Model Signing (``model-signing``): an in-toto statement with the digest of every
file, in a DSSE envelope, signed with a key of an elliptic curve. It is checked over the very bytes that are loaded
afterwards, by nothing but ``cryptography``: the statement has the digest of ``release.json``, and that all others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DeploymentError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SIGNATURE = "model.sig"
SETTING = "MODELRAIL_SERVE_SIGNATURE_KEY_FILE"
_PAYLOAD = "application/vnd.in-toto+json"
_PREDICATE = "https://model_signing/signature/v1.0"
_MAX_BYTES = 2**20


def check_signature(folder: Path, record: bytes, key_file: Path) -> None:
    """Refuse a bundle that is not signed by a key.

    Parameters
    ----------
    record : bytes
        What ``release.json`` holds.
    key_file : Path
        PEM public key.

    Raises
    ------
    DeploymentError
        If the signature is missing, is not that of the key, or is another bundle's.
    """
    path, key = folder / SIGNATURE, _read_key(key_file)
    try:
        with path.open("rb") as file:
            envelope = json.loads(file.read(_MAX_BYTES))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        kind = envelope["payloadType"]
    except FileNotFoundError as error:
        raise DeploymentError(f"{path}: found none; expected a signed bundle ({SETTING})") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DeploymentError(f"{path}: found {error!r}; expected a signature of model-signing") from error
    if kind != _PAYLOAD or not _is_signed(key, payload, signature):
        raise DeploymentError(f"{path}: found one that does not hold by {key_file}; expected that key's ({SETTING})")
    signed = _digest_of_record(path, json.loads(payload))
    found = hashlib.sha256(record).hexdigest()
    if found != signed:
        raise DeploymentError(
            f"{folder / 'release.json'}: found SHA-256 {found[:12]}…; expected {signed[:12]}… ({SIGNATURE}):"
            " it was changed after it was signed"
        )


def _read_key(path: Path) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    expected = f"a PEM public key of an elliptic curve ({SETTING})"
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DeploymentError(f"{path}: found {error}; expected {expected}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DeploymentError(f"{path}: found another kind of key; expected {expected}")
    return key


def _is_signed(key: EllipticCurvePublicKey, payload: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    digest = {256: hashes.SHA256(), 384: hashes.SHA384()}.get(key.curve.key_size, hashes.SHA512())
    said = b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
    try:
        key.verify(signature, said, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _digest_of_record(path: Path, statement: Any) -> str:
    """Read the signed digest of ``release.json``; the signature may be of something else."""
    try:
        listed = statement["predicate"]["resources"] if statement["predicateType"] == _PREDICATE else []
        digests = {each["name"]: each["digest"] for each in listed if each["algorithm"] == "sha256"}
        return str(digests["release.json"])
    except (LookupError, TypeError) as error:
        raise DeploymentError(
            f"{path}: found no SHA-256 of release.json; expected the signature of a bundle"
        ) from error
