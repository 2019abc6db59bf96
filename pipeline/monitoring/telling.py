"""Tell what happened to whom the spec names: each recipient once of each fact.

What was told is noted in the store. What could not be sent is tried again by whoever tells next, for a day; what is
older is no news, so naming somebody for the first time tells nothing of the past.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.delivery.deploying import Slot
from pipeline.delivery.interventions import interventions_of
from pipeline.delivery.platforms.local.state import locked
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import releases_of
from pipeline.delivery.stages import stages_of
from pipeline.errors import ModelrailError
from pipeline.home import home, store_address
from pipeline.monitoring.channels import Message, Send, send
from pipeline.monitoring.history import read_looks
from pipeline.monitoring.news import Fact, find_news
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.notify import Notify
from pipeline.storage.artifacts import Store, open_store
from pipeline.storage.git.repository import open_repository
from pipeline.storage.git.tags import list_tags

_NEWS_S = 86_400.0
_REMEMBERED_S = 2 * _NEWS_S
_FOLDER = "told"


def tell(slot: Slot, also: Sequence[Fact] = (), by: Send = send) -> list[str]:
    """Tell what is new of a model in an environment.

    Parameters
    ----------
    also : sequence of Fact
        What neither Git nor a look knows of.
    by : callable
        How a recipient is told: here, or in Airflow.

    Returns
    -------
    list of str
        Who could not be told, and why.
    """
    rules = slot.spec.notify
    if not rules:
        return []
    store, now = open_store(store_address(slot.target.state), slot.target.state), time.time()
    with locked(slot.target.state / "watch" / f"{slot.model}.{slot.environment}.told"):
        news = [each for each in (*_find(slot, store), *also) if abs(now - each.at) < _NEWS_S]
        return _tell_each(slot, store, sorted(news, key=lambda each: each.at), by, now)


def slot_of(spec: Path, overlay: str | None) -> Slot:
    """Return where the releases of a spec go."""
    loaded, repository = load_spec(spec, overlay).spec, open_repository(spec.resolve().parent)
    environment = overlay or loaded.environment.platform
    return Slot(repository, environment, Target(loaded, overlay, home(repository.root)))


def recipients_of(rules: Notify, fact: Fact) -> list[str]:
    """List who is told of a fact, each once."""
    return list(dict.fromkeys([*rules.get(fact.happened, []), *rules.get("*", [])]))


def _find(slot: Slot, store: Store) -> list[Fact]:
    tags = list_tags(slot.repository, f"{slot.model}@v*", f"{slot.model}#{slot.environment}#*")
    looks = read_looks(store, slot.model, slot.environment)
    return find_news(slot.environment, releases_of(tags), stages_of(tags), interventions_of(tags), looks)


def _tell_each(slot: Slot, store: Store, news: Sequence[Fact], by: Send, now: float) -> list[str]:
    told, troubles = _read(store, slot), []
    for fact in news:
        message = _message(slot, fact)
        for recipient in recipients_of(slot.spec.notify, fact):
            mark = f"{message.id} {hashlib.sha256(recipient.encode()).hexdigest()[:16]}"
            if mark in told:
                continue
            try:
                by(recipient, message)
            except ModelrailError as error:
                troubles.append(f"notify.{fact.happened}: {error}")
                continue
            told[mark] = now
            kept = {each: at for each, at in told.items() if abs(now - at) < _REMEMBERED_S}
            store.write_note(_name(slot), json.dumps(kept).encode())
    return troubles


def _message(slot: Slot, fact: Fact) -> Message:
    whole = f"{slot.model} {slot.environment} {fact.happened} {fact.id}"
    base = os.environ.get("AIRFLOW__API__BASE_URL", "").rstrip("/")
    link = f"{base}/dags/{slot.model}" if base else ""
    return Message(hashlib.sha256(whole.encode()).hexdigest()[:24], slot.model, slot.environment, fact, link)


def _read(store: Store, slot: Slot) -> dict[str, float]:
    try:
        return dict(json.loads(store.notes(f"{_FOLDER}/{slot.model}").get(_name(slot), b"{}")))
    except (ValueError, TypeError):
        return {}


def _name(slot: Slot) -> str:
    return f"{_FOLDER}/{slot.model}/{slot.environment}.json"
