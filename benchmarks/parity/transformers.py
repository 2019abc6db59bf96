"""Every transformer and scale that ends in the graph, beside NumPy, pandas, scikit-learn or gensim's own vectors.

The graph is run from raw values, as a server runs it, on rows that nothing was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from zlib import crc32

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from benchmarks.parity.data import FLIGHTS, HELD, Case, flights, make_case, texts, typed
from pipeline.model.graphs import run
from pipeline.spec.schema.transform import Transformer
from pipeline.steps.normalize.words import decode_vectors
from pipeline.steps.train.parity import compare
from pipeline.steps.train.results import Array

Reference = Callable[[pd.Series, pd.Series, Case], Any]
"""Gives the columns of the held rows from the training rows' values, theirs, and what was fitted."""

_TEXTS = {"text": "str", "rating": "float"}
_DATES = {"time_hour": "datetime", "arr_delay": "float"}


@dataclass(frozen=True)
class Check:
    """A column, its rule, and who says what it becomes."""

    column: str
    rule: Mapping[str, Any]
    reference: Reference
    beside: str = "NumPy"
    normalize: str = "none"
    missing: bool = False
    columns: Mapping[str, Any] = field(default_factory=lambda: FLIGHTS)


def _numbers(compute: Callable[[Array], Any]) -> Reference:
    return lambda _, held, __: compute(held.to_numpy())


def _turns(values: Array) -> Array:
    angle = values * (2 * math.pi / 12)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _dates(_: pd.Series, held: pd.Series, __: Case) -> Array:
    return np.stack([held.dt.year, held.dt.month, held.dt.weekday, held.dt.hour, held.dt.dayofyear], axis=1)


def _hot(train: pd.Series, held: pd.Series, case: Case) -> Array:
    del train
    return np.stack([held == name.partition("=")[2] for name in case.matrix.columns], axis=1)


def _by_frequency(train: pd.Series) -> pd.Series:
    counts = train.value_counts()
    return counts.sort_index().sort_values(ascending=False, kind="stable")


def _ordinal(train: pd.Series, held: pd.Series, _: Case) -> Array:
    places = {name: place for place, name in enumerate(_by_frequency(train).index[:50])}
    return held.map(lambda each: places.get(each, -1)).to_numpy(float)


def _frequency(train: pd.Series, held: pd.Series, _: Case) -> Array:
    shares = (_by_frequency(train) / len(train))[:50]
    return held.map(lambda each: shares.get(each, 0.0)).to_numpy(float)


def _quantiles(train: pd.Series, held: pd.Series, _: Case) -> Array:
    edges = np.unique(np.quantile(train, [0.25, 0.5, 0.75]))
    return np.searchsorted(edges, held, side="right")


def _scaled(scaler: Any) -> Reference:
    def compute(train: pd.Series, held: pd.Series, _: Case) -> Any:
        both = SimpleImputer(strategy="median").fit(train.to_frame())
        fitted = scaler.fit(both.transform(train.to_frame()))
        return fitted.transform(both.transform(held.to_frame()))

    return compute


def _counted(kind: Any) -> Reference:
    def compute(train: pd.Series, held: pd.Series, case: Case) -> Any:
        known = [name.partition("~")[2] for name in case.matrix.columns]
        found = kind(vocabulary=known, ngram_range=(1, 2), dtype=np.float64).fit(train)
        return found.transform(held).toarray()

    return compute


def _hashed(_: pd.Series, held: pd.Series, case: Case) -> Array:
    """Count words by CRC-32, whose highest bit is the sign, and bring each row to the length 1."""
    width, split = len(case.matrix.columns), CountVectorizer().build_analyzer()
    found = np.zeros((len(held), width))
    for row, text in zip(found, held, strict=True):
        for word in split(text):
            code = crc32(word.encode())
            row[code % width] += -1 if code >> 31 else 1
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300))


def _numbered(_: pd.Series, held: pd.Series, case: Case) -> Array:
    """Return each of the first words its place in the vocabulary plus two, 1 if it is not there, 0 behind the text."""
    (rule,) = case.preprocessing.words
    places, split = {word: place + 2 for place, word in enumerate(rule.grams)}, CountVectorizer().build_analyzer()
    found = np.zeros((len(held), rule.width))
    for row, text in zip(found, held, strict=True):
        words = [places.get(word, 1) for word in split(text)[: rule.width]]
        row[: len(words)] = words
    return found


def _averaged(_: pd.Series, held: pd.Series, case: Case) -> Array:
    (rule,) = case.preprocessing.words
    places = {word: place for place, word in enumerate(rule.grams)}
    vectors, split = decode_vectors(rule).astype(np.float64), CountVectorizer().build_analyzer()
    known = [[places[word] for word in split(text) if word in places] for text in held]
    return np.array([vectors[each].mean(axis=0) if each else np.zeros(rule.width) for each in known])


def _scale(name: str, scaler: Any) -> Check:
    return Check("dep_delay", {"kind": "none"}, _scaled(scaler), "scikit-learn", name, missing=True)


_WORDS: Mapping[str, Any] = {"columns": _TEXTS}
CHECKS: Mapping[str, Check] = {
    "none": Check("distance", {"kind": "none"}, _numbers(np.asarray)),
    "log": Check("distance", {"kind": "log"}, _numbers(np.log1p)),
    "sqrt": Check("distance", {"kind": "sqrt"}, _numbers(np.sqrt)),
    "power": Check("distance", {"kind": "power", "exponent": 1.5}, _numbers(lambda values: values**1.5)),
    "bins": Check("distance", {"kind": "bins", "count": 4}, _quantiles),
    "cyclic": Check("month", {"kind": "cyclic", "period": 12}, _numbers(_turns)),
    "date_parts": Check(
        "time_hour",
        {"kind": "date_parts", "parts": ["year", "month", "weekday", "hour", "yearday"]},
        _dates,
        "pandas",
        columns=_DATES,
    ),
    "category": Check("carrier", {"kind": "category"}, _hot, "pandas"),
    "one_hot": Check("origin", {"kind": "one_hot"}, _hot, "pandas"),
    "ordinal": Check("carrier", {"kind": "ordinal"}, _ordinal, "pandas"),
    "frequency": Check("carrier", {"kind": "frequency"}, _frequency, "pandas"),
    "bag_of_words": Check(
        "text", {"kind": "bag_of_words", "ngrams": [1, 2]}, _counted(CountVectorizer), "scikit-learn", **_WORDS
    ),
    "tfidf": Check("text", {"kind": "tfidf", "ngrams": [1, 2]}, _counted(TfidfVectorizer), "scikit-learn", **_WORDS),
    "hashing": Check("text", {"kind": "hashing"}, _hashed, "NumPy, zlib's CRC-32", **_WORDS),
    "token_ids": Check("text", {"kind": "token_ids", "length": 20}, _numbered, **_WORDS),
    "word2vec": Check("text", {"kind": "word2vec"}, _averaged, "the mean of gensim's vectors", **_WORDS),
    "standard": _scale("standard", StandardScaler()),
    "min_max": _scale("min_max", MinMaxScaler()),
    "robust": _scale("robust", RobustScaler()),
}
_ELSEWHERE: Mapping[str, str] = {"sentence_vectors": "no part of the graph: benchmarks.texts"}


def compare_transformers(cache: Path) -> None:
    """Print the largest difference of each."""
    kinds = get_args(Transformer.model_fields["kind"].annotation)
    print(f"\n| {'transformer':18} | {'beside':30} | largest | columns | rows  |\n|{'---|' * 5}")
    for kind in (*kinds, *(each for each in CHECKS if each not in kinds)):
        if kind in CHECKS:
            print(f"| {kind:18} | {_row(CHECKS[kind], cache)} |", flush=True)
        else:
            print(f"| {kind:18} | {_ELSEWHERE.get(kind, 'nothing to compare it with here'):30} |")


def _row(check: Check, cache: Path) -> str:
    rows = _rows(check, cache).reset_index(drop=True)
    target = "rating" if "rating" in check.columns else "arr_delay"
    values = rows[check.column]
    if check.missing:
        rows[check.column] = values = values.mask(np.random.default_rng(0).random(len(rows)) < 0.1)
    document = {
        "model": {"name": "m", "target": target, "task": "regression"},
        "features": {"select": [check.column]},
        "transform": {check.column: check.rule},
        "normalize": {"*": check.normalize},
        "clean": {"missing": {"*": "median"}} if check.missing else {},
    }
    case = make_case(check.column, rows, document, check.columns)
    held = np.arange(len(rows)) % HELD == 0
    found = run(case.preprocess, case.given)["matrix"]
    expected = np.asarray(check.reference(values[~held], values[held], case), dtype=np.float64).reshape(found.shape)
    largest = compare(expected, found).max_difference
    return f"{check.beside:30} | {largest:.1e} | {found.shape[1]:7,} | {len(found):5,}"


def _rows(check: Check, cache: Path) -> pd.DataFrame:
    if "text" in check.columns:
        return typed(texts(cache), _TEXTS)
    if "time_hour" in check.columns:
        rows = flights(cache)[["time_hour", "arr_delay"]]
        return rows.assign(time_hour=pd.to_datetime(rows["time_hour"]).dt.tz_localize(None).astype("datetime64[us]"))
    return typed(flights(cache), FLIGHTS)
