"""Which columns of a batch stand beside its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.model.signature import Signature
from pipeline.serving.scoring.served import probability_names

EVERY = "*"


@dataclass(frozen=True)
class Keeping:
    """What the caller asked for, and what decides where nothing was asked.

    Attributes
    ----------
    asked : sequence of str or None
        Columns, several in one text divided by commas; ``*`` for all. None: the key, where the file has it.
    key : sequence of str
        Columns that identify a row.
    """

    asked: Sequence[str] | None
    key: Sequence[str]
    signature: Signature

    def choose(self, found: Sequence[str]) -> list[str]:
        """Choose among the columns of a file.

        Raises
        ------
        InputError
            If one that was asked for is not there, or has the name of a prediction.
        """
        present = dict.fromkeys(each for each in found if each)
        if self.asked is None:
            fits = set(self.key) <= present.keys() and not self._taken & set(self.key)
            return list(self.key) if fits else []
        chosen = dict.fromkeys(name for each in self.asked for name in _split(each, present))
        if missing := [each for each in chosen if each not in present]:
            listed = ", ".join(map(repr, list(present)[:10])) + (", …" if len(present) > 10 else "")
            raise InputError(f"--keep: found {missing[0]!r}; expected a column of the batch: {listed}, or '{EVERY}'")
        if taken := self._taken & chosen.keys():
            raise InputError(f"--keep: found {min(taken)!r}, the name of predictions; expected other columns")
        return list(chosen)

    @property
    def _taken(self) -> set[str]:
        return {"prediction", *probability_names(self.signature.classes)}


def _split(asked: str, present: dict[str, None]) -> list[str]:
    if asked in present:
        return [asked]
    return list(present) if asked == EVERY else [each for part in asked.split(",") if (each := part.strip())]
