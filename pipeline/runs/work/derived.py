"""Columns that are computed although no feature needs them: what the split and the slices of an evaluation go by."""

from __future__ import annotations

from pipeline.runs.inputs import Inputs
from pipeline.steps.transform import Target, compile_target


def compile_derived(inputs: Inputs, name: str) -> Target:
    """Compile a column, derived or raw, whether it is a feature or not; `compute_target` computes it."""
    spec = inputs.job.spec
    wanted = spec.model_copy(update={"model": spec.model.model_copy(update={"target": name})})
    return compile_target(wanted, inputs.chain.columns())
