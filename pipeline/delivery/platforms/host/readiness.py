"""Whether a host will take a release: asked before there is one; nothing on it is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.delivery.platforms.host.commands import UNIT_FOLDERS, Command, quoted, systemctl_of
from pipeline.delivery.platforms.host.facts import Facts, digests_of
from pipeline.delivery.platforms.host.systemd_units import Installation

_LEAST_MIB = 512
"""Space that the server's environment takes with a release, and as much again while another takes its place."""

_STATES = ("active", "inactive", "activating", "deactivating", "reloading", "failed", "unknown", "maintenance")
"""What systemd answers where it answers."""


def inspect(installed: Installation, facts: Facts, texts: Mapping[str, str]) -> Command:
    """Look for what a deploy would lack; the answer has a line for each fault.

    Parameters
    ----------
    texts : mapping
        The units that should be there: name → text.
    """
    checks = [*_folder(installed), *_systemd(installed)]
    if facts.units != digests_of(texts):
        checks += _unit_folder(installed)
    if not facts.runtimes:
        checks += _python(installed)
    return Command("look for what a deploy needs", "\n".join([*checks, "exit 0", ""]))


def _folder(installed: Installation) -> Iterator[str]:
    yield f"there={quoted(installed.home)}"
    yield 'while [ ! -e "$there" ]; do there=$(dirname "$there"); done'
    found = f"found %s, which $(id -un) may not write, for {installed.home}"
    yield _unless('[ -w "$there" ]', f"{found}; expected a folder of that user's (deploy.server.folder)", '"$there"')
    free = '"$(df -Pm "$there" | awk \'NR == 2 {print $4}\')"'
    found = f"found %s MiB free for {installed.home}; expected at least {_LEAST_MIB} (deploy.server.folder)"
    yield _unless(f"[ {free} -ge {_LEAST_MIB} ]", found, free)


def _systemd(installed: Installation) -> Iterator[str]:
    yield f"state=$({systemctl_of(installed)} is-active {installed.service} 2>&1 | tail -n 1)"
    found = "found systemd to say: %s; expected it to obey this user (deploy.server.units, deploy.server.sudo)"
    yield f'case "$state" in {"|".join(_STATES)}) ;; *) printf "{found}\\n" "$state" ;; esac'


def _unit_folder(installed: Installation) -> Iterator[str]:
    if installed.settings.units == "system" and not installed.settings.sudo:
        folder, mend = UNIT_FOLDERS["system"], "root, or deploy.server.sudo: true, or deploy.server.units: user"
        yield _unless(f"[ -w {folder} ]", f"found that $(id -un) may not write {folder}; expected {mend}")


def _python(installed: Installation) -> Iterator[str]:
    python = quoted(installed.settings.python)
    found = f'"$({python} --version 2>&1 | head -n 1)"'
    expected = f"Python 3.11 or newer, with venv (deploy.server.python: {installed.settings.python})"
    test = f"{python} -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null"
    yield _unless(test, f"found %s; expected {expected}", found)


def _unless(test: str, fault: str, *values: str) -> str:
    """Write a line for the shell that prints a fault unless a test succeeds."""
    return f'{test} || printf "{fault}\\n" {" ".join(values)}'
