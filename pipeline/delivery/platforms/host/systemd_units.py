"""The systemd units of a model on a host; pure.

A ``.socket`` unit holds the port, so that it stays open whatever becomes of the server, and a ``.service`` unit runs
`pipeline.serving.process.unit` in a sandbox. Both name links (``current``, ``runtime``): a release changes no unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.errors import InputError
from pipeline.spec.object_names import unit_name
from pipeline.spec.quantities import amount_of
from pipeline.spec.schema.deploy import Server
from pipeline.spec.schema.spec import Spec

_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0022
"""
_SYSTEM_ONLY = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
"""
_SERVICE = """\
[Unit]
Description={description}
Requires={name}.socket
After={name}.socket network.target
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart={home}/runtime/bin/python -P -m pipeline.serving.process.unit {home}/current --workers {workers}
ExecReload={home}/runtime/bin/python -P -m pipeline.serving.process.unit --reload
Environment=PYTHONPATH={home}/runtime/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EnvironmentFile=-{home}/settings.env
RuntimeDirectory={name}
Restart=on-failure
RestartSec=1
TimeoutStartSec=120
TimeoutStopSec=60
KillMode=mixed
{limits}{identity}{sandbox}
[Install]
WantedBy={target}
"""
_SOCKET = """\
[Unit]
Description={description} (socket)

[Socket]
ListenStream={listen}
Backlog=2048

[Install]
WantedBy=sockets.target
"""


@dataclass(frozen=True)
class Installation:
    """Where a model is on a host.

    Attributes
    ----------
    name : str
        Of its units, such as ``modelrail-flight-delay-prod``.
    home : str
        Its folder on the host.
    owner : str
        Whose it is: ``MODEL`` or ``MODEL#ENVIRONMENT``.
    """

    settings: Server
    name: str
    home: str
    owner: str
    port: int

    @property
    def service(self) -> str:
        """Name of the service."""
        return f"{self.name}.service"

    @property
    def socket(self) -> str:
        """Name of the socket."""
        return f"{self.name}.socket"

    @property
    def address(self) -> str:
        """Where callers reach it, without the scheme: the host, or on the host its loopback."""
        loopback = self.settings.listen.startswith("127.") or self.settings.listen == "::1"
        host = self.settings.host.rpartition("@")[2]
        shown = self.settings.listen if loopback or host == "localhost" else host
        return f"{_bracketed(shown)}:{self.port}"

    @property
    def loopback(self) -> str:
        """Where the host itself reaches it."""
        wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # of a user's spec
        return f"{_bracketed(wildcard.get(self.settings.listen, self.settings.listen))}:{self.port}"


def installation_of(
    spec: Spec, environment: str | None, name_of: Callable[[str, str | None], str] = unit_name
) -> Installation:
    """Return where a model is on its host.

    Parameters
    ----------
    name_of : callable
        Model and environment → name of the units.

    Raises
    ------
    InputError
        If the spec names no host.
    """
    settings = spec.deploy.server
    if settings is None:
        raise InputError("deploy.server: found nothing; expected {host: USER@HOST}")
    model = spec.model.name
    name = name_of(model, environment)
    owner = f"{model}#{environment}" if environment else model
    return Installation(settings, name, str(PurePosixPath(settings.folder, name)), owner, spec.deploy.port)


def units(spec: Spec, installed: Installation) -> Mapping[str, str]:
    """Return the units of a model: name of the file → its text."""
    user_units = installed.settings.units == "user"
    service = _SERVICE.format(
        description=_description(installed),
        name=installed.name,
        home=installed.home,
        workers=spec.deploy.workers,
        limits=_limits(spec),
        identity="" if user_units else _identity(installed.settings.user),
        sandbox=_SANDBOX.format(protect_home="read-only" if user_units else "yes")
        + ("" if user_units else _SYSTEM_ONLY),
        target="default.target" if user_units else "multi-user.target",
    )
    listen = f"{_bracketed(installed.settings.listen)}:{spec.deploy.port}"
    return {
        installed.socket: _SOCKET.format(description=_description(installed), listen=listen),
        installed.service: service,
    }


def to_text(texts: Mapping[str, str]) -> str:
    """Write units as one text, each under its name."""
    return "\n".join(f"# {name}\n{text}" for name, text in texts.items())


def _description(installed: Installation) -> str:
    return f"Modelrail: {installed.owner}".replace("%", "%%")


def _identity(user: str | None) -> str:
    return f"User={user}\n" if user else "DynamicUser=yes\n"


def _limits(spec: Spec) -> str:
    limits = spec.deploy.resources.limits
    memory = f"MemoryMax={round(amount_of(limits.memory))}\n" if limits.memory else ""
    return memory + (f"CPUQuota={round(100 * amount_of(limits.cpu))}%\n" if limits.cpu else "")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
