"""Expressions of PromQL: what servers count, turned into what can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from pipeline.monitoring.counts import FAILED

_OF_RELEASE = "model, version, track"
_OF_FEATURE = f"{_OF_RELEASE}, feature"


@dataclass(frozen=True)
class Drift:
    """The names of what is recorded of a window's drift, and their expressions.

    The population stability index is that of the shares p of the window and q of the reference, with half a request
    added to each bin of both: Σ (p − q) ln ((p + h) / (q + h)) / (1 + B h), h = 1 / 2n, over the B bins that are not
    empty in both. So a bin that training has never seen does not make it infinite. Between two samples of the same it
    is chi-square distributed with B − 1 degrees of freedom, times 1/n + 1/m (Yurdakul and Naranjo, "Statistical
    properties of the population stability index", 2020). n are requests, since rows of one request are not independent
    observations; m are the rows of the reference.

    Attributes
    ----------
    model : str
    window : str
        Such as ``1h``.
    chance : float
        Probability at which chance is ruled out in one look at one feature.
    """

    model: str
    window: str
    chance: float

    @property
    def share(self) -> str:
        """Name of the share of the window's rows in each bin."""
        return f"modelrail:feature_share:{self.window}"

    @property
    def requests(self) -> str:
        """Name of the number of the window's requests."""
        return f"modelrail:feature_requests:{self.window}"

    @property
    def bins(self) -> str:
        """Name of the number of bins that are not empty in both window and reference."""
        return f"modelrail:feature_bins:{self.window}"

    @property
    def index(self) -> str:
        """Name of the stability index."""
        return f"modelrail:feature_drift:{self.window}"

    @property
    def limit(self) -> str:
        """Name of the index below which chance explains it."""
        return f"modelrail:feature_drift_limit:{self.window}"

    @property
    def reference(self) -> str:
        """What the shares are compared with."""
        return f'max by ({_OF_FEATURE}, bin) (ml_reference_share{{model="{self.model}"}})'

    def records(self) -> dict[str, str]:
        """Return each record's expression, in the order in which they need each other."""
        rows = f'increase(ml_inference_feature_total{{model="{self.model}"}}[{self.window}])'
        asked = f'increase(ml_inference_requests_total{{model="{self.model}", status="200"}}[{self.window}])'
        mine = f'{{model="{self.model}"}}'
        share, requests, bins = (f"{name}{mine}" for name in (self.share, self.requests, self.bins))
        half = f"on ({_OF_RELEASE}) group_left () (0.5 / {requests})"
        return {
            self.share: (
                f"sum by ({_OF_FEATURE}, bin) ({rows})"
                f" / ignoring (bin) group_left () (sum by ({_OF_FEATURE}) ({rows}) > 0)"
            ),
            self.requests: f"sum by ({_OF_RELEASE}) ({asked}) > 0",
            self.bins: f"count by ({_OF_FEATURE}) (({self.reference} > 0) or ({share} > 0))",
            self.index: (
                f"sum by ({_OF_FEATURE}) (({share} - {self.reference})"
                f" * ln(({share} + {half}) / ({self.reference} + {half})))"
                f" / (1 + {bins} * {half})"
            ),
            self.limit: self._limit(requests, bins),
        }

    def _limit(self, requests: str, bins: str) -> str:
        """Return the quantile of the chi-square distribution: a cube, as Wilson and Hilferty found (1931)."""
        free = f"clamp_min({bins} - 1, 1)"
        deviation = -NormalDist().inv_cdf(self.chance)
        quantile = f"{free} * (1 - 2 / (9 * {free}) + {deviation:.4f} * sqrt(2 / (9 * {free}))) ^ 3"
        rows = f'max by ({_OF_FEATURE}) (ml_reference_rows{{model="{self.model}"}})'
        return f"({quantile}) * (1 / ({rows}) + on ({_OF_RELEASE}) group_left () (1 / {requests}))"


def failed_share(model: str, window: str) -> str:
    """Return the share of the requests that failed by the service's fault."""
    failed = f'sum by (model) (rate({_requests(model, f"""status=~"{FAILED}",""")}[{window}]))'
    return f"{failed} / (sum by (model) (rate({_requests(model)}[{window}])) > 0)"


def slow_share(model: str, window: str, within_s: float) -> str:
    """Return the share of the requests whose answer took longer."""
    mine = f'model="{model}", track!="shadow"'
    quick = f'sum by (model) (rate(ml_inference_duration_seconds_bucket{{{mine}, le="{float(within_s)}"}}[{window}]))'
    return f"1 - {quick} / (sum by (model) (rate(ml_inference_duration_seconds_count{{{mine}}}[{window}])) > 0)"


def requests(model: str, window: str) -> str:
    """Return how many requests came."""
    return f"sum by (model) (increase({_requests(model)}[{window}]))"


def asked_versions(model: str, window: str) -> str:
    """Return how many versions answer."""
    return f"count by (model) (sum by (model, version) (rate({_requests(model)}[{window}])) > 0)"


def data_age(model: str) -> str:
    """Return the seconds since the data commit that the newest live release was made from."""
    mine = f'model="{model}", track="live"'
    return f"time() - max by (model) (ml_release_data_timestamp_seconds{{{mine}}} > 0)"


def absent(model: str) -> str:
    """Return 1 where no server tells of a model."""
    return f'absent(ml_inference_in_flight{{model="{model}"}})'


def _requests(model: str, also: str = "") -> str:
    return f'ml_inference_requests_total{{{also}model="{model}", track!="shadow"}}'
