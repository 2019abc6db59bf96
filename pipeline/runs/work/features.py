"""Clean rows become features, partition by partition, or pack by pack of small ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputError
from pipeline.messages import count, quote
from pipeline.runs.inputs import Inputs
from pipeline.runs.plan.planning import MEMBERS, Node
from pipeline.runs.results import Made
from pipeline.runs.work.clean_rows import IDENTITY, PARTITION, POSITION, SIDE, clean_rows
from pipeline.runs.work.derived import compile_derived
from pipeline.runs.work.files import write_frame, write_json
from pipeline.steps.features import TARGET, Transform
from pipeline.steps.splitting import assign, row_hashes
from pipeline.steps.transform import Target, compile_target, compile_transform, transform
from pipeline.steps.transform.applying import Encode, compute_target


def transform_partition(inputs: Inputs, node: Node, folder: Path) -> Made:
    """Write ``features.parquet`` (with each row's side, its place among the clean rows, its hash), statistics."""
    spec = inputs.job.spec
    rows = clean_rows(inputs, node.partition)
    compiled, target = compile_features(inputs)
    hashes, members = row_hashes(rows, spec.data.key), _members(inputs, node)
    sides = assign(_with_stratum(inputs, rows), hashes, inputs.chain.split(), _parts(members))
    made = transform(rows, sides, spec, compiled, target, _encode(inputs))
    places: dict[str, npt.NDArray[Any]] = {
        SIDE: sides[made.kept],
        POSITION: np.flatnonzero(made.kept).astype(np.int32),
        IDENTITY: _identities(inputs, rows, hashes)[made.kept],
    }
    frame = pd.concat([made.frame, pd.DataFrame(places)], axis=1)
    write_frame(frame, folder / "features.parquet")
    write_json(made.statistics.to_json(), folder / "statistics.json")
    dropped = sum(made.dropped.values())
    say = f"{count(len(frame), 'row')}, {dropped:,} dropped without a target or a required value"
    warnings = []
    if len(rows) and made.dropped.get(target.name) == len(rows):  # the newest one often has none yet
        warnings = [
            f"partition {node.partition}: found no {quote(target.name)} in any of its {count(len(rows), 'row')}"
        ]
    facts = {"rows_dropped": dict(made.dropped), "warnings": warnings}
    if members:
        facts[MEMBERS] = _digests(made.frame, places, members)
    return Made(say, len(frame), manifest=facts)


def _members(inputs: Inputs, node: Node) -> Mapping[str, int]:
    """Return how many clean rows each partition of a pack has; nothing for a partition by itself."""
    clean = inputs.chain.node("clean", node.partition).artifact
    found: Mapping[str, int] = clean.manifest.get(MEMBERS, {}) if clean else {}
    return found


def _parts(members: Mapping[str, int]) -> npt.NDArray[np.uint64] | None:
    """Tell the rows of a pack apart by their partition's name, so that no other partition decides for them."""
    if not members:
        return None
    names = row_hashes(pd.DataFrame({PARTITION: pd.array([*members], dtype="str")}), [])
    return np.repeat(names, [*members.values()])


def _digests(frame: pd.DataFrame, places: Mapping[str, npt.NDArray[Any]], members: Mapping[str, int]) -> dict[str, str]:
    """Hash what each partition of a pack has become, wherever in the pack it stands."""
    hashes = row_hashes(frame, [])
    cuts = np.searchsorted(places[POSITION], np.cumsum([0, *members.values()]))
    return {
        name: hashlib.sha256(hashes[start:end].tobytes() + places[SIDE][start:end].tobytes()).hexdigest()
        for name, start, end in zip(members, cuts, cuts[1:], strict=False)
    }


def _encode(inputs: Inputs) -> Encode | None:
    """Open the encoder that the spec's sentences need, if any do; once a run."""
    names = {each.encoder for each in compile_features(inputs)[0].sentences}
    if not names:
        return None
    from pipeline.steps.encoder.weights import encoder_files, open_encoder  # only sentences need a trained network

    return inputs.once("encoder", lambda: open_encoder(encoder_files(names.pop(), inputs.job.state))).of


def compile_features(inputs: Inputs) -> tuple[Transform, Target]:
    """Compile the transformation, once a run."""

    def compile_both() -> tuple[Transform, Target]:
        columns = inputs.chain.columns()
        compiled = compile_transform(inputs.job.spec, columns)
        _refuse_own_names(compiled)
        return compiled, compile_target(inputs.job.spec, columns)

    return inputs.once("features", compile_both)


def _refuse_own_names(compiled: Transform) -> None:
    named = {*compiled.numbers, *compiled.texts, *(each.name for each in compiled.features)}
    if taken := sorted(named & {SIDE, POSITION, IDENTITY, PARTITION, TARGET}):
        raise InputError(
            f"features: found the column {taken[0]!r}, a name that Modelrail keeps for itself; expected another, or"
            " not to use it (features.drop)"
        )


def _with_stratum(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    name = inputs.job.spec.split.stratify
    if name is None or name in rows:
        return rows
    return rows.assign(**{name: compute_target(rows, compile_derived(inputs, name))})


def _identities(inputs: Inputs, rows: pd.DataFrame, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash what makes a row a duplicate of another: the key, or the whole row."""
    rule = inputs.job.spec.clean.duplicates
    by_row = rule != "keep" and rule.by == "row"
    return row_hashes(rows, []) if by_row and inputs.job.spec.data.key else hashes
