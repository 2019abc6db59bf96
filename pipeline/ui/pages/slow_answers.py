"""Slow questions are asked in the background: a page shows the most recent answer and waits only briefly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class _Entry:
    asked_s: float
    answer: Future[Any]
    before: Future[Any] | None


class RecentAnswers:
    """Answers of slow questions (is a server up, what was spent), asked anew after a while.

    Parameters
    ----------
    fresh_s : float
        Age at which an answer is asked for anew.
    wait_s : float
        Longest wait for the first answer.
    """

    def __init__(self, fresh_s: float = 5.0, wait_s: float = 0.15, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s, self._wait_s, self._clock = fresh_s, wait_s, clock
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="modelrail-pages")
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def ask(self, key: Hashable, find: Callable[[], T], default: T) -> T:
        """Return the most recent answer; `default` while there is none, or if asking fails."""
        entry = self._entry(key, find)
        answer: Future[T] = entry.answer
        if entry.before is not None and not answer.done():
            answer = entry.before
        try:
            return answer.result(self._wait_s)
        except Exception:  # noqa: BLE001 - a page is shown without what could not be found out
            return default

    def forget(self) -> None:
        """Drop all answers, since something was changed: each question is asked anew."""
        with self._lock:
            self._entries.clear()

    def _entry(self, key: Hashable, find: Callable[[], T]) -> _Entry:
        with self._lock:
            known = self._entries.get(key)
            now = self._clock()
            if known is None or (known.answer.done() and now - known.asked_s > self._fresh_s):
                self._entries[key] = _Entry(now, self._pool.submit(find), known.answer if known else None)
            return self._entries[key]
