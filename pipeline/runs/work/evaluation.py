"""The model is judged on rows it has never seen, beside the release that is live."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.delivery.bundles import bundle_of, write_bundle
from pipeline.delivery.releases import Release
from pipeline.errors import DataError, ModelrailError
from pipeline.model.columns import Side
from pipeline.model.reference import REFERENCE, write_reference
from pipeline.model.sentences import Sentences
from pipeline.model.signature import Signature
from pipeline.runs.inputs import Inputs
from pipeline.runs.plan.split_bounds import describe_bounds
from pipeline.runs.results import Made
from pipeline.runs.work.clean_rows import PARTITION, POSITION, SIDE, clean_rows
from pipeline.runs.work.derived import compile_derived
from pipeline.runs.work.files import read_frame, read_json, write_json
from pipeline.runs.work.records import record_of
from pipeline.runs.work.scoring import Predict, encode, output_of, predictor_of
from pipeline.steps.evaluate.card import DataFacts, Facts, model_card
from pipeline.steps.evaluate.evaluating import evaluate, warn_of_few_rows
from pipeline.steps.evaluate.importance import permutation_importance
from pipeline.steps.evaluate.leaks import find_leaks
from pipeline.steps.evaluate.page import card_html
from pipeline.steps.evaluate.reference import build_reference
from pipeline.steps.evaluate.results import Evaluation, Importances
from pipeline.steps.evaluate.sample import Prediction
from pipeline.steps.features import TARGET
from pipeline.steps.gate import Rows, Verdict, judge
from pipeline.steps.raw_columns import RAW_COLUMNS, read_raw
from pipeline.steps.transform.applying import compute_target
from pipeline.storage.artifacts import Artifact, Store

Rival = Callable[[str], Release | None]


@dataclass(frozen=True)
class Champion:
    """The live release on the same rows: its evaluation, or why there is none."""

    release: Release
    evaluation: Evaluation | None
    trouble: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the form kept in ``evaluation.json``."""
        found = self.evaluation.to_json() if self.evaluation else None
        return {"tag": self.release.tag, "evaluation": found, "trouble": self.trouble}


def evaluate_model(inputs: Inputs, folder: Path, rival: Rival, store: Store) -> Made:
    """Write ``evaluation.json``, ``importances.json``, ``reference.json``, the plots and the model card.

    Parameters
    ----------
    rival : callable
        Digest of the model → the release that it is judged against, or None.
    store : Store
        Where that release's files are.
    """
    from pipeline.steps.evaluate.plots import draw_plots  # imports matplotlib, which no other step needs

    spec, trained = inputs.job.spec, inputs.chain.artifact("train")
    signature = Signature.from_json(read_json(trained.file("signature.json")))
    release = rival(trained.digest)
    tested = gather_test_rows(inputs, [signature, *([] if release is None else [_signature(release)])])
    with tempfile.TemporaryDirectory() as place:
        write_bundle(Path(place), trained, {"model": inputs.job.model, "version": "candidate"})
        predict = predictor_of(Path(place), _known_vectors(inputs, signature.sentences))
    truth, prediction = encode(tested[TARGET], signature), predict(tested)
    found = evaluate(truth, prediction, spec.evaluate, tested, spec.model.seed, classes=signature.classes)
    metric = next(iter(found.metrics), "")
    columns = [each.name for each in signature.inputs]
    leaks = find_leaks(tested[columns], truth, signature.task, spec.model.seed)
    found = replace(found, notes=(*found.notes, *leaks))
    importances = permutation_importance(tested[columns], truth, predict, metric, spec.model.seed)
    champion = None if release is None else _evaluate_champion(inputs, release, tested, store)
    write_json({"candidate": found.to_json(), "champion": champion and champion.to_json()}, folder / "evaluation.json")
    write_json(importances.to_json(), folder / "importances.json")
    plots = draw_plots(inputs.job.model, truth, prediction, found, importances, _losses(trained))
    for name, content in plots.items():
        (folder / f"plot-{name}.png").write_bytes(content)
    raw = read_raw(read_json(inputs.chain.artifact("normalize").file(RAW_COLUMNS)))
    reference = build_reference(raw, signature, importances, truth, prediction, spec.monitoring.features)
    reference = msgspec.structs.replace(reference, metrics=_watched(inputs, trained, found))
    (folder / REFERENCE).write_bytes(write_reference(reference))
    card = model_card(_facts(inputs, trained, found, importances, champion))
    (folder / "model-card.md").write_text(card, "utf-8")
    (folder / "model-card.html").write_text(card_html(card, plots), "utf-8")
    kept = ("evaluation.json", "importances.json", "model-card.md", "model-card.html")
    bounds = describe_bounds(inputs.chain.split())
    since = f" from {bounds['test_from']}" if bounds else ""
    return Made(
        f"{found.rows:,} test rows{since}: {_say(found)}",
        found.rows,
        params={f"split.{name}": at for name, at in bounds.items()},
        manifest={
            "example": _sample(tested, prediction, signature),
            "notes": list(found.notes),
            "warnings": [*warn_of_few_rows(found), *leaks],
        },
        files=(*kept, *(f"plot-{name}.png" for name in plots)),
        headline=_headline(found),
    )


def _say(found: Evaluation) -> str:
    return ", ".join(f"{name} {each.value:.4f}" for name, each in found.metrics.items() if each.value is not None)


def _signature(release: Release) -> Signature:
    return Signature.from_json(dict(release.evidence.signature))


def gather_test_rows(inputs: Inputs, signatures: Sequence[Signature]) -> pd.DataFrame:
    """Gather the raw test rows: what the models read, the target, and the columns to slice by."""
    rows = read_frame(inputs.chain.artifact("normalize").file("rows.parquet"))
    tested = rows[rows[SIDE] == Side.TEST]
    if tested.empty:
        raise DataError("evaluate: found no test rows; expected some (split.test, split.test_from)")
    known, slices = inputs.chain.columns(), inputs.job.spec.evaluate.slices
    targets = {name: compile_derived(inputs, name) for name in slices if name not in known}
    wanted = {each.name for signature in signatures for each in signature.inputs}.union(
        slices, *((*each.numbers, *each.texts) for each in targets.values())
    )
    columns = [name for name in known if name in wanted]
    nodes = inputs.chain.nodes("clean")
    parts = [
        clean_rows(inputs, nodes[int(str(place))].partition, columns).iloc[mine[POSITION].to_numpy()]
        for place, mine in tested.groupby(PARTITION)
    ]
    frame = pd.concat(parts, ignore_index=True)
    derived = {name: compute_target(frame, target) for name, target in targets.items()}
    beside = pd.DataFrame({**derived, TARGET: tested[TARGET].to_numpy()}, index=frame.index)
    return pd.concat([frame, beside], axis=1)


def _evaluate_champion(inputs: Inputs, release: Release, tested: pd.DataFrame, store: Store) -> Champion:
    """Judge the live release on the same rows; where that cannot be done, say why."""
    spec, signature = inputs.job.spec, _signature(release)
    lacking = [each.name for each in signature.inputs if each.name not in tested]
    if lacking:
        return Champion(release, None, f"it needs the columns {', '.join(lacking[:5])}, which the data no longer have")
    if signature.task != spec.model.task:
        return Champion(release, None, f"it does {signature.task}")
    try:
        predict: Predict = predictor_of(
            bundle_of(release, store, inputs.job.state), _known_vectors(inputs, signature.sentences)
        )
        prediction = predict(tested)
    except ModelrailError as error:
        return Champion(release, None, str(error))
    rules = spec.evaluate.model_copy(update={"slices": []})
    truth = encode(tested[TARGET], signature)
    return Champion(release, evaluate(truth, prediction, rules, None, spec.model.seed, classes=signature.classes))


def _known_vectors(inputs: Inputs, sentences: Sequence[Sentences]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the vectors of the test rows' texts, which `transform` has computed."""
    known: dict[str, npt.NDArray[np.float32]] = {}
    made = [(node.partition, node.artifact) for node in inputs.chain.nodes("transform") if node.artifact]
    for each in sentences:
        for partition, artifact in made:
            frame = read_frame(artifact.file("features.parquet"), [SIDE, POSITION, *each.columns])
            frame = frame[frame[SIDE] == Side.TEST]
            texts = clean_rows(inputs, partition, [each.column])[each.column].fillna("")
            vectors = frame[list(each.columns)].to_numpy(dtype=np.float32)
            known |= dict(zip(texts.iloc[frame[POSITION].to_numpy()].tolist(), vectors, strict=True))
    return known


def _headline(found: Evaluation) -> dict[str, float]:
    """Return each metric and its interval under names of their own."""
    named = {name: {"": each.value, "_low": each.low, "_high": each.high} for name, each in found.metrics.items()}
    return {
        f"{name}{end}": float(value) for name, each in named.items() for end, value in each.items() if value is not None
    }


def _losses(trained: Artifact) -> Mapping[str, list[float]] | None:
    history = read_json(trained.file("training.json"))["history"]
    curves = {"training": "loss", "validation": "validation_loss"}
    losses = {name: [each[key] for each in history if each.get(key) is not None] for name, key in curves.items()}
    return {name: values for name, values in losses.items() if values} or None


def _watched(inputs: Inputs, trained: Artifact, found: Evaluation) -> dict[str, float]:
    """Return the metrics that a server shows: those that the spec names, else all."""
    values = {name: each.value for name, each in found.metrics.items()}
    values["loss"] = next((each[-1] for each in (_losses(trained) or {}).values()), None)
    named = inputs.job.spec.monitoring.metrics or found.metrics
    return {name: float(value) for name in named if (value := values.get(name)) is not None}


def _sample(tested: pd.DataFrame, prediction: Prediction, signature: Signature) -> dict[str, Any]:
    """Pick a real record with its prediction, for the question that is asked after the deployment."""
    columns = [each.name for each in signature.inputs]
    whole = tested[columns].notna().all(axis=1).to_numpy()
    place = int(whole.argmax())
    truth = encode(tested[TARGET].iloc[[place]], signature)[0]
    known = signature.classes is None or truth >= 0
    return {
        "record": record_of(tested.iloc[place], signature.inputs),
        "output": output_of(prediction, place, signature),
        "truth": (float(truth) if signature.classes is None else signature.classes[int(truth)]) if known else None,
    }


def _facts(
    inputs: Inputs, trained: Artifact, found: Evaluation, importances: Importances, champion: Champion | None
) -> Facts:
    spec, job = inputs.job.spec, inputs.job
    return Facts(
        name=job.model,
        task=found.task,
        target=spec.model.target or "",
        trainer=str(trained.manifest["trainer"]),
        data=_data_facts(inputs),
        evaluation=found,
        description=spec.model.description,
        owner=spec.model.owner,
        parameters=_shown(spec.model.params),
        verdict=_verdict(inputs, found, champion),
        champion=champion.evaluation.metrics if champion and champion.evaluation else None,
        champion_version=f"v{champion.release.version}" if champion else "",
        importances=importances,
        watched=spec.monitoring.metrics,
        counted=spec.monitoring.features,
        provenance={
            "Spec": f"{job.spec_path} at {job.spec_commit[:12] or 'no commit'}",
            "Code": job.code,
            "Train artifact": trained.key,
        },
    )


def _shown(params: Mapping[str, Any]) -> dict[str, Any]:
    """Name the file of a network of one's own, instead of showing its text."""
    return {name: each["file"] if name == "module" else each for name, each in params.items()}


def _verdict(inputs: Inputs, found: Evaluation, champion: Champion | None) -> Verdict:
    against = champion.evaluation.metrics if champion and champion.evaluation else None
    rules, trouble = inputs.job.spec.evaluate, champion.trouble if champion else ""
    return judge(found.metrics, against, rules.gate, trouble, Rows(found.rows, rules.min_rows))


def _data_facts(inputs: Inputs) -> DataFacts:
    clean = [each.artifact.manifest for each in inputs.chain.nodes("clean") if each.artifact]
    transformed = [each.artifact.manifest for each in inputs.chain.nodes("transform") if each.artifact]
    normalized = inputs.chain.artifact("normalize")
    categories = read_json(normalized.file("preprocessing.json"))["categories"]
    dropped = sum(sum(each["rows_dropped"].values()) for each in (*clean, *transformed))
    return DataFacts(
        repository=inputs.job.data_address,
        commit=inputs.job.data_commit,
        as_of=inputs.job.request.as_of or "",
        partitions=list(inputs.job.partitions),
        rows_read=sum(each["rows_read"] for each in clean),
        rows_quarantined=sum(each["rows_quarantined"] for each in clean),
        rows_dropped=dropped + normalized.manifest["duplicates"] + normalized.manifest["outliers"],
        split=normalized.manifest["sides"],
        bounds=describe_bounds(inputs.chain.split()),
        known_categories={each["name"]: len(each["categories"]) for each in categories},
    )
