"""A command for a host: a script for its ``sh``, and how it is spelt there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.platforms.host.systemd_units import Installation

REFUSED = 3
"""Exit code of a switch whose release was refused; what was live is live again."""
UNIT_FOLDERS = {"system": "/etc/systemd/system", "user": '"${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"'}


@dataclass(frozen=True)
class Command:
    """One script for the host.

    Attributes
    ----------
    aim : str
        What it is for, in messages.
    content : Path or None
        A folder that is packed and sent to its standard input.
    """

    aim: str
    script: str
    content: Path | None = None


def sudo_of(installed: Installation) -> str:
    """Return what a command begins with that needs root."""
    return "sudo -n " if installed.settings.sudo else ""


def systemctl_of(installed: Installation) -> str:
    """Return the command that speaks to the systemd of the units: the host's, or the user's."""
    if installed.settings.units == "user":
        return 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" systemctl --user'
    return f"{sudo_of(installed)}systemctl"


def quoted(text: str) -> str:
    """Quote a text for the shell."""
    return shlex.quote(text)
