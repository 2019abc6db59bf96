"""The releases that one server has in memory, and which of them answers a request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.errors import DeploymentError
from pipeline.messages import examples, quote, suggest
from pipeline.serving.lineup import Lineup, Track
from pipeline.serving.observing.features import FeatureMeter
from pipeline.serving.observing.metrics import Meter, Meters
from pipeline.serving.observing.truth import TruthMeter
from pipeline.serving.rows.faults import RejectedError, shorten
from pipeline.serving.rows.records import Rows
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.questions import Seen
from pipeline.serving.scoring.served import Predictions, ServedModel
from pipeline.serving.settings import PREFIX, Settings


@dataclass(frozen=True, eq=False)
class Served:
    """A release in memory, with its part.

    Attributes
    ----------
    tag : str
        ``MODEL@vVERSION``: what a prediction id begins with.
    features : FeatureMeter or None
        Counts the rows that it answers, if it has a reference.
    truth : TruthMeter or None
        Remembers what it answers, until the truth comes.
    """

    model: ServedModel
    meter: Meter
    track: Track = "live"
    share: float = 1.0
    features: FeatureMeter | None = None
    truth: TruthMeter | None = None
    tag: str = field(init=False)
    version_header: bytes = field(init=False)

    def __post_init__(self) -> None:
        version = self.model.version.removeprefix("v")
        object.__setattr__(self, "tag", f"{self.model.model}@v{version}")
        object.__setattr__(self, "version_header", self.model.version.encode())

    @cached_property
    def seen(self) -> Seen | None:
        """What is told of rows that were answered."""
        features, truth = self.features, self.truth
        if truth is None:
            return None if features is None else lambda rows, predictions, *_: features.offer(rows, predictions)

        def tell(rows: Rows, predictions: Predictions, ids: Sequence[str], counts: Sequence[int]) -> None:
            if features is not None:
                features.offer(rows, predictions)
            truth.offer(predictions, ids, counts)

        return tell


class _Model:
    """All releases of one model."""

    def __init__(self, releases: Sequence[Served]) -> None:
        live = [each for each in releases if each.track == "live"]
        if not live:
            name = releases[0].model.model
            raise DeploymentError(f"{name}: found only a {releases[0].track}; expected a live release beside it")
        self.live = live[0]
        self.canaries = tuple(each for each in releases if each.track == "canary" and each.share > 0)
        self.shadows = tuple(each for each in releases if each.track == "shadow" and each.share > 0)
        self.versions: Mapping[str, Served] = {
            each.model.version.removeprefix("v"): each for each in reversed(releases) if each.track != "shadow"
        }
        if sum(each.share for each in self.canaries) > 1:
            raise DeploymentError(f"{self.live.model.model}: found canaries with more than all requests; expected less")


class Fleet:
    """The loaded releases of one lineup. It is immutable, so a request ends with the releases it began with."""

    def __init__(self, releases: Sequence[Served]) -> None:
        names = dict.fromkeys(each.model.model for each in releases)
        self.models: Mapping[str, _Model] = {
            name: _Model([each for each in releases if each.model.model == name]) for name in names
        }
        self.default = next(iter(self.models.values()))
        self.has_canaries = any(model.canaries for model in self.models.values())
        self.has_shadows = any(model.shadows for model in self.models.values())
        self.releases = tuple(releases)
        self.keys = frozenset((each.model.model, each.model.version, each.track) for each in releases)

    def choose(self, name: str | None, version: str | None, chance: float) -> Served:
        """Choose the release that answers.

        Parameters
        ----------
        name, version : str or None
            What the caller named.
        chance : float
            A number from 0 to 1 by which the share of a canary is decided.

        Raises
        ------
        RejectedError
            With status 404 if there is no such model or version.
        """
        model = self.find(name)
        if version is not None:
            found = model.versions.get(version.removeprefix("v"))
            if found is None:
                listed = ", ".join(model.versions)
                raise RejectedError(404, f"found no version '{shorten(version)}'; expected one of {listed}")
            return found
        for canary in model.canaries:
            chance -= canary.share
            if chance < 0:
                return canary
        return model.live

    def find(self, name: str | None) -> _Model:
        """Find all releases of a model, by default of the first; raise RejectedError (404) for an unknown one."""
        if name is None:
            return self.default
        model = self.models.get(name)
        if model is None:
            raise RejectedError(404, f"found no model '{shorten(name)}'; expected one of {', '.join(self.models)}")
        return model


def load_fleet(lineup: Lineup, meters: Meters, settings: Settings) -> Fleet:
    """Load, check and warm every release of a lineup.

    Raises
    ------
    DeploymentError
        If one of them cannot be served, the lineup makes no sense, or a column that captures are to hide is in no
        model: what was meant by a misspelled name would be kept in clear text.
    """
    models: dict[Path, ServedModel] = {}
    for place in lineup:
        if place.bundle not in models:
            models[place.bundle] = load_model(place.bundle, settings.max_model_bytes, settings.signature_key_file)
    _refuse_unknown(settings.private_columns, models.values())
    return Fleet([serve(models[each.bundle], meters, each.track, each.share, settings.truth_rows) for each in lineup])


def _refuse_unknown(private: Collection[str], models: Collection[ServedModel]) -> None:
    known = sorted({each.name for model in models for each in model.signature.inputs})
    if unknown := [name for name in private if name not in known]:
        expected = suggest(unknown[0], known, f"a column of the model: {examples(known)}")
        raise DeploymentError(f"{PREFIX}CAPTURE_PRIVATE: found the column {quote(unknown[0])}; expected {expected}")


def serve(model: ServedModel, meters: Meters, track: Track = "live", share: float = 1.0, truth_rows: int = 0) -> Served:
    """Put a loaded release into service with its track and share."""
    key = (model.model, model.version, track)
    features = meters.features.of(key, model.reference, model.signature, model.data_time_s)
    truth = meters.truth.of(key, model.signature, model.reference, truth_rows)
    return Served(model, meters.of(*key), track, share, features, truth)
