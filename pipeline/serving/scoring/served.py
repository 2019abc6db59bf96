"""A release in memory: raw values become predictions. NumPy is all that is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.signature import Signature
from pipeline.model.words import portions
from pipeline.serving.rows.faults import Fault, RejectedError
from pipeline.serving.rows.records import Reader

if TYPE_CHECKING:
    from pipeline.model.reference import Reference
    from pipeline.model.sentences.encoding import SentenceEncoder

_PORTION = 4096

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the model says of n rows.

    Attributes
    ----------
    values : array of shape (n,)
        Regression: float numbers. Classification: int64 indices into the classes.
    probabilities : float array of shape (n, C) or None
        Of the C classes; None in regression.
    """

    values: NDArray[Any]
    probabilities: NDArray[np.floating[Any]] | None = None

    @classmethod
    def join(cls, parts: Sequence[Predictions]) -> Predictions:
        """Put predictions one after another."""
        probabilities = [each.probabilities for each in parts if each.probabilities is not None]
        values = np.concatenate([each.values for each in parts])
        return cls(values, np.concatenate(probabilities) if probabilities else None)

    def pick(self, chance: float) -> float | None:
        """Return one prediction as a number, for statistics: of two classes the second one's probability.

        Parameters
        ----------
        chance : float
            From 0 to 1: which of the rows.
        """
        if not len(self.values):
            return None
        row = int(chance * len(self.values))
        if self.probabilities is not None and self.probabilities.shape[1] == 2:
            return float(self.probabilities[row, 1])
        return float(self.values[row])


@dataclass(frozen=True)
class ServedModel:
    """One release in memory; immutable, and safe to use from several threads."""

    model: str
    version: str
    signature: Signature
    release: Mapping[str, Any]
    reader: Reader
    score: Callable[[Feeds], Predictions]
    encoder: SentenceEncoder | None = None
    reference: Reference | None = None
    data_time_s: float | None = None

    @cached_property
    def class_list(self) -> str:
        """The classes as a JSON array, in the order of the probabilities."""
        return json.dumps(self.signature.classes, ensure_ascii=False)

    def predict(self, numbers: NDArray[np.float64] | None, texts: NDArray[np.object_] | None) -> Predictions:
        """Predict rows of raw values.

        Parameters
        ----------
        numbers : float64 array of shape (n, K) or None
            The signature's numbers and times; None if it has none. NaN is missing.
        texts : object array of shape (n, S) or None
            The signature's texts, made uniform; None if it has none. "" is missing.
        """
        feeds: Feeds = {}
        if numbers is not None:
            feeds["numbers"] = numbers
        if texts is not None:
            feeds["texts"] = texts
        if texts is not None and self.encoder is not None:
            feeds["vectors"] = _encode(texts, self.signature, self.encoder)
        if texts is not None and self.signature.words:
            feeds["words"] = _find_words(texts, self.signature)
            return _score_portions(self.score, feeds)
        return self.score(feeds)

    def outputs(self, predictions: Predictions) -> list[Any]:
        """Return what a caller sees: numbers, or the classes themselves."""
        values, classes = predictions.values, self.signature.classes
        if classes is not None:
            return [classes[index] for index in values.tolist()]
        if values.dtype != np.float32:
            return list(values.tolist())
        # The shortest decimal that is the same float32: 1.28, not 1.2799999713897705. In portions, since NumPy writes
        # numbers as text in one go, during which no other thread (the event loop) has its turn.
        portions = (values[start : start + _PORTION] for start in range(0, len(values), _PORTION))
        return [float(text) for portion in portions for text in portion.astype(str)]


def _encode(texts: NDArray[np.object_], signature: Signature, encoder: SentenceEncoder) -> NDArray[np.float32]:
    """Compute float32[n, V], the vectors of the columns whose meaning the graph reads."""
    columns = [(texts[:, signature.texts.index(each.column)], each.fill) for each in signature.sentences]
    return np.concatenate([encoder.of([text or fill for text in column]) for column, fill in columns], axis=1)


def _find_words(texts: NDArray[np.object_], signature: Signature) -> NDArray[np.object_]:
    """Find object[n, W], the words of the columns whose words the graph reads."""
    found = np.empty((len(texts), len(signature.words)), dtype=object)
    for place, rule in enumerate(signature.words):
        found[:, place] = [rule.of(text) for text in texts[:, signature.texts.index(rule.column)]]
    return found


def _score_portions(score: Callable[[Feeds], Predictions], feeds: Feeds) -> Predictions:
    """Score few rows at a time, so that one long text does not pad all others to its length."""
    cuts = list(portions(feeds["words"]))
    if len(cuts) == 1:
        return score(feeds)
    return Predictions.join([score({name: values[cut] for name, values in feeds.items()}) for cut in cuts])


def probability_names(classes: Sequence[Any] | None) -> list[str]:
    """Name the column of each class's probability, in tables of predictions; none without classes."""
    return [f"probability_{each}" for each in classes or ()]


def refuse_overflow(values: NDArray[Any]) -> None:
    """Refuse to answer "null", which is all that JSON has for a number without end."""
    if not (finite := np.isfinite(values)).all():
        row = int(np.argmin(finite))
        fault = Fault("values too large to compute with", "values like those the model was trained on", row)
        raise RejectedError(422, str(fault), [fault])
