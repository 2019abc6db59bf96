"""Addresses of MLflow's pages, as people open them."""

from __future__ import annotations

_MODEL_TRAINING = "workflowType=machine_learning"
"""Without it, MLflow opens on its pages for prompts and agents; a tag of the experiment does not change that."""


def link_experiments(address: str) -> str:
    """Return the address of the list of experiments, one a model."""
    return f"{address}/#/experiments?{_MODEL_TRAINING}"


def link_run(address: str, experiment: str, run: str) -> str:
    """Return the address of a run; the shorter one without its experiment forgets the view on the way."""
    return f"{address}/#/experiments/{experiment}/runs/{run}?{_MODEL_TRAINING}"
