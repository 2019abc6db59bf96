"""The section ``transform``: how one column becomes features; and how an image does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

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


WORDED = ("bag_of_words", "tfidf", "token_ids", "word2vec", "hashing")
"""Kinds that read a text's words."""
ENCODED = "sentence_vectors"
"""The kind that reads the whole text."""


class Transformer(Section):
    """How one column becomes one or more features."""

    kind: Literal[
        "none", "log", "sqrt", "power", "bins", "cyclic", "date_parts", "category", "one_hot", "ordinal", "frequency",
        "bag_of_words", "tfidf", "hashing", "token_ids", "word2vec", "sentence_vectors"
    ]  # fmt: skip
    """`category` is `one_hot`. Text without a rule is `one_hot`, a date becomes `date_parts`."""
    exponent: float | None = None
    """For `power`."""
    edges: list[float] | None = Field(None, min_length=1)
    """For `bins`: the inner edges."""
    count: Annotated[int, Field(ge=2)] | None = None
    """For `bins` without `edges`: that many bins of equally many training rows."""
    period: Annotated[float, Field(gt=0)] | None = None
    """For `cyclic`: the length of a turn; by default the width of the column's `range`."""
    parts: list[Literal["year", "month", "day", "weekday", "hour", "minute", "yearday"]] | None = Field(
        None, min_length=1
    )
    """For `date_parts`; and for `cyclic` on a date: which part turns."""
    max_categories: PositiveInt = 50
    """For `one_hot`, `ordinal` and `frequency`: the most frequent ones stay, the others count as unseen."""
    max_features: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """For `bag_of_words`, `tfidf`, `token_ids` and `word2vec`: the words most frequent in the training rows stay."""
    min_rows: PositiveInt = 1
    """For the same: words in fewer training rows are left out."""
    ngrams: Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)] = (1, 1)
    """For `bag_of_words`, `tfidf` and `hashing`: how many words in a row count as one, from the least to the most."""
    buckets: Annotated[int, Field(ge=2, le=100_000)] = 1024
    """For `hashing`: number of features."""
    lowercase: bool = True
    """For kinds that read words: whether `Good` and `good` are one word."""
    max_words: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """For kinds that read words, but `token_ids`: how many of a text's words are read, from its beginning."""
    length: Annotated[int, Field(ge=1, le=10_000)] = 100
    """For `token_ids`: the same, and so the number of features; a text of fewer words ends with zeros."""
    size: Annotated[int, Field(ge=1, le=1024)] = 100
    """For `word2vec`: numbers in a vector."""
    window: PositiveInt = 5
    """For `word2vec`: how many words apart two words are at most, to be learnt as neighbours."""
    epochs: PositiveInt = 5
    """For `word2vec`: how often the training rows are read."""
    encoder: Literal["all-minilm-l6-v2"] = "all-minilm-l6-v2"
    """For `sentence_vectors`: the network, whose weights are downloaded once and known by their digest."""
