"""What wakes the DAG ``data_commits``: a trigger that watches a branch of a data repository."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipeline.errors import redact
from pipeline.orchestration.data_commits.sources import Source, read_tip, sign_of, wait_s

_REMOTE_S = 2.0
_LOOK_ANYWAY_S = 30.0
_LOCK = threading.Lock()


class DataCommitTrigger(BaseEventTrigger):
    """Fire when a branch has another newest commit, and once when it is first looked at.

    The event only wakes a DAG, which finds out itself what is new, so firing once too often does no harm. Nothing is
    kept: after a restart it fires once, for whatever happened meanwhile.

    Parameters
    ----------
    address : str
        Of the data repository: an absolute path, or a URL without credentials.
    branch : str
        Empty for what the repository has checked out.
    connection : str
        Airflow connection with the credentials; empty for none.
    """

    def __init__(self, address: str, branch: str = "", connection: str = "") -> None:
        super().__init__()
        self.source = Source(address, branch, connection)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how to make it again, in the triggerer."""
        return "modelrail_trigger.DataCommitTrigger", vars(self.source)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; what goes wrong is told once, and waited for."""
        looks = _Looks(self.source)
        last, failures = "", 0
        while True:
            try:
                tip = await asyncio.to_thread(looks.look)
            except Exception as error:  # noqa: BLE001 - whatever it is, the repository may be well again later
                failures += 1
                if failures == 1:
                    self.log.warning("%s cannot be read, waiting for it: %s", self.source, redact(str(error)))
                await asyncio.sleep(wait_s(failures))
                continue
            if failures:
                self.log.info("%s can be read again", self.source)
            failures = 0
            if tip != last:
                yield TriggerEvent({"source": str(self.source), "commit": tip})
                last = tip
            await asyncio.sleep(_REMOTE_S if self.source.remote else 1.0)


class _Looks:
    """Looks at one source; at a local one by its files' dates, which costs no process."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._sign: object = None
        self._tip = ""
        self._looked = 0.0

    def look(self) -> str:
        sign = None if self.source.remote else sign_of(self.source)
        waited = time.monotonic() - self._looked
        if sign is None or sign != self._sign or waited > _LOOK_ANYWAY_S:
            self._tip = read_tip(self.source, partial(git_login, self.source.connection, self.source.address))
            self._sign, self._looked = sign, time.monotonic()
        return self._tip


@contextmanager
def git_login(connection: str, address: str) -> Iterator[Mapping[str, str]]:
    """Open the SSH key or token of an Airflow connection for git: by its environment, never by its arguments."""
    if not connection:
        yield {}
        return
    from airflow.providers.git.hooks.git import GitHook

    with _LOCK:  # the hook changes this process's environment as well
        hook = GitHook(connection, repo_url=address)
        with hook.configure_hook_env():
            yield dict(hook.env)
