"""Texts beside the bare libraries: ``python -m benchmarks.texts [--texts 4000] [--sentences 200] [--rounds 5]``.

CPU time of a text, by one thread on either side, in turn: words (scikit-learn), Word2Vec (gensim) and sentence vectors
(onnxruntime with the package ``tokenizers``, and sentence-transformers with PyTorch and with its ONNX backend, in
virtual environments of their own, from the same weights); then the step's function for twelve partitions of texts, and
for one more. The texts are those of ``modelrail example texts``; all but words needs ``make extra-text``, and
sentence-transformers 6 GB of disk the first time (``--peers`` chooses). ``--texts 0`` leaves words out,
``--sentences 0`` sentences.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import say_machine
from benchmarks.texts.sentences import PEERS, compare_partitions, compare_sentences
from benchmarks.texts.words import compare_vectors, compare_words
from pipeline.ui.examples import EXAMPLES


def spread(texts: Sequence[str], count: int) -> Sequence[str]:
    """Return about that many texts, evenly spaced; none for 0."""
    return texts[:: max(len(texts) // count, 1)] if count else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=tuple(PEERS), default=tuple(PEERS))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks")
    chosen = parser.parse_args()
    say_machine(["gensim", "tokenizers"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = EXAMPLES["texts"](Path(scratch) / "texts") / "texts"
        rows = [
            row for path in sorted(folder.glob("*.csv")) for row in csv.DictReader(path.read_text("utf-8").splitlines())
        ]
        texts, some = (spread([row["text"] for row in rows], count) for count in (chosen.texts, chosen.sentences))
        print(f"\n{'':48}  {'Modelrail':>12}  {'bare':>12}  times as fast")
        if texts:
            compare_words(texts, chosen.rounds)
            compare_vectors(texts, chosen.rounds)
        if some:
            compare_sentences(some, Path(scratch), chosen.cache, chosen.peers, chosen.rounds)
            compare_partitions(some, Path(scratch))


if __name__ == "__main__":
    main()
