"""Runs commands on a host: by SSH, or on this machine."""

from __future__ import annotations

import shlex
import subprocess
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from pipeline.delivery.platforms.host.commands import REFUSED, Command
from pipeline.errors import DeploymentError, TransientError
from pipeline.spec.schema.deploy import Server

LONGEST_S = 900.0
"""Longest time that one command may take; most of it is for installing what the server needs."""
_UNREACHED = 255
"""Exit code of ``ssh`` where the host's own command did not end."""
_FINAL = ("Permission denied", "Host key verification failed", "Could not resolve hostname")
"""What ``ssh`` says where trying again does not help."""


class RefusedError(DeploymentError):
    """The server refused the release; what was live is live."""


def run(settings: Server, command: Command, given: bytes = b"") -> str:
    """Run a command on the host; return what it printed.

    Parameters
    ----------
    given : bytes
        Its standard input, unless the command brings a folder.

    Raises
    ------
    RefusedError
        If the server refused a release.
    TransientError
        If the host does not answer.
    DeploymentError
        If the command fails.
    """
    where = f"{settings.host}: {command.aim}"
    with ExitStack() as stack:
        source = stack.enter_context(tempfile.TemporaryFile())
        _pack(command.content, source) if command.content else source.write(given)
        source.seek(0)
        try:
            done = subprocess.run(
                _arguments(settings, command.script),
                stdin=source,
                capture_output=True,
                timeout=LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{where}: found no end after {LONGEST_S:g} s; expected it sooner") from error
        except FileNotFoundError as error:
            raise DeploymentError(f"{where}: found no '{error.filename}'; expected OpenSSH's client here") from error
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    raise _explain(settings, where, done.returncode, done.stderr.decode(errors="replace").strip()[-2000:])


def _arguments(settings: Server, script: str) -> tuple[str, ...]:
    """Return the command line that runs a script on a host; on this machine that is its ``sh``."""
    if settings.host == "localhost":
        return ("sh", "-c", script)
    port = ("-p", str(settings.ssh_port)) if settings.ssh_port else ()
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15")
    return ("ssh", *options, *port, "--", settings.host, f"sh -c {shlex.quote(script)}")


def _pack(folder: Path, target: IO[bytes]) -> None:
    with tarfile.open(fileobj=target, mode="w") as archive:
        for each in sorted(folder.iterdir()):
            archive.add(each, each.name, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave owners out, so that files belong to whoever unpacks them; let the server's own user read them."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def _explain(settings: Server, where: str, code: int, said: str) -> Exception:
    if code == REFUSED:
        return RefusedError(f"{where}: {said or 'found the release refused'}")
    if code == _UNREACHED and settings.host != "localhost":
        kind = DeploymentError if any(each in said for each in _FINAL) else TransientError
        return kind(f"{where}: found {said or 'no answer'}; expected to reach it as 'ssh {settings.host}' does")
    return DeploymentError(f"{where}: found exit code {code}: {said or 'nothing said'}; expected 0 (deploy.server)")
