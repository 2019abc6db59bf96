"""Images as rows of pixels: which shape they have, and how they are varied in training."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.errors import TrainingError
from pipeline.steps.train.neural.columns import match_all
from pipeline.steps.train.neural.network import Params
from pipeline.steps.train.results import Array

Shape = tuple[int, int, int]
Vary = Callable[[Array, np.random.Generator], Array]

_PIXEL = re.compile(r"(.*)\[(\d+),(\d+),(\d+)\]")


def shape_of(columns: Sequence[str], given: Sequence[int] | None) -> Shape:
    """Find channels, height and width of the image whose pixels the columns are.

    Parameters
    ----------
    columns : sequence of str
        Such as ``photo[0,3,5]``: channel 0, row 3, column 5.
    given : sequence of int or None
        The shape of pixels with other names, which stand channel by channel and row by row.

    Raises
    ------
    TrainingError
        The columns are not all the pixels of one image.
    """
    if given is not None:
        if len(given) != 3 or int(np.prod(given)) != len(columns):
            raise TrainingError(
                f"train: found the shape {list(given)} for {len(columns):,} features; expected channels, height and "
                "width whose product is their number (model.params.shape)"
            )
        return (given[0], given[1], given[2])
    expected = "only the pixels of one image (features.select, transform), or their shape (model.params.shape)"
    found = match_all(columns, _PIXEL, "pixel", expected)
    names = {match[1] for match in found}
    places = [(int(match[2]), int(match[3]), int(match[4])) for match in found]
    shape = (max(c for c, _, _ in places) + 1, max(y for _, y, _ in places) + 1, max(x for _, _, x in places) + 1)
    if len(names) != 1 or places != list(np.ndindex(shape)):
        raise TrainingError(
            f"train: found pixels of {', '.join(sorted(names)[:5])}; expected all the pixels of one image "
            "(features.select)"
        )
    return shape


def variation(shape: Shape, params: Params) -> Vary | None:
    """Return what varies images in training: mirrored or not, moved a little, with noise; None if nothing does."""
    if not (params["flip"] or params["shift"] or params["noise"]):
        return None

    def vary(features: Array, drawn: np.random.Generator) -> Array:
        images = features.reshape(-1, *shape)
        if params["flip"]:
            mirrored = drawn.random(len(images)) < 0.5
            images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
        if params["shift"]:
            images = _move(images, params["shift"], drawn)
        if params["noise"]:
            images = images + drawn.normal(0, params["noise"], images.shape)
        return np.ascontiguousarray(images.reshape(len(features), -1), dtype=np.float32)

    return vary


def _move(images: Array, most: int, drawn: np.random.Generator) -> Array:
    """Move each image by up to so many pixels each way; its border grows into what becomes free."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
    down, right = drawn.integers(0, 2 * most + 1, (2, len(images)))
    moved = np.empty_like(images)
    for y, x in {*zip(down.tolist(), right.tolist(), strict=True)}:
        chosen = (down == y) & (right == x)
        moved[chosen] = padded[chosen, :, y : y + height, x : x + width]
    return moved
