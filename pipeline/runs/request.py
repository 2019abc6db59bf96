"""What is asked of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RunRequest:
    """What is asked for, by a person, a schedule or a backfill.

    Attributes
    ----------
    spec : str
        Path of the spec.
    data_commit : str or None
        A revision of the data repository; its branch's newest commit (or the uncommitted files) if None.
    spec_commit : str or None
        A revision of the spec's repository whose spec it is; the work tree's if None.
    as_of : str or None
        ISO date: partitions whose period ends later are left out.
    force : bool
        Compute everything anew.
    reason, trigger : str
        Why, and by what; both are recorded.
    replay : bool
        A scheduled date is run anew: it is evaluated, and never released.
    """

    spec: str
    environment: str | None = None
    data_commit: str | None = None
    as_of: str | None = None
    force: bool = False
    reason: str = ""
    trigger: str = "command line"
    replay: bool = False
    spec_commit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a form that ``from_json`` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRequest:
        """Read what ``to_json`` gave."""
        return cls(**data)
