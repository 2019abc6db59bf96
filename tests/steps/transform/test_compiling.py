"""Expressions as graphs, against plain Python row by row."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.graphs import Graph, open_session, run
from pipeline.spec.expressions import parse
from pipeline.steps.transform.compiling import Number, Text, compile_expression
from pipeline.steps.transform.dates import PARTS, Dates

NUMBERS, TEXTS = ("x", "y", "at"), ("s", "t")
NAN = math.nan


def evaluate(text, numbers, texts=None):
    graph = Graph("expression")
    given_numbers, given_texts = graph.input("numbers", "double", 3), graph.input("texts", "string", 2)

    def column(name):
        if name in TEXTS:
            return Text(graph.take(given_texts, [TEXTS.index(name)]))
        return Number(graph.take(given_numbers, [NUMBERS.index(name)]))

    value = compile_expression(graph, parse(text), column)
    graph.output("result", value.value, "string" if isinstance(value, Text) else "double", 1)
    texts = [["", ""]] * len(numbers) if texts is None else texts
    inputs = {"numbers": np.array(numbers, dtype=float), "texts": np.array(texts, dtype=object)}
    return run(graph.build(), inputs)["result"][:, 0].tolist()


VALUES = (-7.5, -3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.5, 3.0, 10.0, 1e6, NAN)
PAIRS = [(x, y) for x in VALUES for y in VALUES]


def attempt(function, *values):
    """Compute with Python; what it refuses or makes infinite, and what is missing, is missing."""
    if any(math.isnan(value) for value in values):
        return NAN
    try:
        result = function(*values)
    except (ArithmeticError, ValueError):
        return NAN
    return NAN if isinstance(result, complex) or math.isinf(result) else float(result)


REFERENCES = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / y,
    "x % y": lambda x, y: x % y,
    "x // y": lambda x, y: x // y,
    "x ** y": math.pow,
    "-x + y": lambda x, y: -x + y,
    "x < y": lambda x, y: x < y,
    "x <= y": lambda x, y: x <= y,
    "x > y": lambda x, y: x > y,
    "x >= y": lambda x, y: x >= y,
    "x == y": lambda x, y: x == y,
    "x != y": lambda x, y: x != y,
    "min(x, y)": min,
    "max(x, y)": max,
    "clip(x, -2, y)": lambda x, y: max(min(x, y), -2),
    "abs(x) + sign(y)": lambda x, y: abs(x) + (y > 0) - (y < 0),
    "sqrt(x) + y": lambda x, y: math.sqrt(x) + y,
    "log(x) + y": lambda x, y: math.log(x) + y,
    "log1p(x) + y": lambda x, y: math.log1p(x) + y,
    "exp(x / 10) + y": lambda x, y: math.exp(x / 10) + y,
    "sin(x) + cos(y)": lambda x, y: math.sin(x) + math.cos(y),
    "tanh(x) + y": lambda x, y: math.tanh(x) + y,
    "floor(x) + ceil(y)": lambda x, y: math.floor(x) + math.ceil(y),
    "round(x) + y": lambda x, y: round(x) + y,
    "(x > 0) + (y > 0)": lambda x, y: (x > 0) + (y > 0),
    "-1 < x < y": lambda x, y: -1 < x < y,
}


@pytest.mark.parametrize("text", REFERENCES)
def test_arithmetic_and_functions_agree_with_python(text):
    found = evaluate(text, [(x, y, 0) for x, y in PAIRS])
    found = [NAN if math.isinf(value) else value for value in found]
    expected = [attempt(REFERENCES[text], x, y) for x, y in PAIRS]
    if text == "-1 < x < y":  # one side alone may settle it
        expected = [0.0 if x <= -1 or x >= y else e for (x, y), e in zip(PAIRS, expected, strict=True)]
    if text == "exp(x / 10) + y":  # Python refuses exp(1e5)
        expected = [NAN if x == 1e6 else e for (x, _), e in zip(PAIRS, expected, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


@given(st.floats(-1e9, 1e9), st.floats(-1e6, 1e6).filter(lambda y: abs(y) > 1e-6))
@settings(max_examples=60, deadline=None)
def test_modulo_and_floor_division_are_pythons(x, y):
    assert evaluate("x % y", [(x, y, 0)])[0] == x % y
    assert evaluate("x // y", [(x, y, 0)])[0] == x // y


def kleene_and(a, b):
    return 0.0 if a == 0 or b == 0 else NAN if math.isnan(a) or math.isnan(b) else 1.0


def test_logic_is_three_valued():
    values = (0.0, 1.0, -2.0, NAN)
    pairs = [(x, y) for x in values for y in values]
    rows = [(x, y, 0) for x, y in pairs]
    both = [kleene_and(x, y) for x, y in pairs]
    negate = [1 - x if math.isnan(x) else float(x == 0) for x, _ in pairs]
    np.testing.assert_array_equal(evaluate("x and y", rows), both)
    np.testing.assert_array_equal(evaluate("not x", rows), negate)
    np.testing.assert_array_equal(evaluate("x or y", rows), evaluate("not (not x and not y)", rows))
    np.testing.assert_array_equal(evaluate("isnull(x) or x > 0", rows), [float(not x <= 0) for x, _ in pairs])


TEXT_ROWS = [("UA", "JFK"), ("", "JFK"), ("AA", ""), ("JFK", "JFK"), ("", "")]
TEXT_CASES = {
    "s == 'UA'": [1, NAN, 0, 0, NAN],
    "s != t": [1, NAN, NAN, 0, NAN],
    "s in ['UA', 'AA']": [1, NAN, 1, 0, NAN],
    "s not in ['UA', 'AA']": [0, NAN, 0, 1, NAN],
    "isnull(s)": [0, 1, 0, 0, 1],
    "s + '-' + t": ["UA-JFK", "", "", "JFK-JFK", ""],
    "coalesce(s, t, '?')": ["UA", "JFK", "AA", "JFK", "?"],
    "s if t == 'JFK' else 'other'": ["UA", "", "", "JFK", ""],
}


@pytest.mark.parametrize("text", TEXT_CASES)
def test_texts_keep_what_is_missing(text):
    found = evaluate(text, [(0, 0, 0)] * 5, TEXT_ROWS)
    if isinstance(found[0], str):
        assert found == TEXT_CASES[text]
    else:
        np.testing.assert_array_equal(found, TEXT_CASES[text])


CASES = [
    ("x if y > 0 else 7", [(1, 1, 0), (1, 0, 0), (1, NAN, 0), (NAN, 0, 0)], [1, 7, NAN, 7]),
    ("coalesce(x, y)", [(1, 2, 0), (NAN, 2, 0), (NAN, NAN, 0)], [1, 2, NAN]),
    ("coalesce(x / y, -1)", [(1, 0, 0), (0, 0, 0), (1, 2, 0)], [-1, -1, 0.5]),
    ("coalesce(x > 1, False)", [(NAN, 0, 0), (2, 0, 0), (0, 0, 0)], [0, 1, 0]),
    ("isnull(x > 1)", [(NAN, 0, 0), (2, 0, 0)], [1, 0]),
    ("x in [1, 2.5]", [(1, 0, 0), (2, 0, 0), (NAN, 0, 0)], [1, 0, NAN]),
    ("(x > 1) == True", [(2, 0, 0), (0, 0, 0), (NAN, 0, 0)], [1, 0, NAN]),
    ("log1p(x)", [(1e-18, 0, 0), (0, 0, 0)], [1e-18, 0]),
]


@pytest.mark.parametrize(("text", "rows", "expected"), CASES, ids=[text for text, *_ in CASES])
def test_what_is_missing_shows_where_it_should(text, rows, expected):
    np.testing.assert_array_equal(evaluate(text, rows), expected)


EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(2400, 12, 31))  # noqa: DTZ001
PYTHON_PARTS = {
    "year": lambda at: at.year,
    "month": lambda at: at.month,
    "day": lambda at: at.day,
    "weekday": lambda at: at.weekday(),
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "yearday": lambda at: at.timetuple().tm_yday,
}


def all_parts():
    graph = Graph("dates")
    dates = Dates(graph, graph.input("seconds", "double", 1))
    graph.output("parts", graph.join([dates.part(part) for part in PARTS]), "double", len(PARTS))
    return open_session(graph.build())


DATES = all_parts()


def parts_of(moments):
    seconds = np.array([[(at - EPOCH) // timedelta(microseconds=1) / 1e6] for at in moments])
    return DATES.run(None, {"seconds": seconds})[0]


def test_date_parts_are_exact_on_every_day_of_eight_centuries():
    days = [datetime(1600, 1, 1) + timedelta(days=n) for n in range(292_559)]  # noqa: DTZ001
    expected = [[PYTHON_PARTS[part](at) for part in PARTS] for at in days[::7] + days[:800]]
    np.testing.assert_array_equal(parts_of(days[::7] + days[:800]), expected)
    last = [at - timedelta(milliseconds=1) for at in days[1::97]]
    np.testing.assert_array_equal(parts_of(last), [[PYTHON_PARTS[part](at) for part in PARTS] for at in last])


@given(MOMENTS)
@settings(max_examples=200, deadline=None)
def test_date_parts_agree_with_datetime(at):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert parts_of([at])[0].tolist() == [PYTHON_PARTS[part](at) for part in PARTS]


def test_a_missing_date_has_no_parts():
    assert np.isnan(DATES.run(None, {"seconds": np.array([[NAN]])})[0]).all()


@pytest.mark.parametrize("text", ["sin(x)", "cos(x)", "exp(x / 1e7)", "log(x)", "log1p(x)", "tanh(x)", "x ** 0.3"])
def test_a_row_gets_the_same_bits_alone_and_in_a_batch(text):
    rows = [(x, 0, 0) for x in np.random.default_rng(1).uniform(0.1, 1e6, 101)]
    graph_result = evaluate(text, rows)
    assert graph_result == [evaluate(text, [row])[0] for row in rows]
