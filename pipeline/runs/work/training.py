"""The matrix becomes a model: one graph, from raw values to predictions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from pipeline.errors import InputError
from pipeline.messages import count
from pipeline.model.columns import ColumnType, Side
from pipeline.model.graphs import compose
from pipeline.model.images.rules import ImageRule, owner_of
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.signature import Input, Signature
from pipeline.model.task import Task
from pipeline.runs.inputs import Inputs
from pipeline.runs.memory import available_bytes
from pipeline.runs.plan.planning import Node
from pipeline.runs.results import Made
from pipeline.runs.tracking import Learning, Recorder
from pipeline.runs.work.clean_rows import PARTITION, POSITION, SIDE, clean_rows
from pipeline.runs.work.companion_files import read_companion_file
from pipeline.runs.work.files import read_frame, read_json, write_json
from pipeline.runs.work.graph_inputs import GraphInputs
from pipeline.runs.work.records import record_of
from pipeline.runs.work.training_rows import read_rows
from pipeline.spec.catalogue.metrics import DEFAULT_METRICS, METRICS
from pipeline.spec.expressions import parse
from pipeline.spec.image_columns import rules_of
from pipeline.spec.placement import has_worker_pods
from pipeline.spec.schema.spec import Spec
from pipeline.steps.train.results import Matrix, Scorer, Support, Trained, WorkerPods
from pipeline.steps.train.training import train, trainer_of
from pipeline.steps.train.training import try_params as try_params_here
from pipeline.storage.artifacts import Artifact, Store

if TYPE_CHECKING:
    from pipeline.steps.train.search import Elsewhere


def train_model(
    inputs: Inputs, node: Node, folder: Path, store: Store, recorder: Recorder | None, others: Elsewhere | None
) -> Made:
    """Write ``model.onnx`` (or the native model), ``signature.json`` and ``training.json``.

    Parameters
    ----------
    store : Store
        Keeps checkpoints while the training goes on.
    recorder : Recorder or None
        Is told the curves while they grow.
    others : Elsewhere or None
        Fits trials of a search on other machines.
    """
    spec, normalized = inputs.job.spec, inputs.chain.artifact("normalize")
    checkpoints, said = f"checkpoints/{node.recipe.key if node.recipe else 'none'}", list[str]()
    task = _task(spec)
    matrix = _rows(inputs, normalized)
    kept = _Checkpoints(store, checkpoints)
    support = Support(
        save=kept.save,
        load=kept.load,
        tell=_teller(node.step, recorder),
        say=said.append,
        read=partial(read_companion_file, inputs.job),
        state=inputs.job.state,
        elsewhere=others,
        pods=_worker_pods(spec),
    )
    flag, scorer = _is_flag(spec, inputs.chain.columns()), _scorer(spec, task)
    trained = train(matrix, spec.model, task, flag=flag, scorer=scorer, support=support)
    reads = GraphInputs.from_json(read_json(normalized.file("inputs.json")))
    signature = _signature(inputs, task, trained, reads, read_frame(normalized.file("rows.parquet")))
    _write_model(trained, onnx.load(normalized.file("preprocess.onnx")), folder)
    if reads.sentences:
        _copy_encoder(reads.sentences[0].encoder, inputs.job.state, folder)
    write_json(signature.to_json(), folder / "signature.json")
    write_json(_report(trained), folder / "training.json")
    store.remove_notes(checkpoints)
    say = "; ".join([f"{spec.model.trainer}: {count(len(matrix.columns), 'feature')}", *said, *trained.notes])
    return Made(
        say,
        len(matrix.train),
        manifest={"trainer": spec.model.trainer, "params": trained.params, "notes": list(trained.notes)},
        files=("training.json", "signature.json"),
        metrics=_metrics(trained),
        params={"trainer": spec.model.trainer, **trained.params},
        curves=_curves(trained.history),
        children=tuple(_trial(each) for each in trained.trials),
    )


def _copy_encoder(encoder: str, state: Path, folder: Path) -> None:
    from pipeline.steps.encoder.weights import encoder_files  # only sentences need a trained network

    for name in (ENCODER, PIECES):
        shutil.copyfile(encoder_files(encoder, state) / name, folder / name)


def _worker_pods(spec: Spec) -> WorkerPods | None:
    """Return the pods that workers of this step may be started in; None where they are processes beside it."""
    if not has_worker_pods(spec):
        return None
    from pipeline.runs.work.cluster_workers import find_worker_pods  # imports the client of clusters

    return find_worker_pods(spec)


def try_params(inputs: Inputs, rows: int, numbers: Collection[int]) -> str:
    """Fit some parameter sets of the search, for another process that searches; gives the line that it reads."""
    from pipeline.runs.work.trials import write_outcomes  # only where others search

    spec, normalized = inputs.job.spec, inputs.chain.artifact("normalize")
    task = _task(spec)
    scorer = _scorer(spec, task)
    if scorer is None:
        raise InputError("step: found --trial with a spec without a search; expected one (model.search)")
    matrix = _rows(inputs, normalized)
    support = Support(read=partial(read_companion_file, inputs.job), state=inputs.job.state)
    found = try_params_here(
        matrix,
        spec.model,
        task,
        scorer,
        rows=rows,
        numbers=numbers,
        flag=_is_flag(spec, inputs.chain.columns()),
        support=support,
    )
    return write_outcomes(found)


def _rows(inputs: Inputs, normalized: Artifact) -> Matrix:
    spec = inputs.job.spec
    trainer = trainer_of(spec.model, _task(spec))
    return read_rows(normalized, trainer, spec.model.params, inputs.job.state, available_bytes())


def _task(spec: Spec) -> Task:
    if spec.model.task is None:
        raise InputError("model.task: found nothing that tells it; expected classification or regression (model.task)")
    return spec.model.task


def _is_flag(spec: Spec, columns: Mapping[str, ColumnType]) -> bool:
    target = spec.model.target or ""
    if target in spec.data.derive:
        return parse(spec.data.derive[target]).kind == "flag"
    return columns.get(target) == "bool"


def _scorer(spec: Spec, task: Task) -> Scorer | None:
    if spec.model.search is None:
        return None
    from pipeline.steps.evaluate.metrics import score  # only a search judges while it trains
    from pipeline.steps.evaluate.sample import Prediction, Sample

    metric = spec.model.search.metric or [*spec.evaluate.metrics, *DEFAULT_METRICS[task]][0]
    reads = METRICS[metric].reads

    def measure(truth: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
        if reads == "value":
            return score(metric, Sample(truth, Prediction(values=found)))
        if reads == "label":
            classes = int(max(truth.max(), found.max())) + 1
            return score(metric, Sample(truth, Prediction(labels=found, probabilities=np.eye(classes)[found])))
        return score(metric, Sample(truth, Prediction(labels=found.argmax(axis=1), probabilities=found)))

    return Scorer(metric, measure)


def _signature(inputs: Inputs, task: Task, trained: Trained, reads: GraphInputs, rows: pd.DataFrame) -> Signature:
    """Describe what callers send: the raw columns behind the features, with a real record as the example."""
    spec, types = inputs.job.spec, inputs.chain.columns()
    wanted = {*reads.numbers, *reads.texts}
    images = rules_of(spec.data)
    asked = tuple(_input(spec, name, types[name], images) for name in _asked(types, wanted, images))
    classes = None if trained.classes is None else tuple(trained.classes)
    bare = Signature(task, asked, classes)
    if (bare.numbers, bare.texts) != (reads.numbers, reads.texts):
        raise AssertionError(f"the graph reads {reads.numbers + reads.texts}, the signature {bare.inputs}")
    return Signature(task, asked, classes, _example(inputs, rows, asked), reads.words, reads.sentences)


def _asked(types: Iterable[str], wanted: Collection[str], images: Mapping[str, ImageRule]) -> list[str]:
    """Return what callers send: the wanted columns, and instead of the parts of an image the image."""
    owners = {owner_of(name, images) for name in wanted}
    return [name for name in types if name in owners]


def _input(spec: Spec, name: str, type_: Any, images: Mapping[str, ImageRule]) -> Input:
    contract = spec.data.columns.get(name)
    rule = spec.clean.text.get(name) or spec.clean.text.get("*")
    return Input(
        name,
        type_,
        nullable=contract.nullable if contract else True,
        text=rule.model_dump() if rule and type_ == "str" else None,
        format=contract.format if contract else None,
        image=asdict(images[name]) if name in images else None,
        missing_values=tuple(spec.data.missing_values_of(name)),
    )


def _example(inputs: Inputs, rows: pd.DataFrame, asked: Sequence[Input]) -> dict[str, Any]:
    """Take a row of the first partition that has a test row (or else any): the first one whose values are all there."""
    tested = rows[rows[SIDE] == Side.TEST]
    chosen = tested if len(tested) else rows
    place = int(chosen[PARTITION].iloc[0])
    positions = chosen[POSITION][chosen[PARTITION] == place].to_numpy()
    names = [each.name for each in asked]
    frame = clean_rows(inputs, inputs.chain.nodes("clean")[place].partition, names).iloc[positions]
    whole = frame.dropna()
    return record_of((whole if len(whole) else frame).iloc[0], asked)


def _write_model(trained: Trained, preprocess: onnx.ModelProto, folder: Path) -> None:
    if trained.estimator_graph is not None:
        model = compose(preprocess, trained.estimator_graph)
        (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        return
    (folder / "preprocess.onnx").write_bytes(preprocess.SerializeToString(deterministic=True))
    (folder / "estimator.skops").write_bytes(trained.native or b"")


def _metrics(trained: Trained) -> dict[str, float]:
    parity = {} if trained.native else {"parity_max_difference": trained.parity.max_difference}
    return parity | {f"reported_{name}": value for name, value in trained.metrics.items()}


def _report(trained: Trained) -> dict[str, Any]:
    parity = trained.parity
    return {
        "params": trained.params,
        "classes": None if trained.classes is None else list(trained.classes),
        "history": list(trained.history),
        "trials": list(trained.trials),
        "notes": list(trained.notes),
        "feature_importances": trained.feature_importances,
        "reported": dict(trained.metrics),
        "parity": None
        if trained.native
        else {
            "max_difference": parity.max_difference,
            "labels_differing": parity.labels_differing,
            "rows": parity.rows,
        },
    }


@dataclass(frozen=True)
class _Checkpoints:
    """Notes in the store from which a training that was cut off goes on."""

    store: Store
    folder: str

    def load(self, name: str) -> bytes | None:
        return self.store.notes(self.folder).get(f"{self.folder}/{name}")

    def save(self, name: str, content: bytes) -> None:
        self.store.write_note(f"{self.folder}/{name}", content)


def _teller(step: str, recorder: Recorder | None) -> Callable[[Sequence[Mapping[str, Any]]], None]:
    """Let MLflow's curves grow while the training goes on."""
    start_s, tags = time.time(), {"modelrail.step": step}

    def tell(points: Sequence[Mapping[str, Any]]) -> None:
        if recorder is not None:
            recorder.tell(Learning(step, start_s, _curves(points), tags))

    return tell


def _curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    names = ("loss", "validation_loss")
    curves = {
        name: [(int(each["step"]), float(each[name])) for each in history if each.get(name) is not None]
        for name in names
    }
    return {name: curve for name, curve in curves.items() if curve}


def _trial(trial: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {} if trial["score"] is None else {"score": float(trial["score"])}
    return {"name": f"trial {trial['trial']}", "params": trial["params"], "metrics": metrics}
