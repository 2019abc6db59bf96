"""Checks of ``model``: the target, the trainer and what is asked of it, and the programs that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.messages import join, quote
from pipeline.spec.catalogue.parameters import parameter_problems
from pipeline.spec.catalogue.tasks import task_of
from pipeline.spec.catalogue.trainers import TRAINER_KINDS, TRAINERS, suggest_trainer
from pipeline.spec.checking.judging import metric_finding
from pipeline.spec.checking.view import View
from pipeline.spec.companion_files import EXCHANGED, naming_parameters, own_image
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.placement import groups, placement
from pipeline.spec.schema.spec import Interval, Search


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


def check_target(view: View) -> Iterator[Finding]:
    """Check that there is something to predict, of a type that can be."""
    target, path = view.spec.model.target, ("model", "target")
    if target is None:
        yield Finding(path, "nothing", "the column to predict")
        return
    yield from view.missing_column(path, target)
    type_, task = view.type_of(target), task_of(view.spec)
    if type_ == "datetime":
        yield Finding(path, f"{quote(target)}, a datetime column", "a number, text or flag (derive one in data.derive)")
    elif type_ == "image":
        yield Finding(path, f"{quote(target)}, a column of images", "a number, text or flag")
    elif type_ == "str" and task == "regression":
        yield Finding(path, f"{quote(target)}, a text, for regression", "a number, or task: classification")


def check_trainer(view: View) -> Iterator[Finding]:
    """Check that the trainer exists, can do the task, and takes its parameters."""
    model, info = view.spec.model, view.trainer
    if info is None:
        match = suggest_trainer(str(model.trainer))
        hint = f"; did you mean {quote(match)}?" if match else ""
        kinds = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in TRAINER_KINDS.items())
        expected = f"one of these – {kinds}{hint}"
        yield Finding(("model", "trainer"), f"the unknown trainer {quote(str(model.trainer))}", expected)
        return
    if model.task is None and model.target is not None and view.knows(model.target):
        found = f"no task, which {model.trainer} and the target leave open"
        yield Finding(("model", "task"), found, "'classification' or 'regression'", "key")
    elif model.task is not None and model.task not in info.tasks:
        able = [name for name, each in TRAINERS.items() if model.task in each.tasks]
        found = f"{model.task} by {model.trainer}, which does {join(sorted(info.tasks))}"
        yield Finding(("model", "trainer"), found, f"a trainer such as {join(able[:5])}")
    if model.early_stopping is not None and not info.early_stopping:
        able = [name for name, each in TRAINERS.items() if each.early_stopping]
        found = f"early stopping with {model.trainer}, which doesn't learn in rounds"
        yield Finding(("model", "early_stopping"), found, f"a trainer such as {join(able[:5])}", "key")
    yield from _check_params(view, ("model", "params"), model.params)


def _check_params(view: View, path: KeyPath, params: dict[str, Any]) -> Iterator[Finding]:
    trainer = str(view.spec.model.trainer)
    for problem in parameter_problems(trainer, view.spec.model.task, params):
        yield Finding((*path, problem.name), problem.found, problem.expected)


def check_pixels(view: View) -> Iterator[Finding]:
    """Check that a convolution reads the pixels of one image and nothing else, unless their shape is given."""
    model, info, path = view.spec.model, view.trainer, ("model", "trainer")
    if info is None or info.reads != "pixels" or model.params.get("shape") is not None or not view.declared:
        return
    expected = "the pixels of one image (features.select), or their shape (model.params.shape)"
    images = [name for name in view.features() if view.type_of(name) == "image"]
    if stray := next((name for name in view.features() if view.type_of(name) not in {"image", None}), None):
        yield Finding(path, f"{model.trainer} with the feature {quote(stray)}, which is no image", expected)
    elif len(images) > 1:
        yield Finding(path, f"{model.trainer} with the images {join(map(quote, images), 'and')}", expected)
    for name in images:
        if (rule := view.spec.data.columns[name].image) and rule.features != ["pixels"]:
            where = ("data", "columns", name, "image", "features")
            yield Finding(where, f"[{', '.join(rule.features)}] with {model.trainer}", "[pixels]")


def check_weights(view: View) -> Iterator[Finding]:
    """Check that classes can be weighted, and exist."""
    model, info, path = view.spec.model, view.trainer, ("model", "class_weight")
    if model.class_weight is None:
        return
    if model.task == "regression":
        yield Finding(path, "class weights for regression", "them only for classification", "key")
    elif info is not None and not info.class_weight:
        able = [name for name, each in TRAINERS.items() if each.class_weight]
        found = f"class weights with {model.trainer}, which takes none"
        yield Finding(path, found, f"a trainer such as {join(able[:5])}", "key")
    column = view.spec.data.columns.get(model.target or "")
    if isinstance(model.class_weight, dict) and column and column.type == "str" and column.allowed:
        for name in model.class_weight:
            if name not in column.allowed:
                expected = f"one of {', '.join(map(str, column.allowed))} (data.columns.{model.target}.allowed)"
                yield Finding((*path, name), f"the unknown class {quote(name)}", expected, "key")


def check_search(view: View) -> Iterator[Finding]:
    """Check that every parameter set that may be drawn can be trained."""
    search, model = view.spec.model.search, view.spec.model
    if search is None:
        return
    yield from _check_space(view, search)
    for name in search.space:
        if name in model.params:
            expected = "it in model.params or in model.search.space, not in both"
            yield Finding(("model", "search", "space", name), f"{quote(name)} in model.params too", expected, "key")
    if search.metric is not None:
        yield from metric_finding(("model", "search", "metric"), search.metric, model.task)


def _check_space(view: View, search: Search) -> Iterator[Finding]:
    for name, values in search.space.items():
        path = ("model", "search", "space", name)
        if isinstance(values, Interval):
            yield from _check_interval(path, values)
            if not values.integer and _wants_whole_numbers(view, name, values):
                yield Finding(path, f"a range of any numbers for {quote(name)}", "whole numbers: integer: true", "key")
                continue
            convert = int if values.integer else float
            yield from _check_values(view, path, {"low": convert(values.low), "high": convert(values.high)})
        elif values:
            yield from _check_values(view, path, dict(enumerate(values)))
        else:
            yield Finding(path, "an empty list", "at least one value")


def _wants_whole_numbers(view: View, name: str, interval: Interval) -> bool:
    """Tell whether the ends of a range would do for a parameter if they were whole numbers, as they are written."""
    if view.trainer is None or not (interval.low.is_integer() and interval.high.is_integer()):
        return False
    model = view.spec.model
    checked = (parameter_problems(str(model.trainer), model.task, {name: as_(interval.low)}) for as_ in (float, int))
    return [bool(each) for each in checked] == [True, False]


def _check_values(view: View, path: KeyPath, values: Mapping[Any, Any]) -> Iterator[Finding]:
    """Check what a parameter may be drawn as: places in the spec → values."""
    model = view.spec.model
    if view.trainer is None:
        return
    name = str(path[-1])
    found = {each: parameter_problems(str(model.trainer), model.task, {name: value}) for each, value in values.items()}
    problems = [(each, problem) for each, listed in found.items() for problem in listed]
    if len({(problem.found, problem.expected) for _, problem in problems}) == 1 and len(problems) == len(values):
        # Not the values are wrong, but the parameter.
        yield Finding(path, problems[0][1].found, problems[0][1].expected, "key")
        return
    for each, problem in problems:
        yield Finding((*path, each), problem.found, problem.expected)


def _check_interval(path: KeyPath, interval: Interval) -> Iterator[Finding]:
    if interval.low >= interval.high:
        yield Finding(path, f"low {interval.low:g} and high {interval.high:g}", "low below high")
    if interval.log and interval.low <= 0:
        yield Finding((*path, "low"), f"{interval.low:g} with log", "a value above 0")
    for key in ("low", "high"):
        end = getattr(interval, key)
        if interval.integer and not float(end).is_integer():
            yield Finding((*path, key), f"{end:g} with integer", "a whole number")
