"""Alertmanager's configuration: pages and tickets go to one webhook each, and a worse alert silences a lesser one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PAGE, TICKET = "modelrail-page", "modelrail-ticket"


def configuration(models: Sequence[str], webhook: str) -> dict[str, Any]:
    """Build the configuration.

    Parameters
    ----------
    models : sequence of str
        Whose alerts are routed; others' stop at the root, which tells nobody.
    webhook : str
        Address that alerts are sent to; it is told the severity as the last part of the path.
    """
    named = f'model=~"{"|".join(models)}"'
    pages = {
        "receiver": PAGE,
        "matchers": ['severity="page"'],
        "group_wait": "10s",
        "repeat_interval": "1h",
    }
    return {
        "route": {
            "receiver": "nobody",
            "routes": [
                {
                    "receiver": TICKET,
                    "matchers": [named],
                    "group_by": ["model", "alertname"],
                    "group_wait": "1m",
                    "group_interval": "5m",
                    "repeat_interval": "1d",
                    "routes": [pages],
                }
            ],
        },
        "inhibit_rules": [
            _silence(['alertname="ModelrailAbsent"'], ['alertname!="ModelrailAbsent"'], ["model"]),
            _silence(['severity="page"'], ['severity="ticket"'], ["model", "alertname"]),
        ],
        "receivers": [
            {"name": "nobody"},
            *(
                {"name": name, "webhook_configs": [{"url": f"{webhook.rstrip('/')}/{severity}", "send_resolved": True}]}
                for name, severity in ((PAGE, "page"), (TICKET, "ticket"))
            ),
        ],
    }


def _silence(sources: Sequence[str], targets: Sequence[str], equal: Sequence[str]) -> dict[str, Any]:
    return {"source_matchers": [*sources], "target_matchers": [*targets], "equal": [*equal]}
