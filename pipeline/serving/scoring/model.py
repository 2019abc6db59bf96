"""A released bundle, checked and ready to predict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.errors import DeploymentError
from pipeline.model.onnx_operators import find_unsafe
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.model.signature import Signature
from pipeline.model.words import portions
from pipeline.serving.rows.bodies import RejectedError
from pipeline.serving.rows.records import Reader, Rows
from pipeline.serving.scoring.signatures import check_signature

GRAPH, PREPROCESS, ESTIMATOR = "model.onnx", "preprocess.onnx", "estimator.skops"
_TRUSTED_TYPES = ("sklearn.", "_loss.Cy")  # the second: scikit-learn's compiled losses, under their module's own name
_PORTION = 4096
_INPUT_TYPES = {
    "numbers": "tensor(double)",
    "texts": "tensor(string)",
    "words": "tensor(string)",
    "vectors": "tensor(float)",
}

Feeds = dict[str, NDArray[Any]]


class Predictions(msgspec.Struct, frozen=True):
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


def load_model(folder: Path, max_bytes: int | None = None, signature_key: Path | None = None) -> ServedModel:
    """Load a bundle, check it against its own record, and predict its example once.

    Parameters
    ----------
    folder : Path
        Holds ``release.json``, ``signature.json`` and ``model.onnx`` (or ``preprocess.onnx`` and ``estimator.skops``).
    max_bytes : int, optional
        Largest file that is loaded; any by default.
    signature_key : Path, optional
        PEM public key by which the bundle must be signed; without it, a signature is not looked at.

    Raises
    ------
    DeploymentError
        If the signature does not hold, if a file is missing, too large or differs from the digest in
        ``release.json``, if the graph is not what the signature says, refers to files outside of it or has operators
        that no release has, or if the example cannot be predicted.
    """
    record = _read_record(folder / "release.json")
    if signature_key is not None:
        check_signature(folder, record, signature_key)
    release = _parse_record(record, folder / "release.json")
    files = _read_checked(folder, release, max_bytes)
    try:
        signature = Signature.from_json(json.loads(files["signature.json"]))
        reader = Reader(signature)
    except (ValueError, KeyError, TypeError) as error:
        raise DeploymentError(f"{folder / 'signature.json'}: found {error!r}; expected a signature") from error
    score = _open_graph(files, signature, folder) if GRAPH in files else _open_native(files, signature, folder)
    encoder = _open_encoder(files, signature, folder)
    model = ServedModel(str(release["model"]), str(release["version"]), signature, release, reader, score, encoder)
    _warm_up(model, folder)
    return model


def _read_record(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DeploymentError(f"{path}: found no such file; expected a release bundle") from error
    except OSError as error:
        raise DeploymentError(f"{path}: found {error.strerror}; expected the record of a release") from error


def _parse_record(record: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(record)
    except ValueError as error:
        raise DeploymentError(f"{path}: found {error}; expected JSON") from error
    missing = {"model", "version", "files"} - set(content) if isinstance(content, dict) else {"model"}
    if missing:
        raise DeploymentError(f"{path}: found no {', '.join(sorted(missing))}; expected the record of a release")
    checked: dict[str, Any] = content
    return checked


def _read_checked(folder: Path, release: Mapping[str, Any], max_bytes: int | None) -> dict[str, bytes]:
    """Read what is served, each file only once, so that what was checked is what is loaded."""
    names = set(release["files"])
    wanted = {"signature.json", GRAPH} if GRAPH in names else {"signature.json", PREPROCESS, ESTIMATOR}
    if not wanted <= names:
        found = ", ".join(sorted(names)) or "nothing"
        raise DeploymentError(
            f"{folder / 'release.json'}: found {found} in 'files'; expected {GRAPH} and signature.json"
        )
    wanted |= {ENCODER, PIECES} & names
    return {name: _read_file(folder / name, release["files"][name], max_bytes) for name in sorted(wanted)}


def _read_file(path: Path, digest: str, max_bytes: int | None) -> bytes:
    try:
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise DeploymentError(
                f"{path}: found {size} bytes; expected at most {max_bytes} (MODELRAIL_SERVE_MAX_MODEL_BYTES)"
            )
        content = path.read_bytes()
    except OSError as error:
        raise DeploymentError(f"{path}: found {error.strerror}; expected the file that release.json lists") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DeploymentError(f"{path}: found SHA-256 {found[:12]}…; expected {digest[:12]}… (release.json)")
    return content


def _open_session(content: bytes, path: Path) -> ort.InferenceSession:
    if unsafe := find_unsafe(content):
        raise DeploymentError(f"{path}: found {unsafe[0]}; expected {unsafe[1]}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Or the runtime reads bytes with the mark of its own format as that, and not as what was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DeploymentError(f"{path}: found {_first_line(error)}; expected an ONNX graph") from error


def _open_encoder(files: Mapping[str, bytes], signature: Signature, folder: Path) -> SentenceEncoder | None:
    if not signature.sentences:
        return None
    if lacking := {ENCODER, PIECES} - files.keys():
        raise DeploymentError(f"{folder / 'release.json'}: found no {', '.join(sorted(lacking))}; expected the encoder")
    return SentenceEncoder(_open_session(files[ENCODER], folder / ENCODER), files[PIECES])


def _open_graph(files: Mapping[str, bytes], signature: Signature, folder: Path) -> Callable[[Feeds], Predictions]:
    session = _open_session(files[GRAPH], folder / GRAPH)
    classifies = signature.task == "classification"
    outputs = ["label", "probabilities"] if classifies else ["prediction"]
    faults = [*_input_faults(session, signature), *_output_faults(session, outputs)]
    if faults:
        raise DeploymentError(f"{folder / GRAPH}: {'; '.join(faults)}")

    def score_classes(feeds: Feeds) -> Predictions:
        label, probabilities = session.run(outputs, feeds)
        return Predictions(label.reshape(-1), probabilities)

    def score_value(feeds: Feeds) -> Predictions:
        return Predictions(session.run(outputs, feeds)[0].reshape(-1))

    return score_classes if classifies else score_value


def _open_native(files: Mapping[str, bytes], signature: Signature, folder: Path) -> Callable[[Feeds], Predictions]:
    """Open the fallback for what ONNX cannot express: a preprocessing graph and a scikit-learn estimator."""
    session = _open_session(files[PREPROCESS], folder / PREPROCESS)
    estimator = _load_estimator(files[ESTIMATOR], folder / ESTIMATOR)
    has_probabilities = signature.task == "classification" and hasattr(estimator, "predict_proba")
    faults = [*_input_faults(session, signature), *_output_faults(session, ["matrix"])]
    if faults:
        raise DeploymentError(f"{folder / PREPROCESS}: {'; '.join(faults)}")

    def score(feeds: Feeds) -> Predictions:
        matrix = session.run(["matrix"], feeds)[0]
        probabilities = estimator.predict_proba(matrix) if has_probabilities else None
        return Predictions(np.asarray(estimator.predict(matrix)).reshape(-1), probabilities)

    return score


def _load_estimator(content: bytes, path: Path) -> Any:
    try:
        from skops import io
    except ImportError as error:
        raise DeploymentError(f"{path}: found no scikit-learn and skops; expected both for a native model") from error
    expected = "an estimator of scikit-learn, stored by skops"
    try:
        unknown = io.get_untrusted_types(data=content)
        foreign = sorted(name for name in unknown if not name.startswith(_TRUSTED_TYPES))
        estimator = None if foreign else io.loads(content, trusted=unknown)
    except Exception as error:
        raise DeploymentError(f"{path}: found {_first_line(error)}; expected {expected}") from error
    if foreign:
        raise DeploymentError(f"{path}: found {', '.join(foreign[:5])}; expected {expected}")
    return estimator


def _input_faults(session: ort.InferenceSession, signature: Signature) -> Iterator[str]:
    widths = {"numbers": len(signature.numbers), "texts": len(signature.texts), "words": len(signature.words)}
    widths["vectors"] = sum(len(each.columns) for each in signature.sentences)
    expected = {name: (_INPUT_TYPES[name], width) for name, width in widths.items() if width}
    found = {each.name: (each.type, each.shape[-1] if each.shape else 0) for each in session.get_inputs()}
    # A width that the graph leaves open is a name or None there.
    known = {name: (kind, width if isinstance(width, int) else None) for name, (kind, width) in found.items()}
    fits = known.keys() == expected.keys() and all(
        known[name][0] == kind and known[name][1] in {None, width} for name, (kind, width) in expected.items()
    )
    if not fits:
        yield f"found the inputs {found}; expected {expected} (signature.json)"


def _output_faults(session: ort.InferenceSession, expected: list[str]) -> Iterator[str]:
    found = [each.name for each in session.get_outputs()]
    missing = [name for name in expected if name not in found]
    if missing:
        yield f"found the outputs {', '.join(found)}; expected {', '.join(expected)}"


def _warm_up(model: ServedModel, folder: Path) -> None:
    """Predict once, so that the first caller waits for nothing and a graph that cannot run is never live."""
    try:
        rows = model.reader.arrays([model.signature.example]) if model.signature.example else _empty_row(model)
        model.outputs(model.predict(rows.numbers, rows.texts))
    except RejectedError as error:
        raise DeploymentError(f"{folder / 'signature.json'}: example: {error}") from error
    except Exception as error:
        raise DeploymentError(f"{folder}: found {_first_line(error)}; expected a prediction of the example") from error


def _empty_row(model: ServedModel) -> Rows:
    numbers, texts = len(model.signature.numbers), len(model.signature.texts)
    return Rows(
        np.full((1, numbers), np.nan) if numbers else None,
        np.full((1, texts), "", dtype=object) if texts else None,
        1,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
