"""The commands that are sent to a host with systemd, and what its answers mean; pure.

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

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.host.systemd_units import Place
from pipeline.spec.schema.server import Server

Way = Literal["restart", "rebind", "reload", "nothing"]
REFUSED = 3
"""Exit code of a switch whose release was refused; what was live is live again."""
_RELEASED = "release.json"
_UNIT_FOLDERS = {"system": "/etc/systemd/system", "user": '"${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"'}
_RUN_FOLDERS = {"system": "/run", "user": '"${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"'}


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


@dataclass(frozen=True)
class Wanted:
    """What should be on a host."""

    release: str
    runtime: str
    units: Mapping[str, str]
    strategy: str = "rolling"


@dataclass(frozen=True)
class Facts:
    """What is on a host.

    Attributes
    ----------
    current, runtime : str
        Names of the release and the runtime that the links lead to; empty if they lead nowhere.
    units : mapping
        Name of a unit → SHA-256 of its text.
    active : str
        The service's state, in systemd's words.
    live : mapping
        What the server says it answers with; empty if none runs.
    """

    owner: str = ""
    current: str = ""
    runtime: str = ""
    releases: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    active: str = "inactive"
    live: Mapping[str, Any] = field(default_factory=dict)


def ssh_arguments(settings: Server, script: str) -> tuple[str, ...]:
    """Return the command line that runs a script on a host; on this machine that is its ``sh``."""
    if settings.host == "localhost":
        return ("sh", "-c", script)
    port = ("-p", str(settings.ssh_port)) if settings.ssh_port else ()
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15")
    return ("ssh", *options, *port, "--", settings.host, f"sh -c {shlex.quote(script)}")


def look(place: Place) -> Command:
    """Look at what is there; `read_facts` reads the answer."""
    run, folder = _RUN_FOLDERS[place.settings.units], _UNIT_FOLDERS[place.settings.units]
    script = f"""\
say() {{ printf '%s\\t%s\\n' "$1" "$2"; }}
if cd {_q(place.home)} 2>/dev/null; then
  say owner "$(cat owner 2>/dev/null)"
  say current "$(readlink current)"
  say runtime "$(readlink runtime)"
  for each in releases/*/{_RELEASED}; do if [ -e "$each" ]; then say release "$each"; fi; done
  for each in runtimes/*/pyvenv.cfg; do if [ -e "$each" ]; then say made "$each"; fi; done
fi
for each in {place.socket} {place.service}; do
  if [ -e {folder}/"$each" ]; then say unit "$each $(sha256sum < {folder}/"$each")"; fi
done
say active "$({_systemctl(place)} is-active {place.service} 2>/dev/null)"
say live "$(cat {run}/{place.name}/live.json 2>/dev/null)"
"""
    return Command("look at what is there", script)


def read_facts(answer: str) -> Facts:
    """Read what `look` gave."""
    said: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, _, value = line.partition("\t")
        said.setdefault(name, []).append(value)

    def one(name: str) -> str:
        return said.get(name, [""])[0]

    return Facts(
        owner=one("owner"),
        current=one("current").rpartition("/")[2],
        runtime=one("runtime").rpartition("/")[2],
        releases=tuple(each.split("/")[1] for each in said.get("release", ())),
        runtimes=tuple(each.split("/")[1] for each in said.get("made", ())),
        units={name: digest for name, digest, *_ in (each.split() for each in said.get("unit", ()))},
        active=one("active") or "unknown",
        live=json.loads(one("live") or "{}"),
    )


def steps(place: Place, wanted: Wanted, facts: Facts, release: Path, runtime: Path) -> Iterator[Command]:
    """Yield the commands that make what is there what it should be, in their order; none if it is.

    Parameters
    ----------
    release, runtime : Path
        Folders with what the host may lack.
    """
    if wanted.runtime not in facts.runtimes:
        yield _make_runtime(place, wanted.runtime, runtime)
    if wanted.release not in facts.releases:
        yield _copy_release(place, wanted.release, release)
    if facts.units != _digests(wanted.units):
        yield _install_units(place, wanted.units)
    way = _way(place, wanted, facts)
    if way != "nothing" or facts.owner != place.owner:
        yield _switch(place, wanted, way)


def differences(place: Place, wanted: Wanted, facts: Facts, version: str) -> Iterator[Difference]:
    """Say what a deploy would change."""
    host, digests = place.settings.host, _digests(wanted.units)
    for name in sorted({*digests, *facts.units}):
        if digests.get(name) != facts.units.get(name):
            found = "another text" if name in facts.units else None
            yield Difference(f"{host}: {name}", "", found, "the text that 'modelrail manifests' prints")
    links = (("current", facts.current, wanted.release), ("runtime", facts.runtime, wanted.runtime))
    for name, found_link, expected in links:
        if found_link != expected:
            yield Difference(f"{host}: {place.home}/{name}", "", found_link or None, expected)
    if facts.active != "active":
        yield Difference(f"{host}: {place.service}", "state", facts.active, "active")
    elif facts.live.get("version") != version:
        yield Difference(f"{host}: {place.service}", "version", facts.live.get("version"), version)


def remove(place: Place) -> Command:
    """End the server and remove what it had, but for its settings."""
    folder, sudo, systemctl = _UNIT_FOLDERS[place.settings.units], _sudo(place), _systemctl(place)
    script = f"""\
set -u
{systemctl} disable --now {place.socket} {place.service}
{sudo}rm -f {folder}/{place.socket} {folder}/{place.service}
{systemctl} daemon-reload
cd {_q(place.home)} && rm -rf releases runtimes current runtime owner
"""
    return Command("remove the server", script)


def ask(place: Place, scheme: str, path: str) -> Command:
    """Ask the server from the host itself; headers and body come by standard input, which no process list shows."""
    url = f"{scheme}://{place.loopback}{path}"
    # The certificate names the host that callers know, not its loopback, which nobody else can listen on.
    program = f"""\
import http.client, json, ssl, sys, urllib.error, urllib.request
given = json.load(sys.stdin)
question = urllib.request.Request({url!r}, given["body"].encode(), given["headers"])
try:
    answer = urllib.request.urlopen(question, timeout=given["timeout_s"], context=ssl._create_unverified_context())
except urllib.error.HTTPError as error:
    answer = error
except (OSError, http.client.HTTPException) as error:
    sys.exit(str(error))
print(json.dumps([answer.status, answer.read().decode(errors="replace")]))
"""
    return Command("ask the server", f"{_q(place.home)}/runtime/bin/python -I -c {_q(program)}")


def _way(place: Place, wanted: Wanted, facts: Facts) -> Way:
    """Say how the server comes to the release: by a reload, or anew where that is not enough."""
    digests = _digests(wanted.units)
    if facts.units.get(place.socket, digests[place.socket]) != digests[place.socket]:
        return "rebind"
    if facts.units != digests or facts.runtime != wanted.runtime or facts.active != "active":
        return "restart"
    if facts.live.get("bundle") == facts.current == wanted.release:
        return "nothing"
    return "restart" if wanted.strategy == "recreate" else "reload"


def _make_runtime(place: Place, name: str, content: Path) -> Command:
    python = _q(place.settings.python)
    wrong = f"found %s; expected Python 3.11 or newer (deploy.server.python: {place.settings.python})"
    script = f"""\
{_draft(place, "runtimes")}
tar -x -C "$draft"
{python} -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {{
  printf {_q(wrong)} "$({python} --version 2>&1)" >&2; exit 1; }}
{python} -m venv "$draft"
for each in "$draft"/requirements-*.txt; do
  "$draft/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \\
    --require-hashes -r "$each" >&2
done
"$draft/bin/python" -m compileall -q "$draft/app"
{_publish(f"runtimes/{name}")}
"""
    return Command("make the server's environment", script, content)


def _copy_release(place: Place, name: str, content: Path) -> Command:
    script = f"""\
{_draft(place, "releases")}
tar -x -C "$draft"
{_publish(f"releases/{name}")}
"""
    return Command("copy the release", script, content)


def _install_units(place: Place, texts: Mapping[str, str]) -> Command:
    folder, sudo = _UNIT_FOLDERS[place.settings.units], _sudo(place)
    lines = [
        f"printf '%s' {_q(text)} | {sudo}install -m 644 /dev/stdin {folder}/{name}" for name, text in texts.items()
    ]
    script = "\n".join(["set -eu", f"{sudo}mkdir -p {folder}", *lines, f"{_systemctl(place)} daemon-reload", ""])
    return Command("install the units", script)


def _switch(place: Place, wanted: Wanted, way: Way) -> Command:
    """Exchange the links and let the server follow; if it refuses, both are as they were."""
    systemctl, keep, follow = _systemctl(place), place.settings.keep_releases, _follow(place, way)
    script = f"""\
set -eu
cd {_q(place.home)}
exec 9> lock
flock -w 300 9
link() {{ ln -sfn "$1" ".$2.new" && mv -T ".$2.new" "$2"; }}
release=$(readlink current || true)
runtime=$(readlink runtime || true)
printf '%s' {_q(place.owner)} > owner
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
{_log(place)} >&2 || true
if [ -n "$release" ] && [ -n "$runtime" ] && [ -d "$release" ] && [ -d "$runtime" ]; then
  link "$release" current
  link "$runtime" runtime
  {systemctl} reset-failed {place.service} || true
  {systemctl} is-active --quiet {place.service} || {systemctl} start {place.service}
  exit {REFUSED}
fi
{systemctl} stop {place.service}
exit 1
"""
    return Command(f"{way} the server", script)


def _follow(place: Place, way: Way) -> str:
    """Return the command by which the server follows the links; on a restart, who connects waits in the socket."""
    systemctl = _systemctl(place)
    if way == "nothing":
        return "true"
    if way == "reload":
        return f"{systemctl} reload {place.service}"
    ends = f"{systemctl} stop {place.service} {place.socket}; " if way == "rebind" else ""
    return (
        f"{{ {ends}{systemctl} reset-failed {place.service} 2>/dev/null || true; }}"
        f" && {systemctl} enable --quiet {place.socket} {place.service}"
        f" && {systemctl} start {place.socket} && {systemctl} restart {place.service}"
    )


def _draft(place: Place, folder: str) -> str:
    """Begin a folder aside; it is removed if it does not get its name."""
    return f"""\
set -eu
umask 022
mkdir -p {_q(place.home)}/{folder}
cd {_q(place.home)}
draft=$(mktemp -d "$PWD/{folder}/.draft.XXXXXX")
trap 'rm -rf "$draft"' EXIT
chmod 755 "$draft\""""


def _publish(target: str) -> str:
    return f'if ! mv -T "$draft" {target} 2>/dev/null; then [ -d {target} ]; fi'


def _log(place: Place) -> str:
    """Show what the server said last, where the SSH user may read it."""
    user = "--user " if place.settings.units == "user" else ""
    return f"{_sudo(place)}journalctl {user}--unit {place.service} --lines 5 --output cat --no-pager 2>/dev/null"


def _sudo(place: Place) -> str:
    return "sudo -n " if place.settings.sudo else ""


def _systemctl(place: Place) -> str:
    if place.settings.units == "user":
        return 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" systemctl --user'
    return f"{_sudo(place)}systemctl"


def _digests(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _q(text: str) -> str:
    return shlex.quote(text)
