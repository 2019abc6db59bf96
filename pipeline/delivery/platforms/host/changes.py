"""The commands that make what is on a host what it should be; pure.

Each is a script for the host's ``sh`` that may be repeated at any time: folders are made aside and then named, links
are exchanged by a rename, and one ``flock`` lets one change at a time through. ``FOLDER/MODEL/`` holds

================  ===========================================================================
``releases/``     a folder for each release, named by its version and its content
``runtimes/``     a folder for each version of the server: its code, and its virtual environment
``current``       link to the release that is live
``runtime``       link to the runtime that serves it
``owner``         model and environment, so that two of like names do not meet
``settings.env``  the server's own settings, yours to write
================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pipeline.delivery.platforms.host.commands import REFUSED, UNIT_FOLDERS, Command, quoted, sudo_of, systemctl_of
from pipeline.delivery.platforms.host.facts import Facts, Wanted, digests_of
from pipeline.delivery.platforms.host.systemd_units import Installation

Way = Literal["restart", "rebind", "reload", "nothing"]


def steps(installed: Installation, wanted: Wanted, facts: Facts, release: Path, runtime: Path) -> Iterator[Command]:
    """Yield the commands that make what is there what it should be, in their order; none if it is.

    Parameters
    ----------
    release, runtime : Path
        Folders with what the host may lack.
    """
    if wanted.runtime not in facts.runtimes:
        yield _make_runtime(installed, wanted.runtime, runtime)
    if wanted.release not in facts.releases:
        yield _copy_release(installed, wanted.release, release)
    if facts.units != digests_of(wanted.units):
        yield _install_units(installed, wanted.units)
    way = _way(installed, wanted, facts)
    if way != "nothing" or facts.owner != installed.owner:
        yield _switch(installed, wanted, way)


def remove(installed: Installation) -> Command:
    """End the server and remove what it had, but for its settings."""
    folder, sudo, systemctl = UNIT_FOLDERS[installed.settings.units], sudo_of(installed), systemctl_of(installed)
    script = f"""\
set -u
{systemctl} disable --now {installed.socket} {installed.service}
{sudo}rm -f {folder}/{installed.socket} {folder}/{installed.service}
{systemctl} daemon-reload
if cd {quoted(installed.home)} 2>/dev/null; then rm -rf releases runtimes current runtime owner; fi
"""
    return Command("remove the server", script)


def _way(installed: Installation, wanted: Wanted, facts: Facts) -> Way:
    """Say how the server comes to the release: by a reload, or anew where that is not enough."""
    digests = digests_of(wanted.units)
    if facts.units.get(installed.socket, digests[installed.socket]) != digests[installed.socket]:
        return "rebind"
    if facts.units != digests or facts.runtime != wanted.runtime or facts.active != "active":
        return "restart"
    if facts.live.get("bundle") == facts.current == wanted.release:
        return "nothing"
    return "restart" if wanted.strategy == "recreate" else "reload"


def _make_runtime(installed: Installation, name: str, content: Path) -> Command:
    python = quoted(installed.settings.python)
    wrong = f"found %s; expected Python 3.11 or newer (deploy.server.python: {installed.settings.python})"
    script = f"""\
{_draft(installed, "runtimes")}
tar -x -C "$draft"
{python} -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {{
  printf {quoted(wrong)} "$({python} --version 2>&1)" >&2; exit 1; }}
{python} -m venv "$draft"
for each in "$draft"/requirements-*.txt; do
  "$draft/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \\
    --require-hashes -r "$each" >&2
done
"$draft/bin/python" -m compileall -q "$draft/app"
{_publish(f"runtimes/{name}")}
"""
    return Command("make the server's environment", script, content)


def _copy_release(installed: Installation, name: str, content: Path) -> Command:
    script = f"""\
{_draft(installed, "releases")}
tar -x -C "$draft"
{_publish(f"releases/{name}")}
"""
    return Command("copy the release", script, content)


def _install_units(installed: Installation, texts: Mapping[str, str]) -> Command:
    folder, sudo = UNIT_FOLDERS[installed.settings.units], sudo_of(installed)
    lines = [
        f"printf '%s' {quoted(text)} | {sudo}install -m 644 /dev/stdin {folder}/{name}" for name, text in texts.items()
    ]
    script = "\n".join(["set -eu", f"{sudo}mkdir -p {folder}", *lines, f"{systemctl_of(installed)} daemon-reload", ""])
    return Command("install the units", script)


def _switch(installed: Installation, wanted: Wanted, way: Way) -> Command:
    """Exchange the links and let the server follow; if it refuses, both are as they were."""
    systemctl, keep, follow = systemctl_of(installed), installed.settings.keep_releases, _follow(installed, way)
    script = f"""\
set -eu
cd {quoted(installed.home)}
exec 9> lock
flock -w 300 9
link() {{ ln -sfn "$1" ".$2.new" && mv -T ".$2.new" "$2"; }}
release=$(readlink current || true)
runtime=$(readlink runtime || true)
printf '%s' {quoted(installed.owner)} > owner
touch releases/{wanted.release}
link releases/{wanted.release} current
link runtimes/{wanted.runtime} runtime
if {follow}; then
  ls -1td releases/*/ | tail -n +{keep + 1} | while read -r each; do
    if [ "${{each%/}}" != releases/{wanted.release} ]; then rm -rf "$each"; fi
  done
  for each in runtimes/*/; do
    if [ "${{each%/}}" != runtimes/{wanted.runtime} ] && [ "${{each%/}}" != "$runtime" ]; then rm -rf "$each"; fi
  done
  exit 0
fi
{_log(installed)} >&2 || true
if [ -n "$release" ] && [ -n "$runtime" ] && [ -d "$release" ] && [ -d "$runtime" ]; then
  link "$release" current
  link "$runtime" runtime
  {systemctl} reset-failed {installed.service} || true
  {systemctl} is-active --quiet {installed.service} || {systemctl} start {installed.service}
  exit {REFUSED}
fi
{systemctl} stop {installed.service}
exit 1
"""
    return Command(f"{way} the server", script)


def _follow(installed: Installation, way: Way) -> str:
    """Return the command by which the server follows the links; on a restart, who connects waits in the socket."""
    systemctl = systemctl_of(installed)
    if way == "nothing":
        return "true"
    if way == "reload":
        return f"{systemctl} reload {installed.service}"
    ends = f"{systemctl} stop {installed.service} {installed.socket}; " if way == "rebind" else ""
    return (
        f"{{ {ends}{systemctl} reset-failed {installed.service} 2>/dev/null || true; }}"
        f" && {systemctl} enable --quiet {installed.socket} {installed.service}"
        f" && {systemctl} start {installed.socket} && {systemctl} restart {installed.service}"
    )


def _draft(installed: Installation, folder: str) -> str:
    """Begin a folder aside; it is removed if it does not get its name."""
    return f"""\
set -eu
umask 022
mkdir -p {quoted(installed.home)}/{folder}
cd {quoted(installed.home)}
draft=$(mktemp -d "$PWD/{folder}/.draft.XXXXXX")
trap 'rm -rf "$draft"' EXIT
chmod 755 "$draft\""""


def _publish(target: str) -> str:
    return f'if ! mv -T "$draft" {target} 2>/dev/null; then [ -d {target} ]; fi'


def _log(installed: Installation) -> str:
    """Show what the server said last, where the SSH user may read it."""
    user = "--user " if installed.settings.units == "user" else ""
    return (
        f"{sudo_of(installed)}journalctl {user}--unit {installed.service} --lines 5 --output cat --no-pager 2>/dev/null"
    )
