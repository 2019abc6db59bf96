"""Autoscaling: the HorizontalPodAutoscaler, and who says how many pods there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.spec.schema.deploy import Autoscale


def autoscaler(name: str, autoscale: Autoscale) -> dict[str, Any]:
    """Build the spec of the HorizontalPodAutoscaler: up at once, down one pod at a time."""
    metrics: list[dict[str, Any]] = []
    for resource, share in (("cpu", autoscale.cpu), ("memory", autoscale.memory)):
        if share is not None:
            target = {"type": "Utilization", "averageUtilization": round(share * 100)}
            metrics.append({"type": "Resource", "resource": {"name": resource, "target": target}})
    for metric, average in autoscale.metrics.items():
        target = {"type": "AverageValue", "averageValue": average}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": metric}, "target": target}})
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": autoscale.min_replicas,
        "maxReplicas": autoscale.max_replicas,
        "metrics": metrics,
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                    {"type": "Pods", "value": 2, "periodSeconds": 15},
                ],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": autoscale.scale_down_after_s,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
            },
        },
    }


def replicas_to_apply(found: Mapping[str, Any] | None, autoscale: Autoscale | None, manager: str) -> int | None:
    """Say how many replicas to ask for where an autoscaler decides; None leaves the number alone.

    A field that nobody owns any more falls back to one replica, so the number is only let go of once the autoscaler
    owns it.

    Parameters
    ----------
    found : mapping or None
        The Deployment as it is.
    manager : str
        Our own name as the owner of fields.
    """
    if autoscale is None:
        return None
    if found is None:
        return autoscale.min_replicas
    owners = [
        entry
        for entry in found["metadata"].get("managedFields", ())
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    if any(entry["manager"] != manager or entry.get("subresource") == "scale" for entry in owners):
        return None
    replicas: int = found["spec"].get("replicas", 1)
    return min(max(replicas, autoscale.min_replicas), autoscale.max_replicas)
