"""Whether the registry will take the images of releases: asked before there is any."""

from __future__ import annotations

from contextlib import closing
from functools import partial

from pipeline.delivery.images.packaging import find_base
from pipeline.delivery.images.registry import Registry
from pipeline.errors import InputError
from pipeline.preflight import ask_all
from pipeline.spec.image_names import Reference
from pipeline.spec.object_names import name_of
from pipeline.spec.schema.spec import Spec


def require_registry(spec: Spec) -> None:
    """Ask for the serving image, and for the right to push next to it; nothing is stored.

    Raises
    ------
    InputError
        If the spec names no image.
    DeploymentError
        If there is no such image, or no right to push.
    TransientError
        If a registry does not answer.
    """
    images = spec.deploy.image
    if images is None:
        raise InputError("deploy.image: found nothing; expected {base: HOST/NAME:TAG, repository: HOST/NAME}")
    target = f"{images.repository}/{name_of(spec.model.name)}"
    ask_all([partial(_require_base, images.base), partial(_require_push, target)])


def _require_base(base: str) -> None:
    origin = Reference.parse(base)
    with closing(Registry(origin.host)) as registry:
        find_base(registry, origin, base)


def _require_push(repository: str) -> None:
    place = Reference.parse(repository)
    with closing(Registry(place.host)) as registry:
        registry.require_push(place.name)
