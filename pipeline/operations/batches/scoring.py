"""How raw rows become predictions: by a release in this process, or by a deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.delivery.bundles import RECORD, bundle_of
from pipeline.delivery.platforms.local.deployments import Deployment
from pipeline.delivery.releases import Release, find_release
from pipeline.home import home, store_address
from pipeline.model.signature import Signature
from pipeline.operations.batches.choosing import choose_release, read_data_rules
from pipeline.operations.batches.predicting import Predict
from pipeline.runs.work.records import record_of
from pipeline.runs.work.scoring import predict_rows
from pipeline.serving.client import predict as ask
from pipeline.serving.protocols.tables import predicted, probability_columns
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import ServedModel
from pipeline.spec.schema.spec import Data, Text
from pipeline.steps.clean.repair.texts import make_uniform
from pipeline.storage.artifacts import open_store
from pipeline.storage.git.repository import Repository

_ASKED_ROWS = 1_000
_ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Scorer:
    """A release that predicts, and how its training data were read.

    Attributes
    ----------
    why : str
        Why it is this one.
    """

    release: Release
    why: str
    signature: Signature
    predict: Predict
    data: Data


def open_scorer(repository: Repository, reference: str, environment: str | None) -> Scorer:
    """Load a release: ``MODEL@VERSION``, or of ``MODEL`` the one that is live in the environment, else the newest.

    Raises
    ------
    InputError
        If there is no such release, no such environment, or the release's commit is not here.
    DeploymentError
        If the store no longer has it.
    """
    chosen = choose_release(repository, reference, environment)
    state = home()
    model = load_model(bundle_of(chosen.release, open_store(store_address(state), state), state))
    data = read_data_rules(repository, chosen.release)
    return Scorer(chosen.release, chosen.why, model.signature, InProcess(model), data)


def find_deployed(repository: Repository, deployment: Deployment) -> Scorer:
    """Ask a deployment of this machine.

    Raises
    ------
    InputError
        If what it serves is no release of this repository.
    """
    bundle = Path(deployment.bundle)
    record = json.loads((bundle / RECORD).read_bytes())
    signature = Signature.from_json(json.loads((bundle / "signature.json").read_bytes()))
    release = find_release(repository, record["tag"])
    predict = ByDeployment(deployment.address, signature)
    return Scorer(
        release, f"answering at {deployment.address}", signature, predict, read_data_rules(repository, release)
    )


class InProcess:
    """Predicts with a release that is loaded here."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._texts = {each.name: Text(**each.text) for each in model.signature.inputs if each.text}

    def __call__(self, rows: pd.DataFrame) -> Mapping[str, Any]:
        """Predict raw rows; returns the columns of their predictions."""
        rows = make_uniform(rows, self._texts)
        together = predict_rows(self._model, rows)
        return predicted(self._model, self._model.outputs(together), together)


class ByDeployment:
    """Asks a prediction server, a thousand rows at a time."""

    def __init__(self, address: str, signature: Signature) -> None:
        self._address, self._signature = address, signature

    def __call__(self, rows: pd.DataFrame) -> Mapping[str, Any]:
        """Predict raw rows; returns the columns of their predictions.

        Raises
        ------
        ModelrailError
            As those of `pipeline.serving.client.predict`.
        """
        classes, inputs = self._signature.classes, self._signature.inputs
        outputs, shares = list[Any](), list[Any]()
        for start in range(0, len(rows), _ASKED_ROWS):
            records = [record_of(row, inputs) for _, row in rows.iloc[start : start + _ASKED_ROWS].iterrows()]
            answer = ask(self._address, records, probabilities=classes is not None, timeout_s=_ANSWER_TIMEOUT_S)
            outputs += answer.outputs
            shares += answer.probabilities or ()
        return {"prediction": outputs} | probability_columns(classes, np.asarray(shares) if shares else None)
