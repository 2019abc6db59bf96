"""Answers that are remembered for a while: who looks at many models asks for each of them much the same.

Git is a process for each question, and YAML takes longer to read than to check.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_ANSWERS: ContextVar[dict[Hashable, Any] | None] = ContextVar("answers", default=None)


@contextmanager
def asking_once() -> Iterator[None]:
    """Ask every question once, until the end: what is read of Git is all of the same moment.

    For what changes nothing there: plans, the status, a survey, a page. One inside another is the outer one.
    """
    if asks_once():
        yield
        return
    token = _ANSWERS.set({})
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def asks_once() -> bool:
    """Tell whether answers are remembered just now."""
    return _ANSWERS.get() is not None


def remembered(question: Hashable, find: Callable[[], T]) -> T:
    """Return the answer to a question: the one that is remembered, if answers are just now."""
    answers = _ANSWERS.get()
    if answers is None:
        return find()
    if question not in answers:
        answers[question] = find()
    answer: T = answers[question]
    return answer
