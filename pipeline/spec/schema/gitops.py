"""The section ``deploy.gitops``: where releases are committed for Argo CD or Flux to apply."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from pipeline.spec.schema.section import Section


class GitOps(Section):
    """A deployment repository, and what follows it."""

    repository: str = Field(min_length=1)
    """The deployment repository, a URL or an absolute path to a bare one; objects go to `ENVIRONMENT/MODEL/` in it."""
    branch: str = Field("main", min_length=1)
    """Branch that is followed."""
    review_branch: str | None = Field(None, min_length=1)
    """Commit to this branch instead, for a pull request; deploying then waits until it is merged."""
    applied_by: Literal["argocd", "flux"] = "argocd"
    """What follows the branch; of Flux, it is waited for until the cluster is as the commit says."""
    source: str | None = None
    """Address of the repository as Argo CD knows it, where that is another."""
    argocd_namespace: str = "argocd"
    """Namespace of Argo CD's applications."""
    argocd_context: str | None = None
    """Kubeconfig's context of the cluster that Argo CD runs in; by default `deploy.context`."""
    destination: str = "https://kubernetes.default.svc"
    """Address of the model's cluster, as Argo CD knows it; by default the one that it runs in."""
    project: str = "default"
    """Project of Argo CD that the applications belong to."""
    synced_within_s: PositiveInt = 300
    """Seconds within which a commit must be applied and healthy; otherwise the one before is restored."""
