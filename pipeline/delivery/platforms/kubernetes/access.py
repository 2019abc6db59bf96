"""The accounts that deploy and that train in several pods: the least rights with which each works; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.spec.placement import has_worker_pods
from pipeline.spec.schema.spec import Spec

Rule = tuple[str, tuple[str, ...], tuple[str, ...]]
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

_TRAINER_RULES: Sequence[Rule] = (
    ("batch", ("jobs",), ("create", "get", "delete")),
    ("trainer.kubeflow.org", ("trainjobs",), ("create", "get", "delete")),
    ("trainer.kubeflow.org", ("trainingruntimes",), ("create", "delete")),
    ("networking.k8s.io", ("networkpolicies",), ("create", "delete")),
    # To see why a worker does not come; `get` above is to see whether others still do.
    ("", ("pods",), ("list",)),
)


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
