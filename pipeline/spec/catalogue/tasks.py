"""What a spec asks for: classification or regression, and the extras that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.model.task import Task
from pipeline.spec.catalogue.trainers import TRAINERS, named_trainer, trainer_name
from pipeline.spec.schema.spec import Column, Spec

_TASK_OF_TYPE: Mapping[str, Task] = {
    "bool": "classification",
    "str": "classification",
    "float": "regression",
}


_TASK_OF_EXPRESSION: Mapping[str, Task] = {
    "flag": "classification",
    "text": "classification",
    "number": "regression",
}


def task_of(spec: Spec) -> Task | None:
    """Tell classification from regression.

    ``model.task`` decides, else the trainer (by its only task, or by a name such as ``SVC``), else the target.

    Returns
    -------
    Task or None
        None where all of them leave it open, such as for an ``int`` target.
    """
    if spec.model.task is not None:
        return spec.model.task
    named = named_trainer(spec.model)
    if named and named[1]:
        return named[1]
    if named and len(TRAINERS[named[0]].tasks) == 1:
        return next(iter(TRAINERS[named[0]].tasks))
    return _task_of_target(spec)


TRANSFORMER_EXTRAS: Mapping[str, str] = {"word2vec": "text"}
"""Kind of transformer → the extra that fits it."""


def extras_of(spec: Spec) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield what a spec needs beyond the package itself: place in the spec, what stands there, the extra."""
    trainer = trainer_name(spec.model)
    extra = TRAINERS[trainer].extra if trainer else None
    if trainer and extra and not (trainer == "container" and spec.model.params.get("image")):
        yield ("model", "trainer"), trainer, extra
    for column, rule in spec.transform.items():
        if rule.kind in TRANSFORMER_EXTRAS:
            yield ("transform", column), rule.kind, TRANSFORMER_EXTRAS[rule.kind]
    for name, each in spec.data.columns.items():
        if each.type == "image":
            yield ("data", "columns", name), "image", "images"


def _task_of_target(spec: Spec) -> Task | None:
    target = spec.model.target
    if target is None:
        return None
    expression = spec.data.derive.get(target)
    if expression is not None:
        return _task_of_expression(expression, spec.data.columns)
    column = spec.data.columns.get(target)
    return _TASK_OF_TYPE.get(column.type) if column else None


def _task_of_expression(text: str, columns: Mapping[str, Column]) -> Task | None:
    from pipeline.spec.expressions import ExpressionError, parse

    column = columns.get(text.strip())
    if column:
        return _TASK_OF_TYPE.get(column.type)
    try:
        return _TASK_OF_EXPRESSION[parse(text).kind]
    except ExpressionError:  # reported where the expression stands
        return None
