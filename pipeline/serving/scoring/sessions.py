"""Graphs of a release: opened, held against the signature, and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnxruntime as ort

from pipeline.errors import DeploymentError
from pipeline.model.signature import Signature
from pipeline.serving.scoring.served import Feeds, Predictions

_INPUT_TYPES = {
    "numbers": "tensor(double)",
    "texts": "tensor(string)",
    "words": "tensor(string)",
    "vectors": "tensor(float)",
}


def open_session(content: bytes, path: Path) -> ort.InferenceSession:
    """Open a graph that computes in one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Or the runtime reads bytes with the mark of its own format as that, and not as what was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DeploymentError(f"{path}: found {first_line(error)}; expected an ONNX graph") from error


def score_graph(session: ort.InferenceSession, signature: Signature, path: Path) -> Callable[[Feeds], Predictions]:
    """Return what computes predictions with a joined graph.

    Raises
    ------
    DeploymentError
        If it is not what the signature says.
    """
    classifies = signature.task == "classification"
    outputs = ["label", "probabilities"] if classifies else ["prediction"]
    faults = [*input_faults(session, signature), *output_faults(session, outputs)]
    if faults:
        raise DeploymentError(f"{path}: {'; '.join(faults)}")

    def score_classes(feeds: Feeds) -> Predictions:
        label, probabilities = session.run(outputs, feeds)
        return Predictions(label.reshape(-1), probabilities)

    def score_value(feeds: Feeds) -> Predictions:
        return Predictions(session.run(outputs, feeds)[0].reshape(-1))

    return score_classes if classifies else score_value


def input_faults(session: ort.InferenceSession, signature: Signature) -> Iterator[str]:
    """Yield what is wrong with the inputs of a graph."""
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


def output_faults(session: ort.InferenceSession, expected: list[str]) -> Iterator[str]:
    """Yield which outputs a graph lacks."""
    found = [each.name for each in session.get_outputs()]
    missing = [name for name in expected if name not in found]
    if missing:
        yield f"found the outputs {', '.join(found)}; expected {', '.join(expected)}"


def first_line(error: Exception) -> str:
    """Return the beginning of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
