"""Blue-green on a cluster: a release starts completely next to the live one, then gets all requests at once.

The Service selects pods by their version. So with the Service of the new release, which is applied first, requests go
to its new pods while the stable ones are replaced without traffic. Nothing is recorded: whatever a killed process has
left, the next one first waits for the stable pods and points the Service to them.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.delivery.platforms.kubernetes.canary import remove_canary
from pipeline.delivery.platforms.kubernetes.canary_objects import canary_of, scaled, version_of
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.leases import Lease
from pipeline.delivery.platforms.kubernetes.manifests import (
    APPS,
    STABLE,
    VERSION,
    Manifest,
    labels_of,
    selector_of,
    service,
    version_selector,
)
from pipeline.delivery.platforms.kubernetes.pod_settings import service_port
from pipeline.delivery.platforms.kubernetes.rolling import await_rollout
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError
from pipeline.spec.object_names import CANARY, name_of


def exchange(
    cluster: Cluster, lease: Lease, target: Target, release: Release, image: str, put: Callable[[], None]
) -> None:
    """Make a release live in place of another.

    Parameters
    ----------
    put : callable
        Applies the release, its Service first, and waits until its own pods serve.

    Raises
    ------
    AbortedError
        If it does not come up; what was live was not touched.
    DeploymentError
        If its own pods do not come up in the end; what was live is live again.
    """
    name, within_s = name_of(target.model), target.spec.deploy.ready_within_s
    await_rollout(cluster, name, selector_of(name, STABLE), within_s, by_service=False)
    stable = cluster.get(APPS, "Deployment", name)
    if stable is None:
        raise DeploymentError(f"{name}: found no Deployment; expected it: someone has deleted it")
    live = version_of(stable)
    if (
        VERSION not in stable["spec"]["template"]["metadata"]["labels"]
    ):  # made by an earlier Modelrail: no Service finds it
        put()
        return
    cluster.apply(_service(target, name, version_selector(name, live)))
    preview = f"{name}-{CANARY}"
    cluster.apply(_service(target, preview, selector_of(name, CANARY), "ClusterIP"))
    lease.check()
    cluster.apply(scaled(canary_of(target, release, image), stable["spec"]["replicas"]))
    try:
        await_rollout(cluster, preview, selector_of(name, CANARY), within_s)
    except DeploymentError as error:
        remove_canary(cluster, lease, target)
        tag = f"{target.model}@v{live}"
        raise AbortedError(f"deploy {release.tag}: aborted: {error}; v{live} stays live", tag) from error
    lease.check()
    try:
        put()
    except DeploymentError:
        cluster.apply(_service(target, name, version_selector(name, live)))
        raise
    finally:
        remove_canary(cluster, lease, target)


def _service(target: Target, name: str, selector: dict[str, str], kind: str | None = None) -> Manifest:
    about = {"name": name, "namespace": target.spec.deploy.namespace}
    labels = labels_of(target.model, target.environment)
    spec = service(selector, kind or target.spec.deploy.service, service_port(target.spec.deploy))
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**about, "labels": labels}, "spec": spec}
