"""A release on rows that it has never seen: those that came to the data after it was made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.messages import examples
from pipeline.model.signature import Signature
from pipeline.runs.inputs import Inputs
from pipeline.runs.work.clean_rows import IDENTITY, POSITION, clean_rows
from pipeline.runs.work.files import read_frame
from pipeline.runs.work.scoring import encode, predictor_of
from pipeline.serving.rows.captured import as_sent
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import ServedModel
from pipeline.spec.catalogue.metrics import DEFAULT_METRICS, METRICS
from pipeline.steps.evaluate.evaluating import evaluate
from pipeline.steps.evaluate.results import Evaluation
from pipeline.steps.evaluate.sample import Prediction
from pipeline.steps.features import TARGET
from pipeline.steps.transform import number_matrix, text_matrix


def evaluate_unseen(then: Inputs, now: Inputs, signature: Signature, bundle: Path) -> Evaluation | None:
    """Judge a release on the rows that its own data do not have; None if there are none.

    Parameters
    ----------
    then, now : Inputs
        The data that the release was made from, and newer ones; both transformed by its own spec.
    bundle : Path
        Of the release.

    Raises
    ------
    DataError
        If the newer data lack a column that it needs.
    """
    rows = gather_unseen(then, now, [each.name for each in signature.inputs])
    if rows.empty:
        return None
    spec = now.job.spec
    rules = spec.evaluate.model_copy(update={"slices": []})
    truth = encode(rows[TARGET], signature)
    return evaluate(truth, predictor_of(bundle)(rows), rules, None, spec.model.seed, classes=signature.classes)


def evaluate_captured(
    then: Inputs, now: Inputs, signature: Signature, bundle: Path, captured: Sequence[Mapping[str, Any]]
) -> Evaluation | None:
    """Judge what a release really answered, where rows that are new tell the truth; None where none does.

    A captured row is that of the data with the same `data.key`, if captures have it, else the one with the same inputs;
    of several with different truths, none.

    Parameters
    ----------
    captured : sequence of mapping
        Rows with their ``record`` and ``output``; hashed columns are left out of the records.
    """
    by = joined_by(now.job.spec.data.key, signature, captured)
    if by is None:
        return None
    rows = gather_unseen(then, now, [each.name for each in signature.inputs])
    if rows.empty:
        return None
    known = _keyed(number_matrix(rows, by[0]), text_matrix(rows, by[1]), by).assign(**{TARGET: rows[TARGET].to_numpy()})
    known = known.drop_duplicates().drop_duplicates([*by[0], *by[1]], keep=False)
    joined = _asked(load_model(bundle), captured, by).merge(known, on=[*by[0], *by[1]])
    if joined.empty:
        return None
    spec, outputs = now.job.spec, joined[_OUTPUT]
    metrics = [name for name in spec.evaluate.metrics or DEFAULT_METRICS[signature.task] if _is_told_by_outputs(name)]
    rules = spec.evaluate.model_copy(update={"slices": [], "metrics": metrics})
    said = encode(outputs, signature)
    answer = Prediction(values=said) if signature.classes is None else Prediction(labels=said)
    return evaluate(encode(joined[TARGET], signature), answer, rules, None, spec.model.seed, classes=signature.classes)


_OUTPUT = "(output)"


def _is_told_by_outputs(metric: str) -> bool:
    return METRICS[metric].reads != "probability"


def joined_by(
    key: Sequence[str], signature: Signature, captured: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]] | None:
    """Return the columns to join by, numbers and texts; None where captures hide what would be needed."""
    inputs = {each.name: each for each in signature.inputs}
    there = set.intersection(*(set(each["record"]) for each in captured)) if captured else set()
    for names in (key, list(inputs)):
        if names and there.issuperset(names) and all(name in inputs and inputs[name].kind != "image" for name in names):
            numbers = [name for name in names if inputs[name].kind != "text"]
            return numbers, [name for name in names if inputs[name].kind == "text"]
    return None


def _asked(model: ServedModel, captured: Sequence[Mapping[str, Any]], by: tuple[list[str], list[str]]) -> pd.DataFrame:
    """Read captured rows as the server did."""
    signature = model.signature
    hidden = {each.name for each in signature.inputs if any(each.name not in row["record"] for row in captured)}
    rows = model.reader.arrays([as_sent(each["record"], signature.inputs, hidden) for each in captured])
    numbers, texts = ([names.index(name) for name in part] for names, part in
                      ((signature.numbers, by[0]), (signature.texts, by[1])))  # fmt: skip
    empty = np.empty((len(captured), 0))
    keyed = _keyed(
        empty if rows.numbers is None else rows.numbers[:, numbers],
        empty if rows.texts is None else rows.texts[:, texts],
        by,
    )
    return keyed.assign(**{_OUTPUT: pd.array([each["output"] for each in captured], dtype=object)})


def _keyed(numbers: npt.NDArray[np.float64], texts: npt.NDArray[Any], by: tuple[list[str], list[str]]) -> pd.DataFrame:
    both = [pd.DataFrame(numbers, columns=by[0]), pd.DataFrame(texts, columns=by[1], dtype=object)]
    return pd.concat(both, axis=1)


def gather_unseen(then: Inputs, now: Inputs, columns: Sequence[str]) -> pd.DataFrame:
    """Gather the raw rows, with the target, that are not among those that had one then; each once.

    A row is known by its hash, so one that moved to another partition has been seen, and one that had no target yet
    has not.
    """
    if lacking := [name for name in columns if name not in now.chain.columns()]:
        raise DataError(f"found no column {examples(lacking)} in the newer data; expected those that the release reads")
    parts = list(_unseen_parts(then, now, columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*columns, TARGET])


def _unseen_parts(then: Inputs, now: Inputs, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    known = {node.artifact.key for node in then.chain.nodes("transform") if node.artifact}
    seen, once = _identities(then), now.job.spec.clean.duplicates != "keep"
    for node in now.chain.nodes("transform"):
        if node.artifact is None or node.artifact.key in known:
            continue
        frame = read_frame(node.artifact.file("features.parquet"), [POSITION, IDENTITY, TARGET])
        frame = frame[~np.isin(frame[IDENTITY].to_numpy(), seen)]
        if once:
            frame = frame.drop_duplicates(IDENTITY)
            seen = np.union1d(seen, frame[IDENTITY].to_numpy())
        if len(frame):
            rows = clean_rows(now, node.partition, columns).iloc[frame[POSITION].to_numpy()]
            yield rows.assign(**{TARGET: frame[TARGET].to_numpy()})


def _identities(inputs: Inputs) -> npt.NDArray[np.uint64]:
    """Return the hashes of all rows with a target, in order."""
    made = [node.artifact for node in inputs.chain.nodes("transform") if node.artifact]
    found = [read_frame(each.file("features.parquet"), [IDENTITY])[IDENTITY].to_numpy() for each in made]
    return np.unique(np.concatenate(found)) if found else np.array([], np.uint64)
