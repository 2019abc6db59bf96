"""The key ``notify``: what happened → who is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Happened = Literal[
    "failed", "released", "refused", "aborted", "rolled_back", "held", "resumed",
    "failures", "refusals", "quality", "drift", "recovered", "*",
]  # fmt: skip
"""What happens to a run, a release or an environment; what a look finds, and that it is over; anything."""
Recipient = Annotated[
    str, Field(pattern=r"^(https?://[^\s@]+|[^\s@:/,;<>]+@[A-Za-z0-9.-]+|[A-Za-z0-9_][A-Za-z0-9_.-]{0,199})$")
]
"""The address of a webhook, without a secret; an e-mail address; or the name of a connection, which may have one."""
Notify = dict[Happened, Annotated[list[Recipient], Field(min_length=1)]]
