"""Settings of one installation of the server: its limits, who may ask, what it logs and exports.

Each field is an environment variable, ``MODELRAIL_SERVE_`` and its name in capitals. What belongs to the model is in
its spec, not here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import InputError

PREFIX = "MODELRAIL_SERVE_"
_LISTS = "tuple[str, ...]"


@dataclass(frozen=True)
class Settings:
    """Settings of one server process.

    Attributes
    ----------
    max_body_bytes : int
        Largest body that is read; a larger one is answered 413.
    max_rows : int
        Most rows of one request; more are answered 422.
    max_concurrent : int
        Requests at work at a time in one process; one more is answered 429 with ``Retry-After``.
    body_timeout_s : float
        Time within which the head, and then the whole body, must arrive (408).
    answer_timeout_s : float
        Time within which a large body must be answered, else 503 with ``Retry-After``.
    inline_bytes : int
        Largest body that is computed on the event loop; larger ones go to a thread, so that probes are answered.
    max_model_bytes : int
        Largest graph or estimator that is loaded.
    signature_key_file : Path or None
        PEM public key of an elliptic curve by which every release must be signed; None: signatures are not looked at.
    keep_alive_s : int
        An idle connection is closed after this; longer than the usual load balancers' 60 s, so that they close first.
    drain_s : int
        Longest wait for requests in flight when the server ends.
    api_keys_file : Path or None
        A line ``NAME KEY`` for each caller; ``KEY`` may be ``sha256:`` and the digest. None: anybody may ask.
    jwt_key_file : Path or None
        PEM public key, or a shared secret of at least 32 bytes, by which bearer tokens are signed.
    jwt_audience, jwt_issuer : str
        What a token's ``aud`` and ``iss`` must be; not looked at if empty.
    tls_certificate_file, tls_key_file : Path or None
        PEM files; both make the server speak HTTPS.
    cors_origins : tuple of str
        Origins whose pages may ask, divided by commas; ``*`` for all. None by default.
    truth_rows : int
        Answers that each process remembers of a release, so that the truth can be held against them; 0 for none.
    capture_share : float
        Share of the requests whose records and predictions are kept; none by default.
    capture_to : str
        Folder or object store address where they are put.
    capture_private : tuple of str
        ``COLUMN=hash`` or ``COLUMN=drop``, divided by commas: columns that are not kept as they are.
    capture_salt : str
        Makes the hashes of private values those of this installation; random for each process if empty.
    capture_keep_days : int
        Days after which what was captured of a model is removed; 0: never.
    otlp_endpoint : str
        Where traces go, as OTLP over HTTP, such as ``http://collector:4318``; empty for nowhere.
    """

    max_body_bytes: int = 16 * 2**20
    max_rows: int = 5_000_000
    max_concurrent: int = 1024
    body_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    inline_bytes: int = 16 * 2**10
    max_model_bytes: int = 2**30
    signature_key_file: Path | None = None
    keep_alive_s: int = 75
    drain_s: int = 30
    api_keys_file: Path | None = None
    jwt_key_file: Path | None = None
    jwt_audience: str = ""
    jwt_issuer: str = ""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    truth_rows: int = 16_384
    capture_share: float = 0.0
    capture_to: str = ""
    capture_private: tuple[str, ...] = ()
    capture_salt: str = ""
    capture_keep_days: int = 0
    otlp_endpoint: str = ""

    @property
    def private_columns(self) -> dict[str, str]:
        """Return how each column is hidden in captures, ``hash`` or ``drop``, by its name."""
        return {column: how for column, _, how in (rule.rpartition("=") for rule in self.capture_private)}


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from environment variables.

    Raises
    ------
    InputError
        With every variable that is unknown or cannot be read.
    """
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    values: dict[str, Any] = {}
    faults = []
    known = {PREFIX + field.name.upper(): field for field in fields(Settings)}
    for name, text in sorted(given.items()):
        if name not in known:
            faults.append(f"{name}: found an unknown setting; expected one of {', '.join(known)}")
            continue
        try:
            values[known[name].name] = _read(text, str(known[name].type))
        except (ValueError, msgspec.ValidationError):
            faults.append(f"{name}: found '{text}'; expected {known[name].type}")
    settings = Settings(**values)
    faults += _disagreements(settings)
    if faults:
        raise InputError("\n".join(faults))
    return settings


def _read(text: str, kind: str) -> Any:
    if kind == _LISTS:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind.startswith("Path"):
        return Path(text) if text else None
    types: Mapping[str, type] = {"int": int, "float": float, "str": str}
    value: Any = msgspec.convert(text, types[kind], strict=False)
    if kind != "str" and value < 0:
        raise ValueError(text)
    return value


def _disagreements(settings: Settings) -> Iterator[str]:
    if (settings.tls_certificate_file is None) != (settings.tls_key_file is None):
        yield f"{PREFIX}TLS_CERTIFICATE_FILE: found without its other half; expected {PREFIX}TLS_KEY_FILE too, or none"
    if settings.capture_share > 1:
        yield f"{PREFIX}CAPTURE_SHARE: found {settings.capture_share:g}; expected a share from 0 to 1"
    if settings.capture_share and not settings.capture_to:
        yield f"{PREFIX}CAPTURE_TO: found none; expected where to put what is captured"
    for column, how in settings.private_columns.items():
        if not column or how not in {"hash", "drop"}:
            yield f"{PREFIX}CAPTURE_PRIVATE: found '{column}={how}'; expected COLUMN=hash or COLUMN=drop"
