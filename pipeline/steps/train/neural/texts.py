"""Texts as rows of word numbers: how long they are, and how many words there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.errors import TrainingError
from pipeline.steps.train.mapping import blocks
from pipeline.steps.train.neural.columns import match_all
from pipeline.steps.train.neural.layers import UNKNOWN
from pipeline.steps.train.results import Array

_TOKEN = re.compile(r"(.*)@(\d+)")


def vocabulary_of(columns: Sequence[str], features: Array, given: int | None) -> int:
    """Find how many word numbers there are, from 0 to the largest of the training rows.

    Parameters
    ----------
    columns : sequence of str
        Such as ``review@0``: the first word of the column ``review``.
    features : ndarray of float32, shape (rows, columns)
        The training rows.
    given : int or None
        The answer, where columns with other names hold word numbers.

    Raises
    ------
    TrainingError
        The columns are not the words of one text.
    """
    if given is not None:
        return given
    expected = (
        "only one text with the transformer token_ids (features.select, transform), or how many word numbers there are "
        "(model.params.vocabulary)"
    )
    names = {match[1] for match in match_all(columns, _TOKEN, "word of a text", expected)}
    if len(names) != 1:
        raise TrainingError(
            f"train: found words of {', '.join(sorted(names)[:5])}; expected those of one text (features.select)"
        )
    return max(int(max(block.max() for block in blocks(features))) + 1, UNKNOWN + 1)
