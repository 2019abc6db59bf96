"""Training a network, epoch by epoch: the same for every framework.

All that is random in an epoch follows from the seed and the epoch's number, so a training that goes on from a
checkpoint ends where it would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.spec.schema.spec import EarlyStopping
from pipeline.steps.train.neural.checkpoints import EVERY_S, Progress, read_progress, write_progress
from pipeline.steps.train.neural.network import Batch, Network, Params
from pipeline.steps.train.neural.pictures import Vary
from pipeline.steps.train.neural.pieces import Pieces, judged_in_pieces, seed_of
from pipeline.steps.train.neural.schedules import rate_at
from pipeline.steps.train.results import Support
from pipeline.steps.train.stopping import Patience

_TELL_EVERY_S = 1.0


@dataclass
class _Clock:
    """Tells whether some seconds are over since the last time."""

    every_s: float
    last: float

    def strikes(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.every_s:
            return False
        self.last = now
        return True


def learn(
    network: Network,
    train: Batch,
    validation: Batch,
    params: Params,
    *,
    seed: int,
    stop: EarlyStopping | None,
    support: Support,
    name: str,
    vary: Vary | None = None,
) -> tuple[dict[str, Any], ...]:
    """Train a network, from its last checkpoint if there is one; it has the best weights afterwards.

    Parameters
    ----------
    support : Support
        Where checkpoints are kept, and who is told of the losses meanwhile.
    name : str
        Of this training's checkpoint.
    vary : callable, optional
        Varies the features of each epoch.

    Returns
    -------
    tuple of dict
        ``{"step", "loss", "validation_loss"}`` of each epoch.

    Raises
    ------
    TrainingError
        The loss is no number any more.
    """
    done = _resume(network, support, name)
    patience = _patience(stop, done)
    keep, tell = _Clock(EVERY_S, time.monotonic()), _Clock(_TELL_EVERY_S, 0.0)
    told = 0
    for point in _epochs(network, train, validation, params, seed, done, patience, vary):
        done.history.append(point)
        if patience is not None and patience.best_round == done.epoch:
            done.best, done.best_round, done.kept = patience.best, patience.best_round, network.state()
        if tell.strikes():
            support.tell(done.history[told:])
            told = len(done.history)
        if keep.strikes():
            done.now = network.state()
            support.save(name, write_progress(done))
    if patience is not None and done.kept:
        network.restore(done.kept)
    return tuple(done.history)


def _resume(network: Network, support: Support, name: str) -> Progress:
    content = support.load(name)
    done = read_progress(content) if content else None
    if done is None:
        return Progress()
    network.restore(done.now)
    support.say(f"goes on after epoch {done.epoch:,}, where an earlier run was ended")
    support.tell(done.history)
    return done


def _patience(stop: EarlyStopping | None, done: Progress) -> Patience | None:
    if stop is None:
        return None
    best = float("inf") if done.best is None else done.best
    return Patience(stop, best, done.best_round, done.epoch)


def _epochs(
    network: Network,
    train: Batch,
    validation: Batch,
    params: Params,
    seed: int,
    done: Progress,
    patience: Patience | None,
    vary: Vary | None,
) -> Iterator[dict[str, Any]]:
    """Yield the losses of each epoch that is left."""
    for epoch in range(done.epoch + 1, params["epochs"] + 1):
        if patience is not None and done.epoch - patience.best_round >= patience.rule.patience:
            return
        rate = rate_at(epoch, params["epochs"], params["learning_rate"], params["schedule"], params["warmup_epochs"])
        loss = network.learn(Pieces(train, params["batch_size"], (seed, epoch), vary), rate, seed_of(seed, epoch))
        judged = judge(network, validation) if len(validation.target) else None
        if not np.isfinite(loss):
            raise TrainingError(
                f"train: the loss is {loss} after epoch {epoch} with a learning rate of {params['learning_rate']:g}; "
                f"expected a number: try {params['learning_rate'] / 10:g} (model.params.learning_rate), or "
                "model.params.clip_norm"
            )
        done.epoch = epoch
        if patience is not None and judged is not None:
            patience.is_over(judged)
        yield {"step": epoch, "loss": loss, "validation_loss": judged}


def judge(network: Network, rows: Batch) -> float:
    """Return the mean loss of rows, however many: each piece's counts as much as its rows."""
    losses, counts = [], []
    for piece in judged_in_pieces(rows):
        losses.append(network.judge(piece))
        counts.append(len(piece.target) if piece.weights is None else float(piece.weights.sum(dtype=np.float64)))
    return losses[0] if len(losses) == 1 else float(np.average(losses, weights=counts))
