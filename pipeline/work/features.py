"""Clean rows become features, partition by partition; then all of them become the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputError
from pipeline.features import TARGET, Transform
from pipeline.frames import DTYPES, KINDS, Side
from pipeline.normalization import (
    Preprocessing,
    Statistics,
    compile_preprocess,
    fit,
    merge,
    needs_second_pass,
    normalize,
    outlier_rows,
    repeated_rows,
)
from pipeline.planning import Node
from pipeline.session import Made, Session
from pipeline.splitting import assign, row_hashes
from pipeline.store import Artifact
from pipeline.transformation import Target, compile_target, compile_transform, transform
from pipeline.transformation.applying import compute_target
from pipeline.work.files import read_frame, read_json, write_frame, write_json, write_matrix

SIDE = "(side)"
POSITION = "(position)"
IDENTITY = "(identity)"
PARTITION = "(partition)"
_SIDES = {Side.TRAIN: "train", Side.VALIDATION: "validate", Side.TEST: "test"}

Mask = npt.NDArray[np.bool_]


def transform_partition(session: Session, node: Node, folder: Path) -> Made:
    """Write ``features.parquet`` (with each row's side, its place among the clean rows, its hash), statistics."""
    spec = session.job.spec
    rows = clean_rows(session, node.partition)
    compiled, target = compile_features(session)
    hashes = row_hashes(rows, spec.data.key)
    sides = assign(_with_stratum(session, rows), hashes, spec.split)
    made = transform(rows, sides, spec, compiled, target)
    places = {
        SIDE: sides[made.kept],
        POSITION: np.flatnonzero(made.kept).astype(np.int32),
        IDENTITY: _identities(session, rows, hashes)[made.kept],
    }
    frame = pd.concat([made.frame, pd.DataFrame(places)], axis=1)
    write_frame(frame, folder / "features.parquet")
    write_json(made.statistics.to_json(), folder / "statistics.json")
    dropped = sum(made.dropped.values())
    say = f"{len(frame):,} rows, {dropped:,} dropped without a target or a required value"
    return Made(say, len(frame), manifest={"rows_dropped": dict(made.dropped)})


def compile_features(session: Session) -> tuple[Transform, Target]:
    """Compile the transformation, once a session."""

    def compile_both() -> tuple[Transform, Target]:
        columns = session.columns()
        compiled = compile_transform(session.job.spec, columns)
        _refuse_own_names(compiled)
        return compiled, compile_target(session.job.spec, columns)

    return session.once("features", compile_both)


def _refuse_own_names(compiled: Transform) -> None:
    named = {*compiled.numbers, *compiled.texts, *(each.name for each in compiled.features)}
    if taken := sorted(named & {SIDE, POSITION, IDENTITY, PARTITION, TARGET}):
        raise InputError(
            f"features: found the column {taken[0]!r}, a name that Modelrail keeps for itself; expected another, or"
            " not to use it (features.drop)"
        )


def normalize_features(session: Session, node: Node, folder: Path) -> Made:
    """Write ``matrix.parquet``, ``rows.parquet`` (what each of its rows is), the fitted rules and their graph."""
    del node
    spec = session.job.spec
    compiled, _ = compile_features(session)
    nodes = session.nodes()["transform"]
    artifacts = [each.artifact for each in nodes if each.artifact]
    frames = [read_frame(each.file("features.parquet")) for each in artifacts]
    repeated = _repeated(session, frames)
    statistics = merge(_statistics(session, nodes, artifacts, frames, repeated))
    kept = [frame if not mask.any() else frame[~mask] for frame, mask in zip(frames, repeated, strict=True)]
    second_pass = _training(kept) if needs_second_pass(spec, compiled) else None
    preprocessing = fit(statistics, spec, compiled, second_pass)
    outliers = 0
    if second_pass is not None:
        kept, outliers = _without_outliers(kept, preprocessing)
    matrix = normalize(kept, preprocessing)
    rows = _describe_rows(kept)
    write_matrix(matrix, preprocessing.names, folder / "matrix.parquet")
    write_frame(rows, folder / "rows.parquet")
    write_json(preprocessing.to_json(), folder / "preprocessing.json")
    (folder / "preprocess.onnx").write_bytes(
        compile_preprocess(compiled, preprocessing).SerializeToString(deterministic=True)
    )
    sides = {name: int((rows[SIDE] == side).sum()) for side, name in _SIDES.items()}
    duplicates = int(sum(mask.sum() for mask in repeated))
    say = f"{matrix.shape[1]} features; " + ", ".join(f"{count:,} rows to {name}" for name, count in sides.items())
    facts = {
        "sides": sides,
        "duplicates": duplicates,
        "outliers": outliers,
        "features": len(preprocessing.names),
        "notes": list(preprocessing.notes),
    }
    return Made(
        say,
        len(rows),
        manifest=facts,
        files=("preprocessing.json",),
        metrics={f"rows_{name}": float(count) for name, count in sides.items()} | {"duplicates": float(duplicates)},
    )


def clean_rows(session: Session, partition: str | None) -> pd.DataFrame:
    """Read the clean rows of a partition, each column of the type that all partitions agreed on."""
    node = next(each for each in session.nodes()["clean"] if each.partition == partition)
    if node.artifact is None:
        raise InputError(f"partition {partition}: found no clean rows; expected the step 'clean' to have run")
    rows = read_frame(node.artifact.file("rows.parquet"))
    # A column without any value here, and without a declared type, was read as a number.
    types = session.once("columns", session.columns)
    columns = {name: kind for name, type_ in types.items() if (kind := KINDS[type_]) != "number"}
    wrong = {name: DTYPES[kind] for name, kind in columns.items() if name in rows and rows[name].dtype.kind == "f"}
    return rows.astype(wrong)


def derive(session: Session, rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Compute a derived column of clean rows, whether it is a feature or not."""
    spec = session.job.spec
    wanted = spec.model_copy(update={"model": spec.model.model_copy(update={"target": name})})
    return compute_target(rows, compile_target(wanted, session.columns()))


def _with_stratum(session: Session, rows: pd.DataFrame) -> pd.DataFrame:
    name = session.job.spec.split.stratify
    return rows if name is None or name in rows else rows.assign(**{name: derive(session, rows, name)})


def _identities(session: Session, rows: pd.DataFrame, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash what makes a row a duplicate of another: the key, or the whole row."""
    rule = session.job.spec.clean.duplicates
    by_row = rule != "keep" and rule.by == "row"
    return row_hashes(rows, []) if by_row and session.job.spec.data.key else hashes


def _repeated(session: Session, frames: Sequence[pd.DataFrame]) -> list[Mask]:
    rule = session.job.spec.clean.duplicates
    if rule == "keep":
        return [np.zeros(len(frame), dtype=np.bool_) for frame in frames]
    return repeated_rows([frame[IDENTITY].to_numpy() for frame in frames], rule.keep)


def _statistics(
    session: Session,
    nodes: Sequence[Node],
    artifacts: Sequence[Artifact],
    frames: Sequence[pd.DataFrame],
    repeated: Sequence[Mask],
) -> list[Statistics]:
    """Read each partition's statistics; those of one with rows that another has too are computed without them."""
    compiled, target = compile_features(session)
    found = []
    for node, artifact, frame, mask in zip(nodes, artifacts, frames, repeated, strict=True):
        if not mask.any():
            found.append(Statistics.from_json(read_json(artifact.file("statistics.json"))))
            continue
        rows = clean_rows(session, node.partition)
        sides = np.full(len(rows), Side.TEST, dtype=np.int8)  # only the rows that stay are measured, as training rows
        sides[frame[POSITION].to_numpy()[~mask]] = frame[SIDE].to_numpy()[~mask]
        found.append(transform(rows, sides, session.job.spec, compiled, target).statistics)
    return found


def _training(frames: Sequence[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    return (frame[frame[SIDE] == Side.TRAIN] for frame in frames)


def _without_outliers(frames: Sequence[pd.DataFrame], preprocessing: Preprocessing) -> tuple[list[pd.DataFrame], int]:
    """Leave outliers out of the training rows; what is judged must look like what will be served."""
    masks = [outlier_rows(frame, preprocessing) & (frame[SIDE] == Side.TRAIN).to_numpy() for frame in frames]
    return [frame[~mask] for frame, mask in zip(frames, masks, strict=True)], int(sum(mask.sum() for mask in masks))


def _describe_rows(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Say of each row of the matrix which side it is on, and which clean row of which partition it was."""
    parts = [
        frame[[SIDE, POSITION, TARGET]].assign(**{PARTITION: np.int32(place)}) for place, frame in enumerate(frames)
    ]
    return pd.concat(parts, ignore_index=True)
