"""The account that deploys: the least rights with which `deployment.kubernetes` works; pure."""

from __future__ import annotations

from typing import Any

NAME = "modelrail-deployer"

_APPLY = ("get", "create", "patch")
_RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
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


def deployer(namespace: str) -> list[dict[str, Any]]:
    """Give the service account, its role in one namespace, and what binds them.

    It reads no secret, starts no process in a pod, removes nothing but an autoscaler or a route that the spec no longer
    asks for, and has no right outside the namespace.
    """
    metadata = {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "modelrail"}}
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)} for group, resources, verbs in _RULES
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
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
