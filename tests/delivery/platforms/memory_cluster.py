"""A cluster in memory: it keeps what is applied, and remembers every change; nothing runs in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.spec.loading.loading import merge

Object = dict[str, Any]


class MemoryCluster(Cluster):
    """One namespace of a cluster, by its objects."""

    def __init__(self, *objects: Object, namespace: str = "models", apis: frozenset[str] = frozenset()) -> None:
        self.namespace, self._apis, self._number = namespace, apis, 0
        self.objects: dict[tuple[str, str], Object] = {}
        self.changed: list[str] = []
        for each in objects:
            self._keep(each)

    def __exit__(self, *_: object) -> None:
        """Stay open: a test looks at what was changed."""

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        if not dry_run:
            self.changed.append(f"apply {manifest['kind']}/{manifest['metadata']['name']}")
        return self._keep(manifest)

    def create(self, manifest: Mapping[str, Any]) -> Object:
        self.changed.append(f"create {manifest['kind']}/{manifest['metadata']['name']}")
        return self._keep(manifest)

    def get(self, api: str, kind: str, name: str) -> Object | None:
        del api
        found = self.objects.get((kind, name))
        return json.loads(json.dumps(found)) if found else None

    def list(self, api: str, kind: str, labels: Mapping[str, str]) -> list[Object]:
        del api, kind, labels
        return []

    def delete(self, api: str, kind: str, name: str) -> bool:
        del api
        self.changed.append(f"delete {kind}/{name}")
        return self.objects.pop((kind, name), None) is not None

    def apis(self) -> frozenset[str]:
        return self._apis

    def _keep(self, manifest: Mapping[str, Any]) -> Object:
        self._number += 1
        known = self.objects.get((manifest["kind"], manifest["metadata"]["name"]), {})
        kept: Object = json.loads(json.dumps(merge(known, manifest)))
        kept["metadata"] |= {"namespace": self.namespace, "resourceVersion": str(self._number), "generation": 1}
        self.objects[kept["kind"], kept["metadata"]["name"]] = kept
        return kept
