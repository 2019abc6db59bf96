"""How Airflow tells somebody: by its notifiers, with the connection that the spec names.

A message is handed over as it is: what is said in it is no template.
"""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.monitoring.channels import NAMED, SMTP, Message, send, send_to_webhook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from pipeline.delivery.deploying import Slot
    from pipeline.monitoring.news import Fact

_PROVIDERS = "airflow.providers"
NOTIFIERS: Mapping[str, tuple[str, Callable[[Connection, Message], dict[str, Any]]]] = {
    "slackwebhook": (
        f"{_PROVIDERS}.slack.notifications.slack_webhook.SlackWebhookNotifier",
        lambda found, message: {"slack_webhook_conn_id": found.conn_id, "text": message.text},
    ),
    "slack": (
        f"{_PROVIDERS}.slack.notifications.slack.SlackNotifier",
        lambda found, message: {"slack_conn_id": found.conn_id, "text": message.text}
        | ({"channel": found.extra_dejson["channel"]} if "channel" in found.extra_dejson else {}),
    ),
    "pagerduty_events": (
        f"{_PROVIDERS}.pagerduty.notifications.pagerduty.PagerdutyNotifier",
        lambda found, message: {"pagerduty_events_conn_id": found.conn_id, "summary": message.subject,
                                "dedup_key": message.id, "custom_details": message.to_json()},
    ),
    "apprise": (
        f"{_PROVIDERS}.apprise.notifications.apprise.AppriseNotifier",
        lambda found, message: {"apprise_conn_id": found.conn_id, "title": message.subject, "body": message.text},
    ),
    "smtp": (
        f"{_PROVIDERS}.smtp.notifications.smtp.SmtpNotifier",
        lambda found, message: _mail(found.conn_id, found.extra_dejson.get("to") or "", message),
    ),
}  # fmt: skip
"""Type of a connection → its notifier, and what that is given. The providers are the installation's."""


def tell_by_airflow(slot: Slot, log: logging.Logger, also: Sequence[Fact] = ()) -> None:
    """Tell what is new of a model; who cannot be told is a warning in the task's log."""
    from pipeline.monitoring.telling import tell

    if not slot.spec.notify:
        return
    try:
        troubles = tell(slot, also, send_by_airflow)
    except ModelrailError as error:
        troubles = [f"notify: {error}"]
    for trouble in troubles:
        log.warning(trouble)


def send_by_airflow(recipient: str, message: Message) -> None:
    """Tell a recipient: by an Airflow connection of that name, an e-mail address by the connection `smtp_default`."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    is_mail, is_address = "@" in recipient, "://" in recipient
    key = SMTP if is_mail else NAMED + recipient.upper().replace("-", "_").replace(".", "_")
    if is_address or key in os.environ:
        send(recipient, message)
        return
    try:
        found = Connection.get("smtp_default" if is_mail else recipient)
    except AirflowNotFoundException as error:
        name = "smtp_default" if is_mail else recipient
        raise InputError(f"found no Airflow connection {name!r}, and no {key}; expected one of them") from error
    if found.conn_type in ("http", "https"):
        headers = {"Authorization": f"Bearer {found.password}"} if found.password else None
        send_to_webhook(_url_of(found), message, headers)
    elif is_mail:
        _notify("smtp", _mail(found.conn_id, recipient, message))
    else:
        _notify(found.conn_type, NOTIFIERS.get(found.conn_type, ("", lambda *_: {}))[1](found, message))


def _notify(kind: str, arguments: Mapping[str, Any]) -> None:
    if kind not in NOTIFIERS:
        raise InputError(f"found a connection of the type {kind!r}; expected http, https, {', '.join(NOTIFIERS)}")
    module, _, name = NOTIFIERS[kind][0].rpartition(".")
    try:
        notifier = getattr(import_module(module), name)
    except ImportError as error:
        provider = module.split(".")[2]
        raise InputError(f"found no provider of {kind}; expected apache-airflow-providers-{provider}") from error
    try:
        notifier(**arguments).notify({})
    except Exception as error:  # whatever it raises, the task has done its work
        raise TransientError(f"{kind}: found {type(error).__name__}; expected that it is sent") from error


def _mail(connection: str, to: str, message: Message) -> dict[str, Any]:
    body = f"<pre>{html.escape(message.text)}</pre>"
    return {"smtp_conn_id": connection, "to": to, "subject": message.subject, "html_content": body}


def _url_of(found: Connection) -> str:
    host = found.host or ""
    address = host if "://" in host else f"{found.schema or found.conn_type}://{host}"
    port = f":{found.port}" if found.port else ""
    return f"{address.rstrip('/')}{port}{found.extra_dejson.get('path', '')}"
