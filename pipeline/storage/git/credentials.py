"""A login for git: variables that say where it is, and that are good for a while.

They are handed to the one command that needs them, so that no other repository is shown them, and no process list,
for they are no arguments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputError, redact

Login = AbstractContextManager[Mapping[str, str]]
"""While it is open, git finds a login by these variables."""
Credentials = Callable[[], Login]
"""Opens the login of one repository."""
CredentialsProvider = Callable[[str, str], Login]
"""Name of a connection, address of a repository → its login."""

_COUNT = "GIT_CONFIG_COUNT"
_NAME, _PASSWORD = "MODELRAIL_GIT_NAME", "MODELRAIL_GIT_PASSWORD"
_HELPER = f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "${_NAME}" "${_PASSWORD}"; }}; f"""
"""What Git asks for a login (gitcredentials(7)): the login itself is in variables, not in this text."""


def no_credentials() -> Login:
    """Open no login: git has what the user's own configuration names."""
    return nullcontext({})


def without_login(address: str, credentials: Credentials = no_credentials) -> tuple[str, Credentials]:
    """Take the login out of a repository's address.

    Returns
    -------
    tuple
        The address that git is given, and what opens the login: the credentials, with what stood in the address.

    Raises
    ------
    InputError
        If the address is no URL.
    """
    shown, name, password = split_login(address)
    if name is None:
        return address, credentials
    parts = urlsplit(shown)
    return shown, _UrlLogin(f"{parts.scheme}://{parts.netloc}", name, password, credentials)


def split_login(address: str) -> tuple[str, str | None, str | None]:
    """Take an address by HTTP apart: the address without a login, its name and its password, as far as there are any.

    Raises
    ------
    InputError
        If the address is no URL.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f"found no URL in '{redact(address)}' ({error}); expected one (data.repository)") from error
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address, None, None
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return shown, unquote(parts.username or ""), None if parts.password is None else unquote(parts.password)


@dataclass(frozen=True)
class _UrlLogin:
    """Opens a login for one site, and another one beside it; a name without a password has Git look for that."""

    site: str
    name: str = field(repr=False)
    password: str | None = field(repr=False)
    beside: Credentials

    @contextmanager
    def __call__(self) -> Iterator[Mapping[str, str]]:
        with self.beside() as login:
            yield {**login, **self._secrets(), **_configure(self._settings(), login)}

    def _secrets(self) -> dict[str, str]:
        return {} if self.password is None else {_NAME: self.name, _PASSWORD: self.password}

    def _settings(self) -> list[tuple[str, str]]:
        if self.password is None:
            return [(f"credential.{self.site}.username", self.name)]
        key = f"credential.{self.site}.helper"
        return [(key, ""), (key, _HELPER)]  # an empty one takes back those before it, which would keep the login


def _configure(settings: Sequence[tuple[str, str]], login: Mapping[str, str]) -> dict[str, str]:
    """Build the variables that add settings of Git to those that are given by variables already."""
    begin = int(login.get(_COUNT) or os.environ.get(_COUNT) or 0)
    variables = {_COUNT: str(begin + len(settings))}
    for place, (key, value) in enumerate(settings, begin):
        variables |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
    return variables
