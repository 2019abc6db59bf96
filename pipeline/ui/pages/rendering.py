"""The pages as HTML: Jinja templates in which everything is escaped, and the two files that they load."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.messages import count
from pipeline.ui.pages import formatting

_HERE = Path(__file__).parent
STATIC = {
    "pages.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}
"""File → media type."""


def render(template: str, prefix: str, **shown: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    prefix : str
        Path that all links begin with, such as ``/modelrail``.
    """
    return _environment().get_template(template).render(prefix=prefix, now=datetime.now(UTC), alone="", **shown)


def render_alone(template: str, **shown: Any) -> str:
    """Fill a template as one file, which needs no other and leads to none."""
    style = static_file("pages.css").decode()
    return _environment().get_template(template).render(prefix="", now=datetime.now(UTC), alone=style, **shown)


def static_file(name: str) -> bytes:
    """Read one of the files in `STATIC`."""
    return _static(name)[0]


@cache
def _static(name: str) -> tuple[bytes, str]:
    content = (_HERE / "static" / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formatting.number,
        "span": formatting.span,
        "seconds": formatting.short_seconds,
        "moment": formatting.moment,
        "ago": formatting.ago,
        "part": lambda text: quote(str(text), safe=""),
    }
    environment.globals |= {"count": count, "static_digest": lambda name: _static(name)[1]}
    return environment
