"""Trying again: how often, and how long to wait in between.

Two things are tried again, and nothing else: every other error is raised at once.

- A lost race: another process has taken the number, moved the branch or renamed the folder. What was read is read anew
  and tried at once, for whoever loses has lost to somebody who got through.
- A service that does not answer. It is given time: the pause doubles, and is drawn between half and the whole of that,
  so that those who failed together do not come back together.

The caller tells the two from what is final, and says after the last attempt what to do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator

ATTEMPTS = 5


def attempts(most: int = ATTEMPTS, pause_s: float = 0.0) -> Iterable[int]:
    """Return the numbers of the attempts, from 0, to be gone through; there is a pause before each but the first.

    Parameters
    ----------
    most : int
        More than usual where many may race for the same thing.
    pause_s : float
        The longest pause before the second attempt, in seconds; 0 for none.
    """
    return _paced(most, pause_s) if pause_s else range(most)


def _paced(most: int, pause_s: float) -> Iterator[int]:
    for number in range(most):
        if number:
            time.sleep(pause_s * 2 ** (number - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        yield number
