"""What follows from the section ``run``: where a step runs, with what resources, and which steps share its pod."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from pipeline.spec.files import list_yaml
from pipeline.spec.schema.run import Placement, Run, StepName
from pipeline.spec.schema.spec import Spec

STEPS: tuple[StepName, ...] = get_args(StepName)
"""Every step that can be placed, in order."""
DEPLOYING: tuple[StepName, ...] = ("deploy", "verify")
"""Steps that speak to what the model is deployed on."""
_POD = re.compile(r"^[^#\n]*\bpod\b", re.MULTILINE)


def placement(run: Run, step: StepName) -> Placement:
    """Find where a step runs and with what resources, filled in from ``run.default``."""
    own: Placement = getattr(run, step)
    said = {name: value for name, value in own if value is not None}
    return run.default.model_copy(update=said)


def worker_placement(run: Run) -> Placement:
    """Find the resources of a network's workers: those of ``run.train`` without the GPU, since they use the CPU."""
    said = {name: value for name, value in run.workers if value is not None}
    return placement(run, "train").model_copy(update={"gpu": None, **said})


def has_worker_pods(spec: Spec) -> bool:
    """Tell whether several workers learn the network, each but the first in a pod of its own."""
    workers = spec.model.params.get("workers", 1)
    return spec.run.workers.where == "pod" and isinstance(workers, int) and workers > 1


def pod_steps(run: Run) -> list[StepName]:
    """List the steps that run in pods, in order."""
    return [step for step in STEPS if placement(run, step).where == "pod"]


def groups(run: Run) -> list[list[StepName]]:
    """List the steps that share a pod, group by group: neighbours in ``run.fuse``."""
    places = [index for index, step in enumerate(STEPS) if step in run.fuse]
    stretches = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    return [[STEPS[index] for _, index in stretch] for _, stretch in stretches]


def companions(run: Run, step: StepName) -> Sequence[StepName]:
    """List the steps that a step's pod does after it."""
    group = next((each for each in groups(run) if step in each), [step])
    return group[group.index(step) + 1 :]


def is_led(run: Run, step: StepName) -> bool:
    """Tell whether another step's pod does this step."""
    return any(step in each[1:] for each in groups(run))


def most_batches(run: Run) -> int:
    """Return the largest number of batches: one, where all partitions are worked on in one pod."""
    whole = any({"transform", "normalize"} <= set(each) for each in groups(run))
    return 1 if whole else run.batches


def may_use_pods(models: Path) -> bool:
    """Tell whether a folder's specs or environments may want pods: by a search for the word, without parsing them."""
    places = (models, models / "environments", models.parent / "environments")
    files = (file for place in places for file in list_yaml(place) if file.is_file())
    return any(_POD.search(file.read_text("utf-8", "replace")) for file in files)
