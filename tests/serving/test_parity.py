"""Served equals trained, from a JSON record to the prediction: every trainer, and every kind of transformer.

The training side reads the records as a file, cleans, transforms and normalizes them and asks the estimator itself; the
served side is a bundle that is loaded and asked with the same records. Nothing but the records is shared.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from pipeline.model.graphs import compose
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.model.signature import Input, Signature
from pipeline.model.task import Task
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import ServedModel
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.spec.schema.spec import Spec
from pipeline.spec.schema.transform import Transformer
from pipeline.steps.clean.reading import read
from pipeline.steps.clean.repair import clean
from pipeline.steps.features import TARGET
from pipeline.steps.normalize import compile_preprocess, fit, normalize
from pipeline.steps.train.graph import label_of
from pipeline.steps.train.model_fitting import fit as fit_estimator
from pipeline.steps.train.parity import compare
from pipeline.steps.train.results import MAX_DIFFERENCE, Matrix
from pipeline.steps.train.targets import prepare
from pipeline.steps.train.task import FitRequest, effective_params
from pipeline.steps.train.training import train
from pipeline.steps.transform import compile_target, compile_transform, transform
from tests.encoders import open_encoder, write_encoder
from tests.extras import BOOSTERS, IN_PROCESS, NETWORKS, with_extras
from tests.serving.bundles import seal, write_bundle

EDGES = [-2.5, 0.0, 0.1, 10.0]
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("float", {"kind": "none"}),
    "log": ("float", {"kind": "log"}),
    "sqrt": ("float", {"kind": "sqrt"}),
    "power": ("float", {"kind": "power", "exponent": 2}),
    "edges": ("float", {"kind": "bins", "edges": EDGES}),
    "equal": ("float", {"kind": "bins", "count": 5}),
    "turn": ("float", {"kind": "cyclic", "period": 24}),
    "size": ("int", {"kind": "category"}),
    "place": ("int", {"kind": "ordinal"}),
    "flag": ("bool", {"kind": "none"}),
    "word": ("str", {"kind": "one_hot"}),
    "grade": ("str", {"kind": "ordinal"}),
    "often": ("str", {"kind": "frequency", "max_categories": 3}),
    "date": (
        "datetime",
        {"kind": "date_parts", "parts": ["year", "month", "day", "weekday", "hour", "minute", "yearday"]},
    ),
    "said": ("str", {"kind": "bag_of_words", "ngrams": [1, 2], "max_features": 40}),
    "rated": ("str", {"kind": "tfidf", "max_words": 20}),
    "hashed": ("str", {"kind": "hashing", "buckets": 32, "ngrams": [1, 2]}),
    "clock": ("datetime", {"kind": "cyclic", "parts": ["month", "weekday", "hour"]}),
}
"""A column of each type and kind: its name → type, rule."""
LEARNT: dict[str, tuple[str, dict[str, Any]]] = {
    "told": ("str", {"kind": "sentence_vectors"}),
    "numbered": ("str", {"kind": "token_ids", "length": 6, "max_features": 5}),
    "meant": ("str", {"kind": "word2vec", "size": 8, "epochs": 2}),
}
"""The same, for kinds with too many features for every trainer, or that need an extra."""
SENTENCES = ("told", "said", "rated", "hashed", "meant", "numbered")
WORDS = ["ua", "UA ", "aa", "é", "e\u0301", "ß", "ﬁ", "日本"]
BOUNDARIES: dict[str, list[Any]] = {
    "float": [
        *EDGES,
        *(math.nextafter(edge, way) for edge in EDGES for way in (-math.inf, math.inf)),
        *(-0.0, 5e-324, -1e-300, 1e-45, 16777217.0, 1e6, -1e6),
    ],
    "int": [0, -1, 3, 99, 12345, 2**53 - 1, 1 - 2**53],
    "bool": [True, False],
    "str": [
        "",
        " ",
        "unseen",
        "UA",
        "Ua",
        "é".upper(),
        "\u00a0ua\u3000",
        "\U0001f600",
        "x" * 500,
        "aa日本 " * 400,
        "0",
        "nan",
        "None",
    ],
    "datetime": [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01",
        "2000-02-29T12:00:00+14:00",
        "1900-02-28T23:59:59Z",
        "2024-12-31T23:59:59.999999-12:00",
    ],
}
QUICK: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "gradient_boosting": {"n_estimators": 10},
    "hist_gradient_boosting": {"max_iter": 10},
    "mlp": {"hidden_layer_sizes": [8], "max_iter": 30},
    **NETWORKS,
    **BOOSTERS,
}
TARGETS: dict[str, Task] = {"amount": "regression", "yes": "classification", "group": "classification"}
CASES = [
    (trainer, target) for trainer, info in IN_PROCESS.items() for target, task in TARGETS.items() if task in info.tasks
]
TYPES = {name: kind for name, (kind, _) in (RULES | LEARNT).items()} | {
    "amount": "float",
    "yes": "bool",
    "group": "str",
}


@cache
def small_encoder() -> SentenceEncoder:
    """Return the training side's encoder; the served side has its own, from its bundle."""
    with tempfile.TemporaryDirectory() as folder:
        return open_encoder(write_encoder(Path(folder)))


@cache
def records() -> tuple[dict[str, Any], ...]:
    """Return the records to learn from; one value in twelve is missing, and many are alike."""
    random = np.random.default_rng(5)
    draw: dict[str, Callable[[], Any]] = {
        "float": lambda: round(float(random.normal(2, 6)), 1),
        "int": lambda: int(random.integers(0, 5)),
        "bool": lambda: bool(random.random() < 0.4),
        "str": lambda: WORDS[int(random.integers(0, len(WORDS)))],
        "datetime": lambda: str(pd.Timestamp("2013-01-01") + pd.Timedelta(minutes=int(random.integers(0, 10**6)))),
    }
    return tuple(_record(random, draw) for _ in range(400))


def _record(random: np.random.Generator, draw: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    row = {name: draw[kind]() if random.random() > 1 / 12 else None for name, (kind, _) in RULES.items()}
    for name in SENTENCES:
        row[name] = " ".join(random.choice(WORDS, int(random.integers(1, 9)))) if random.random() > 1 / 12 else None
    amount = sum((row[name] or 0.0) / (i + 2) for i, name in enumerate(("plain", "log", "equal"))) + bool(row["flag"])
    amount += 2.0 * (row["word"] == "aa") + float(random.normal()) / 4
    return row | {
        "amount": amount,
        "yes": amount > 2,
        "group": ["low", "mid", "high"][int(np.digitize(amount, [0, 3]))],
    }


@cache
def boundary_records() -> tuple[dict[str, Any], ...]:
    """Return records with one odd value each, then some in which every value is odd."""
    whole = next(row for row in records() if None not in row.values())
    odd = [whole | {name: value} for name in RULES | LEARNT for value in [None, *BOUNDARIES[TYPES[name]]]]
    seen = [whole | {name: math.nextafter(row[name], way)} for name, (kind, _) in RULES.items() if kind == "float"
            for row in records()[:20] if row[name] is not None for way in (-math.inf, math.inf)]  # fmt: skip
    every = [whole | {name: BOUNDARIES[TYPES[name]][-i] for name in RULES | LEARNT} for i in (1, 2)]
    return (*odd, *seen, *every, whole | dict.fromkeys(RULES | LEARNT))


def make_spec(columns: Sequence[str], target: str, missing: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "target": target},
            "data": {"columns": TYPES},
            "features": {"select": list(columns)},
            "clean": {
                "duplicates": "keep",
                "missing": {"*": missing},
                "text": {"*": {"trim": True, "case": "lower", "unicode": "NFKC"}},
            },
            "transform": {name: (RULES | LEARNT)[name][1] for name in columns},
        }
    )


class Both:
    """One model on both sides."""

    def __init__(self, trainer: str, target: str, columns: Sequence[str], folder: Path, missing: Any) -> None:
        self.spec, task = make_spec(columns, target, missing), TARGETS[target]
        self.compiled = compile_transform(self.spec, TYPES)
        learnt = self._transformed(records())
        self.preprocessing = fit(learnt.statistics, self.spec, self.compiled, [learnt.frame])
        features, goals = self._matrix(learnt.frame), learnt.frame[TARGET].to_numpy()
        matrix = Matrix(features[:300], goals[:300], features[300:], goals[300:], self.preprocessing.names)
        params, flag = QUICK.get(trainer, {}), target == "yes"
        if "shape" in params:
            params = params | {"shape": [1, 1, features.shape[1]], "pool": 1}
        model = self.spec.model.model_copy(update={"trainer": trainer, "params": params})
        data = prepare(matrix, task, flag=flag, class_weight=None, handles_missing=TRAINERS[trainer].handles_missing)
        given = effective_params(trainer, task, params)
        request = FitRequest(trainer, task, given, data.train, data.validation, columns=matrix.columns)
        self._estimate, self.classes = fit_estimator(request).predict, data.classes
        trained = train(matrix, model, task, flag=flag)
        assert trained.estimator_graph is not None, trained.notes
        self.names = (*self.compiled.numbers, *self.compiled.texts)
        inputs = [_input(self.spec, name) for name in TYPES if name in self.names]
        words = tuple(each.words for each in self.compiled.words)
        example, sentences = self._asked(records()[:1])[0], self.compiled.sentences
        signature = Signature(task, tuple(inputs), data.classes, example, words, sentences)
        graph = compose(compile_preprocess(self.compiled, self.preprocessing), trained.estimator_graph)
        bundle = write_bundle(folder / "bundle", signature=signature, graph=graph)
        if sentences:
            write_encoder(bundle)
            seal(bundle)
        self.served: ServedModel = load_model(bundle)

    def trained_side(self, rows: Sequence[dict[str, Any]]) -> Any:
        return self._estimate(self._matrix(self._transformed(rows).frame))

    def served_side(self, rows: Sequence[dict[str, Any]]) -> tuple[Any, list[Any]]:
        given = self.served.reader.read(json.dumps({"inputs": self._asked(rows)}).encode())
        found = self.served.predict(given.numbers, given.texts)
        return found.values if found.probabilities is None else found.probabilities, self.served.outputs(found)  # noqa: PD011

    def _transformed(self, rows: Sequence[dict[str, Any]]) -> Any:
        lines = "\n".join(json.dumps(row) for row in rows).encode()
        given = read(lines, "rows.jsonl", self.spec.data)
        assert given.quarantined.empty, given.quarantined.to_dict("records")[:9]
        cleaned = clean(given.rows, self.spec, TYPES).rows
        sides = np.zeros(len(cleaned), dtype=np.int8)
        made = transform(cleaned, sides, self.spec, self.compiled, compile_target(self.spec, TYPES), small_encoder().of)
        assert made.kept.all()
        assert len(made.frame) == len(rows)
        return made

    def _matrix(self, frame: pd.DataFrame) -> Any:
        return np.concatenate([*normalize([frame], self.preprocessing)])

    def _asked(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: row[name] for name in self.names} for row in rows]


def _input(spec: Spec, name: str) -> Input:
    rule = spec.clean.text["*"].model_dump() if TYPES[name] == "str" else None
    return Input(name, TYPES[name], text=rule)  # type: ignore[arg-type]


def assert_same(both: Both) -> None:
    """Ask both sides for all records: 1e-5 apart at most, relative beyond 1, and no class differs.

    The class is the one of the highest probability in single precision, in which it is also given, the first of equals.
    """
    rows = [*records(), *boundary_records()]
    expected, (values, outputs) = both.trained_side(rows), both.served_side(rows)
    parity = compare(expected, np.asarray(values))
    assert parity.rows == len(rows)
    assert parity.max_difference <= MAX_DIFFERENCE
    if both.classes is not None:
        labels = [both.classes[place] for place in label_of(expected)]
        assert outputs == labels


def test_each_kind_of_transformer_and_type_of_column_is_there() -> None:
    assert {rule["kind"] for _, rule in (RULES | LEARNT).values()} == set(
        get_args(Transformer.model_fields["kind"].annotation)
    )
    assert {kind for kind, _ in RULES.values()} == set(BOUNDARIES)


@pytest.mark.parametrize(("trainer", "target"), with_extras(CASES))
def test_every_trainer_is_served_as_it_was_trained(tmp_path: Path, trainer: str, target: str) -> None:
    assert_same(Both(trainer, target, list(RULES), tmp_path, {"fill": "median", "indicator": True}))


@pytest.mark.parametrize("column", [*RULES, "told", "numbered", pytest.param("meant", marks=pytest.mark.extra("text"))])
def test_every_transformer_is_served_as_it_was_trained(tmp_path: Path, column: str) -> None:
    assert_same(Both("decision_tree", "amount", [column], tmp_path, {"fill": "median"}))


@pytest.mark.parametrize("trainer", with_extras(name for name, info in IN_PROCESS.items() if info.handles_missing))
def test_values_that_stay_missing_are_served_as_they_were_trained(tmp_path: Path, trainer: str) -> None:
    assert_same(Both(trainer, "group", list(RULES), tmp_path, {"fill": "keep"}))
