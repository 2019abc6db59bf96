"""How somebody is told: by a webhook, by e-mail, or by what a name stands for."""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pipeline.errors import InputError, TransientError, redact
from pipeline.messages import one_line
from pipeline.monitoring.news import Fact

SMTP, NAMED = "MODELRAIL_SMTP", "MODELRAIL_NOTIFY_"
_TIMEOUT_S = 10
_REFUSED = 300


@dataclass(frozen=True)
class Message:
    """What is told of a fact.

    Attributes
    ----------
    id : str
        The same, however often it is sent, so that who gets it twice can tell.
    link : str
        A page that shows more; empty if there is none.
    """

    id: str
    model: str
    environment: str
    fact: Fact
    link: str = ""

    @property
    def subject(self) -> str:
        """One line."""
        return one_line(redact(f"[{self.fact.happened}] {self.fact.title}"))

    @property
    def text(self) -> str:
        """All that there is to say."""
        return redact("\n".join([self.subject, *self.fact.lines, *([self.link] if self.link else [])]))

    def to_json(self) -> dict[str, Any]:
        """Write the document that a webhook gets; chat programs show its ``text``."""
        return {
            "id": self.id,
            "text": self.text,
            "happened": self.fact.happened,
            "model": self.model,
            "environment": self.environment,
            "at": datetime.fromtimestamp(self.fact.at, UTC).isoformat(timespec="seconds"),
            "link": self.link,
        }


Send = Callable[[str, Message], None]
"""Tell a recipient, or raise an error."""


def send(recipient: str, message: Message) -> None:
    """Tell a recipient where there is no Airflow: by its address, or by what ``MODELRAIL_NOTIFY_NAME`` says.

    Raises
    ------
    InputError
        If a name or e-mail has no address to be sent by.
    TransientError
        If it cannot be sent now.
    """
    if "://" in recipient:
        send_to_webhook(recipient, message)
    elif "@" in recipient:
        send_by_mail(_address(SMTP, recipient, "smtp://user:password@host:587"), [recipient], message)
    else:
        key = NAMED + recipient.upper().replace("-", "_").replace(".", "_")
        address = _address(key, recipient, "the address of a webhook, or smtp://…?to=ops@example.com")
        _SCHEMES.get(urlsplit(address).scheme, _refuse_scheme)(address, message)


def send_to_webhook(address: str, message: Message, headers: Mapping[str, str] | None = None) -> None:
    """Post a message; the address may be a secret, so no error names it."""
    import httpx  # most commands tell nobody

    try:
        answer = httpx.post(address, json=message.to_json(), headers=headers, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransientError(f"found no answer from the webhook ({type(error).__name__}); expected one") from error
    if answer.status_code >= _REFUSED:
        raise TransientError(f"found the status {answer.status_code} from the webhook; expected 200")


def send_by_mail(server: str, to: list[str], message: Message) -> None:
    """Send an e-mail by a server such as ``smtp://user:password@host:587``; encrypted wherever it has a password."""
    place = urlsplit(server)
    mail = EmailMessage()
    mail["Subject"], mail["To"] = message.subject, ", ".join(to)
    mail["From"] = parse_qs(place.query).get("from", [f"modelrail@{place.hostname}"])[0]
    mail["Message-ID"] = f"<{message.id}@modelrail>"
    mail.set_content(message.text)
    try:
        with _connect(place) as connection:
            connection.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        raise TransientError(f"found no mail server that takes it ({type(error).__name__}); expected one") from error


def _connect(place: SplitResult) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if place.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(place.hostname or "", place.port or 465, timeout=_TIMEOUT_S,
                                                    context=context)  # fmt: skip
    else:
        connection = smtplib.SMTP(place.hostname or "", place.port or 25, timeout=_TIMEOUT_S)
    if place.scheme != "smtps" and (place.password or connection.has_extn("starttls")):
        connection.starttls(context=context)
    if place.password:
        connection.login(unquote(place.username or ""), unquote(place.password))
    return connection


def _mail_to(address: str, message: Message) -> None:
    to = parse_qs(urlsplit(address).query).get("to", [])
    if not to:
        raise InputError("found a mail server without anybody to send to; expected ?to=ops@example.com behind it")
    send_by_mail(address, to, message)


def _refuse_scheme(address: str, _: Message) -> None:
    found = urlsplit(address).scheme
    raise InputError(f"found an address that begins with {found!r}; expected one of {', '.join(_SCHEMES)}")


_SCHEMES: Mapping[str, Callable[[str, Message], None]] = {
    "https": send_to_webhook,
    "http": send_to_webhook,
    "smtp": _mail_to,
    "smtps": _mail_to,
}


def _address(key: str, recipient: str, expected: str) -> str:
    if address := os.environ.get(key):
        return address
    raise InputError(f"{recipient}: found no {key}; expected {expected} in it")
