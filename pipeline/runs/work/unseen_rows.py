"""A release on rows that it has never seen: those that came to the data after it was made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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
from pipeline.steps.evaluate.evaluating import evaluate
from pipeline.steps.evaluate.results import Evaluation
from pipeline.steps.features import TARGET


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
