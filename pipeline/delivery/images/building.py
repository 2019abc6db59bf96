"""Container images built of ``docker/``, with the program that this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.errors import DeploymentError, InputError, TransientError
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
        Base image; by default the Dockerfile's own, a public Python. It is built by the digest that its tag has now,
        which stands in the image's labels: a tag is moved to another image every few weeks.
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
    named = Reference.parse(base or default_base(image))
    digest = _digest_now(named)
    # not by both tag and digest: not every program takes that
    pinned = replace(named, tag=None, digest=digest) if digest else named
    _run(build_command(image, str(reference), name, str(pinned), [*_labels(named, digest), *options]))
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


def default_base(image: Image) -> str:
    """Read the base image that a Dockerfile names."""
    (found,) = re.findall(
        r"^ARG BASE_IMAGE=(\S+)$", (CHECKOUT / f"docker/{image}.Dockerfile").read_text(), re.MULTILINE
    )
    return str(found)


def _digest_now(base: Reference) -> str | None:
    """Look up the digest that a tag has in its registry; None where only this machine may have the image."""
    try:
        return base.digest or _digest_in_registry(base)
    except (DeploymentError, TransientError):  # the program that builds says so, unless it has the image
        return None


def _labels(base: Reference, digest: str | None) -> list[str]:
    """Write OCI's labels of a base image, by which it is seen when an image's base has been mended since."""
    if digest is None:
        return []
    facts = {"name": str(replace(base, digest=None)), "digest": digest}
    return [
        word for name, fact in facts.items() for word in ("--label", f"org.opencontainers.image.base.{name}={fact}")
    ]


def _first_program() -> Program:
    for name in BUILDERS:
        if shutil.which(name):
            return name
    raise InputError(f"found none of {', '.join(BUILDERS)} on this machine; expected one of them (--with)")


def _pushed(reference: Reference) -> str:
    digest = _digest_in_registry(reference)
    if digest is None:
        raise DeploymentError(f"{reference}: found no such image after it was pushed; expected it in the registry")
    return f"{reference.host}/{reference.name}@{digest}"


def _digest_in_registry(reference: Reference) -> str | None:
    from pipeline.delivery.images.registry import Registry, digest_of

    with closing(Registry(reference.host)) as registry:
        found = registry.manifest(reference.name, reference.version)
    return found and digest_of(found[0])


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, cwd=CHECKOUT, check=False, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    except FileNotFoundError as error:
        raise InputError(f"found no program '{command[0]}' on this machine; expected it (--with)") from error
    if done.returncode:
        raise DeploymentError(
            f"{' '.join(command)}: found exit code {done.returncode}; expected 0: what it says stands above"
        )
