"""What keeps the pages safe: no forged request changes anything, and no page loads or runs what is not its own.

A form carries a token that is bound to the user, to the model and to a day: its HMAC cannot be made without Airflow's
secret. And the browser says itself where a request comes from (``Sec-Fetch-Site``, ``Origin``): another site is refused
even with a token.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

LIFETIME_S = 12 * 3600
"""Longest time that a form may stay open."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer: nothing from elsewhere, no script in the page, no frame of another site around it."""


def make_token(secret: str, user: str, model: str, now_s: float) -> str:
    """Make the token of a form.

    Parameters
    ----------
    secret : str
        Known to the server alone.
    user, model : str
        Who may send it, and what about.
    now_s : float
        Seconds since 1970.
    """
    until = int(now_s) + LIFETIME_S
    return f"{until}.{_sign(secret, user, model, until)}"


def check_token(token: str, secret: str, user: str, model: str, now_s: float) -> bool:
    """Tell whether `make_token` made it for this user and model, not too long ago."""
    until, _, signature = token.partition(".")
    if not until.isascii() or not until.isdigit() or len(until) > 12:
        return False
    genuine = hmac.compare_digest(signature.encode(), _sign(secret, user, model, int(until)).encode())
    return genuine and int(until) >= now_s


def is_same_origin(headers: Mapping[str, str], own: frozenset[str]) -> bool:
    """Tell whether a request comes from a page of this server.

    Parameters
    ----------
    headers : mapping of str to str
        Of the request, by lower-case name.
    own : frozenset of str
        Hosts (with their port) under which this server is known.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin") or headers.get("referer")
    if site is not None and site != "same-origin":
        return False
    return origin is not None and urlsplit(origin).netloc in own


def _sign(secret: str, user: str, model: str, until: int) -> str:
    message = "\0".join(("modelrail-pages", user, model, str(until)))
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
