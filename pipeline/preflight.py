"""Questions that are asked before anything is done: all at the same time, and every fault is told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.errors import DeploymentError, InputError, ModelrailError, TransientError

Question = Callable[[], object]
"""Raises a `ModelrailError` if what it asks for is not there."""
_MOST_THREADS = 16
_KINDS = (InputError, DeploymentError, ModelrailError)
"""What all of the faults together are: the first of these that one of them is, since trying again mends none of it."""


def ask_all(questions: Sequence[Question]) -> None:
    """Ask all of them at the same time.

    Raises
    ------
    ModelrailError
        If anything is missing: a line for each fault. It is transient only if every fault is.
    """
    if not questions:
        return
    with ThreadPoolExecutor(min(len(questions), _MOST_THREADS)) as pool:
        faults = [fault for fault in pool.map(_fault_of, questions) if fault]
    if faults:
        raise faults[0] if len(faults) == 1 else _joined(faults)


def _fault_of(question: Question) -> ModelrailError | None:
    try:
        question()
    except ModelrailError as fault:
        return fault
    return None


def _joined(faults: Sequence[ModelrailError]) -> ModelrailError:
    lasting = [each for each in faults if not isinstance(each, TransientError)]
    kinds = (kind for kind in _KINDS if any(isinstance(each, kind) for each in lasting))
    return next(kinds, TransientError)("\n".join(dict.fromkeys(map(str, faults))))
