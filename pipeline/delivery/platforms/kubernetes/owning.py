"""Whose an object of the cluster is: what is another's, or nobody's that we know, is neither changed nor removed.

A namespace is shared: a name that a model's strategy makes, such as that of its baseline, may be another model's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.delivery.images.packaging import PREFIX
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.manifests import APPS, Manifest, labels_of
from pipeline.delivery.platforms.target import Target
from pipeline.errors import DeploymentError
from pipeline.spec.object_names import further_objects

Object = Mapping[str, Any]
Identity = tuple[str, str, str]
"""API, kind and name."""

_APIS = {"Deployment": APPS, "Service": "v1"}


def is_own(found: Object, model: str, environment: str | None) -> bool:
    """Tell whether an object is a model's in an environment, by its labels and, where it has them, its notes."""
    labels, notes = _marks(found)
    known = {f"{PREFIX}/model": model, f"{PREFIX}/environment": environment or ""}
    labelled = labels_of(model, environment).items() <= labels.items()
    return labelled and all(notes.get(key, value) == value for key, value in known.items())


def check_own(found: Object, model: str, environment: str | None) -> None:
    """Refuse an object that is not a model's in an environment; the message says whose it is."""
    if is_own(found, model, environment):
        return
    labels, notes = _marks(found)
    kind, where = found["kind"], f"{found['metadata'].get('namespace')}/{found['kind']}/{found['metadata']['name']}"
    if labels.get("app.kubernetes.io/managed-by") != "modelrail":
        expected = "none of that name (another namespace: deploy.namespace)"
        raise DeploymentError(f"{where}: found a {kind} that Modelrail did not make; expected {expected}")
    theirs = notes.get(f"{PREFIX}/model") or labels.get("app.kubernetes.io/name", "unknown")
    raise DeploymentError(
        f"{where}: found it to be of the model {theirs} in the environment"
        f" {labels.get(f'{PREFIX}/environment', 'unknown')}; expected {model} in {environment or 'default'}: choose"
        " another namespace (deploy.namespace), or another name for one of them (model.name)"
    )


def get_own(cluster: Cluster, target: Target, identity: Identity) -> Manifest | None:
    """Read an object of a target; None if there is none, or if it is another's."""
    found = cluster.get(*identity)
    return found if found is not None and is_own(found, target.model, target.environment) else None


def require_own(cluster: Cluster, target: Target, identity: Identity) -> Manifest | None:
    """Read an object of a target; None if there is none, and another's is refused."""
    found = cluster.get(*identity)
    if found is not None:
        check_own(found, target.model, target.environment)
    return found


def require_all_own(cluster: Cluster, target: Target, objects: Iterable[Manifest]) -> None:
    """Refuse a release, before anything is changed, where one of its objects is there already and is another's.

    Parameters
    ----------
    objects : iterable of Manifest
        Those of the release; what its strategy makes next to them is looked at too.
    """
    for identity in dict.fromkeys(_identities(target, objects)):
        require_own(cluster, target, identity)


def _identities(target: Target, objects: Iterable[Manifest]) -> Iterator[Identity]:
    for each in objects:
        yield each["apiVersion"], each["kind"], each["metadata"]["name"]
    for kind, name in further_objects(target.model, target.spec.deploy):
        if kind in _APIS:  # the others are among the release's own
            yield _APIS[kind], kind, name


def _marks(found: Object) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Read labels and annotations."""
    metadata = found["metadata"]
    return metadata.get("labels") or {}, metadata.get("annotations") or {}
