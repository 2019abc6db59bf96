"""The key ``image`` of a column: how an image becomes numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.spec.schema.section import Section

Side = Annotated[int, Field(ge=4, le=512)]


class Image(Section):
    """How an image becomes numbers, each a feature of its own."""

    features: list[Literal["pixels", "histogram", "hog", "edges", "orb"]] = Field(["pixels"], min_length=1)
    """`pixels`, a `histogram` a colour, oriented gradients (`hog`), `edges` by field, a bag of visual words (`orb`)."""
    size: Annotated[tuple[Side, Side], Field(strict=False)] = (32, 32)
    """Height and width to which the image is brought first."""
    color: Literal["gray", "rgb"] = "gray"
    """`gray` or three channels."""
    bins: Annotated[int, Field(ge=2, le=256)] = 16
    """For `histogram`: ranges of brightness."""
    words: Literal[16, 32, 64, 128, 256, 512, 1024] = 64
    """For `orb`: number of visual words."""
