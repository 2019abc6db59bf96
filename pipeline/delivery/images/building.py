"""Container images built of ``docker/``, with the program that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import DeploymentError, InputError
from pipeline.home import CHECKOUT
from pipeline.spec.image_names import Reference, is_plain

Image = Literal["serving", "pipeline"]
Program = Literal["docker", "podman", "buildah"]


@dataclass(frozen=True)
class Builder:
    """How a program builds and pushes.

    Attributes
    ----------
    build : tuple of str
        Command that builds, with what makes its result the same each time.
    plain : tuple of str
        What lets it push to a registry without TLS.
    """

    build: tuple[str, ...]
    plain: tuple[str, ...] = ()


BUILDERS: Mapping[Program, Builder] = {
    "buildah": Builder(("buildah", "build", "--timestamp", "0", "--layers"), ("--tls-verify=false",)),
    "podman": Builder(("podman", "build", "--timestamp", "0", "--format", "oci"), ("--tls-verify=false",)),
    "docker": Builder(("docker", "build", "--build-arg", "SOURCE_DATE_EPOCH=0")),
}
"""The first that is there is taken: those that need no daemon come first."""


def build(
    image: Image,
    tag: str,
    program: Program | None = None,
    base: str | None = None,
    *,
    push: bool = False,
    options: Sequence[str] = (),
) -> str:
    """Build an image and, if wanted, push it; return its name, with its digest once it is pushed.

    Parameters
    ----------
    program : str, optional
        By default the first that is there.
    base : str, optional
        Base image; by default the Dockerfile's own, a public Python.
    options : sequence of str
        Further arguments of the program's build.

    Raises
    ------
    InputError
        If the program is not there.
    DeploymentError
        If it fails; what it says is printed as it comes.
    """
    name, reference = program or _first_program(), Reference.parse(tag)
    _run(build_command(image, str(reference), name, base, options))
    if not push:
        return str(reference)
    plain = BUILDERS[name].plain if is_plain(reference.host) else ()
    _run((name, "push", *plain, str(reference)))
    return _pushed(reference)


def build_command(
    image: Image, tag: str, program: Program, base: str | None = None, options: Sequence[str] = ()
) -> tuple[str, ...]:
    """Build the command that builds an image, to be run in the folder that has the Dockerfiles' folder."""
    chosen = ("--build-arg", f"BASE_IMAGE={base}") if base else ()
    plain = BUILDERS[program].plain if base and is_plain(Reference.parse(base).host) else ()
    return (
        *BUILDERS[program].build,
        *plain,
        *chosen,
        *options,
        "--file",
        f"docker/{image}.Dockerfile",
        "--tag",
        tag,
        ".",
    )


def _first_program() -> Program:
    for name in BUILDERS:
        if shutil.which(name):
            return name
    raise InputError(f"found none of {', '.join(BUILDERS)} on this machine; expected one of them (--with)")


def _pushed(reference: Reference) -> str:
    from pipeline.delivery.images.registry import Registry, digest_of

    with closing(Registry(reference.host)) as registry:
        found = registry.manifest(reference.name, reference.version)
    if found is None:
        raise DeploymentError(f"{reference}: found no such image after it was pushed; expected it in the registry")
    return f"{reference.host}/{reference.name}@{digest_of(found[0])}"


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, cwd=CHECKOUT, check=False, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    except FileNotFoundError as error:
        raise InputError(f"found no program '{command[0]}' on this machine; expected it (--with)") from error
    if done.returncode:
        raise DeploymentError(
            f"{' '.join(command)}: found exit code {done.returncode}; expected 0: what it says stands above"
        )
