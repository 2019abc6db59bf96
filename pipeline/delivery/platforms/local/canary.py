"""A canary on this machine: in the same server as the live release, which gives it its part of the requests.

The live release itself is the baseline: it is asked at the same time, in the same processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.delivery.platforms.local import deployments
from pipeline.delivery.platforms.local.deployments import ChangedError, Deployment
from pipeline.delivery.platforms.local.state import ROLLOUT, ROLLOUT_LOCK, folder_of, locked, read_json, write_json
from pipeline.delivery.rollouts.deciding import Rollout
from pipeline.delivery.rollouts.driving import Sight, drive
from pipeline.delivery.rollouts.readings import Reading, read_metrics
from pipeline.errors import DeploymentError, TransientError
from pipeline.serving import client
from pipeline.serving.lineup import LineupEntry, Track
from pipeline.spec.schema.deploy import Canary

_METRICS_S = 5.0

Put = Callable[[Path, tuple[str, ...], Deployment | None], Deployment]
"""Makes a bundle live, with further tracks, in place of what is expected to be live."""


def roll_out(
    bundle: Path, version: str, plan: Canary, *, model: str, name: str, state: Path, put: Put, track: Track = "canary"
) -> Deployment:
    """Make a bundle live if it does no worse than what is live; where nothing else is, at once.

    Parameters
    ----------
    version : str
        Of the bundle, without a leading ``v``.
    model, name : str
        Of the model, and of its deployment.
    track : str
        Whether it answers its part of the requests, or is only asked as well.

    Raises
    ------
    AbortedError
        If it does worse; what was live stays live.
    TransientError
        If another canary of the model is at work.
    DeploymentError
        If something else was deployed meanwhile.
    """
    folder = folder_of(name, state)
    try:
        with locked(folder / ROLLOUT_LOCK, wait=False):
            now = deployments.settled(name, state)
            if now is None or _plain(now.version) == version:
                (folder / ROLLOUT).unlink(missing_ok=True)
                return put(bundle, (), None)
            tracks = _Tracks(folder, model, now, put, bundle.resolve(), track)
            try:
                drive(tracks.begin(f"{model}@v{version}"), tracks, plan)
            except DeploymentError:
                (folder / ROLLOUT).unlink(missing_ok=True)
                raise
            (folder / ROLLOUT).unlink(missing_ok=True)
            return replace(put(bundle, (), None), replaced=now.version)
    except BlockingIOError as error:
        raise TransientError(f"deploy {model}: found another canary at work; expected it to end first") from error


class _Tracks:
    """The live release and the canary in one server."""

    def __init__(self, folder: Path, model: str, stable: Deployment, put: Put, bundle: Path, track: Track) -> None:
        self._track: Track = track
        self._folder, self._model, self._stable, self._put, self._bundle = folder, model, stable, put, bundle
        self._version, self._before = "", ""
        self._now = stable

    def begin(self, candidate: str) -> Rollout:
        """Read the rollout as it was left, or begin a new one."""
        self._version = candidate.rpartition("@")[2]
        stable = f"{self._model}@v{_plain(self._stable.version)}"
        known = read_json(self._folder / ROLLOUT)
        if known and (known["rollout"]["candidate"], known["rollout"]["stable"]) == (candidate, stable):
            self._before = known["before"]
            return Rollout.from_json(known["rollout"])
        self._before = _metrics(self._stable.address)
        return Rollout(candidate, stable, "", began=time.time())

    def keep(self, weight: int) -> Sight:
        canary = LineupEntry(self._bundle, self._track, weight / 100).argument()
        try:
            self._change(Path(self._stable.bundle), canary)
        except ChangedError:
            raise
        except DeploymentError as error:
            return Sight(ready=False, trouble=str(error))
        text = _metrics(self._now.address)
        return Sight(
            True, self._since(text, self._version, self._track), self._since(text, self._stable.version, "live")
        )

    def save(self, rollout: Rollout) -> None:
        write_json(self._folder / ROLLOUT, {"rollout": rollout.to_json(), "before": self._before})

    def promote(self) -> None:
        self._change(self._bundle)

    def abort(self) -> None:
        self._change(Path(self._stable.bundle))

    def _change(self, bundle: Path, *beside: str) -> None:
        """Change what is live, starting from the last change; whoever deploys meanwhile wins."""
        self._now = self._put(bundle, beside, self._now)

    def _since(self, text: str, version: str, track: str) -> Reading:
        return read_metrics(text, self._model, version, track) - read_metrics(self._before, self._model, version, track)


def _metrics(address: str) -> str:
    status, content = client.get(address, "/metrics", _METRICS_S)
    if status != 200:
        raise DeploymentError(f"{address}: {client.refusal(status, content)}")
    return content.decode()


def _plain(version: str) -> str:
    return version.removeprefix("v")
