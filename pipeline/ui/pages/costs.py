"""What was spent, in the few words that fit into a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.runs.costs import Spent, total
from pipeline.ui.pages.formatting import short_seconds, size


@dataclass(frozen=True)
class Bill:
    """What some steps took together.

    Attributes
    ----------
    amounts : str
        The price in each currency; empty where no price is set (``environment.prices``).
    """

    runs: int
    cpu: str
    wall: str
    peak: str
    amounts: str

    @property
    def said(self) -> str:
        """The price, or the processor time where there is none."""
        return self.amounts or f"{self.cpu} CPU"


def bill(spent: Sequence[Spent]) -> Bill | None:
    """Add costs up; None where there are none."""
    if not spent:
        return None
    found = total("", spent)
    amounts = ", ".join(f"{amount:,.4g} {currency}" for currency, amount in found.amounts.items())
    return Bill(
        found.runs,
        short_seconds(found.usage.cpu_s),
        short_seconds(found.usage.seconds),
        size(found.peak_bytes),
        amounts,
    )


def by_step(spent: Iterable[Spent]) -> dict[str, Bill]:
    """Add costs up for each step."""
    groups: dict[str, list[Spent]] = {}
    for each in spent:
        groups.setdefault(each.step, []).append(each)
    return {step: made for step, members in groups.items() if (made := bill(members))}
