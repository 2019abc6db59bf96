"""What every section of the spec is."""

from __future__ import annotations

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A mapping in the spec: unknown keys and loose types are errors, and nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def shorthand(key: str) -> BeforeValidator:
    """Let ``x: value`` stand for ``x: {key: value}``."""
    return BeforeValidator(lambda value: value if isinstance(value, dict | BaseModel) else {key: value})
