"""Real rows for every trainer, made into a matrix by the steps themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from onnx import ModelProto
from sklearn.datasets import load_digits

from benchmarks.project import make_flights
from pipeline.model.columns import Side
from pipeline.model.task import Task
from pipeline.spec.schema.spec import Spec
from pipeline.steps.features import TARGET, Transform
from pipeline.steps.normalize import Preprocessing, compile_preprocess, fit, normalize
from pipeline.steps.train.results import Matrix
from pipeline.steps.transform import compile_target, compile_transform, number_matrix, text_matrix, transform
from pipeline.ui.examples import EXAMPLES

ROWS = 5000
"""Rows of a data set, of which a fifth is held back to compare with."""


@dataclass(frozen=True, eq=False)
class Case:
    """One thing to learn.

    Attributes
    ----------
    flag : bool
        Whether the target is a yes or no.
    given : mapping
        What the graph from raw values is given for the rows that are held back.
    """

    name: str
    task: Task
    flag: bool
    matrix: Matrix
    preprocess: ModelProto
    given: Mapping[str, Any]
    preprocessing: Preprocessing


def make_case(
    name: str, rows: pd.DataFrame, document: Mapping[str, Any], columns: Mapping[str, Any], *, flag: bool = False
) -> Case:
    """Run the steps over canonical rows; every fifth one is held back."""
    spec = Spec.model_validate({**document, "data": {"columns": columns, **document.get("data", {})}})
    compiled, target = compile_transform(spec, columns), compile_target(spec, columns)
    sides = np.where(np.arange(len(rows)) % HELD == 0, Side.VALIDATION, Side.TRAIN).astype(np.int8)
    found = transform(rows, sides, spec, compiled, target)
    sides, rows = sides[found.kept], rows[found.kept].reset_index(drop=True)
    training, held = (found.frame[sides == side] for side in (Side.TRAIN, Side.VALIDATION))
    preprocessing = fit(found.statistics, spec, compiled, [training])
    train, validation = normalize([training, held], preprocessing)
    goals = (part[TARGET].to_numpy() for part in (training, held))
    matrix = Matrix(train, next(goals), validation, next(goals), tuple(preprocessing.names))
    preprocess = compile_preprocess(compiled, preprocessing)
    given = raw_inputs(preprocess, compiled, rows[sides == Side.VALIDATION])
    task: Task = spec.model.task or "regression"
    return Case(name, task, flag, matrix, preprocess, given, preprocessing)


def raw_inputs(model: ModelProto, compiled: Transform, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the inputs of a graph from raw values, as the server makes them of a request."""
    words = [[each.words.of(text) for text in rows[each.name].fillna("")] for each in compiled.words]
    given = {
        "numbers": number_matrix(rows, compiled.numbers),
        "texts": text_matrix(rows, compiled.texts),
        "words": np.array(words, dtype=object).T,
    }
    return {each.name: given[each.name] for each in model.graph.input}


HELD = 5
"""Every fifth row is held back."""
FLIGHTS: Mapping[str, Any] = {
    **dict.fromkeys(("month", "day", "sched_dep_time", "dep_delay", "distance", "air_time", "arr_delay"), "float"),
    **dict.fromkeys(("carrier", "origin"), "str"),
}
FLIGHTS_BECOME: Mapping[str, Any] = {
    "month": {"kind": "cyclic", "period": 12},
    "distance": "log",
    "carrier": "category",
    "origin": "one_hot",
}


@cache
def flights(cache: Path) -> pd.DataFrame:
    """Return flights of the whole year, evenly spaced."""
    parts = sorted((make_flights(cache) / "flights").glob("*.csv"))
    wanted = [*FLIGHTS, "time_hour"]
    rows = pd.concat([pd.read_csv(part, usecols=wanted) for part in parts], ignore_index=True).dropna()
    return rows.iloc[:: len(rows) // ROWS][:ROWS]


def typed(rows: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return columns as a canonical frame has them."""
    return rows[[*columns]].astype({name: "str" if kind == "str" else "float64" for name, kind in columns.items()})


def make_flight_cases(cache: Path, *, gaps: bool) -> list[Case]:
    """Learn a delay, whether it is long, and the airport; where a trainer allows it, one value of ten is missing."""
    rows = typed(flights(cache), FLIGHTS).reset_index(drop=True)
    if gaps:
        lost = np.random.default_rng(0).random((len(rows), 3)) < 0.1
        for place, name in enumerate(("dep_delay", "distance", "air_time")):
            rows[name] = rows[name].mask(lost[:, place])
    more = {"transform": FLIGHTS_BECOME, "normalize": {"*": "standard"}}
    more |= {"clean": {"missing": {"*": "keep"}}} if gaps else {}
    kind = "flights with gaps" if gaps else "flights"

    def case(name: str, target: str, task: str, **data: Any) -> Case:
        document = {**more, "model": {"name": "m", "target": target, "task": task}, "data": data}
        if target == "origin":
            document["transform"] = {key: rule for key, rule in FLIGHTS_BECOME.items() if key != "origin"}
        return make_case(f"{kind}, {name}", rows, document, FLIGHTS, flag=target == "late")

    return [
        case("delay", "arr_delay", "regression"),
        case("late", "late", "classification", derive={"late": "arr_delay > 15"}),
        case("airport", "origin", "classification"),
    ]


def make_digit_cases(_: Path) -> list[Case]:
    """Read images of 8 × 8 pixels: which digit, and its value as a number."""
    digits = load_digits()
    names = [f"p{place}" for place in range(64)]
    rows = pd.DataFrame(digits.data / 16, columns=names).assign(
        digit=pd.Series(digits.target.astype(str), dtype="str"), value=digits.target.astype(float)
    )
    cases = []
    for target, kind, task in (("value", "float", "regression"), ("digit", "str", "classification")):
        columns = {**dict.fromkeys(names, "float"), target: kind}
        document = {"model": {"name": "m", "target": target, "task": task}, "normalize": {"*": "none"}}
        cases.append(make_case(f"digits, {target}", rows, document, columns))
    return cases


def make_text_cases(cache: Path) -> list[Case]:
    """Read rated texts as the numbers of their words: the rating, and whether it is good."""
    columns = {"text": "str", "rating": "float"}
    rows = typed(texts(cache), columns)
    more = {"transform": {"text": "token_ids"}, "normalize": {"*": "none"}, "features": {"select": ["text"]}}
    good = {"derive": {"good": "rating > 0"}}
    return [
        make_case(
            f"texts, {target}",
            rows,
            {**more, "model": {"name": "m", "target": target, "task": task}, "data": data},
            columns,
            flag=target == "good",
        )
        for target, task, data in (("rating", "regression", {}), ("good", "classification", good))
    ]


@cache
def texts(cache: Path) -> pd.DataFrame:
    """Return rated texts of all sources, evenly spaced."""
    folder = EXAMPLES["texts"](cache / "texts") / "texts"
    rows = pd.concat([pd.read_csv(part) for part in sorted(folder.glob("*.csv"))], ignore_index=True)
    return rows.iloc[:: len(rows) // ROWS][:ROWS].reset_index(drop=True)


def cases_of(trainer: str, cache: Path, *, handles_missing: bool) -> Sequence[Case]:
    """Return the cases that suit a trainer: its data follow from the kind of its network."""
    kind = trainer.partition("_")[2]
    if trainer.startswith(("torch", "tensorflow")) and kind in _MADE:
        return _made(kind, cache)
    return _made("flights with gaps" if handles_missing else "flights", cache)


_MADE: Mapping[str, Any] = {
    "flights": lambda cache: make_flight_cases(cache, gaps=False),
    "flights with gaps": lambda cache: make_flight_cases(cache, gaps=True),
    "cnn": make_digit_cases,
    "text": make_text_cases,
}


@cache
def _made(kind: str, cache: Path) -> Sequence[Case]:
    cases: Sequence[Case] = _MADE[kind](cache)
    return cases
