"""What a release is on Kubernetes: pure, so that it can be printed, compared and committed.

All objects of a model carry its name, and the labels that select them. Pods are of a *track*: ``stable``,
or during a rollout ``canary`` or ``baseline``; the Service selects all, unless a gateway divides the requests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.delivery.images.packaging import PREFIX
from pipeline.delivery.platforms.kubernetes import pod_settings
from pipeline.delivery.platforms.kubernetes.argo.objects import TRACK_OF_ARGO, with_argo
from pipeline.delivery.platforms.kubernetes.scaling import autoscaler
from pipeline.delivery.releases import Release
from pipeline.spec.object_names import name_of
from pipeline.spec.schema.deploy import Amounts, Deploy, Gateway
from pipeline.spec.schema.spec import Spec

Manifest = dict[str, Any]

TRACK, VERSION = f"{PREFIX}/track", f"{PREFIX}/version"
STABLE = "stable"
OPEN_IMAGE = "IMAGE-LEFT-OPEN"
"""Stands for an image whose digest is not known; for `leave_open`."""
APPS, SCALING = "apps/v1", "autoscaling/v2"
ROUTES = "gateway.networking.k8s.io/v1"
"""The Gateway API, whose routes have weights."""
MONITORING = "monitoring.coreos.com/v1"
"""The API of the Prometheus operator, which scrapes what a ServiceMonitor names."""
ARGO_ROLLOUTS = "argo-rollouts"
"""The strategy that leaves a canary to Argo Rollouts."""
_ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
_USER = 65532
_PORT_NAME = "http"


def manifests(
    spec: Spec,
    release: Release,
    environment: str | None,
    image: str,
    *,
    replicas: int | None = None,
    apis: frozenset[str] = frozenset(),
) -> list[Manifest]:
    """Build every object of a release, in the order in which they are applied.

    Parameters
    ----------
    spec : Spec
        As the environment's overlay makes it.
    image : str
        By its digest.
    replicas : int, optional
        How many pods to ask for; by default as the spec says, and none where it autoscales.
    apis : frozenset of str
        ``GROUP/VERSION`` of optional APIs that the cluster has.
    """
    name, deploy = name_of(spec.model.name), spec.deploy
    labels, facts = labels_of(spec.model.name, environment), facts_of(release, environment, image)
    track = TRACK_OF_ARGO if deploy.strategy == ARGO_ROLLOUTS else STABLE
    count = replicas if replicas is not None or deploy.autoscale else deploy.replicas
    reached = serving_selector(name, deploy, str(release.version))
    pull = (
        {"imagePullSecrets": [{"name": deploy.image.pull_secret}]} if deploy.image and deploy.image.pull_secret else {}
    )
    bodies: list[tuple[str, str, Manifest]] = [
        ("v1", "ServiceAccount", {"automountServiceAccountToken": False, **pull}),
        ("v1", "ConfigMap", {"data": settings_of(deploy)}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"spec": _network_policy(name, deploy)}),
        ("policy/v1", "PodDisruptionBudget", {"spec": _disruption_budget(name)}),
        ("v1", "Service", {"spec": service(reached, deploy.service, pod_settings.service_port(deploy))}),
        (APPS, "Deployment", {"spec": deployment(spec, labels, facts, image, track, count)}),
    ]
    if deploy.autoscale:
        bodies.append((SCALING, "HorizontalPodAutoscaler", {"spec": autoscaler(name, deploy.autoscale)}))
    if deploy.gateway:
        bodies.append((ROUTES, "HTTPRoute", {"spec": route(name, deploy.gateway)}))
    if MONITORING in apis:
        bodies.append((MONITORING, "ServiceMonitor", {"spec": _monitor(name, deploy)}))
    about = {"name": name, "namespace": deploy.namespace, "labels": labels}
    notes = {"Deployment": {"annotations": facts}}
    made = [
        {"apiVersion": api, "kind": kind, "metadata": {**about, **notes.get(kind, {})}, **body}
        for api, kind, body in bodies
    ]
    if deploy.strategy == ARGO_ROLLOUTS and deploy.canary:
        return with_argo(made, deploy.canary, spec.model.name, str(release.version))
    return made


def labels_of(model: str, environment: str | None) -> dict[str, str]:
    """Build the labels of all objects of a model in an environment."""
    return {
        "app.kubernetes.io/name": name_of(model),
        "app.kubernetes.io/managed-by": "modelrail",
        f"{PREFIX}/environment": environment or "default",
    }


def facts_of(release: Release, environment: str | None, image: str) -> dict[str, str]:
    """Write what is known of a release as annotations: every commit that made it."""
    evidence = release.evidence
    return {
        f"{PREFIX}/model": release.model,
        f"{PREFIX}/version": str(release.version),
        f"{PREFIX}/release": release.tag,
        f"{PREFIX}/environment": environment or "",
        f"{PREFIX}/data-commit": evidence.data_commit,
        f"{PREFIX}/spec-commit": evidence.spec_commit,
        f"{PREFIX}/code": evidence.code,
        f"{PREFIX}/image": image,
    }


def settings_of(deploy: Deploy) -> dict[str, str]:
    """Read the server's settings, as environment variables."""
    return {"MODELRAIL_WORKERS": str(deploy.workers)}


def deployment(
    spec: Spec, labels: Mapping[str, str], facts: Mapping[str, str], image: str, track: str, replicas: int | None
) -> Manifest:
    """Build the spec of a Deployment: no pod ends before its successor is ready, unless the strategy recreates them."""
    name, deploy = name_of(spec.model.name), spec.deploy
    selector = selector_of(name, track)
    settings = hashlib.sha256(json.dumps(settings_of(deploy), sort_keys=True).encode()).hexdigest()[:16]
    # All that a reader of a pod wants to know, and what starts new pods when the settings change.
    notes = {**facts, f"{PREFIX}/settings": settings}
    return {
        **({"replicas": replicas} if replicas is not None else {}),
        "selector": {"matchLabels": selector},
        "strategy": {"type": "Recreate"} if deploy.strategy == "recreate" else _ROLLING,
        "progressDeadlineSeconds": deploy.ready_within_s,
        "revisionHistoryLimit": 5,
        "template": {
            "metadata": {"labels": {**labels, **selector, VERSION: facts[VERSION]}, "annotations": notes},
            "spec": _pod(name, deploy, image, selector),
        },
    }


def selector_of(name: str, track: str | None = None) -> dict[str, str]:
    """Build the labels by which pods are found, of one track or of both."""
    return {"app.kubernetes.io/name": name} | ({TRACK: track} if track else {})


def _pod(name: str, deploy: Deploy, image: str, selector: Mapping[str, str]) -> Manifest:
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": deploy.drain_s + pod_settings.drain_requests_s(deploy),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            _spread(key, selector) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            *pod_settings.volumes(deploy),
        ],
        "containers": [_container(name, deploy, image)],
    }


def _spread(key: str, selector: Mapping[str, str]) -> Manifest:
    """Keep the pods of a track apart where the cluster can; a full node is no reason not to serve."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }


def _container(name: str, deploy: Deploy, image: str) -> Manifest:
    port = deploy.port
    given, scheme = pod_settings.variables(deploy), pod_settings.scheme(deploy)
    drain = {"lifecycle": {"preStop": {"sleep": {"seconds": deploy.drain_s}}}} if deploy.drain_s else {}
    return {
        "name": "server",
        "image": image,
        "args": ["--port", str(port), "--workers", "$(MODELRAIL_WORKERS)"],
        "envFrom": [{"configMapRef": {"name": name}}, *pod_settings.variables_of_secrets(deploy)],
        **({"env": given} if given else {}),
        "ports": [{"name": _PORT_NAME, "containerPort": port, "protocol": "TCP"}],
        "resources": {
            "requests": _amounts(deploy.resources.requests),
            "limits": _amounts(deploy.resources.limits),
        },
        "startupProbe": _probe("/readyz", scheme, period=1, failures=deploy.ready_within_s),
        "readinessProbe": _probe("/readyz", scheme, period=2, failures=2),
        "livenessProbe": _probe("/healthz", scheme, period=10, failures=3),
        **drain,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *pod_settings.mounts(deploy)],  # noqa: S108 - in the pod
    }


def _amounts(amounts: Amounts) -> dict[str, str]:
    return amounts.model_dump(exclude_none=True)


def _probe(path: str, scheme: str, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": _PORT_NAME, **({"scheme": "HTTPS"} if scheme == "https" else {})},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def serving_selector(name: str, deploy: Deploy, version: str) -> dict[str, str]:
    """Build the labels of the pods that a model's Service sends requests to."""
    if deploy.strategy == "blue-green":
        return version_selector(name, version)
    return selector_of(name, STABLE if deploy.gateway else None)


def version_selector(name: str, version: str) -> dict[str, str]:
    """Build the labels of all pods of a version, of whatever track."""
    return {**selector_of(name), VERSION: version}


def service(selector: Mapping[str, str], kind: str = "ClusterIP", port: int = 80) -> Manifest:
    """Build the spec of a Service for the pods with these labels."""
    ports = [{"name": _PORT_NAME, "port": port, "targetPort": _PORT_NAME, "protocol": "TCP"}]
    return {"type": kind, "selector": dict(selector), "ports": ports}


def route(name: str, gateway: Gateway, weight: int = 0, tracks: Sequence[str] = ()) -> Manifest:
    """Build the spec of an HTTPRoute that gives each of these tracks so many percent of the requests."""
    parent = {"name": gateway.name, **({"namespace": gateway.namespace} if gateway.namespace else {})}
    shares = {f"{name}-{track}": weight for track in tracks} if weight else {}
    parts = {name: 100 - sum(shares.values())} | shares
    backends = [{"name": service, "port": 80, "weight": part} for service, part in parts.items()]
    names = {"hostnames": gateway.hostnames} if gateway.hostnames else {}
    return {"parentRefs": [parent], **names, "rules": [{"backendRefs": backends}]}


def _network_policy(name: str, deploy: Deploy) -> Manifest:
    """Allow only requests to the server, and what captures need: no other connection to anything."""
    egress = pod_settings.egress(deploy)
    return {
        "podSelector": {"matchLabels": selector_of(name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": deploy.port, "protocol": "TCP"}]}],
        **({"egress": egress} if egress else {}),
    }


def _disruption_budget(name: str) -> Manifest:
    selector = {"matchLabels": selector_of(name)}
    return {"maxUnavailable": 1, "selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow"}


def service_monitor(spec: Spec, environment: str | None) -> Manifest:
    """Build the object by which the Prometheus operator scrapes a model's servers."""
    name, deploy = name_of(spec.model.name), spec.deploy
    return {
        "apiVersion": MONITORING,
        "kind": "ServiceMonitor",
        "metadata": {
            "name": name,
            "namespace": deploy.namespace,
            "labels": labels_of(spec.model.name, environment),
        },
        "spec": _monitor(name, deploy),
    }


def _monitor(name: str, deploy: Deploy) -> Manifest:
    endpoint = {"port": _PORT_NAME, "path": "/metrics", "interval": "15s", **pod_settings.scraping(name, deploy)}
    return {"selector": {"matchLabels": {"app.kubernetes.io/name": name}}, "endpoints": [endpoint]}


def leave_open(text: str, repository: str) -> str:
    """Leave out an image whose digest is not known, and say so: a cluster refuses a Deployment without one."""
    comment = f"# left open: {repository}@sha256:…, which 'modelrail manifests' without --offline asks the registry for"
    return text.replace(f" {OPEN_IMAGE}\n", f"  {comment}\n")


def to_yaml(objects: Sequence[Manifest]) -> str:
    """Write objects as one YAML document each, for people and for Git."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 1000
    for each in objects:
        yaml.dump(json.loads(json.dumps(each)), text)  # without YAML's references to what is there twice
    return text.getvalue()
