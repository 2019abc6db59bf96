"""Checks of the trainers in an environment of their own, and of files that parameters name."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.messages import join, quote
from pipeline.spec.checking.view import View
from pipeline.spec.companion_files import EXCHANGED, naming_parameters, own_image
from pipeline.spec.findings import Finding
from pipeline.spec.placement import groups, placement


def check_companion_files(view: View) -> Iterator[Finding]:
    """Check that files are not drawn in a search, and have other names than the files exchanged in the same folder."""
    model = view.spec.model
    named = naming_parameters(view.spec)
    for name in model.search.space if model.search else ():
        if name in named:
            path = ("model", "search", "space", name)
            yield Finding(path, "a file, which no search can draw", "it in model.params", "key")
    files = model.params.get("files")
    if model.trainer != "container" or not isinstance(files, list):
        return
    for place, each in enumerate(files):
        if each in EXCHANGED:
            found = f"{quote(each)}, which the command is given or leaves there"
            yield Finding(("model", "params", "files", place), found, "another name")


def check_own_image(view: View) -> Iterator[Finding]:
    """Check that the step that trains has a pod of its own, which can have the image."""
    image, run = own_image(view.spec), view.spec.run
    if image is None:
        return
    for name in ("requirements", "python"):
        if view.spec.model.params.get(name) is not None:
            yield Finding(("model", "params", name), "it with an image, which has its own", "one of both", "key")
    path = ("model", "params", "image")
    if placement(run, "train").where != "pod":
        yield Finding(path, "an image for a step that runs in a process", "a pod for it (run.train: pod)")
    elif any("train" in group for group in groups(run)):
        yield Finding(path, "an image for a step that shares its pod", "'train' alone in its pod (run.fuse)")


def check_saved_model(view: View) -> Iterator[Finding]:
    """Check that a model that MXNet has saved is named as a whole."""
    model = view.spec.model
    if model.trainer != "mxnet":
        return
    given = [name for name in ("symbol", "weights") if model.params.get(name) is not None]
    if len(given) == 1:
        lacking = "weights" if given == ["symbol"] else "symbol"
        yield Finding(("model", "params", given[0]), f"it without {lacking}", "both or none", "key")
    if given and model.search is not None:
        yield Finding(
            ("model", "search"), f"a search with {join(given, 'and')}, where nothing is trained", "none", "key"
        )
    if not given and model.params.get("shape") is not None:
        yield Finding(("model", "params", "shape"), "it without symbol and weights", "it only with them", "key")
