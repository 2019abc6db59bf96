"""Asks a prediction server; imports the standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import DataError, DeploymentError, TransientError

if TYPE_CHECKING:
    import ssl

PATH = "/api/predict"
TLS_CERTIFICATE = "MODELRAIL_SERVE_TLS_CERTIFICATE_FILE"
"""The server's own setting: a server on this machine is known by that very certificate."""
API_KEY = "MODELRAIL_API_KEY"
"""What is sent as this caller's key, or token."""
_MEND_401 = f" (set {API_KEY} to one of the keys in the server's MODELRAIL_SERVE_API_KEYS_FILE, or to a token)"
_LONGEST_LINE = 4000
"""Characters of a body on a command line, which are kept by Airflow and shown to people."""
_LONGEST_TEXT = 300
Record = Mapping[str, Any] | Sequence[Any]
Post = Callable[[str, bytes, float], tuple[int, bytes]]
"""Sends a body to a server's address, and returns the status and the body of its answer within so many seconds."""


@dataclass(frozen=True)
class Answer:
    """What the server said of n records.

    Attributes
    ----------
    outputs : tuple
        n numbers (regression) or classes (classification).
    probabilities : tuple of tuples of float, or None
        n × C, in the order of `classes`; only if asked for.
    id : str
        By which the server's log knows this prediction.
    classes : tuple or None
        C classes; None without probabilities, or from a server of before they were named.
    """

    outputs: tuple[Any, ...]
    model: str
    version: str
    id: str
    probabilities: tuple[tuple[float, ...], ...] | None = None
    classes: tuple[Any, ...] | None = None


def predict(
    address: str,
    records: Record | Sequence[Record],
    *,
    probabilities: bool = False,
    timeout_s: float = 10.0,
    send: Post | None = None,
) -> Answer:
    """Ask for predictions.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8080``.
    records : mapping, or sequence of mappings or of rows
        One record by column name, or several; a row holds values in the order of the signature.
    probabilities : bool
        Ask for class probabilities too.
    timeout_s : float
        Longest silence of the server.
    send : callable, optional
        Another way to the server than HTTP from here.

    Raises
    ------
    DataError
        If the records do not fit the model's signature.
    TransientError
        If the server does not answer, or not now.
    DeploymentError
        If what answers is not a prediction server, or its model fails.
    """
    body = _body(records) | ({"probabilities": True} if probabilities else {})
    status, content = (send or post)(address, json.dumps(body).encode(), timeout_s)
    answer = _parse(address, status, content)
    if status != 200:
        raise _error(address, status, answer)
    given = answer.get("probabilities")
    return Answer(
        outputs=tuple(answer["outputs"]),
        model=answer["model"],
        version=answer["version"],
        id=answer["id"],
        probabilities=tuple(map(tuple, given)) if given is not None else None,
        classes=tuple(answer["classes"]) if answer.get("classes") is not None else None,
    )


def curl_line(address: str, records: Record | Sequence[Record]) -> str:
    """Write a command line that asks the same, to be pasted into a shell.

    A record that is too long for it, such as one with an image, is fetched from the server, which has an example.
    """
    import shlex

    body, root = json.dumps(_body(records), ensure_ascii=False), address.rstrip("/")
    ask = f"curl -s -X POST {shlex.quote(root + PATH)} -H 'content-type: application/json' -d"
    if len(body) <= _LONGEST_LINE:
        return f"{ask} {shlex.quote(body)}"
    code = 'import json, sys; print(json.dumps(json.load(sys.stdin)["example"]))'
    return f"curl -s {shlex.quote(root + '/')} | python3 -c {shlex.quote(code)} | {ask} @-"


def abbreviate(record: Record) -> Record:
    """Shorten a record for people to read: a very long text, such as an image, becomes its beginning and its length."""
    if isinstance(record, Mapping):
        return {name: _abbreviated(value) for name, value in record.items()}
    return [_abbreviated(value) for value in record]


def _abbreviated(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:40]}… ({len(value):,} characters)"
    return value


def _body(records: Record | Sequence[Record]) -> dict[str, Any]:
    rows = [records] if isinstance(records, Mapping) or not _holds_rows(records) else list(records)
    return {"inputs": [dict(row) if isinstance(row, Mapping) else list(row) for row in rows]}


def _holds_rows(records: Sequence[Any]) -> bool:
    return all(isinstance(each, Mapping | list | tuple) for each in records)


def post(address: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    """Send a body to the server over HTTP; return the status and body of its answer."""
    return _exchange("POST", address, PATH, body, timeout_s)


def get(address: str, path: str, timeout_s: float) -> tuple[int, bytes]:
    """Ask the server for something else than a prediction; return the status and body of its answer."""
    return _exchange("GET", address, path, None, timeout_s)


def refusal(status: int, content: bytes) -> str:
    """Say why something was refused, and, where credentials are missing, which setting has them."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, LookupError, TypeError):
        error = f"status {status}"
    return str(error) + (_MEND_401 if status == 401 else "")


def _exchange(method: str, address: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
    # Imported with the first question: these cost more than all else on the way of an unchanged run.
    import http.client
    import socket

    url = urlsplit(address)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise DeploymentError(f"predict: found the address {address!r}; expected one such as http://127.0.0.1:8080")
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout_s)
    if url.scheme == "https":
        context = _trust(url.hostname)
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout_s, context=context)
    try:
        connection.request(method, url.path.rstrip("/") + path, body, headers())
        response = connection.getresponse()
        return response.status, response.read()
    except TimeoutError as error:
        raise TransientError(f"{address}: found no answer within {timeout_s:g} s; expected a prediction") from error
    except socket.gaierror as error:
        raise DeploymentError(f"{address}: found no such host; expected a prediction server") from error
    except (OSError, http.client.HTTPException) as error:
        found = getattr(error, "strerror", None) or type(error).__name__
        raise TransientError(f"{address}: found {found}; expected a prediction server (modelrail serve)") from error
    finally:
        connection.close()


def _trust(host: str) -> ssl.SSLContext:
    """Trust what this machine trusts, and on loopback our own server by its certificate, whatever name that holds."""
    import os
    import ssl

    context = ssl.create_default_context()
    own = os.environ.get(TLS_CERTIFICATE)
    if own and host in {"127.0.0.1", "::1", "localhost"}:
        context = ssl.create_default_context(cafile=own)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is enough, not only its issuer
        context.check_hostname = False
    return context


def headers() -> dict[str, str]:
    """Build the headers of a request, with the key in the environment (``MODELRAIL_API_KEY``)."""
    return {"content-type": "application/json", **credentials()}


def credentials() -> dict[str, str]:
    """Build the header with the key in the environment, if there is one."""
    import os

    key = os.environ.get(API_KEY)
    return {"x-api-key": key} if key else {}


def _parse(address: str, status: int, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DeploymentError(f"{address}: found status {status} without JSON; expected a prediction server")
    return answer


def _error(address: str, status: int, answer: Mapping[str, Any]) -> Exception:
    message = f"{address}: {answer.get('error', f'status {status}')}{_MEND_401 if status == 401 else ''}"
    if status in {408, 429, 503}:
        return TransientError(message)
    return DataError(message) if status in {400, 413, 422} else DeploymentError(message)
