"""The row-wise transformation of a spec as one ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from onnx import ModelProto

from pipeline.errors import InputError
from pipeline.model.columns import ColumnType
from pipeline.model.graphs import Graph, open_session
from pipeline.model.sentences import Sentences
from pipeline.model.words import Words
from pipeline.spec.schema.spec import Spec
from pipeline.spec.schema.transform import ENCODED, WORDED
from pipeline.steps.features import TARGET, Feature, TextFeature, Transform, category_fill, missing_rule
from pipeline.steps.transform.columns import Columns, Inputs, columns_of, features_of, needed_inputs
from pipeline.steps.transform.compiling import Number, Text, as_number, compile_expression, is_missing
from pipeline.steps.transform.transformers import ENCODINGS, Block, Task, apply, task_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class Target:
    """How the target comes from the raw columns.

    Attributes
    ----------
    name : str
        Name of the target.
    is_text : bool
        Whether it is text; else a number, or a flag as 0 and 1.
    model : ModelProto or None
        Inputs ``numbers`` and ``texts``, output ``target``, double or string [N, 1]; None if it is a raw column.
    numbers, texts : tuple of str
        Columns of the inputs.
    """

    name: str
    is_text: bool
    model: ModelProto | None
    numbers: tuple[str, ...]
    texts: tuple[str, ...]

    @cached_property
    def session(self) -> InferenceSession | None:
        """Load the model, once for all partitions and threads."""
        return None if self.model is None else open_session(self.model)


def compile_transform(spec: Spec, columns: Mapping[str, ColumnType]) -> Transform:
    """Compile the features of a spec.

    Parameters
    ----------
    columns : mapping of str to ColumnType
        The raw columns, in order.

    Raises
    ------
    InputError
        The spec asks for something that the columns do not allow.
    """
    return _Rows(spec, columns).compile()


def compile_target(spec: Spec, columns: Mapping[str, ColumnType]) -> Target:
    """Compile the target of a spec; a raw column needs no graph unless its outliers are clipped.

    Raises
    ------
    InputError
        There is no target, or it is a time.
    """
    known, name = columns_of(spec, columns), spec.model.target
    if name is None or name not in known.kinds:
        raise InputError(f"model.target: {name!r} is not a column; expected a raw or derived column (model.target)")
    if known.kinds[name] == "time":
        raise InputError(f"model.target: {name!r} is a time; expected a number, flag or text (model.target)")
    inputs = needed_inputs(known, frozenset((name,)))
    if name in known.raw and not any(column in _clips(spec) for column in inputs.numbers):
        return Target(name, known.is_text(name), None, inputs.numbers, inputs.texts)
    graph = Graph("target")
    value = _Sources(graph, spec, known, inputs).column(name)
    is_text = isinstance(value, Text)
    finite = value.value if is_text else _finite(graph, value.value)
    graph.output("target", finite, "string" if is_text else "double", 1)
    return Target(name, is_text, graph.build(), inputs.numbers, inputs.texts)


def _finite(graph: Graph, value: str) -> str:
    return graph.add("Where", graph.add("IsInf", value), graph.constant([[math.nan]]), value)


def _clips(spec: Spec) -> dict[str, tuple[float, float]]:
    rules = spec.clean.outliers.items()
    return {name: rule.bounds for name, rule in rules if rule.by == "range" and rule.action == "clip" and rule.bounds}


class _Sources:
    """The values of raw and derived columns inside a graph; what is derived is computed once."""

    def __init__(self, graph: Graph, spec: Spec, known: Columns, inputs: Inputs) -> None:
        self.graph, self.known, self.inputs, self.clips = graph, known, inputs, _clips(spec)
        self.made: dict[str, Number | Text] = {}
        self.numbers = graph.input("numbers", "double", len(inputs.numbers)) if inputs.numbers else ""
        self.texts = graph.input("texts", "string", len(inputs.texts)) if inputs.texts else ""
        if any(name in self.clips for name in inputs.numbers):
            self.numbers = self.clip(self.numbers, inputs.numbers)

    def clip(self, value: str, names: Sequence[str]) -> str:
        lows, highs = zip(*(self.clips.get(name, (-math.inf, math.inf)) for name in names), strict=True)
        below = self.graph.add("Min", value, self.graph.constant([highs]))
        return self.graph.add("Max", below, self.graph.constant([lows]))

    def column(self, name: str) -> Number | Text:
        if name not in self.made:
            self.made[name] = self.read(name) if name in self.known.raw else self.derive(name)
        return self.made[name]

    def read(self, name: str) -> Number | Text:
        if self.known.is_text(name):
            return Text(self.graph.take(self.texts, [self.inputs.texts.index(name)], len(self.inputs.texts)))
        return Number(self.graph.take(self.numbers, [self.inputs.numbers.index(name)], len(self.inputs.numbers)))

    def derive(self, name: str) -> Number | Text:
        value = compile_expression(self.graph, self.known.derived[name], self.column)
        if name not in self.clips:
            return value
        return Number(self.clip(as_number(self.graph, value), [name]))

    def together(self, names: Sequence[str]) -> str:
        """Put columns of one type side by side, raw ones (which must stand first) by one node."""
        raw = [name for name in names if name in self.known.raw]
        parts = []
        if raw:
            is_text = self.known.is_text(raw[0])
            held = {name: i for i, name in enumerate(self.inputs.texts if is_text else self.inputs.numbers)}
            parts = [self.graph.take(self.texts if is_text else self.numbers, [held[n] for n in raw], len(held))]
        parts += [self.column(name).value for name in names if name not in self.known.raw]
        return self.graph.join(parts)


def _text_fill(spec: Spec, column: str) -> str:
    fill = category_fill(spec, column, text=True)
    return str(fill.value) if fill is not None and fill.fill == "constant" else ""


def _text_feature(spec: Spec, task: Task) -> TextFeature:
    rule = task.rule
    words = Words(
        task.column,
        lowercase=rule.lowercase,
        max_words=rule.length if rule.kind == "token_ids" else rule.max_words,
        fill=_text_fill(spec, task.column),
        buckets=rule.buckets if rule.kind == "hashing" else None,
        ngrams=rule.ngrams if rule.kind == "hashing" else (1, 1),
    )
    return TextFeature(words, rule)


class _Rows:
    """Compiles one spec, once for serving and once for whole tables."""

    def __init__(self, spec: Spec, columns: Mapping[str, ColumnType]) -> None:
        self.spec, self.known = spec, columns_of(spec, columns)
        chosen = features_of(spec, self.known)
        self.inputs = needed_inputs(self.known, frozenset(chosen))
        order = self.raw_first(chosen)
        texts = dict.fromkeys(filter(self.known.is_text, order))
        self.tasks = [task_of(spec, self.known, name) for name in order if name not in texts]
        text_tasks = [task_of(spec, self.known, name) for name in texts]
        self.label_tasks = [each for each in text_tasks if each.rule.kind not in {*WORDED, ENCODED}]
        encoded = [each for each in text_tasks if each.rule.kind == ENCODED]
        self.sentences = tuple(Sentences(t.column, t.rule.encoder, _text_fill(spec, t.column)) for t in encoded)
        self.words = tuple(_text_feature(spec, each) for each in text_tasks if each.rule.kind in WORDED)
        self.indicators = [name for name in order if (rule := missing_rule(spec, name)) and rule.indicator]
        self.required = tuple(name for name in order if name in self.known.derived and self.drops(name))
        self.labels = tuple(
            Feature(t.column, t.column, "category", ENCODINGS[t.rule.kind], t.rule.max_categories)
            for t in self.label_tasks
        )
        self.derived_labels = tuple(f.name for f in self.labels if f.name in self.known.derived)

    def raw_first(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(dict.fromkeys(names), key=lambda name: name not in self.known.raw))

    def drops(self, name: str) -> bool:
        rule = self.spec.clean.missing.get(name)
        if rule is not None and rule.fill in ("interpolate", "forward_fill"):
            raise InputError(
                f"clean.missing.{name}: {rule.fill} for a derived column; expected drop, keep, mean, median, mode or a "
                f"constant, or the rule for the columns it is derived from (clean.missing.{name})"
            )
        shared = missing_rule(self.spec, name)
        return shared is not None and shared.fill == "drop"

    def compile(self) -> Transform:
        model, features = self.serving()
        sources = self.raw_first([f.column for f in features if f.from_source] + self.extra_required(features))
        bulk, bulk_texts = self.whole_tables(features, sources)
        self.check(features)
        return Transform(
            model=model,
            bulk=bulk,
            refill=self.refill(features, sources),
            numbers=self.inputs.numbers,
            texts=self.inputs.texts,
            bulk_texts=bulk_texts,
            features=features,
            labels=self.labels,
            derived_labels=self.derived_labels,
            sources=sources,
            required=self.required,
            words=self.words,
            sentences=self.sentences,
        )

    def extra_required(self, features: Sequence[Feature]) -> list[str]:
        given = {f.name for f in (*features, *self.labels)}
        return [name for name in self.required if name not in given]

    def check(self, features: Sequence[Feature]) -> None:
        plain = {feature.name for feature in features if feature.origin == "none"}
        for name, rule in self.spec.clean.outliers.items():
            if rule.by != "range" and name not in plain:
                raise InputError(
                    f"clean.outliers.{name}: {rule.by} for a column that is not a plain numeric feature; expected "
                    f"{{by: range}}, or a feature without a transformer (clean.outliers.{name}.by)"
                )
        names = [each.name for each in (*features, *self.labels)] + [each.name for each in self.words]
        names += [name for each in self.sentences for name in each.columns]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice or TARGET in names:
            name = twice[0] if twice else TARGET
            raise InputError(f"features: two features are named {name!r}; expected other names for the columns (data)")

    def serving(self) -> tuple[ModelProto, tuple[Feature, ...]]:
        graph = Graph("transform")
        sources = _Sources(graph, self.spec, self.known, self.inputs)
        features = self.add_features(graph, sources)
        if self.labels:
            names = [feature.name for feature in self.labels]
            graph.output("labels", sources.together(names), "string", len(names))
        return graph.build(), features

    def add_features(
        self, graph: Graph, sources: _Sources, output: str = "features", also: Sequence[str] = ()
    ) -> tuple[Feature, ...]:
        blocks = apply(graph, self.tasks, sources.together)
        blocks += self.interactions(graph, blocks) + self.missing(graph, sources)
        features = tuple(feature for block in blocks for feature in block.features)
        values = [block.value for block in blocks]
        if also:
            values.append(sources.together(also))
        if values:
            graph.output(output, _finite(graph, graph.join(values)), "double", len(features) + len(also))
        return features

    def interactions(self, graph: Graph, blocks: Sequence[Block]) -> list[Block]:
        places = {
            feature.column: (block, i)
            for block in blocks
            for i, feature in enumerate(block.features)
            if feature.origin in ("none", "log", "sqrt", "power", "bins")
        }
        made = []
        for first, second in self.spec.features.interactions:
            for name in (first, second):
                if name not in places:
                    raise InputError(
                        f"features.interactions: {name!r} is not one numeric feature; expected a number among the "
                        "features, without a cycle, date parts or categories (features.interactions)"
                    )
            pair = (places[first], places[second])
            factors = [graph.take(block.value, [i], len(block.features)) for block, i in pair]
            name = f"{first}*{second}"
            made.append(Block(graph.add("Mul", *factors), (Feature(name, name, "interaction"),)))
        return made

    def missing(self, graph: Graph, sources: _Sources) -> list[Block]:
        made = []
        for text in (False, True):
            names = [name for name in self.indicators if self.known.is_text(name) == text]
            if names:
                flags = graph.cast(is_missing(graph, sources.together(names), text=text), "double")
                made.append(Block(flags, tuple(Feature(f"{name}_missing", name, "indicator") for name in names)))
        return made

    def whole_tables(
        self, features: Sequence[Feature], sources: tuple[str, ...]
    ) -> tuple[ModelProto | None, tuple[str, ...]]:
        computed = {t.column for t in self.tasks if t.column in self.known.derived} | set(self.derived_labels)
        shown = {name for name in self.indicators if self.known.is_text(name)}
        texts = needed_inputs(self.known, frozenset(computed | shown)).texts
        if not features and not sources and not self.derived_labels:
            return None, ()
        graph = Graph("bulk")
        columns = _Sources(graph, self.spec, self.known, Inputs(self.inputs.numbers, texts))
        self.add_features(graph, columns, "measured", sources)
        if self.derived_labels:
            graph.output("labels", columns.together(self.derived_labels), "string", len(self.derived_labels))
        return graph.build(), texts

    def refill(self, features: Sequence[Feature], sources: Sequence[str]) -> ModelProto | None:
        wanted = [feature for feature in features if feature.from_source]
        if not wanted:
            return None
        graph = Graph("refill")
        value = graph.input("sources", "double", len(sources))
        columns = {feature.column for feature in wanted}
        tasks = [task for task in self.tasks if task.column in columns]
        blocks = apply(graph, tasks, lambda some: graph.take(value, [sources.index(n) for n in some], len(sources)))
        width = sum(len(block.features) for block in blocks)
        graph.output("features", _finite(graph, graph.join([block.value for block in blocks])), "double", width)
        return graph.build()
