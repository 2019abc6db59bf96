"""What computing costs."""

from __future__ import annotations

from pydantic import Field

from pipeline.spec.schema.section import Section


class Prices(Section):
    """What computing costs; without prices only times are shown."""

    cpu_hour: float = Field(0.0, ge=0)
    """Price of one CPU for an hour."""
    gib_hour: float = Field(0.0, ge=0)
    """Price of one GiB of memory for an hour."""
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    """Three letters, such as `EUR`."""
