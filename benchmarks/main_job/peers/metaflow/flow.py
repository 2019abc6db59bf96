"""The five steps as a Metaflow flow: ``python flow.py run --flights FOLDER --out FOLDER``."""

from __future__ import annotations

from pathlib import Path

import bare
from metaflow import FlowSpec, Parameter, step


class FlightDelay(FlowSpec):
    """Flights to a registered model; what a step assigns to ``self`` is kept as an artifact."""

    flights = Parameter("flights", type=str, required=True)
    out = Parameter("out", type=str, required=True)

    @step
    def start(self) -> None:
        """Clean."""
        self.rows = bare.clean(Path(self.flights))
        self.next(self.make_features)

    @step
    def make_features(self) -> None:
        """Make features."""
        self.features = bare.make_features(self.rows)
        self.next(self.train)

    @step
    def train(self) -> None:
        """Train."""
        self.model, self.losses = bare.train(self.features)
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Evaluate."""
        self.results = bare.evaluate(self.model, self.features, self.losses)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Register."""
        bare.register(self.model, self.features, self.losses, self.results, Path(self.out))


if __name__ == "__main__":
    FlightDelay()
