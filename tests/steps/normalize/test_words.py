"""Words as features, beside scikit-learn and gensim themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from pipeline.errors import DataError, InputError
from pipeline.model.graphs import run
from pipeline.spec.schema.spec import Spec
from pipeline.steps.normalize import Preprocessing, compile_preprocess, fit, merge, normalize
from pipeline.steps.transform import Transformed, compile_target, compile_transform, transform

COLUMNS: dict[str, Any] = {"t": "str", "y": "float"}
TEXTS = [
    "The cat sat on the mat",
    "the dog; the cat!",
    "",
    "Über die Straße, ÉTÉ été",
    None,
    "кот сидел на коврике и кот",
    "cat " * 3000 + "end",
    "the mat the mat",
]


def spec_of(**rule: Any) -> Spec:
    return Spec.model_validate(
        {"model": {"name": "m", "target": "y"}, "data": {"columns": COLUMNS}, "transform": {"t": rule}}
    )


def transformed(spec: Spec, texts: list[str | None]) -> Transformed:
    rows = pd.DataFrame({"t": pd.Series(texts, dtype="str"), "y": np.arange(len(texts), dtype=float)})
    compiled, target = compile_transform(spec, COLUMNS), compile_target(spec, COLUMNS)
    return transform(rows, np.zeros(len(texts), np.int8), spec, compiled, target)


def fitted(spec: Spec, texts: list[str | None]) -> tuple[Preprocessing, Any]:
    made = transformed(spec, texts)
    preprocessing = fit(made.statistics, spec, compile_transform(spec, COLUMNS), [made.frame])
    return preprocessing, np.concatenate([*normalize([made.frame], preprocessing)])


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2), (2, 2), (2, 3)])
@pytest.mark.parametrize(("kind", "vectorizer"), [("bag_of_words", CountVectorizer), ("tfidf", TfidfVectorizer)])
def test_words_are_counted_and_weighed_as_by_scikit_learn(kind: str, vectorizer: Any, ngrams: tuple[int, int]) -> None:
    preprocessing, matrix = fitted(spec_of(kind=kind, ngrams=list(ngrams), max_words=10_000), list(TEXTS))
    theirs = vectorizer(ngram_range=ngrams)
    expected = theirs.fit_transform([text or "" for text in TEXTS]).toarray()
    order = [preprocessing.names.index(f"t~{gram}") for gram in theirs.get_feature_names_out()]
    assert len(order) == matrix.shape[1]
    np.testing.assert_allclose(matrix[:, order], expected, atol=1e-6)


def test_the_most_frequent_words_stay() -> None:
    preprocessing, matrix = fitted(spec_of(kind="bag_of_words", max_features=2, max_words=4), list(TEXTS))
    assert preprocessing.names == ("t~cat", "t~the")
    assert matrix[0].tolist() == [1, 1]
    preprocessing, _ = fitted(spec_of(kind="tfidf", min_rows=2), list(TEXTS))
    assert set(preprocessing.names) == {"t~cat", "t~mat", "t~the"}


def test_the_vocabulary_does_not_depend_on_how_rows_are_parted() -> None:
    spec = spec_of(kind="tfidf", ngrams=[1, 2])
    compiled = compile_transform(spec, COLUMNS)
    whole = fit(transformed(spec, list(TEXTS)).statistics, spec, compiled)
    parts = [transformed(spec, list(TEXTS)[start : start + 3]).statistics for start in (6, 3, 0)]
    assert fit(merge(parts), spec, compiled) == whole
    assert Preprocessing.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_hashing_knows_words_that_training_never_saw() -> None:
    spec = spec_of(kind="hashing", buckets=64)
    preprocessing, matrix = fitted(spec, ["seen words", "seen words seen words", "seen", ""])
    assert matrix.shape == (4, 64)
    np.testing.assert_allclose(matrix[0], matrix[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), [1, 1, 1, 0], atol=1e-6)
    graph = compile_preprocess(compile_transform(spec, COLUMNS), preprocessing)
    rule = compile_transform(spec, COLUMNS).words[0].words
    new = run(graph, {"texts": np.array([["new"]], object), "words": np.array([[rule.of("new")]], object)})["matrix"]
    assert np.abs(new).sum() == 1


def test_words_become_their_numbers_in_their_order() -> None:
    spec = spec_of(kind="token_ids", length=5, max_features=3)
    preprocessing, matrix = fitted(spec, list(TEXTS))
    assert preprocessing.names == ("t@0", "t@1", "t@2", "t@3", "t@4")
    assert preprocessing.words[0].grams == ("cat", "the", "mat")  # of each text, the first five words count
    assert matrix.astype(int).tolist() == [
        [3, 2, 1, 1, 3], [3, 1, 3, 2, 0], [0] * 5, [1, 1, 1, 1, 1], [0] * 5, [1] * 5, [2] * 5, [3, 4, 3, 4, 0]
    ]  # fmt: skip


def test_a_text_without_any_word_is_no_feature_but_no_error() -> None:
    with pytest.raises(DataError, match="no feature has a value"):
        fitted(spec_of(kind="bag_of_words"), ["", "!", None])


def test_words_of_a_derived_column_are_refused() -> None:
    spec = spec_of(kind="tfidf").model_copy(update={"data": Spec.model_validate(
        {"model": {"name": "m"}, "data": {"columns": COLUMNS, "derive": {"d": "t + t"}}}).data})  # fmt: skip
    spec = spec.model_copy(update={"transform": {"d": spec.transform["t"]}})
    with pytest.raises(InputError, match=r"transform.d: found 'tfidf' for a derived column"):
        compile_transform(spec, COLUMNS)


@pytest.mark.extra("text")
def test_vectors_are_those_of_gensim_averaged_and_repeat_bit_for_bit() -> None:
    from gensim.models import Word2Vec

    texts: list[str | None] = ["the cat sat on the mat", "the dog sat on the log", "", "cat dog mat log"] * 30
    spec = spec_of(kind="word2vec", size=16, epochs=3, window=2)
    preprocessing, matrix = fitted(spec, texts)
    assert preprocessing == fitted(spec, texts)[0]
    sentences = [text.split() for text in texts if text]
    theirs = Word2Vec(sentences, vector_size=16, epochs=3, window=2, min_count=1, seed=0, workers=1)
    np.testing.assert_allclose(matrix[0], theirs.wv[["the", "cat", "sat", "on", "the", "mat"]].mean(axis=0), atol=1e-6)
    assert not matrix[2].any()
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


@pytest.mark.extra("text")
def test_vectors_without_any_word_to_learn_from_are_refused() -> None:
    with pytest.raises(DataError, match=r"found no words in 't' to learn vectors from"):
        fitted(spec_of(kind="word2vec"), ["", "!", None])
