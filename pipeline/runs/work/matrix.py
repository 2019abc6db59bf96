"""The features of all partitions become the matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.messages import count
from pipeline.model.columns import Side
from pipeline.runs.inputs import Inputs
from pipeline.runs.plan.planning import MEMBERS, PARTITIONED, Node
from pipeline.runs.results import Made
from pipeline.runs.work.clean_rows import IDENTITY, PARTITION, POSITION, SIDE, clean_rows
from pipeline.runs.work.features import compile_features
from pipeline.runs.work.files import read_frame, read_json, write_frame, write_json
from pipeline.runs.work.graph_inputs import GraphInputs
from pipeline.runs.work.matrix_files import MatrixFile
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
from pipeline.steps.normalize.precision import unscaled_features, warn_of_lost_digits
from pipeline.steps.raw_columns import RAW_COLUMNS, write_raw
from pipeline.steps.transform import transform
from pipeline.storage.artifacts import Artifact

_SIDES = {Side.TRAIN: "train", Side.VALIDATION: "validate", Side.TEST: "test"}

# From this share of rows without a target on, a run says so.
_MISSING_TARGETS_SAID = 0.05

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Part:
    """The features of a partition, and which of its rows are left out since they are in another place too."""

    node: Node
    artifact: Artifact
    repeated: Mask

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the rows that stay; each time anew, so that never more than one partition is held."""
        frame = read_frame(self.artifact.file("features.parquet"), columns)
        return frame[~self.repeated] if self.repeated.any() else frame


def normalize_features(inputs: Inputs, folder: Path) -> Made:
    """Write the matrix, what its rows are, the fitted rules, their graph and its inputs, and what raw columns hold."""
    spec = inputs.job.spec
    compiled, target = compile_features(inputs)
    parts = _parts(inputs)
    statistics = merge([_statistics(inputs, each) for each in parts])
    if not statistics.rows:
        raise DataError(_explain_no_training(inputs, parts))
    warnings = _warn_of_missing_targets(inputs, target.name) + _warn_of_lost_digits(inputs, parts, statistics)
    second_pass = _TrainingRows(parts) if needs_second_pass(spec, compiled) else None
    preprocessing = fit(statistics, spec, compiled, second_pass)
    rows, outliers = _write_matrix(parts, preprocessing, folder / "matrix.parquet")
    write_frame(rows, folder / "rows.parquet")
    write_json(preprocessing.to_json(), folder / "preprocessing.json")
    write_json(_graph_inputs(compiled).to_json(), folder / "inputs.json")
    write_json(write_raw(statistics.raw), folder / RAW_COLUMNS)
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
        "warnings": warnings,
    }
    if packs := {str(each.node.partition): found for each in parts if (found := each.artifact.manifest.get(MEMBERS))}:
        facts[MEMBERS] = packs
    return Made(
        say,
        len(rows),
        manifest=facts,
        files=("preprocessing.json",),
        metrics={f"rows_{name}": float(number) for name, number in sides.items()} | {"duplicates": float(duplicates)},
    )


def _warn_of_missing_targets(inputs: Inputs, target: str) -> list[str]:
    """Say how many rows are left out since their target is missing; refuse if they are too many to leave out."""
    data = inputs.job.spec.data
    rows, made = (
        [(each.partition, each.artifact.manifest) for each in inputs.chain.nodes(step) if each.artifact]
        for step in PARTITIONED
    )
    total = sum(manifest["rows"] for _, manifest in rows)
    missing = {name: manifest["rows_dropped"].get(target, 0) for name, manifest in made}
    dropped = sum(missing.values())
    share = dropped / max(total, 1)
    if share <= _MISSING_TARGETS_SAID:
        return []
    most = max(missing, key=lambda name: missing[name])
    where = f", most in partition {most!r} ({missing[most]:,})" if len(missing) > 1 else ""
    found = f"the target {target!r} of {dropped:,} of {total:,} rows ({share:.1%}) is missing{where}"
    if share > data.max_missing_target:
        raise DataError(
            f"normalize: {found}; expected at most {data.max_missing_target:.0%} (data.max_missing_target; what counts "
            "as missing: data.missing_values)"
        )
    return [f"{found}: these rows neither train nor judge the model (data.max_missing_target, data.missing_values)"]


def _warn_of_lost_digits(inputs: Inputs, parts: Sequence[_Part], statistics: Statistics) -> list[str]:
    """Say which features lose digits in the matrix; measured in the newest partition, as what is new is served."""
    large = unscaled_features(statistics, inputs.job.spec, compile_features(inputs)[0])
    return warn_of_lost_digits(parts[-1].read(large)) if large else []


def _explain_no_training(inputs: Inputs, parts: Sequence[_Part]) -> str:
    """Say what became of every row, by the rules that left rows out and by the split."""
    clean, made = (
        [each.artifact.manifest for each in inputs.chain.nodes(step) if each.artifact] for step in PARTITIONED
    )
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


def _graph_inputs(compiled: Transform) -> GraphInputs:
    words = tuple(each.words for each in compiled.words)
    return GraphInputs(compiled.numbers, compiled.texts, words, compiled.sentences)


def _parts(inputs: Inputs) -> list[_Part]:
    found = [(node, node.artifact) for node in inputs.chain.nodes("transform") if node.artifact]
    repeated = _repeated(inputs, [artifact for _, artifact in found])
    return [_Part(node, artifact, mask) for (node, artifact), mask in zip(found, repeated, strict=True)]


def _repeated(inputs: Inputs, artifacts: Sequence[Artifact]) -> list[Mask]:
    rule = inputs.job.spec.clean.duplicates
    if rule == "keep":
        return [np.zeros(int(each.manifest["rows"]), dtype=np.bool_) for each in artifacts]
    identities = (read_frame(each.file("features.parquet"), [IDENTITY])[IDENTITY] for each in artifacts)
    return repeated_rows([each.to_numpy() for each in identities], rule.keep)


def _statistics(inputs: Inputs, part: _Part) -> Statistics:
    """Read a partition's statistics; those of one with rows that another has too are computed without them."""
    if not part.repeated.any():
        return Statistics.from_json(read_json(part.artifact.file("statistics.json")))
    compiled, target = compile_features(inputs)
    rows, kept = clean_rows(inputs, part.node.partition), part.read([POSITION, SIDE])
    sides = np.full(len(rows), Side.TEST, dtype=np.int8)  # only the rows that stay are measured, as training rows
    sides[kept[POSITION].to_numpy()] = kept[SIDE].to_numpy()
    return transform(rows, sides, inputs.job.spec, compiled, target).statistics


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
