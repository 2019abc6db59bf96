"""After a command: whom the spec names is told what has happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.errors import InputError, ModelrailError

if TYPE_CHECKING:
    from pipeline.delivery.deploying import Slot
    from pipeline.monitoring.news import Fact
    from pipeline.runs.results import StepResult


def tell_news(slot: Slot, also: Sequence[Fact] = ()) -> None:
    """Tell what is new; who cannot be told is a warning, since what the command was for is done."""
    if not slot.spec.notify:
        return
    from pipeline.monitoring.telling import tell

    try:
        troubles = tell(slot, also)
    except ModelrailError as error:
        troubles = [f"notify: {error}"]
    for trouble in troubles:
        typer.echo(f"modelrail: {trouble}", err=True)


def tell_news_of(model: str, environment: str | None) -> None:
    """Tell what is new of a model; where that is none, the command itself says so."""
    from pipeline.delivery.promotion import find_slot
    from pipeline.storage.git.repository import open_repository

    with suppress(InputError):
        tell_news(find_slot(open_repository(Path.cwd()), model, environment))


@contextmanager
def telling_of_run(spec: Path, overlay: str | None, results: Sequence[StepResult]) -> Iterator[None]:
    """Tell of a run when it has ended, however it ended.

    Parameters
    ----------
    results : sequence of StepResult
        What the steps have said by then; the run adds to it.
    """
    if not _names_somebody(spec, overlay):
        yield
        return
    import time

    from pipeline.monitoring import news, telling

    try:
        yield
    except InputError:  # who calls has made a mistake, and sees it
        raise
    except ModelrailError as error:
        slot, now = telling.slot_of(spec, overlay), time.time()
        tell_news(slot, [news.failed(slot.model, f"{now}", type(error).__name__, now)])
        raise
    slot = telling.slot_of(spec, overlay)
    tell_news(slot, news.refused(slot.model, results, time.time()))


def _names_somebody(spec: Path, overlay: str | None) -> bool:
    from pipeline.spec.loading.loading import load_spec

    with suppress(InputError):  # the run says what is wrong with it
        return bool(load_spec(spec, overlay).spec.notify)
    return False
