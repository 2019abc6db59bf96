"""The further Deployments during a rollout, next to the stable one; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.delivery.images.packaging import PREFIX
from pipeline.delivery.platforms.kubernetes.manifests import APPS, TRACK, Manifest, deployment, facts_of, labels_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release
from pipeline.spec.object_names import BASELINE, CANARY, name_of

Object = Mapping[str, Any]

_ALIKE = ("resources", "securityContext", "terminationMessagePolicy")
_COPY = "import pathlib, shutil; [shutil.copy(each, '/shadow') for each in pathlib.Path('/model').iterdir()]"


def canary_of(target: Target, release: Release, image: str) -> Manifest:
    """Build the Deployment of the candidate."""
    labels, facts = labels_of(target.model, target.environment), facts_of(release, target.environment, image)
    about = {"namespace": target.spec.deploy.namespace, "labels": labels, "annotations": facts}
    spec = deployment(target.spec, labels, facts, image, CANARY, 0)
    name = f"{name_of(target.model)}-{CANARY}"
    return {"apiVersion": APPS, "kind": "Deployment", "metadata": {"name": name, **about}, "spec": spec}


def baseline_of(stable: Object, track: str = BASELINE) -> Manifest:
    """Build a Deployment of what is live, under another track: as new as the canary, and as large."""
    made = scaled(stable, 0)
    made["metadata"]["name"] += f"-{track}"
    relabelled: Manifest = _relabel(json.loads(json.dumps(made)), track)
    return relabelled


def shadow_of(stable: Object, image: str) -> Manifest:
    """Build a Deployment of what is live whose servers also ask the candidate, and only compare its answers."""
    made = baseline_of(stable, CANARY)
    pod = made["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    folder = {"name": "shadow", "mountPath": "/shadow"}
    copy = {"name": "shadow", "image": image, "command": ["python", "-c", _COPY], "volumeMounts": [folder]}
    pod["initContainers"] = [copy | {key: server[key] for key in _ALIKE if key in server}]
    pod["volumes"] = [*pod.get("volumes", ()), {"name": "shadow", "emptyDir": {}}]
    server["volumeMounts"] = [*server.get("volumeMounts", ()), folder | {"readOnly": True}]
    server["args"] = [*server.get("args", ()), "--bundle", "shadow:1.0:/shadow"]
    return made


def scaled(manifest: Object, replicas: int) -> Manifest:
    """Copy a Deployment or a Rollout, as it can be applied, with another number of pods."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in manifest["metadata"].items() if key in kept}
    notes = {key: value for key, value in metadata.get("annotations", {}).items() if key.startswith(f"{PREFIX}/")}
    spec = {**manifest["spec"], "replicas": replicas}
    about = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
    return {**about, "metadata": metadata | {"annotations": notes}, "spec": spec}


def version_of(stable: Object) -> str:
    """Read the version that a Deployment's pods have."""
    notes: Mapping[str, str] = stable["spec"]["template"]["metadata"].get("annotations", {})
    return notes[f"{PREFIX}/version"]


def _relabel(value: Any, track: str) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if each is not None}
        return {key: track if key == TRACK else _relabel(each, track) for key, each in kept.items()}
    return [_relabel(each, track) for each in value] if isinstance(value, list) else value
