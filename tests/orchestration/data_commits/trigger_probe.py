"""Run by the tests in a process of its own: watch a repository with the trigger, and print what it tells as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import TriggerEvent
from modelrail_trigger import DataCommitTrigger


class Told(logging.Handler):
    """Keeps what is logged, and wakes who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.news.set()


def commit(folder: Path, name: str) -> str:
    (folder / name).write_text(name)
    git = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", name], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


class Watching(DataCommitTrigger):
    """Logs to where the tests can read it, rather than to the triggerer's log."""

    log = logging.getLogger("watching")


async def following(events: AsyncIterator[TriggerEvent]) -> str:
    return str((await asyncio.wait_for(anext(events), 30)).payload["commit"])


async def watch(folder: Path) -> dict[str, Any]:
    trigger, told = Watching(str(folder)), Told()
    Watching.log.addHandler(told)
    Watching.log.setLevel(logging.INFO)
    events = trigger.run()
    made, seen = [commit(folder, "first")], [await following(events)]
    made.append(commit(folder, "second"))
    seen.append(await following(events))
    waiting = asyncio.create_task(following(events))
    await asyncio.sleep(0)
    away = folder.rename(folder.with_name("away"))
    await asyncio.wait_for(told.news.wait(), 30)
    made.append(commit(away, "third"))
    away.rename(folder)
    seen.append(await waiting)
    address, arguments = trigger.serialize()
    return {"made": made, "seen": seen, "lines": told.lines, "serialized": [address, arguments]}


print("\n" + json.dumps(asyncio.run(watch(Path(sys.argv[1])))))
