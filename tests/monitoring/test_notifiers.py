"""How Airflow's notifiers are called: with stand-ins for the providers that cannot be had here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from pipeline.errors import InputError, TransientError
from pipeline.home import CHECKOUT
from pipeline.monitoring.channels import Message
from pipeline.monitoring.news import Fact
from tests.monitoring.receivers import webhook

pytestmark = pytest.mark.filterwarnings("ignore")
MESSAGE = Message("abc", "m", "prod", Fact("held", "1", 0.0, "m: {{ var.value.secret }}", ("why",)), "https://x/dags/m")


@pytest.fixture
def notify(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of the DAGs that tells, as Airflow imports it."""
    monkeypatch.syspath_prepend(CHECKOUT / "dags")
    monkeypatch.setenv("AIRFLOW_CONN_TEAM", "")
    import modelrail_notify

    return modelrail_notify


def connect(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Have Airflow know a connection of some type."""
    from airflow.sdk import Connection

    found = Connection(conn_id="team", **facts)
    monkeypatch.setattr(Connection, "get", classmethod(lambda _, __: found))


@pytest.mark.parametrize(
    ("kind", "extra", "expected"),
    [
        ("slackwebhook", None, {"slack_webhook_conn_id": "team"}),
        ("slack", '{"channel": "#ops"}', {"slack_conn_id": "team", "channel": "#ops"}),
        ("pagerduty_events", None, {"pagerduty_events_conn_id": "team", "dedup_key": "abc"}),
        ("apprise", None, {"apprise_conn_id": "team", "title": "[held] m: {{ var.value.secret }}"}),
    ],
)
def test_a_connection_is_told_by_the_notifier_of_its_type_and_nothing_is_rendered(
    notify: Any, monkeypatch: pytest.MonkeyPatch, kind: str, extra: str | None, expected: dict[str, str]
) -> None:
    connect(monkeypatch, conn_type=kind, extra=extra)
    given: list[dict[str, Any]] = []

    class Notifier:
        def __init__(self, **arguments: Any) -> None:
            given.append(arguments)

        def notify(self, context: dict[str, Any]) -> None:
            assert context == {}

    module, _, name = notify.NOTIFIERS[kind][0].rpartition(".")
    stand_in = ModuleType(module)
    setattr(stand_in, name, Notifier)
    for parent in (".".join(module.split(".")[:count]) for count in range(3, module.count(".") + 1)):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module, stand_in)
    notify.send_by_airflow("team", MESSAGE)
    (arguments,) = given
    assert expected.items() <= arguments.items()
    assert "{{ var.value.secret }}" in str(arguments)


def test_a_provider_or_type_that_is_not_there_is_named(notify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="slack")
    with pytest.raises(InputError, match="no provider of slack; expected apache-airflow-providers-slack"):
        notify.send_by_airflow("team", MESSAGE)
    connect(monkeypatch, conn_type="mysql")
    with pytest.raises(InputError, match="found a connection of the type 'mysql'; expected http, https, slackwebhook"):
        notify.send_by_airflow("team", MESSAGE)


def test_a_webhook_behind_a_connection_gets_its_token(notify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        host, port = hook.address.removeprefix("http://").removesuffix("/hook").split(":")
        connect(monkeypatch, conn_type="http", host=host, port=int(port), password="t", extra='{"path": "/hook"}')
        notify.send_by_airflow("team", MESSAGE)
        assert hook.headers[0]["authorization"] == "Bearer t"
        hook.status = 500
        with pytest.raises(TransientError):
            notify.send_by_airflow("team", MESSAGE)
