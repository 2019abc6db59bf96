"""Make a release live on a cluster: applied server-side, waited for, undone if it does not come up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.delivery.images.packaging import PREFIX, labels_of, package
from pipeline.delivery.images.readiness import require_registry
from pipeline.delivery.platforms.differences import Difference, adopt, compare
from pipeline.delivery.platforms.kubernetes.argo.objects import ARGO
from pipeline.delivery.platforms.kubernetes.blue_green import exchange
from pipeline.delivery.platforms.kubernetes.canary import remove_canary, roll_out
from pipeline.delivery.platforms.kubernetes.canary_objects import scaled
from pipeline.delivery.platforms.kubernetes.cluster import MANAGER, Cluster, open_cluster
from pipeline.delivery.platforms.kubernetes.leases import COORDINATION, Lease
from pipeline.delivery.platforms.kubernetes.manifests import (
    APPS,
    MONITORING,
    ROUTES,
    SCALING,
    STABLE,
    Manifest,
    manifests,
    selector_of,
)
from pipeline.delivery.platforms.kubernetes.owning import get_own, require_all_own, require_own
from pipeline.delivery.platforms.kubernetes.pod_settings import scheme
from pipeline.delivery.platforms.kubernetes.readiness import require_cluster
from pipeline.delivery.platforms.kubernetes.rolling import await_rollout
from pipeline.delivery.platforms.kubernetes.scaling import replicas_to_apply
from pipeline.delivery.platforms.kubernetes.traffic import TRACKS
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError, InputError
from pipeline.preflight import ask_all
from pipeline.serving.client import Post
from pipeline.spec.object_names import ENOUGH, former_name, name_of

_SUFFIXES = tuple(f"-{each}" for each in TRACKS)
_OBJECTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (MONITORING, "ServiceMonitor", ("",)),
    (SCALING, "HorizontalPodAutoscaler", ("",)),
    (ROUTES, "HTTPRoute", ("",)),
    (ARGO, "Rollout", ("",)),
    (ARGO, "AnalysisTemplate", ("", f"-{ENOUGH}")),
    (APPS, "Deployment", (*_SUFFIXES, "")),
    (COORDINATION, "Lease", ("",)),
    ("v1", "Service", ("", *_SUFFIXES)),
    ("policy/v1", "PodDisruptionBudget", ("",)),
    ("networking.k8s.io/v1", "NetworkPolicy", ("",)),
    ("v1", "ConfigMap", ("",)),
    ("v1", "ServiceAccount", ("",)),
)
"""All that any strategy makes of a release, with what follows the model's name, in the order in which it is removed."""


class Kubernetes:
    """Any cluster that a kubeconfig reaches."""

    def require_ready(self, target: Target, *, packages: bool) -> None:
        """Ask the cluster and the registry, at the same time."""
        registry = [partial(require_registry, target.spec)] if packages else []
        ask_all([partial(self.require_cluster, target), *registry])

    def require_cluster(self, target: Target) -> None:
        """Ask the cluster for all that a deploy needs of it."""
        with open_target(target) as cluster:
            require_cluster(cluster, target)

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> str:
        """Append the bundle to the serving image, in the registry.

        Raises
        ------
        DeploymentError
            If the model has no graph: the serving image has ONNX Runtime and no scikit-learn.
        """
        images = target.spec.deploy.image
        if images is None:
            raise InputError("deploy.image: found nothing; expected {base: HOST/NAME:TAG, repository: HOST/NAME}")
        if not (bundle / "model.onnx").exists():
            raise DeploymentError(
                f"{release.tag}: found no ONNX graph in {bundle}; expected one: the serving image runs graphs alone, so"
                " a model in the native format is served by 'modelrail serve' or on the platform local"
            )
        repository, tag = f"{images.repository}/{name_of(release.model)}", f"v{release.version}"
        return package(bundle, images.base, repository, tag, labels_of(release), push=push).reference

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Apply the release, as a canary first if the spec says so, and wait until it serves; else restore what was.

        One deploy at a time: another is refused, or gives way to a rollback.
        """
        image = image or self.package(target, release, bundle)
        with open_target(target) as cluster, held(cluster, target, release, image) as lease:
            found = own(cluster, target)
            before = live_of(found, target)
            put = partial(_put, cluster, target, release, image, found)
            if before and target.spec.deploy.strategy == "blue-green" and before.version != str(release.version):
                exchange(cluster, lease, target, release, image, put)
            elif before is None or target.at_once or target.spec.deploy.canary is None:
                remove_canary(cluster, lease, target)
                put()
            else:
                roll_out(cluster, lease, target, release, image, before.version, put)
            retire(cluster, lease, ARGO, "Rollout", target)
            note = note_on_former(cluster, target)
        replaced = before.version if before and before.version != str(release.version) else None
        return Live(release.model, str(release.version), address_of(target), replaced, note, image)

    def live(self, target: Target) -> Live | None:
        """Find the release that the cluster has ready pods of."""
        with open_target(target) as cluster:
            return live_of(get_own(cluster, target, (APPS, "Deployment", name_of(target.model))), target)

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Let the server say, object by object, what it would change; nothing is changed."""
        if image is None:
            raise InputError(f"{release.tag}: found no image of it; expected one: 'modelrail promote' makes it")
        with open_target(target) as cluster:
            objects = render(target, release, image, cluster, own(cluster, target))
            require_all_own(cluster, target, objects)
            return [
                difference
                for each in objects
                for difference in compare(find(cluster, each), cluster.apply(each, dry_run=True), MANAGER)
            ]

    def stop(self, target: Target) -> Live | None:
        """Remove every object of the model in this environment."""
        was = self.live(target)
        with open_target(target) as cluster:
            own(cluster, target)
            own(cluster, target, ARGO, "Rollout")
            for api, kind, suffixes in _OBJECTS:
                for suffix in suffixes:
                    _remove(cluster, target, api, kind, suffix)
        return was

    def post(self, target: Target) -> Post:
        """Ask the Service by way of the API server: this process need not reach the cluster's network."""

        def send(_address: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
            with open_target(target) as cluster:
                how = scheme(target.spec.deploy)
                return cluster.post(name_of(target.model), "/api/predict", body, timeout_s, how)

        return send


def _put(cluster: Cluster, target: Target, release: Release, image: str, found: Mapping[str, Any] | None) -> None:
    """Apply all objects of a release and wait until they serve; else restore what was found."""
    name, before = name_of(target.model), live_of(found, target)
    for each in render(target, release, image, cluster, found):
        apply(cluster, each)
    remove_leftovers(cluster, target)
    try:
        await_rollout(cluster, name, selector_of(name, STABLE), target.spec.deploy.ready_within_s)
    except DeploymentError as error:
        said = f"deploy {release.tag}: {error}"
        if found is None or before is None:
            raise DeploymentError(
                f"{said}; nothing was live before, and its objects are left for you to look at"
            ) from error
        _restore(cluster, target, found)
        stable = f"{release.model}@v{before.version}"
        raise AbortedError(f"{said}; version {before.version} stays live", stable) from error


def note_on_former(cluster: Cluster, target: Target) -> str | None:
    """Say what still runs under the name that earlier versions gave the model; it may have callers."""
    name, former = name_of(target.model), former_name(target.model)
    found = cluster.get(APPS, "Deployment", former) if former != name else None
    notes = found["metadata"].get("annotations") or {} if found else {}
    theirs = (notes.get(f"{PREFIX}/model"), notes.get(f"{PREFIX}/environment") or None)
    if theirs != (target.model, target.environment):
        return None
    return (
        f"its name was {former}, and what has that name still runs: let callers ask {name}, then 'kubectl --namespace"
        f" {target.spec.deploy.namespace} delete deployment,service,configmap,networkpolicy,poddisruptionbudget,"
        f"horizontalpodautoscaler,serviceaccount,lease {former}'"
    )


@contextmanager
def held(cluster: Cluster, target: Target, release: Release, image: str) -> Iterator[Lease]:
    """Hold the right to make a release live, once all that it will touch is known to be the model's own."""
    require_all_own(cluster, target, render(target, release, image, cluster, None))
    claim = f"{release.tag} is made live at once" if target.at_once else None
    with Lease(cluster, target.model, target.environment, claim) as lease:
        yield lease


def open_target(target: Target) -> Cluster:
    """Reach the cluster and the namespace of a target."""
    return open_cluster(target.spec.deploy.context, target.spec.deploy.namespace)


def address_of(target: Target) -> str:
    """Write the address inside the cluster."""
    deploy = target.spec.deploy
    return f"{scheme(deploy)}://{name_of(target.model)}.{deploy.namespace}.svc"


def render(
    target: Target, release: Release, image: str, cluster: Cluster, found: Mapping[str, Any] | None
) -> list[Manifest]:
    """Build the objects of a release as this cluster takes them."""
    replicas = replicas_to_apply(found, target.spec.deploy.autoscale, MANAGER)
    return manifests(target.spec, release, target.environment, image, replicas=replicas, apis=cluster.apis())


def apply(cluster: Cluster, manifest: Manifest) -> None:
    """Apply an object; what others have set in it is removed."""
    found = find(cluster, manifest)
    if found and (fields := adopt(found, MANAGER)):
        cluster.own(manifest, fields, found["metadata"]["resourceVersion"])
    cluster.apply(manifest)


def own(cluster: Cluster, target: Target, api: str = APPS, kind: str = "Deployment") -> Mapping[str, Any] | None:
    """Find the model's Deployment; refuse to touch one of another model or environment."""
    return require_own(cluster, target, (api, kind, name_of(target.model)))


def retire(cluster: Cluster, lease: Lease, api: str, kind: str, target: Target) -> None:
    """Remove the pods of another strategy's object, now that this strategy's own pods serve."""
    if api not in cluster.apis():
        return
    found = get_own(cluster, target, (api, kind, name_of(target.model)))
    if found and found["spec"].get("replicas", 1):
        lease.check()
        cluster.apply(scaled(found, 0))


def find(cluster: Cluster, manifest: Manifest) -> Mapping[str, Any] | None:
    """Read an object as it is on the cluster."""
    return cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])


def live_of(found: Mapping[str, Any] | None, target: Target) -> Live | None:
    """Find the release that a Deployment has ready pods of."""
    if found is None or not found.get("status", {}).get("availableReplicas"):
        return None
    notes = found["spec"]["template"]["metadata"].get("annotations") or {}
    version, image = notes.get(f"{PREFIX}/version", "unknown"), notes.get(f"{PREFIX}/image")
    return Live(target.model, version, address_of(target), image=image)


def remove_leftovers(cluster: Cluster, target: Target) -> None:
    """Remove what the spec no longer asks for."""
    deploy = target.spec.deploy
    unwanted = {(SCALING, "HorizontalPodAutoscaler"): deploy.autoscale, (ROUTES, "HTTPRoute"): deploy.gateway}
    for (api, kind), wanted in unwanted.items():
        if wanted is None:
            _remove(cluster, target, api, kind)


def _remove(cluster: Cluster, target: Target, api: str, kind: str, suffix: str = "") -> None:
    """Remove an object of the model, if it is there; one of that name that belongs to another model stays."""
    identity = (api, kind, f"{name_of(target.model)}{suffix}")
    if get_own(cluster, target, identity):
        cluster.delete(*identity)


def _restore(cluster: Cluster, target: Target, found: Mapping[str, Any]) -> None:
    """Take the pods back to what they were; an autoscaler's number stays what it is by now."""
    again = without_server_fields(found)
    if target.spec.deploy.autoscale:
        now = cluster.get(APPS, "Deployment", found["metadata"]["name"])
        again["spec"]["replicas"] = (now or found)["spec"]["replicas"]
    cluster.apply(again)


def without_server_fields(found: Mapping[str, Any]) -> Manifest:
    """Copy an object without what the server adds, so that it can be applied again."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: found["metadata"][key] for key in kept if key in found["metadata"]}
    notes = metadata.get("annotations", {})
    metadata["annotations"] = {key: value for key, value in notes.items() if key.startswith(f"{PREFIX}/")}
    rest = {key: value for key, value in found.items() if key not in {"metadata", "status"}}
    return {**rest, "metadata": metadata}
