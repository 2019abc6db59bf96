"""Who may ask: API keys and signed tokens (JWT). Without either anybody may."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DeploymentError
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.settings import Settings

_MAX_REMEMBERED = 1024
_LEAST_SECRET_BYTES = 32
_SHARED = ("HS256", "HS384", "HS512")
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EXPECTED = "a key in 'x-api-key', or a key or token in 'authorization: Bearer …'"


class Access:
    """Identifies the caller.

    Keys are compared by their digests, so the time it takes tells nothing about them. A token that was good is
    remembered until it expires.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = dict(_read_keys(settings.api_keys_file)) if settings.api_keys_file else {}
        self._secret = _read_secret(settings.jwt_key_file) if settings.jwt_key_file else None
        self._algorithms = _algorithms_of(self._secret, settings.jwt_key_file) if self._secret else ()
        self._audience, self._issuer = settings.jwt_audience or None, settings.jwt_issuer or None
        self._known: dict[bytes, tuple[float, str]] = {}
        self.is_open = settings.api_keys_file is None and settings.jwt_key_file is None

    def check(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the caller's name; None if anybody may ask.

        Raises
        ------
        RejectedError
            With status 401.
        """
        if self.is_open:
            return None
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")
        if not given:
            raise RejectedError(401, f"found no credentials; expected {_EXPECTED}")
        name = self._keys.get(hashlib.sha256(given).hexdigest())
        return name if name is not None else self._check_token(given)

    def _check_token(self, token: bytes) -> str:
        if self._secret is None:
            raise RejectedError(401, "found an unknown key; expected one that this server knows")
        expires, name = self._known.get(token, (0.0, ""))
        if time.time() < expires:
            return name
        claims = self._verify(token)
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        name = str(claims.get("sub", ""))
        self._known[token] = (float(claims["exp"]), name)
        return name

    def _verify(self, token: bytes) -> dict[str, Any]:
        import jwt

        secret = self._secret or b""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=list(self._algorithms),
                options={"require": ["exp"], "verify_aud": self._audience is not None},
                audience=self._audience,
                issuer=self._issuer,
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:  # a forged token can be anything
            raise RejectedError(401, f"found a token that does not hold ({error}); expected a valid one") from None
        return claims


def _read_keys(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the digest of each key, and whose it is."""
    for number, line in enumerate(_read(path).decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise DeploymentError(f"{path}:{number}: found {len(words)} words; expected NAME KEY")
        name, key = words
        known = key.removeprefix("sha256:")
        yield (known.lower() if known != key else hashlib.sha256(key.encode()).hexdigest()), name


def _read_secret(path: Path) -> bytes:
    secret = _read(path).strip()
    if b"PRIVATE KEY" in secret:
        raise DeploymentError(f"{path}: found a private key; expected the public one")
    if len(secret) < _LEAST_SECRET_BYTES:
        raise DeploymentError(f"{path}: found {len(secret)} bytes; expected at least {_LEAST_SECRET_BYTES}")
    return secret


def _algorithms_of(key: bytes, path: Path | None) -> tuple[str, ...]:
    """Return the algorithms that a key can have signed with: another one in a token is a forgery.

    Raises
    ------
    DeploymentError
        If the file holds no public key that tokens can be signed with.
    """
    if b"-----BEGIN" not in key:
        return _SHARED
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DeploymentError(f"{path}: found no public key ({error}); expected one in PEM") from error
    if isinstance(public, rsa.RSAPublicKey):
        return _RSA
    if isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return ("EdDSA",)
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return (_CURVES[public.curve.name],)
    raise DeploymentError(
        f"{path}: found a key that tokens are not signed with; expected RSA, P-256 to P-521 or Ed25519"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeploymentError(f"{path}: found {error.strerror}; expected a file of keys") from error
