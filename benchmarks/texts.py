"""Texts beside the bare libraries: ``python -m benchmarks.texts [--texts 4000] [--sentences 200] [--rounds 5]``.

CPU time of a text, for the same features by scikit-learn (words) and by onnxruntime with the package ``tokenizers``
(sentence vectors, texts of a length together); then the step's function for twelve partitions of texts, and for one
more. The texts are those of ``modelrail example texts``; the second half needs ``make extra-text``.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

from benchmarks.measuring import say_machine
from pipeline.examples import EXAMPLES
from pipeline.normalization import fit, normalize
from pipeline.sentences import ENCODER, PIECES
from pipeline.sentences.encoding import MOST_PIECES
from pipeline.sentences.weights import encoder_files, open_encoder
from pipeline.spec.schema import Spec
from pipeline.transformation import compile_target, compile_transform, transform

COLUMNS: dict[str, Any] = {"t": "str", "y": "float"}
FEATURES = 1000


def cpu_s(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def compare(name: str, ours: Callable[[], Any], bare: Callable[[], Any], texts: int, rounds: int) -> None:
    ours(), bare()
    first, second = cpu_s(ours, rounds), cpu_s(bare, rounds)
    print(
        f"{name:18}  {1e6 * first / texts:9.1f} µs  {1e6 * second / texts:9.1f} µs  {second / first:6.2f}", flush=True
    )


def compare_words(texts: Sequence[str], rounds: int) -> None:
    rows = pd.DataFrame({"t": pd.Series(texts, dtype="str"), "y": np.zeros(len(texts))})
    sides = np.zeros(len(texts), np.int8)
    for kind, vectorizer in (
        ("bag_of_words", CountVectorizer(max_features=FEATURES)),
        ("tfidf", TfidfVectorizer(max_features=FEATURES)),
        ("hashing", HashingVectorizer(n_features=1024)),
    ):
        document = {"model": {"name": "m", "target": "y"}, "data": {"columns": COLUMNS}}
        document["transform"] = {"t": {"kind": kind}}
        spec = Spec.model_validate(document)
        compiled, target = compile_transform(spec, COLUMNS), compile_target(spec, COLUMNS)
        preprocessing = fit(transform(rows, sides, spec, compiled, target).statistics, spec, compiled)
        rules = compiled.words[0].words
        vectorizer.fit(texts)

        def ours(preprocessing: Any = preprocessing, rules: Any = rules) -> Any:
            frame = pd.DataFrame({"t": pd.Series([rules.of(text) for text in texts], dtype="str")})
            return list(normalize([frame], preprocessing))

        def bare(vectorizer: Any = vectorizer) -> Any:
            return vectorizer.transform(texts).toarray().astype(np.float32)

        compare(kind, ours, bare, len(texts), rounds)


def compare_sentences(texts: Sequence[str], folder: Path, rounds: int) -> None:
    import onnxruntime as ort
    from tokenizers import BertWordPieceTokenizer

    files = encoder_files("all-minilm-l6-v2", folder)
    encoder = open_encoder(files)
    session = ort.InferenceSession(str(files / ENCODER), providers=["CPUExecutionProvider"])
    tokenizer = BertWordPieceTokenizer(str(files / PIECES), lowercase=True)
    tokenizer.enable_truncation(MOST_PIECES)

    def bare() -> Any:
        groups: dict[int, list[list[int]]] = {}
        for each in tokenizer.encode_batch(list(texts)):
            groups.setdefault(len(each.ids), []).append(each.ids)
        return [session.run(None, {"pieces": np.array(group, dtype=np.int64)}) for group in groups.values()]

    compare("sentence_vectors", lambda: encoder.of(texts), bare, len(texts), rounds)
    together, alone = encoder.of(texts), np.concatenate([encoder.of([text]) for text in texts])
    print(f"a vector among others and alone differ by at most {np.abs(together - alone).max():.1e}")


def compare_partitions(texts: Sequence[str], folder: Path) -> None:
    """Transform twelve partitions' texts into sentence vectors, then one more: in one process, as a step does."""
    spec = Spec.model_validate(
        {
            "model": {"name": "m", "target": "y"},
            "data": {"columns": COLUMNS},
            "transform": {"t": {"kind": "sentence_vectors"}},
        }
    )
    compiled, target = compile_transform(spec, COLUMNS), compile_target(spec, COLUMNS)
    encode = open_encoder(encoder_files("all-minilm-l6-v2", folder)).of
    parts = [list(each) for each in np.array_split(np.array(texts, dtype=object), 13)]

    def transform_part(part: list[str]) -> float:
        rows = pd.DataFrame({"t": pd.Series(part, dtype="str"), "y": np.zeros(len(part))})
        began = time.process_time()
        transform(rows, np.zeros(len(part), np.int8), spec, compiled, target, encode)
        return time.process_time() - began

    transform_part(parts[0])
    seconds = [transform_part(part) for part in parts]
    print(f"one more partition beside twelve: {seconds[12] / sum(seconds[:12]):.3f} of their CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = EXAMPLES["texts"](Path(scratch) / "texts") / "texts"
        rows = [
            row for path in sorted(folder.glob("*.csv")) for row in csv.DictReader(path.read_text("utf-8").splitlines())
        ]
        texts = [row["text"] for row in rows[:: max(len(rows) // chosen.texts, 1)]]
        print(f"\n{'':18}  {'Modelrail':>12}  {'bare':>12}  times as fast")
        compare_words(texts, chosen.rounds)
        if not chosen.sentences:
            return
        some = texts[:: max(len(texts) // chosen.sentences, 1)]
        compare_sentences(some, Path(scratch), chosen.rounds)
        compare_partitions(some, Path(scratch))


if __name__ == "__main__":
    main()
