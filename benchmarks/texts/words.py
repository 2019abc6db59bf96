"""Words: counted, weighed, hashed, and the vectors that are learnt for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

from benchmarks.texts.timing import OURS, compare, cpu_s
from pipeline.model.words import Words
from pipeline.spec.schema.spec import Spec
from pipeline.steps.features import Transform
from pipeline.steps.normalize import Preprocessing, fit, normalize
from pipeline.steps.normalize.words import fit_vectors
from pipeline.steps.transform import compile_target, compile_transform, transform

COLUMNS: Mapping[str, Any] = {"t": "str", "y": "float"}
FEATURES = 1000
VECTORIZERS: Mapping[str, Any] = {
    "bag_of_words": CountVectorizer(max_features=FEATURES),
    "tfidf": TfidfVectorizer(max_features=FEATURES),
    "hashing": HashingVectorizer(n_features=1024),
}


def spec_of(kind: str) -> Spec:
    """Return a spec that makes features of texts in one way."""
    document = {"model": {"name": "m", "target": "y"}, "data": {"columns": COLUMNS}, "transform": {"t": {"kind": kind}}}
    return Spec.model_validate(document)


def rows_of(texts: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"t": pd.Series(texts, dtype="str"), "y": np.zeros(len(texts))})


def compare_words(texts: Sequence[str], rounds: int) -> None:
    """Hold counted words beside scikit-learn's, dense float32 on either side."""
    for kind, vectorizer in VECTORIZERS.items():
        compiled, preprocessing = _fitted(kind, texts)
        vectorizer.fit(texts)
        works = {
            OURS: _timed(_features, texts, compiled.words[0].words, preprocessing),
            "scikit-learn": _timed(_vectorized, texts, vectorizer),
        }
        compare(kind, works, len(texts), rounds)


def _timed(work: Callable[..., Any], *given: Any) -> Callable[[], float]:
    return lambda: cpu_s(lambda: work(*given))


def _fitted(kind: str, texts: Sequence[str]) -> tuple[Transform, Preprocessing]:
    spec, rows = spec_of(kind), rows_of(texts)
    compiled, target = compile_transform(spec, COLUMNS), compile_target(spec, COLUMNS)
    found = transform(rows, np.zeros(len(texts), np.int8), spec, compiled, target)
    return compiled, fit(found.statistics, spec, compiled, [found.frame])


def _features(texts: Sequence[str], words: Words, preprocessing: Preprocessing) -> Any:
    frame = pd.DataFrame({"t": pd.Series([words.of(text) for text in texts], dtype="str")})
    return list(normalize([frame], preprocessing))


def _vectorized(texts: Sequence[str], vectorizer: Any) -> Any:
    return vectorizer.transform(texts).toarray().astype(np.float32)


def compare_vectors(texts: Sequence[str], rounds: int) -> None:
    """Hold Word2Vec beside gensim alone: learning, and the mean of a text's vectors; words are found on either side."""
    compiled, preprocessing = _fitted("word2vec", texts)
    feature, model = compiled.words[0], _learn_alone(texts)
    learning = {
        OURS: _timed(lambda: fit_vectors(feature, [feature.words.of(text).split(" ") for text in texts], 0)),
        "gensim": _timed(_learn_alone, texts),
    }
    compare("word2vec, learning", learning, len(texts), min(rounds, 3))
    pooling = {
        OURS: _timed(_features, texts, feature.words, preprocessing),
        "gensim": _timed(_pool_alone, texts, model.wv),
    }
    compare("word2vec, mean of a text", pooling, len(texts), rounds)


def _learn_alone(texts: Sequence[str]) -> Any:
    from gensim.models import Word2Vec

    split = CountVectorizer().build_analyzer()
    return Word2Vec([split(text) for text in texts], min_count=1, max_final_vocab=FEATURES, workers=1, seed=0)


def _pool_alone(texts: Sequence[str], vectors: Any) -> Any:
    """Look words up, and take the mean, as gensim's users do."""
    split, places, table = CountVectorizer().build_analyzer(), vectors.key_to_index, vectors.vectors
    known = ([places[word] for word in split(text) if word in places] for text in texts)
    return np.stack([table[each].mean(axis=0) if each else np.zeros(table.shape[1], np.float32) for each in known])
