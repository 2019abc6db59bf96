"""A released bundle, checked and ready to predict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from pipeline.errors import DeploymentError
from pipeline.model.onnx_operators import find_unsafe
from pipeline.model.reference import REFERENCE, Reference, read_reference
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.model.signature import Signature
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.rows.records import Reader, Rows
from pipeline.serving.scoring.served import Feeds, Predictions, ServedModel
from pipeline.serving.scoring.sessions import first_line, input_faults, open_session, output_faults, score_graph
from pipeline.serving.scoring.signatures import check_signature

GRAPH, PREPROCESS, ESTIMATOR = "model.onnx", "preprocess.onnx", "estimator.skops"
_TRUSTED_TYPES = ("sklearn.", "_loss.Cy")  # the second: scikit-learn's compiled losses, under their module's own name


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
    score = (_open_joined if GRAPH in files else _open_native)(files, signature, folder)
    encoder = _open_encoder(files, signature, folder)
    reference = _read_reference(files, signature, folder)
    model = ServedModel(
        str(release["model"]),
        str(release["version"]),
        signature,
        release,
        reader,
        score,
        encoder,
        reference,
        _data_time_s(release, folder),
    )
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
    wanted |= {ENCODER, PIECES, REFERENCE} & names
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


def _open_checked(content: bytes, path: Path) -> ort.InferenceSession:
    if unsafe := find_unsafe(content):
        raise DeploymentError(f"{path}: found {unsafe[0]}; expected {unsafe[1]}")
    return open_session(content, path)


def _open_encoder(files: Mapping[str, bytes], signature: Signature, folder: Path) -> SentenceEncoder | None:
    if not signature.sentences:
        return None
    if lacking := {ENCODER, PIECES} - files.keys():
        raise DeploymentError(f"{folder / 'release.json'}: found no {', '.join(sorted(lacking))}; expected the encoder")
    return SentenceEncoder(_open_checked(files[ENCODER], folder / ENCODER), files[PIECES])


def _data_time_s(release: Mapping[str, Any], folder: Path) -> float | None:
    """Read when the data commit was made, in seconds since 1970; None where the record does not say it."""
    found = release.get("data_time")
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found).astimezone(UTC).timestamp()
    except (TypeError, ValueError) as error:
        raise DeploymentError(
            f"{folder / 'release.json'}: found {str(found)[:50]!r} in 'data_time'; expected a time in ISO 8601"
        ) from error


def _read_reference(files: Mapping[str, bytes], signature: Signature, folder: Path) -> Reference | None:
    try:
        return read_reference(files[REFERENCE], signature) if REFERENCE in files else None
    except ValueError as error:
        raise DeploymentError(f"{folder / REFERENCE}: {error}") from error


def _open_joined(files: Mapping[str, bytes], signature: Signature, folder: Path) -> Callable[[Feeds], Predictions]:
    return score_graph(_open_checked(files[GRAPH], folder / GRAPH), signature, folder / GRAPH)


def _open_native(files: Mapping[str, bytes], signature: Signature, folder: Path) -> Callable[[Feeds], Predictions]:
    """Open the fallback for what ONNX cannot express: a preprocessing graph and a scikit-learn estimator."""
    session = _open_checked(files[PREPROCESS], folder / PREPROCESS)
    estimator = _load_estimator(files[ESTIMATOR], folder / ESTIMATOR)
    has_probabilities = signature.task == "classification" and hasattr(estimator, "predict_proba")
    faults = [*input_faults(session, signature), *output_faults(session, ["matrix"])]
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
        raise DeploymentError(f"{path}: found {first_line(error)}; expected {expected}") from error
    if foreign:
        raise DeploymentError(f"{path}: found {', '.join(foreign[:5])}; expected {expected}")
    return estimator


def _warm_up(model: ServedModel, folder: Path) -> None:
    """Predict once, so that the first caller waits for nothing and a graph that cannot run is never live."""
    try:
        rows = model.reader.arrays([model.signature.example]) if model.signature.example else _empty_row(model)
        model.outputs(model.predict(rows.numbers, rows.texts))
    except RejectedError as error:
        raise DeploymentError(f"{folder / 'signature.json'}: example: {error}") from error
    except Exception as error:
        raise DeploymentError(f"{folder}: found {first_line(error)}; expected a prediction of the example") from error


def _empty_row(model: ServedModel) -> Rows:
    numbers, texts = len(model.signature.numbers), len(model.signature.texts)
    return Rows(
        np.full((1, numbers), np.nan) if numbers else None,
        np.full((1, texts), "", dtype=object) if texts else None,
        1,
    )
