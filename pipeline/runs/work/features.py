"""Clean rows become features, partition by partition; then all of them become the matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError, InputError
from pipeline.messages import count
from pipeline.model.columns import DTYPES, KINDS, Side
from pipeline.runs.plan.planning import PARTITIONED, Node
from pipeline.runs.results import Made
from pipeline.runs.session import Session
from pipeline.runs.work.files import MatrixFile, read_frame, read_json, write_frame, write_json
from pipeline.steps.encoder.weights import encoder_files, open_encoder
from pipeline.steps.features import TARGET, Transform
from pipeline.steps.normalize import (
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
from pipeline.steps.splitting import assign, row_hashes
from pipeline.steps.transform import Target, compile_target, compile_transform, transform
from pipeline.steps.transform.applying import Encode, compute_target
from pipeline.storage.artifacts import Artifact

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
    made = transform(rows, sides, spec, compiled, target, _encode(session))
    places = {
        SIDE: sides[made.kept],
        POSITION: np.flatnonzero(made.kept).astype(np.int32),
        IDENTITY: _identities(session, rows, hashes)[made.kept],
    }
    frame = pd.concat([made.frame, pd.DataFrame(places)], axis=1)
    write_frame(frame, folder / "features.parquet")
    write_json(made.statistics.to_json(), folder / "statistics.json")
    dropped = sum(made.dropped.values())
    say = f"{count(len(frame), 'row')}, {dropped:,} dropped without a target or a required value"
    return Made(say, len(frame), manifest={"rows_dropped": dict(made.dropped)})


def compile_features(session: Session) -> tuple[Transform, Target]:
    """Compile the transformation, once a session."""

    def compile_both() -> tuple[Transform, Target]:
        columns = session.columns()
        compiled = compile_transform(session.job.spec, columns)
        _refuse_own_names(compiled)
        return compiled, compile_target(session.job.spec, columns)

    return session.once("features", compile_both)


def encoder_folder(session: Session) -> Path | None:
    """Find the files of the encoder that the spec's sentence vectors need, if there are any."""
    names = {each.encoder for each in compile_features(session)[0].sentences}
    return encoder_files(names.pop(), session.job.state) if names else None


def _encode(session: Session) -> Encode | None:
    """Open the encoder once a session."""
    folder = encoder_folder(session)
    return None if folder is None else session.once("encoder", lambda: open_encoder(folder)).of


def known_vectors(session: Session) -> dict[str, npt.NDArray[np.float32]]:
    """Read the vectors of the test rows' texts, which the step `transform` computed."""
    known: dict[str, npt.NDArray[np.float32]] = {}
    for each in compile_features(session)[0].sentences:
        for part in _parts(session):
            frame = part.read([SIDE, POSITION, *each.columns])
            frame = frame[frame[SIDE] == Side.TEST]
            texts = clean_rows(session, part.node.partition, [each.column])[each.column].fillna("")
            vectors = frame[list(each.columns)].to_numpy(dtype=np.float32)
            known |= dict(zip(texts.iloc[frame[POSITION].to_numpy()].tolist(), vectors, strict=True))
    return known


def _refuse_own_names(compiled: Transform) -> None:
    named = {*compiled.numbers, *compiled.texts, *(each.name for each in compiled.features)}
    if taken := sorted(named & {SIDE, POSITION, IDENTITY, PARTITION, TARGET}):
        raise InputError(
            f"features: found the column {taken[0]!r}, a name that Modelrail keeps for itself; expected another, or"
            " not to use it (features.drop)"
        )


@dataclass(frozen=True, eq=False)
class _Part:
    """The features of a partition, and which of its rows are left out as repetitions of rows elsewhere."""

    node: Node
    artifact: Artifact
    repeated: Mask

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the rows that stay; each time anew, so that never more than one partition is held."""
        frame = read_frame(self.artifact.file("features.parquet"), columns)
        return frame[~self.repeated] if self.repeated.any() else frame


def normalize_features(session: Session, node: Node, folder: Path) -> Made:
    """Write ``matrix.parquet``, ``rows.parquet`` (what each of its rows is), the fitted rules and their graph."""
    del node
    spec = session.job.spec
    compiled, _ = compile_features(session)
    parts = _parts(session)
    statistics = merge([_statistics(session, each) for each in parts])
    if not statistics.rows:
        raise DataError(_explain_no_training(session, parts))
    second_pass = _TrainingRows(parts) if needs_second_pass(spec, compiled) else None
    preprocessing = fit(statistics, spec, compiled, second_pass)
    rows, outliers = _write_matrix(parts, preprocessing, folder / "matrix.parquet")
    write_frame(rows, folder / "rows.parquet")
    write_json(preprocessing.to_json(), folder / "preprocessing.json")
    (folder / "preprocess.onnx").write_bytes(
        compile_preprocess(compiled, preprocessing).SerializeToString(deterministic=True)
    )
    sides = {name: int((rows[SIDE] == side).sum()) for side, name in _SIDES.items()}
    duplicates = int(sum(each.repeated.sum() for each in parts))
    shares = ", ".join(f"{count(number, 'row')} to {name}" for name, number in sides.items())
    say = "; ".join([count(len(preprocessing.names), "feature"), shares, *preprocessing.notes])
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
        metrics={f"rows_{name}": float(number) for name, number in sides.items()} | {"duplicates": float(duplicates)},
    )


def _explain_no_training(session: Session, parts: Sequence[_Part]) -> str:
    """Explain why no training row is left: how many rows each rule removed, and how the rest was split."""
    nodes = session.nodes()
    clean, made = ([each.artifact.manifest for each in nodes[step] if each.artifact] for step in PARTITIONED)
    dropped: Counter[str] = Counter()
    dropped["the contract (data.columns)"] = sum(each["rows_quarantined"] for each in clean)
    for rule, rows in (pair for each in clean for pair in each["rows_dropped"].items()):
        dropped[rule] += rows
    for column, rows in (pair for each in made for pair in each["rows_dropped"].items()):
        dropped[f"a missing {column!r}"] += rows
    dropped["clean.duplicates, over all partitions"] = int(sum(each.repeated.sum() for each in parts))
    told = ", ".join(f"{rows:,} by {rule}" for rule, rows in dropped.items() if rows)
    left = np.concatenate([each.read([SIDE])[SIDE].to_numpy() for each in parts])
    split = ", ".join(f"{int((left == side).sum()):,} to {name}" for side, name in _SIDES.items())
    return (
        f"normalize: no training rows: {count(sum(each['rows_read'] for each in clean), 'row')} read"
        f"{f', left out: {told}' if told else ''}{f', split into {split}' if len(left) else ''}; "
        "expected at least one to train with (split, clean)"
    )


def clean_rows(session: Session, partition: str | None, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Read the clean rows of a partition, or some of their columns, of the type that all partitions agreed on."""
    node = next(each for each in session.nodes()["clean"] if each.partition == partition)
    if node.artifact is None:
        raise InputError(f"partition {partition}: found no clean rows; expected the step 'clean' to have run")
    rows = read_frame(node.artifact.file("rows.parquet"), None if columns is None else list(columns))
    # A column without any value here, and without a declared type, was read as a number.
    types = session.once("columns", session.columns)
    kinds = {name: kind for name, type_ in types.items() if (kind := KINDS[type_]) != "number"}
    wrong = {name: DTYPES[kind] for name, kind in kinds.items() if name in rows and rows[name].dtype.kind == "f"}
    return rows.astype(wrong)


def compile_derived(session: Session, name: str) -> Target:
    """Compile a column, derived or raw, whether it is a feature or not; `compute_target` computes it."""
    spec = session.job.spec
    wanted = spec.model_copy(update={"model": spec.model.model_copy(update={"target": name})})
    return compile_target(wanted, session.columns())


def _with_stratum(session: Session, rows: pd.DataFrame) -> pd.DataFrame:
    name = session.job.spec.split.stratify
    if name is None or name in rows:
        return rows
    return rows.assign(**{name: compute_target(rows, compile_derived(session, name))})


def _identities(session: Session, rows: pd.DataFrame, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash what makes a row a duplicate of another: the key, or the whole row."""
    rule = session.job.spec.clean.duplicates
    by_row = rule != "keep" and rule.by == "row"
    return row_hashes(rows, []) if by_row and session.job.spec.data.key else hashes


def _parts(session: Session) -> list[_Part]:
    found = [(node, node.artifact) for node in session.nodes()["transform"] if node.artifact]
    repeated = _repeated(session, [artifact for _, artifact in found])
    return [_Part(node, artifact, mask) for (node, artifact), mask in zip(found, repeated, strict=True)]


def _repeated(session: Session, artifacts: Sequence[Artifact]) -> list[Mask]:
    rule = session.job.spec.clean.duplicates
    if rule == "keep":
        return [np.zeros(int(each.manifest["rows"]), dtype=np.bool_) for each in artifacts]
    identities = (read_frame(each.file("features.parquet"), [IDENTITY])[IDENTITY] for each in artifacts)
    return repeated_rows([each.to_numpy() for each in identities], rule.keep)


def _statistics(session: Session, part: _Part) -> Statistics:
    """Read a partition's statistics; if it has rows that another has too, compute them without these."""
    if not part.repeated.any():
        return Statistics.from_json(read_json(part.artifact.file("statistics.json")))
    compiled, target = compile_features(session)
    rows, kept = clean_rows(session, part.node.partition), part.read([POSITION, SIDE])
    sides = np.full(len(rows), Side.TEST, dtype=np.int8)  # only the rows that stay are measured, as training rows
    sides[kept[POSITION].to_numpy()] = kept[SIDE].to_numpy()
    return transform(rows, sides, session.job.spec, compiled, target).statistics


@dataclass(frozen=True)
class _TrainingRows:
    """The training rows, a partition at a time, read anew each time."""

    parts: Sequence[_Part]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read the first partition, then the next."""
        frames = (each.read() for each in self.parts)
        return (frame[frame[SIDE] == Side.TRAIN] for frame in frames)


def _write_matrix(parts: Sequence[_Part], preprocessing: Preprocessing, path: Path) -> tuple[pd.DataFrame, int]:
    """Write the matrix, one partition after the other; say what its rows are, and how many outliers are left out."""
    described: list[pd.DataFrame] = []
    kept = 0

    def frames() -> Iterator[pd.DataFrame]:
        nonlocal kept
        for place, part in enumerate(parts):
            frame = part.read()
            kept += len(frame)
            frame = _without_outliers(frame, preprocessing)
            described.append(_describe_rows(frame, place))
            yield frame

    with MatrixFile(path, preprocessing.names) as file:
        for rows in normalize(frames(), preprocessing):
            file.write(rows)
    whole = pd.concat(described, ignore_index=True)
    return whole, kept - len(whole)


def _without_outliers(frame: pd.DataFrame, preprocessing: Preprocessing) -> pd.DataFrame:
    """Leave outliers out of the training rows; what is judged must look like what will be served."""
    outliers = outlier_rows(frame, preprocessing) & (frame[SIDE] == Side.TRAIN).to_numpy()
    return frame[~outliers] if outliers.any() else frame


def _describe_rows(frame: pd.DataFrame, place: int) -> pd.DataFrame:
    """Say of each row of the matrix which side it is on, and which clean row of which partition it was."""
    return frame[[SIDE, POSITION, TARGET]].assign(**{PARTITION: np.int32(place)})
