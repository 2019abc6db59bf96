"""Words as features: what is fitted to the training rows' words, and the graph that it becomes.

``bag_of_words`` and ``tfidf`` equal scikit-learn's ``CountVectorizer`` and ``TfidfVectorizer`` with their defaults,
``hashing`` its ``HashingVectorizer`` but for the hash.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.model.graphs import Graph
from pipeline.model.words import GramCounts
from pipeline.steps.features import TextFeature

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WordRule:
    """How the words of one column become columns of the matrix.

    Attributes
    ----------
    kind : str
        As in the spec.
    grams : tuple of str
        Words, or words in a row joined by spaces, that count; all others don't.
    ngrams : tuple of int
        Lengths of what is in ``grams``.
    weights : tuple of float
        For ``tfidf``: one for each.
    width : int
        Columns of the matrix.
    vectors : str
        For ``word2vec``: float32[len(grams), width] in base64, little-endian.
    """

    name: str
    kind: str
    width: int
    grams: tuple[str, ...] = ()
    ngrams: tuple[int, int] = (1, 1)
    weights: tuple[float, ...] = ()
    vectors: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns in the matrix."""
        if mark := _NUMBERED.get(self.kind):
            return tuple(f"{self.name}{mark}{column}" for column in range(self.width))
        return tuple(f"{self.name}~{gram}" for gram in self.grams)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WordRule:
        """Read what ``dataclasses.asdict`` gave."""
        lists = {name: tuple(data[name]) for name in ("grams", "ngrams", "weights")}
        return cls(**{**data, **lists})


_NUMBERED = {"hashing": "#", "word2vec": "#", "token_ids": "@"}


def fit_words(
    feature: TextFeature, counts: GramCounts, rows: int, sentences: Iterable[list[str]], seed: int
) -> WordRule:
    """Fit one column.

    Parameters
    ----------
    counts : mapping
        Its words in the training rows; empty for kinds that do not need them.
    rows : int
        Number of training rows.
    sentences : iterable of list of str
        The words of each training row; read only for ``word2vec``, more than once.

    Raises
    ------
    DataError
        There are no words to learn vectors from.
    """
    if feature.rule.kind == "word2vec":
        return fit_vectors(feature, sentences, seed)
    return _FITS[feature.rule.kind](feature, counts, rows)


def _most_frequent(feature: TextFeature, counts: GramCounts) -> list[str]:
    """Choose the most frequent ones, of equals the first by alphabet."""
    known = [gram for gram, (rows, _) in counts.items() if rows >= feature.rule.min_rows]
    return sorted(known, key=lambda gram: (-counts[gram][1], gram))[: feature.rule.max_features]


def _chosen(feature: TextFeature, counts: GramCounts) -> list[str]:
    """Choose the most frequent n-grams, in the order of their length, as ONNX wants."""
    return sorted(_most_frequent(feature, counts), key=lambda gram: (gram.count(" "), gram))


def _fit_bag(feature: TextFeature, counts: GramCounts, _: int) -> WordRule:
    grams = _chosen(feature, counts)
    return WordRule(feature.name, "bag_of_words", len(grams), tuple(grams), feature.rule.ngrams)


def _fit_tfidf(feature: TextFeature, counts: GramCounts, rows: int) -> WordRule:
    """Weigh by ln((1 + n) / (1 + df)) + 1, as if one row more had every word."""
    grams = _chosen(feature, counts)
    weights = tuple(math.log((1 + rows) / (1 + counts[gram][0])) + 1 for gram in grams)
    return WordRule(feature.name, "tfidf", len(grams), tuple(grams), feature.rule.ngrams, weights)


def _fit_hashing(feature: TextFeature, _: GramCounts, __: int) -> WordRule:
    return WordRule(feature.name, "hashing", feature.rule.buckets)


def _fit_tokens(feature: TextFeature, counts: GramCounts, _: int) -> WordRule:
    return WordRule(feature.name, "token_ids", feature.rule.length, tuple(_most_frequent(feature, counts)))


_FITS: Mapping[str, Callable[[TextFeature, GramCounts, int], WordRule]] = {
    "bag_of_words": _fit_bag,
    "tfidf": _fit_tfidf,
    "hashing": _fit_hashing,
    "token_ids": _fit_tokens,
}


def fit_vectors(feature: TextFeature, sentences: Iterable[list[str]], seed: int) -> WordRule:
    """Learn a vector for each word from its neighbours (T. Mikolov et al., 2013), by gensim, on one core.

    More than one core would learn from the same words in another order each time.
    """
    from gensim.models import Word2Vec

    rule = feature.rule
    try:
        model = Word2Vec(
            sentences=sentences,
            vector_size=rule.size,
            window=rule.window,
            epochs=rule.epochs,
            min_count=rule.min_rows,
            max_final_vocab=rule.max_features,
            seed=seed,
            workers=1,
        )
    except RuntimeError as error:
        raise DataError(
            f"normalize: found no words in {feature.name!r} to learn vectors from ({error}); expected some in the "
            f"training rows (transform.{feature.name})"
        ) from error
    words = tuple(model.wv.index_to_key)
    return WordRule(feature.name, "word2vec", rule.size, words, vectors=encode_vectors(model.wv.vectors))


def add_words(graph: Graph, value: str, rules: Sequence[WordRule]) -> list[tuple[str, int]]:
    """Add the nodes from ``words`` string[N, W] to float32 parts of the matrix, each with its width."""
    parts = []
    for place, rule in enumerate(rules):
        if rule.width:
            words = graph.split_words(graph.take(value, [place], len(rules)))
            parts.append((_PARTS[rule.kind](graph, words, rule), rule.width))
    return parts


def _count(graph: Graph, words: str, grams: Sequence[str], ngrams: tuple[int, int], **more: Any) -> str:
    """Count words; ``grams`` must be sorted by length."""
    lengths = [gram.count(" ") + 1 for gram in grams]
    starts: list[int] = []
    pool: list[str] = []
    for length in range(1, ngrams[1] + 1):
        starts.append(len(pool))
        pool += [word for gram, long in zip(grams, lengths, strict=True) if long == length for word in gram.split(" ")]
    return graph.add(
        "TfIdfVectorizer",
        words,
        min_gram_length=ngrams[0],
        max_gram_length=ngrams[1],
        max_skip_count=0,
        ngram_counts=starts,
        ngram_indexes=list(range(len(grams))),
        pool_strings=pool,
        **{"mode": "TF", **more},
    )


def _bag(graph: Graph, words: str, rule: WordRule) -> str:
    return _count(graph, words, rule.grams, rule.ngrams)


def _tfidf(graph: Graph, words: str, rule: WordRule) -> str:
    counts = _count(graph, words, rule.grams, rule.ngrams)
    return _unit(graph, graph.add("Mul", counts, graph.constant([rule.weights], "float")))


def _unit(graph: Graph, value: str) -> str:
    """Bring each row to the length 1, unless it is 0."""
    squares = graph.add("ReduceSumSquare", value, graph.constant([1], "int64"), keepdims=1)
    length = graph.add("Max", graph.add("Sqrt", squares), graph.constant([[np.finfo(np.float32).tiny]], "float"))
    return graph.add("Div", value, length)


def _hashing(graph: Graph, words: str, rule: WordRule) -> str:
    """Count the buckets, of which the upper half is negative."""
    counts = _count(graph, words, [str(bucket) for bucket in range(2 * rule.width)], (1, 1))
    halves = [
        graph.add("Slice", counts, *(graph.constant([each], "int64") for each in (start, start + rule.width, 1)))
        for start in (0, rule.width)
    ]
    return _unit(graph, graph.add("Sub", *halves))


def _places(graph: Graph, words: str, keys: Sequence[str], places: Sequence[int], default: int) -> str:
    """Look up each word's number; a word that has none gets the default."""
    numbers = {"keys_strings": list(keys), "values_int64s": list(places), "default_int64": default}
    return graph.add("LabelEncoder", words, domain="ai.onnx.ml", **numbers)


def _token_ids(graph: Graph, words: str, rule: WordRule) -> str:
    """List the numbers of the words in their order, then zeros up to the width."""
    tokens = _places(graph, words, ("", *rule.grams), (0, *range(2, len(rule.grams) + 2)), 1)
    padded = graph.add("Pad", tokens, graph.constant([0, 0, 0, rule.width], "int64"), graph.constant(0, "int64"))
    cut = (graph.constant([each], "int64") for each in (0, rule.width, 1))
    return graph.cast(graph.add("Slice", padded, *cut), "float")


def _word2vec(graph: Graph, words: str, rule: WordRule) -> str:
    """Average the vectors of the words that are known; 0 where none is."""
    places = _places(graph, words, rule.grams, range(1, len(rule.grams) + 1), 0)
    table = np.concatenate([np.zeros((1, rule.width), np.float32), decode_vectors(rule)])
    axis = graph.constant([1], "int64")
    vectors = graph.add("Gather", graph.constant(table, "float"), places, axis=0)
    known = graph.cast(graph.add("Greater", places, graph.constant([[0]], "int64")), "float")
    count = graph.add("ReduceSum", known, axis, keepdims=1)
    total = graph.add("ReduceSum", vectors, axis, keepdims=0)
    return graph.add("Div", total, graph.add("Max", count, graph.constant([[1.0]], "float")))


_PARTS: Mapping[str, Callable[[Graph, str, WordRule], str]] = {
    "bag_of_words": _bag,
    "tfidf": _tfidf,
    "hashing": _hashing,
    "token_ids": _token_ids,
    "word2vec": _word2vec,
}


def encode_vectors(vectors: Vectors) -> str:
    """Write a matrix as base64."""
    return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()


def decode_vectors(rule: WordRule) -> Vectors:
    """Read a rule's matrix float32[len(grams), width]."""
    flat = np.frombuffer(base64.b64decode(rule.vectors), "<f4")
    return flat.reshape(len(rule.grams), rule.width).astype(np.float32)
