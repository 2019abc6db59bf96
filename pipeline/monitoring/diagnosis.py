"""What a judged window means, in words: what moved and how, where the cause is to be looked for, what may be done.

Words name features and shares of rows, never a value: a category of a private column stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.messages import quote
from pipeline.model.reference import MISSING, OTHER, CategoryBins, NumberBins, Reference, ReferenceFeature
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.judging import Judgement

Cause = Literal["service", "pipeline", "data", "concept"]
Shares = NDArray[np.float64]

_NOTICED = 0.02
"""Share of rows from which a change of one bin is a sign by itself."""
_ALL = 0.999
_MOST = 0.9
_BEYOND = 0.3
"""Share of rows beyond all training values from which another unit is likelier than other rows."""

_SUGGESTED: Mapping[Cause, str] = {
    "service": "see what the failed requests say (logs of the server); if it began with this release, roll back "
    "(modelrail rollback)",
    "pipeline": "look at what fills these columns before anything is trained on them",
    "data": "train on newer data (modelrail run); the gate tells whether that helps",
    "concept": "label newer rows and evaluate on them: what is predicted moved although no counted column did",
}


_FELL = (
    "what the columns say of the truth has changed, or the truth is recorded otherwise: train on newer data (modelrail "
    "run); the gate tells whether that helps"
)
_REFUSED = "see what callers send that does not fit the model (logs of the server): a column may have changed its name"


@dataclass(frozen=True)
class Sign:
    """What happened to one feature, and where that points to."""

    feature: str
    cause: Cause
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong.

    Attributes
    ----------
    cause : str or None
        None if nothing is.
    signs : tuple of Sign
        The most important first: by how far a feature moved and how important its column is.
    suggestion : str
        What may be done.
    """

    cause: Cause | None = None
    signs: tuple[Sign, ...] = ()
    suggestion: str = ""


def diagnose(judged: Judgement, window: Counts, reference: Reference) -> Diagnosis:
    """Say what a judged window means."""
    fell = [Sign(each.metric, "concept", each.text) for each in judged.known if each.worse]
    signs = (*fell, *_signs(judged, window, reference))
    if judged.failed is not None and judged.failed.broken:
        share = f"{judged.failed.share:.1%} of the requests failed, {judged.failed.allowed:.1%} are allowed"
        return Diagnosis("service", (Sign("requests", "service", share), *signs), _SUGGESTED["service"])
    if judged.refused is not None and judged.refused.broken:
        share = f"{judged.refused.share:.1%} of the requests were refused, {judged.refused.allowed:.1%} are allowed"
        return Diagnosis("pipeline", (Sign("requests", "pipeline", share), *signs), _REFUSED)
    if not signs:
        return Diagnosis()
    causes = [each.cause for each in signs]
    found: Cause = "pipeline" if "pipeline" in causes else "data" if "data" in causes else "concept"
    return Diagnosis(found, signs, _FELL if fell and found == "concept" else _SUGGESTED[found])


def _signs(judged: Judgement, window: Counts, reference: Reference) -> Iterator[Sign]:
    moved = {each.feature: each.index for each in (*judged.sudden, *judged.features) if each.drifted}
    ranked = {each.name: place for place, each in enumerate(reference.features)}  # the most important first
    for name in sorted(moved, key=lambda name: -moved[name] / (1 + ranked[name])):
        feature = reference.features[ranked[name]]
        counts = np.asarray(window.features[name], np.float64)
        cause, text = _explain(feature, np.asarray(feature.shares), counts / counts.sum())
        yield Sign(name, cause if feature.column else "concept", f"{quote(name)} {text}")


def _explain(feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str]:
    return next(found for look in _LOOKS if (found := look(feature, then, now)))


def _missing(_: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    gained = now[MISSING] - then[MISSING]
    if gained < _NOTICED or gained < _distance(then, now) / 2:
        return None
    return "pipeline", f"is missing in {now[MISSING]:.1%} of the rows, {then[MISSING]:.1%} in training"


def _constant(_: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    place = int(now.argmax())
    if now[place] < _ALL or then[place] > _MOST:
        return None
    return "pipeline", f"has one value, or values of one bin, in all rows; in training {then[place]:.1%} had it"


def _beyond(feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    if not isinstance(feature.bins, NumberBins):
        return None
    outside = now[1] + now[-1]
    if outside < _BEYOND or then[1] + then[-1] > _NOTICED:
        return None
    side = "above" if now[-1] > now[1] else "below"
    return "pipeline", f"is {side} all values of training in {outside:.1%} of the rows: another unit, or other rows"


def _unknown(feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    if not isinstance(feature.bins, CategoryBins) or now[OTHER] - then[OTHER] < _NOTICED:
        return None
    return "data", f"has values that training did not know in {now[OTHER]:.1%} of the rows"


def _vanished(feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    if not isinstance(feature.bins, CategoryBins):
        return None
    gone = (now == 0) & (then >= _NOTICED)
    if not gone.any():
        return None
    return "pipeline", f"lacks {int(gone.sum())} of its values, which {then[gone].sum():.1%} of training rows had"


def _shifted(feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    if not isinstance(feature.bins, NumberBins):
        return None
    by = _shift(then[1:], now[1:])
    direction = "up" if by > 0 else "down"
    if abs(by) < 0.1:
        return "data", f"is distributed otherwise: {_distance(then, now):.0%} of the rows lie in other bins"
    return "data", f"moved {direction} by about {abs(by):.1f} standard deviations"


def _other(_feature: ReferenceFeature, then: Shares, now: Shares) -> tuple[Cause, str] | None:
    place = int(np.abs(now - then).argmax())
    return "data", f"is distributed otherwise: one of its bins has {now[place]:.1%} of the rows, {then[place]:.1%} then"


_LOOKS: Sequence[Callable[[ReferenceFeature, Shares, Shares], tuple[Cause, str] | None]] = (
    _missing,
    _constant,
    _beyond,
    _unknown,
    _vanished,
    _shifted,
    _other,
)


def _distance(then: Shares, now: Shares) -> float:
    """Compute the share of rows that lie in another bin."""
    return float(np.abs(now - then).sum() / 2)


def _shift(then: Shares, now: Shares) -> float:
    """Compute how far rows moved, in standard deviations of a normal distribution with the reference's shares."""
    if not then.sum() or not now.sum():
        return 0.0
    edges = np.cumsum(then / then.sum())
    middles = np.clip((edges + np.concatenate([[0.0], edges[:-1]])) / 2, 1e-3, 1 - 1e-3)
    at = np.array([NormalDist().inv_cdf(each) for each in middles])
    return float((now / now.sum() * at).sum() - (then / then.sum() * at).sum())
