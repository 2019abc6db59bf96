"""What is on a host, how it is looked at, and how it differs from what should be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.host.commands import UNIT_FOLDERS, Command, quoted, systemctl_of
from pipeline.delivery.platforms.host.systemd_units import Installation

_RELEASED = "release.json"
_RUN_FOLDERS = {"system": "/run", "user": '"${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"'}


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


def look(installed: Installation) -> Command:
    """Look at what is there; `read_facts` reads the answer."""
    run, folder = _RUN_FOLDERS[installed.settings.units], UNIT_FOLDERS[installed.settings.units]
    script = f"""\
say() {{ printf '%s\\t%s\\n' "$1" "$2"; }}
if cd {quoted(installed.home)} 2>/dev/null; then
  say owner "$(cat owner 2>/dev/null)"
  say current "$(readlink current)"
  say runtime "$(readlink runtime)"
  for each in releases/*/{_RELEASED}; do if [ -e "$each" ]; then say release "$each"; fi; done
  for each in runtimes/*/pyvenv.cfg; do if [ -e "$each" ]; then say made "$each"; fi; done
fi
for each in {installed.socket} {installed.service}; do
  if [ -e {folder}/"$each" ]; then say unit "$each $(sha256sum < {folder}/"$each")"; fi
done
say active "$({systemctl_of(installed)} is-active {installed.service} 2>/dev/null)"
say live "$(cat {run}/{installed.name}/live.json 2>/dev/null)"
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


def differences(installed: Installation, wanted: Wanted, facts: Facts, version: str) -> Iterator[Difference]:
    """Say what a deploy would change."""
    host, digests = installed.settings.host, digests_of(wanted.units)
    for name in sorted({*digests, *facts.units}):
        if digests.get(name) != facts.units.get(name):
            found = "another text" if name in facts.units else None
            yield Difference(f"{host}: {name}", "", found, "the text that 'modelrail manifests' prints")
    links = (("current", facts.current, wanted.release), ("runtime", facts.runtime, wanted.runtime))
    for name, found_link, expected in links:
        if found_link != expected:
            yield Difference(f"{host}: {installed.home}/{name}", "", found_link or None, expected)
    if facts.active != "active":
        yield Difference(f"{host}: {installed.service}", "state", facts.active, "active")
    elif facts.live.get("version") != version:
        yield Difference(f"{host}: {installed.service}", "version", facts.live.get("version"), version)


def ask(installed: Installation, scheme: str, path: str) -> Command:
    """Ask the server from the host itself; headers and body come by standard input, which no process list shows."""
    url = f"{scheme}://{installed.loopback}{path}"
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
    return Command("ask the server", f"{quoted(installed.home)}/runtime/bin/python -I -c {quoted(program)}")


def digests_of(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each unit's text, as `look` has it."""
    return {name: sha256(text.encode()).hexdigest() for name, text in texts.items()}
