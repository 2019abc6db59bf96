from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.model.sentences.pieces import Pieces
from pipeline.steps.encoder import weights
from pipeline.steps.encoder.bert import read_tensors
from tests.encoders import VOCABULARY, open_encoder, write_encoder

PLACES = {word: place for place, word in enumerate(VOCABULARY.decode().split("\n"))}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return open_encoder(write_encoder(tmp_path_factory.mktemp("encoder")))


CUTS = [
    ("unaffable", "un ##aff ##able"),
    ("UNAFFABLE!", "un ##aff ##able !"),
    ("the, the", "the , the"),
    ("", ""),
    ("\u0000\ufffd\u200b", ""),
    ("日本", "日 本"),
    ("É E", "e e"),
    ("theunknown", "[UNK]"),
    ("x" * 101, "[UNK]"),
    ("[SEP]", "[UNK] [UNK] [UNK]"),
    ("the\u3000the\tthe\u00a0the", "the the the the"),
]


@pytest.mark.parametrize(("text", "expected"), CUTS)
def test_texts_are_cut_into_pieces(text: str, expected: str) -> None:
    inner = [PLACES[word] for word in expected.split()]
    assert Pieces(VOCABULARY, 64).of(text) == [PLACES["[CLS]"], *inner, PLACES["[SEP]"]]


def test_a_long_text_is_cut_off_between_the_marks() -> None:
    found = Pieces(VOCABULARY, 8).of("the " * 1_000_000)
    assert found == [PLACES["[CLS]"], *[PLACES["the"]] * 6, PLACES["[SEP]"]]
    assert len(Pieces(VOCABULARY, 8).of("x" * 10_000_000)) == 3


def test_a_vector_does_not_depend_on_its_neighbours(encoder: SentenceEncoder) -> None:
    texts = ["the", "", "unaffable", "日本 the " * 100, "the", "!", *(["the ua"] * 3), "un aa"]
    together = encoder.of(texts)
    assert together.shape == (len(texts), encoder.width)
    np.testing.assert_allclose(together, np.concatenate([encoder.of([text]) for text in texts]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert (together[0] == together[4]).all()
    assert encoder.of([]).shape == (0, encoder.width)


def test_what_is_known_is_not_computed_again(tmp_path: Path) -> None:
    encoder = open_encoder(write_encoder(tmp_path / "encoder"))
    encoder.known = {"the": np.full(encoder.width, 7, np.float32)}
    assert (encoder.of(["ua", "the"])[1] == 7).all()


def test_what_is_no_safetensors_file_is_refused() -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.5, -2)
    assert read_tensors(whole)["a"].tolist() == [1.5, -2]
    for broken in (b"", whole[:-4], b"\xff" * 64, struct.pack("<Q", 3) + b"abc"):
        with pytest.raises(DataError, match="expected a safetensors file"):
            read_tensors(broken)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the real encoder's files, downloaded as a run would."""
    return weights.encoder_files("all-minilm-l6-v2", tmp_path_factory.mktemp("state"))


@pytest.mark.extra("text")
def test_the_real_encoder_finds_what_means_the_same(real: Path) -> None:
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = open_encoder(real).of(texts)
    # as on the model's own page
    np.testing.assert_allclose(vectors @ vectors[0], [1, 0.695, 0.943, 0.257], atol=5e-4)


@pytest.mark.extra("text")
def test_the_real_vocabulary_cuts_as_the_tokenizers_package_does(real: Path) -> None:
    from tokenizers import BertWordPieceTokenizer

    theirs = BertWordPieceTokenizer(str(real / PIECES), lowercase=True)
    theirs.enable_truncation(256)
    ours = Pieces((real / PIECES).read_bytes(), 256)
    texts = [
        *("Über Straße 日本語", "ΟΔΟΣ Σ", "İstanbul", "ﬁ ﬀ", "e\u0301", "\u200b zero", "a\u00adb", "🙂👍🏽", "مرحبا"),
        *(
            "한국어 텍스트",
            "ไทย",
            "a_b-c",
            "\x00\ufffd\t\n x",
            "don't stop!!!",
            "½ ² ①",
            "𝐀𝐁",
            "\u3000全角",
            "$5 ^ ` ~ |+",
        ),
        *("", " ", "x" * 5000, "word " * 5000, "кот сидел"),
    ]
    assert [ours.of(text) for text in texts] == [theirs.encode(text).ids for text in texts]


@pytest.mark.extra("text")
def test_an_encoder_is_made_once(real: Path) -> None:
    before = (real / ENCODER).stat().st_mtime_ns
    assert weights.encoder_files("all-minilm-l6-v2", real.parents[1]) == real
    assert (real / ENCODER).stat().st_mtime_ns == before
