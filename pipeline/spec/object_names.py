"""Names of what platforms hold of a model: no two models, and no two pairs of model and environment, have the same.

A name that is plain already stays what it is. One that must be folded, cut or joined ambiguously ends in ``--`` and a
digest of what it stands for; no plain name has two dashes in a row. Models that differ in case alone are one name, as
they are for Git's tags: `modelrail check` refuses the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

from pipeline.spec.schema.deploy import Deploy

CANARY, BASELINE = "canary", "baseline"
ENOUGH = "enough"
"""What follows the model's name in that of Argo's template that waits for requests."""
TRACKS_OF: Mapping[str, tuple[str, ...]] = {
    "canary": (CANARY, BASELINE),
    "shadow": (CANARY,),
    "blue-green": (CANARY,),
}
"""Strategy → the tracks whose Deployments stand next to the stable one, under the model's name and theirs."""
_LONGEST = 40
_NO_ENVIRONMENT = "default"


def name_of(model: str) -> str:
    """Make the name of a model's objects on Kubernetes: lower case, with dashes."""
    return _plain(model.lower())


def former_name(model: str) -> str:
    """Name a model's objects as earlier versions did, which may still run."""
    return _fold(model)


def folder_of(model: str, environment: str | None) -> str:
    """Name the folder of the deployment repository that holds a model's objects in an environment."""
    return f"{_part_of(environment)}/{name_of(model)}"


def application_name(model: str, environment: str | None) -> str:
    """Name a model's Argo CD application in an environment.

    What stands before the first dash is the environment, so one with dashes needs a digest of both.
    """
    environment_part = _part_of(environment)
    joined = f"{environment_part}-{name_of(model)}"
    if "-" not in environment_part:
        return joined
    return f"{_fold(environment or '')[:20]}-{_fold(model)[:20]}--{_digest(f'{environment}/{model.lower()}')}"


def former_application_name(model: str, environment: str | None) -> str:
    """Name a model's application as earlier versions did, whose applications still follow their folders."""
    return f"{_fold(environment or _NO_ENVIRONMENT)}-{former_name(model)}"


def unit_name(model: str, environment: str | None) -> str:
    """Name a model's systemd units, and its folder, on a host.

    What follows the last dash is the environment, so one with dashes needs a digest of both, and so does a model with
    dashes in no environment.
    """
    joined = former_unit_name(model, environment)
    ambiguous = "-" in (environment or model)
    return f"{joined}--{_digest(f'{model}#{environment}')}" if ambiguous else joined


def former_unit_name(model: str, environment: str | None) -> str:
    """Name a model's units as earlier versions did, which may be on a host."""
    return "-".join(["modelrail", *(each for each in (model, environment) if each)])


def objects_of(model: str, deploy: Deploy) -> Iterator[tuple[str, str]]:
    """Yield kind and name of what a model has on a cluster and another one may want as well."""
    for kind in ("Deployment", "Service", "AnalysisTemplate"):
        yield kind, name_of(model)
    yield from further_objects(model, deploy)


def further_objects(model: str, deploy: Deploy) -> Iterator[tuple[str, str]]:
    """Yield kind and name of what a strategy makes next to the objects of the model's own name."""
    name, tracks = name_of(model), TRACKS_OF.get(deploy.strategy, ())
    for track in tracks:
        yield "Deployment", f"{name}-{track}"
        if deploy.gateway or deploy.strategy == "blue-green":
            yield "Service", f"{name}-{track}"
    if deploy.strategy == "argo-rollouts":
        yield "AnalysisTemplate", f"{name}-{ENOUGH}"


def _part_of(environment: str | None) -> str:
    if environment is None:
        return _NO_ENVIRONMENT
    return _marked(environment) if environment == _NO_ENVIRONMENT else _plain(environment)


def _plain(text: str) -> str:
    return text if text == _fold(text) and len(text) <= _LONGEST else _marked(text)


def _marked(text: str) -> str:
    return f"{_fold(text)[:_LONGEST].rstrip('-')}--{_digest(text)}"


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
