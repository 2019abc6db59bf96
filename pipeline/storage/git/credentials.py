"""A login for git: variables that say where it is, and that are good for a while.

They are handed to the one command that needs them, so that no other repository is shown them, and no process list,
for they are no arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

Login = AbstractContextManager[Mapping[str, str]]
"""While it is open, git finds a login by these variables."""
Credentials = Callable[[], Login]
"""Opens the login of one repository."""
CredentialsProvider = Callable[[str, str], Login]
"""Name of a connection, address of a repository → its login."""


def no_credentials() -> Login:
    """Open no login: git has what the user's own configuration names."""
    return nullcontext({})
