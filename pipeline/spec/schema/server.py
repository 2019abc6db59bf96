"""The section ``deploy.server``: a host that serves under systemd, without a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipeline.spec.schema.section import Section

_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"


class Server(Section):
    """A host with systemd, reached by SSH."""

    host: str = Field(pattern=r"^([A-Za-z_][\w.-]*@)?[A-Za-z0-9][A-Za-z0-9.:_-]*$")
    """`HOST` or `USER@HOST`, also a name of your SSH configuration; `localhost` is this machine, without SSH."""
    ssh_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of its SSH server; by default what your SSH configuration says."""
    folder: str = Field("/srv/modelrail", pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$")
    """Absolute path of a folder on the host that the SSH user may write: each model gets its own in it."""
    units: Literal["system", "user"] = "system"
    """Whose systemd: the host's, or that of the SSH user, which must linger (`loginctl enable-linger`)."""
    sudo: bool = False
    """With `units: system`: call `systemctl` and write units by `sudo`, without a password."""
    user: str | None = Field(None, pattern=_NAME)
    """With `units: system`: user that the server runs as; by default one of its own that exists while it runs."""
    listen: str = Field("127.0.0.1", pattern=r"^[0-9A-Fa-f.:]+$")
    """Address that it listens on: `0.0.0.0` or `::` for all; by default the host's loopback, for a proxy there."""
    python: str = Field("python3", pattern=r"^[A-Za-z0-9_./-]+$")
    """Python of the host, 3.11 or newer and with `venv`, of which the server's environment is made."""
    extras: list[Literal["images"]] = []
    """What the model needs besides the server's own requirements: `images` for models of images."""
    keep_releases: PositiveInt = 5
    """Releases that stay on the host, so that a rollback copies nothing."""
