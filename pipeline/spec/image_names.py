"""The names of container images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pipeline.errors import InputError

DOCKER_HUB = "docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"
ELSEWHERE = "MODELRAIL_REGISTRIES"
"""Variable that says where registries are spoken to, if not at their name: ``NAME=URL``, divided by commas."""
_REFERENCE = re.compile(
    r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    """The name of an image: ``HOST/NAME[:TAG][@DIGEST]``."""

    host: str
    name: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as Docker does: without a host it is Docker Hub's.

        Raises
        ------
        InputError
            If it is none.
        """
        first, slash, _ = text.partition("/")
        if not slash or not (first == "localhost" or "." in first or ":" in first):
            text = f"{DOCKER_HUB}/{text if slash else f'library/{text}'}"
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise InputError(f"found the image '{text}'; expected HOST/NAME:TAG in lower case, or HOST/NAME@sha256:…")
        return cls(**match.groupdict())

    @property
    def version(self) -> str:
        """What a manifest is asked for by: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def address_of(host: str) -> str:
    """Write the URL of a registry, from the name that it has in names of images.

    That is the one that ``MODELRAIL_REGISTRIES`` says: a registry may have another address here than where its images
    are run (kind's ``localhost:5001``, say, which from a pod is the pod itself).
    """
    said = dict(each.strip().partition("=")[::2] for each in os.environ.get(ELSEWHERE, "").split(","))
    if url := said.get(host):
        return url.rstrip("/")
    return f"{'http' if is_plain(host) else 'https'}://{_DOCKER_HUB_API if host == DOCKER_HUB else host}"


def is_plain(host: str) -> bool:
    """Tell whether a registry is spoken to without TLS.

    As with Docker, that is one on this machine, and what is named so: by ``MODELRAIL_PLAIN_REGISTRIES``, divided by
    commas.
    """
    named = os.environ.get("MODELRAIL_PLAIN_REGISTRIES", "").split(",")
    return host in named or bool(re.fullmatch(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", host))
