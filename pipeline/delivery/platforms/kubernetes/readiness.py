"""Whether a cluster will take a release: it answers, knows who asks, and has the namespace, the APIs and the rights.

Nothing is changed: what a deploy would apply first is applied as a dry run.
"""

from __future__ import annotations

from pipeline.delivery.platforms.kubernetes.access import Right, describe_rights, rights_to_deploy, unlisted
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.manifests import APPS, ROUTES, labels_of, settings_of
from pipeline.delivery.platforms.kubernetes.owning import require_own
from pipeline.delivery.platforms.target import Target
from pipeline.errors import DeploymentError, InputError
from pipeline.preflight import ask_all
from pipeline.spec.object_names import name_of

_NAMED = {"get", "patch"}
"""Verbs whose right may be given for an object of a name alone."""


def require_cluster(cluster: Cluster, target: Target) -> None:
    """Ask a cluster for all that a deploy needs of it.

    Raises
    ------
    InputError
        If it lacks an API that the spec asks for.
    DeploymentError
        If it does not know who asks, or there is no namespace, no right, or an object of another's in the way.
    TransientError
        If it does not answer.
    """
    apis = cluster.apis()
    ask_all([lambda: _require_routes(target, apis), lambda: _require_rights(cluster, target, apis)])
    _require_namespace(cluster, target)
    require_own(cluster, target, (APPS, "Deployment", name_of(target.model)))


def _require_routes(target: Target, apis: frozenset[str]) -> None:
    if target.spec.deploy.gateway and ROUTES not in apis:
        raise InputError(f"deploy.gateway: found no {ROUTES} in the cluster; expected the Gateway API there")


def _require_rights(cluster: Cluster, target: Target, apis: frozenset[str]) -> None:
    groups = {each.partition("/")[0] for each in apis}
    doubtful = unlisted(rights_to_deploy(target.spec, groups), cluster.rules())
    if missing := [each for each in doubtful if not _is_given(cluster, target, each)]:
        option = f" --environment {target.environment}" if target.environment else ""
        raise DeploymentError(
            f"cluster: found no right to {describe_rights(missing)} in the namespace '{cluster.namespace}'; expected"
            f" the role that 'modelrail manifests {target.model}{option} --access' prints (deploy.namespace)"
        )


def _is_given(cluster: Cluster, target: Target, right: Right) -> bool:
    """Ask for one right: not every cluster can list all of them."""
    group, resource, verb = right
    return cluster.allows(group, resource, verb, name_of(target.model) if verb in _NAMED else "")


def _require_namespace(cluster: Cluster, target: Target) -> None:
    """Apply the server's settings as a dry run: a namespace that is not there, or is full or going, refuses it."""
    about = {"name": name_of(target.model), "labels": labels_of(target.model, target.environment)}
    data = settings_of(target.spec.deploy)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}, dry_run=True)
