"""A model's inputs and outputs: the contract between a release and its callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from pipeline.model.columns import KINDS, ColumnType, Kind
from pipeline.model.images.rules import ImageRule
from pipeline.model.missing import Missing, MissingValue
from pipeline.model.sentences import Sentences
from pipeline.model.task import Task
from pipeline.model.words import Words


@dataclass(frozen=True)
class Input:
    """One raw column that a caller sends.

    Attributes
    ----------
    text : dict or None
        The rule by which text is made uniform (``trim``, ``case``, ``unicode``), as in the spec.
    format : str or None
        How a ``datetime`` is written, in strptime's codes; ISO 8601 if None.
    image : dict or None
        How an ``image`` becomes numbers (`pipeline.model.images.rules.ImageRule`).
    missing_values : tuple
        What stands for a missing value, besides what always does (`pipeline.model.missing`).
    """

    name: str
    type: ColumnType
    nullable: bool = True
    text: dict[str, Any] | None = None
    format: str | None = None
    image: dict[str, Any] | None = None
    missing_values: tuple[MissingValue, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the graph reads: the input itself, or the numbers of an image."""
        return (self.name,) if self.image is None else ImageRule.from_json(self.image).names(self.name)

    @cached_property
    def missing(self) -> Missing:
        """What stands for a missing value."""
        return Missing.of(self.type, self.missing_values)

    @property
    def kind(self) -> Kind:
        """``number``, ``text``, ``time`` or ``image``."""
        return KINDS[self.type]


@dataclass(frozen=True)
class Signature:
    """The inputs in the order of a row, and the outputs.

    Attributes
    ----------
    classes : tuple or None
        What the class indices stand for, in classification.
    example : dict
        One real record, by column name.
    words : tuple of Words
        Columns of the graph's ``words`` input, in order; callers send the text itself.
    sentences : tuple of Sentences
        Columns whose vectors are the graph's ``vectors`` input, in order.
    """

    task: Task
    inputs: tuple[Input, ...]
    classes: tuple[Any, ...] | None = None
    example: dict[str, Any] = field(default_factory=dict)
    words: tuple[Words, ...] = ()
    sentences: tuple[Sentences, ...] = ()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Columns of the graph's ``numbers`` input, in order."""
        return tuple(name for each in self.inputs if each.kind != "text" for name in each.columns)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Columns of the graph's ``texts`` input, in order."""
        return tuple(each.name for each in self.inputs if each.kind == "text")

    def to_json(self) -> dict[str, Any]:
        """Write the form stored in ``signature.json``."""
        facts = asdict(self)
        optional = ("image", "missing_values")
        inputs = [{key: each[key] for key in each if key not in optional or each[key]} for each in facts["inputs"]]
        listed = {"inputs": inputs, "classes": None if self.classes is None else list(self.classes)}
        found = {name: [*each] for name in ("words", "sentences") if (each := facts.pop(name))}
        return facts | listed | found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Signature:
        """Read what ``to_json`` gave."""
        return cls(
            task=data["task"],
            inputs=tuple(_read_input(each) for each in data["inputs"]),
            classes=None if data["classes"] is None else tuple(data["classes"]),
            example=data["example"],
            words=tuple(map(Words.from_json, data.get("words", ()))),
            sentences=tuple(Sentences(**each) for each in data.get("sentences", ())),
        )


def _read_input(data: Mapping[str, Any]) -> Input:
    return Input(**{**data, "missing_values": tuple(data.get("missing_values", ()))})
