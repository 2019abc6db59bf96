"""Argo CD: the application that follows a model's folder, and what its state says; pure.

https://argo-cd.readthedocs.io/en/stable/user-guide/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.kubernetes.manifests import Manifest, labels_of
from pipeline.spec.object_names import application_name, folder_of, name_of
from pipeline.spec.schema.deploy import GitOps
from pipeline.spec.schema.spec import Spec

API = "argoproj.io/v1alpha1"
KIND = "Application"
REFRESH = {"argocd.argoproj.io/refresh": "normal"}
"""The annotation that lets Argo CD look at once; it takes it away."""


@dataclass(frozen=True)
class Sync:
    """How far Argo CD is with a commit.

    Attributes
    ----------
    say : str
        What is still waited for, or what is wrong; empty if the commit is live.
    final : bool
        Whether waiting is in vain.
    applied : bool
        Whether the cluster was told, whether or not it is done.
    """

    say: str = ""
    final: bool = False
    applied: bool = False


def application(spec: Spec, gitops: GitOps, environment: str | None) -> Manifest:
    """Build the application: Argo CD applies what is in Git, undoes what others change, and removes what is gone.

    The number of replicas is the autoscaler's where there is one, and is not fought over.
    """
    model = spec.model.name
    replicas = {"group": "apps", "kind": "Deployment", "name": name_of(model), "jsonPointers": ["/spec/replicas"]}
    return {
        "apiVersion": API,
        "kind": KIND,
        "metadata": {
            "name": application_name(model, environment),
            "namespace": gitops.argocd_namespace,
            "labels": labels_of(model, environment),
        },
        "spec": {
            "project": gitops.project,
            "source": {
                "repoURL": gitops.source or gitops.repository,
                "targetRevision": gitops.branch,
                "path": folder_of(model, environment),
                "directory": {"include": "*.yaml"},
            },
            "destination": {"server": gitops.destination, "namespace": spec.deploy.namespace},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True, "allowEmpty": True},
                "syncOptions": ["ServerSideApply=true", "RespectIgnoreDifferences=true"],
                "retry": {"limit": 3, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "1m"}},
            },
            **({"ignoreDifferences": [replicas]} if spec.deploy.autoscale else {}),
        },
    }


def path_of(found: Mapping[str, Any]) -> str:
    """Read which folder of its repository an application follows."""
    return str(found.get("spec", {}).get("source", {}).get("path", "")).strip("/")


def revision_of(found: Mapping[str, Any]) -> str:
    """Read the commit that Argo CD compared the cluster with last; empty if none."""
    return str(found.get("status", {}).get("sync", {}).get("revision", ""))


def judge(found: Mapping[str, Any], *, is_ours: bool, was_ours: bool) -> Sync:
    """Say how far an application is with a commit.

    Parameters
    ----------
    is_ours : bool
        Whether the folder at `revision_of` is what was committed.
    was_ours : bool
        Whether the folder at the commit of the last operation is.
    """
    status = found.get("status", {})
    operation, sync = status.get("operationState", {}), status.get("sync", {}).get("status", "Unknown")
    if was_ours and operation.get("phase") in ("Failed", "Error"):
        return Sync(f"Argo CD could not apply it: {operation.get('message', 'it says no more')}", final=True)
    if errors := [each["message"] for each in status.get("conditions", ()) if each["type"].endswith("Error")]:
        return Sync(f"Argo CD says: {errors[0]}")
    if not is_ours:
        return Sync("Argo CD has not seen the commit")
    if sync != "Synced":
        return Sync(f"Argo CD says {sync}")
    health = status.get("health", {}).get("status", "Unknown")
    return Sync("" if health == "Healthy" else f"Argo CD says {health}", applied=True)


def operation_revision(found: Mapping[str, Any]) -> str:
    """Read the commit of Argo CD's last operation; empty if none."""
    return str(found.get("status", {}).get("operationState", {}).get("syncResult", {}).get("revision", ""))


def differences(found: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the objects that are not as Git says, as Argo CD sees them."""
    for each in found.get("status", {}).get("resources", ()):
        if each.get("status", "Synced") != "Synced":
            yield Difference(f"{each['kind']}/{each['name']}", "", each["status"], "Synced")
