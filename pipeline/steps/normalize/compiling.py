"""The fitted preprocessing as an ONNX graph of few nodes, however many columns there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from onnx import ModelProto

from pipeline.model.graphs import Graph
from pipeline.steps.normalize.preprocessing import CategoryRule, NumberRule, Preprocessing
from pipeline.steps.normalize.words import add_words

Part = Literal["features", "labels", "words", "vectors"]
PARTS: tuple[Part, ...] = ("features", "labels", "words", "vectors")


def compile_normalize(preprocessing: Preprocessing, parts: Sequence[Part] = PARTS) -> ModelProto | None:
    """Compile from ``features`` double, ``labels`` and ``words`` string, ``vectors`` float32 to ``matrix`` float32.

    Parameters
    ----------
    parts : sequence of str
        Compile only what reads these inputs: the matrix then has their columns alone.

    Returns
    -------
    ModelProto or None
        None if there is nothing to compile.
    """
    graph = Graph("normalize")
    made: list[tuple[str, int]] = []
    hot_numbers, coded_numbers, hot_texts, coded_texts = preprocessing.split_categories()
    if "features" in parts and preprocessing.features:
        value = graph.input("features", "double", len(preprocessing.features))
        made += _numbers(graph, value, preprocessing)
        made += _categories(graph, value, preprocessing.features, hot_numbers, coded_numbers)
    if "labels" in parts and preprocessing.labels:
        value = graph.input("labels", "string", len(preprocessing.labels))
        made += _categories(graph, value, preprocessing.labels, hot_texts, coded_texts)
    if "words" in parts and preprocessing.words:
        value = graph.input("words", "string", len(preprocessing.words))
        made += add_words(graph, value, preprocessing.words)
    if "vectors" in parts and preprocessing.vectors:
        width = len(preprocessing.vectors)
        made.append((graph.input("vectors", "float", width), width))
    if not made:
        return None
    graph.output("matrix", graph.join([part for part, _ in made]), "float", sum(width for _, width in made))
    return graph.build()


def _numbers(graph: Graph, features: str, preprocessing: Preprocessing) -> list[tuple[str, int]]:
    plain, binned = preprocessing.split_numbers()
    rules = [*plain, *binned]
    if not rules:
        return []
    places = {name: i for i, name in enumerate(preprocessing.features)}
    value = graph.take(features, [places[rule.name] for rule in rules], len(places))
    # The order of scikit-learn: impute, clip, scale. In doubles, as there; only the result is a float32.
    value = _clip(graph, _fill(graph, value, rules), rules)
    if binned:
        whole = value
        bins = [_bin(graph, graph.take(whole, [len(plain) + i]), rule) for i, rule in enumerate(binned)]
        value = graph.join([*([graph.take(whole, range(len(plain)))] if plain else []), *bins])
    return [(graph.cast(_scale(graph, value, rules), "float"), len(rules))]


def _fill(graph: Graph, value: str, rules: Sequence[NumberRule]) -> str:
    fills = [math.nan if rule.fill is None else rule.fill for rule in rules]
    if np.isnan(fills).all():
        return value
    return graph.add("Where", graph.add("IsNaN", value), graph.constant([fills]), value)


def _clip(graph: Graph, value: str, rules: Sequence[NumberRule]) -> str:
    # Not ``Clip``, which has one bound for all columns.
    for operator, name, none in (("Min", "upper", math.inf), ("Max", "lower", -math.inf)):
        bounds = [none if rule.drops or getattr(rule, name) is None else getattr(rule, name) for rule in rules]
        if np.isfinite(bounds).any():
            value = graph.add(operator, value, graph.constant([bounds]))
    return value


def _bin(graph: Graph, value: str, rule: NumberRule) -> str:
    passed = graph.cast(graph.add("GreaterOrEqual", value, graph.constant([list(rule.edges or ())])), "double")
    index = graph.add("ReduceSum", passed, graph.constant([1], "int64"), keepdims=1)
    # A missing value has passed no edge, and would count as one of the first bin.
    return index if rule.fill is not None else graph.add("Where", graph.add("IsNaN", value), value, index)


def _scale(graph: Graph, value: str, rules: Sequence[NumberRule]) -> str:
    shifts, scales = [rule.shift for rule in rules], [rule.scale for rule in rules]
    if any(shifts):
        value = graph.add("Sub", value, graph.constant([shifts]))
    # Divided as scikit-learn does: a product with the reciprocal can differ in the last bit.
    return graph.add("Div", value, graph.constant([scales])) if any(scale != 1.0 for scale in scales) else value


def _categories(
    graph: Graph, value: str, names: Sequence[str], hot: Sequence[CategoryRule], coded: Sequence[CategoryRule]
) -> list[tuple[str, int]]:
    parts = []
    filled = [_matches(graph, value, names, group) for group in (hot, coded)]
    if filled[0]:
        parts.append(filled[0])
    if filled[1]:
        parts.append((_code(graph, filled[1][0], coded), len(coded)))
    elif coded:
        parts.append((_unseen(graph, value, coded), len(coded)))
    return parts


def _matches(graph: Graph, value: str, names: Sequence[str], rules: Sequence[CategoryRule]) -> tuple[str, int] | None:
    """Compare each value with each of its column's categories, all columns at once."""
    pairs = [(names.index(rule.name), rule, category) for rule in rules for category in rule.categories]
    if not pairs:
        return None
    column = graph.take(value, [place for place, _, _ in pairs])
    if rules[0].text:
        column = _fill_texts(graph, column, [rule for _, rule, _ in pairs])
        known = graph.constant([["" if category is None else str(category) for _, _, category in pairs]], "string")
    else:
        column = _fill_numbers(graph, column, [rule for _, rule, _ in pairs])
        known = graph.constant([[math.inf if category is None else float(category) for _, _, category in pairs]])
    return graph.cast(graph.add("Equal", column, known), "float"), len(pairs)


def _fill_texts(graph: Graph, column: str, rules: Sequence[CategoryRule]) -> str:
    fills = ["" if rule.fill is None else str(rule.fill) for rule in rules]
    if not any(fills):
        return column
    empty = graph.add("Equal", column, graph.constant([[""]], "string"))
    return graph.add("Where", empty, graph.constant([fills], "string"), column)


def _fill_numbers(graph: Graph, column: str, rules: Sequence[CategoryRule]) -> str:
    """Fill missing numbers; infinity, which no feature has, stands for the category of missing ones."""
    fills = [math.inf if rule.fill is None else float(rule.fill) for rule in rules]
    return graph.add("Where", graph.add("IsNaN", column), graph.constant([fills]), column)


def _code(graph: Graph, matches: str, rules: Sequence[CategoryRule]) -> str:
    """Turn matches into numbers: at most one category a column matches, so the product picks its value exactly."""
    table = np.zeros((sum(len(rule.categories) for rule in rules), len(rules)))
    row = 0
    for i, rule in enumerate(rules):
        table[row : row + len(rule.categories), i] = np.array(rule.values) - rule.unseen
        row += len(rule.categories)
    picked = graph.add("MatMul", matches, graph.constant(table, "float"))
    return graph.add("Add", picked, graph.constant([[rule.unseen for rule in rules]], "float"))


def _unseen(graph: Graph, value: str, rules: Sequence[CategoryRule]) -> str:
    """Add a number for columns that have no category at all: the code of unseen values."""
    # A zero for each row, which no constant can be. Not the value times 0: that is NaN where the value is missing.
    first = graph.take(value, [0])
    rows = graph.cast(graph.add("Equal", first, first), "float")
    zero = graph.add("Mul", rows, graph.constant([[0.0]], "float"))
    return graph.add("Add", zero, graph.constant([[rule.unseen for rule in rules]], "float"))
