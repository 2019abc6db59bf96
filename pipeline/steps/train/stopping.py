"""When to stop a training that goes in rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.spec.schema.spec import EarlyStopping


@dataclass
class Patience:
    """Counts the rounds without improvement; the only thing in training that keeps state between rounds.

    Attributes
    ----------
    best : float
        Loss from which improvements are counted.
    best_round : int
        Round (from 1) that reached it.
    """

    rule: EarlyStopping
    best: float = math.inf
    best_round: int = 0
    round: int = 0

    def is_over(self, loss: float) -> bool:
        """Tell whether training stops after a round with this validation loss."""
        self.round += 1
        if loss < self.best - self.rule.min_improvement:
            self.best, self.best_round = loss, self.round
        return self.round - self.best_round >= self.rule.patience
