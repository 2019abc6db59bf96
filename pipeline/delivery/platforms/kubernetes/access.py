"""The accounts that deploy and that train in several pods: the least rights with which each works; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.messages import join
from pipeline.spec.placement import has_worker_pods
from pipeline.spec.schema.spec import Spec

Rule = tuple[str, tuple[str, ...], tuple[str, ...]]
Right = tuple[str, str, str]
"""Group, resource and verb."""
NAME, TRAINER = "modelrail-deployer", "modelrail-trainer"

_APPLY = ("get", "create", "patch")
_RULES: Sequence[Rule] = (
    ("", ("serviceaccounts", "configmaps", "services"), _APPLY),
    ("apps", ("deployments",), _APPLY),
    ("coordination.k8s.io", ("leases",), _APPLY),
    ("networking.k8s.io", ("networkpolicies",), _APPLY),
    ("policy", ("poddisruptionbudgets",), _APPLY),
    ("autoscaling", ("horizontalpodautoscalers",), (*_APPLY, "delete")),
    ("monitoring.coreos.com", ("servicemonitors",), _APPLY),
    ("gateway.networking.k8s.io", ("httproutes",), (*_APPLY, "delete")),
    ("argoproj.io", ("rollouts", "analysistemplates"), _APPLY),
    # To see how a rollout does, and to ask the model what it predicts.
    ("apps", ("replicasets",), ("list",)),
    ("", ("pods",), ("list",)),
    ("discovery.k8s.io", ("endpointslices",), ("list",)),
    ("", ("services/proxy",), ("create",)),
    ("", ("pods/proxy",), ("get",)),
)

_OPTIONAL: Mapping[str, str] = {
    "monitoring.coreos.com": "servicemonitors",
    "gateway.networking.k8s.io": "httproutes",
    "argoproj.io": "rollouts",
}
"""Groups that a cluster may lack: what it lacks needs no right."""

_TRAINER_RULES: Sequence[Rule] = (
    ("batch", ("jobs",), ("create", "get", "delete")),
    ("trainer.kubeflow.org", ("trainjobs",), ("create", "get", "delete")),
    ("trainer.kubeflow.org", ("trainingruntimes",), ("create", "delete")),
    ("networking.k8s.io", ("networkpolicies",), ("create", "delete")),
    # To see why a worker does not come; `get` above is to see whether others still do.
    ("", ("pods",), ("list",)),
)


def rights_to_deploy(spec: Spec, groups: Iterable[str]) -> list[Right]:
    """List the rights without which a spec's release cannot be made live.

    Those to remove are left out: they are needed only where the spec has given something up.

    Parameters
    ----------
    groups : iterable of str
        Those of the APIs that the cluster has.
    """
    lacked = _OPTIONAL.keys() - set(groups) | ({"argoproj.io"} if spec.deploy.strategy != "argo-rollouts" else set())
    return [
        (group, resource, verb)
        for group, resources, verbs in _RULES
        if group not in lacked
        for resource in resources
        for verb in verbs
        if verb != "delete"
    ]


def unlisted(rights: Iterable[Right], rules: Sequence[Mapping[str, Any]]) -> list[Right]:
    """List the rights that none of a cluster's rules gives for every object.

    Parameters
    ----------
    rules : sequence of mapping
        As ``SelfSubjectRulesReview`` has them.
    """
    return [each for each in rights if not any(_gives(rule, each) for rule in rules)]


def _gives(rule: Mapping[str, Any], right: Right) -> bool:
    group, resource, verb = right
    _, _, part = resource.partition("/")
    names = {resource, "*"} | ({f"*/{part}"} if part else set())
    return (
        not rule.get("resourceNames")
        and not {group, "*"}.isdisjoint(rule.get("apiGroups") or ())
        and not names.isdisjoint(rule.get("resources") or ())
        and not {verb, "*"}.isdisjoint(rule.get("verbs") or ())
    )


def describe_rights(rights: Iterable[Right]) -> str:
    """Write rights as prose: ``create and patch deployments.apps``."""
    verbs: dict[str, list[str]] = {}
    for group, resource, verb in rights:
        verbs.setdefault(f"{resource}.{group}".rstrip("."), []).append(verb)
    return ", ".join(f"{join(each, 'and')} {what}" for what, each in verbs.items())


def accounts(spec: Spec) -> list[dict[str, Any]]:
    """List the accounts that a spec's deployments and trainings need."""
    trains = trainer(spec.run.namespace) if has_worker_pods(spec) else []
    return [*deployer(spec.deploy.namespace), *trains]


def deployer(namespace: str) -> list[dict[str, Any]]:
    """Build the account that deploys, its role in one namespace, and the binding of both.

    It reads no secret, starts no process in a pod, removes nothing but an autoscaler or a route that the spec no longer
    asks for, and has no right outside the namespace.
    """
    return _account(NAME, namespace, _RULES)


def trainer(namespace: str) -> list[dict[str, Any]]:
    """Build the account of a pod that trains with others, its role in one namespace, and the binding of both.

    It reads no secret. What may make a Job may have it run under any account of the namespace.
    """
    return _account(TRAINER, namespace, _TRAINER_RULES)


def _account(name: str, namespace: str, rights: Sequence[Rule]) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "modelrail"}}
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)} for group, resources, verbs in rights
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [account],
        },
    ]
