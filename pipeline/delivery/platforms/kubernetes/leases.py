"""One deployment at a time: a Lease of the cluster, which also keeps the record of a rollout.

Whoever holds it renews it every few seconds, in a thread. Who finds it held looks whether it is renewed, by its own
clock alone, and takes it over if not. Every write names the version that it read, so of two that write at once one is
refused, and learns that it holds the lease no more.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from pipeline.delivery.images.packaging import PREFIX
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.manifests import labels_of
from pipeline.delivery.platforms.kubernetes.owning import check_own
from pipeline.errors import DeploymentError, TransientError
from pipeline.spec.object_names import name_of

COORDINATION = "coordination.k8s.io/v1"
LEASE_S = 15
"""A lease that is not renewed for so long is anybody's."""
_RENEW_S = 4.0
_LOOK_S = 1.0
_ROLLOUT, _CLAIM = f"{PREFIX}/rollout", f"{PREFIX}/claim"


class LostError(DeploymentError):
    """Another process has the lease, or claims it."""


class Lease:
    """The right to change what is live, held within a ``with`` block.

    Parameters
    ----------
    claim : str or None
        Why the holder, if there is one, must give way: then it is waited for. None: it goes first.

    Raises
    ------
    TransientError
        On entry, if another holds it.
    DeploymentError
        On entry, if the Lease of that name is another model's, or another program's.
    """

    def __init__(self, cluster: Cluster, model: str, environment: str | None, claim: str | None = None) -> None:
        self._cluster, self._claim = cluster, claim
        self._model, self._environment = model, environment
        self._name, labels = name_of(model), labels_of(model, environment)
        self._about = {"name": self._name, "namespace": cluster.namespace, "labels": labels}
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._lock, self._over = threading.Lock(), threading.Event()
        self._version, self._transitions = "", 0
        self._renewed = 0.0
        self._lost: str | None = None
        self._claimed = False
        self._thread = threading.Thread(target=self._renew_all_the_time, daemon=True)
        self.written: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(DeploymentError, TransientError):  # it runs out by itself
            if self._lost is None or self._claimed:
                self._write(holder="")

    def check(self) -> None:
        """Make sure that the lease is still held, before something is changed.

        Raises
        ------
        LostError
            If it is not, or somebody claims it.
        TransientError
            If the cluster does not say.
        """
        if self._lost is None and time.monotonic() - self._renewed > 2 * _RENEW_S:
            self._renew()
        if self._lost is not None:
            raise LostError(self._lost)

    def write(self, document: Mapping[str, Any] | None) -> None:
        """Write what the next process must know into the Lease; None removes it."""
        self.check()
        self.written = dict(document) if document is not None else None
        self._renew()
        self.check()

    def _take(self) -> None:
        """Wait until the lease is free, or has not been renewed for its time."""
        seen, since = "", time.monotonic()
        while True:
            found = self._cluster.get(COORDINATION, "Lease", self._name)
            if found is None:
                self._create()
                return
            check_own(found, self._model, self._environment)
            self._read(found)
            holder = found["spec"].get("holderIdentity") or ""
            if seen and seen != self._version and self._claim is None:
                raise TransientError(f"{self._name}: found another deploy at work ({holder}); expected it to end first")
            if seen != self._version:
                seen, since = self._version, time.monotonic()
            if not holder or time.monotonic() - since > LEASE_S:
                self._transitions += 1
                self._write(holder=self._holder)
                return
            if self._claim is not None and _CLAIM not in found["metadata"].get("annotations", {}):
                with suppress(TransientError):
                    seen = self._write(holder=holder, claim=self._claim, renew=found["spec"]["renewTime"])
                    since = time.monotonic()
            time.sleep(_LOOK_S)

    def _renew_all_the_time(self) -> None:
        while not self._over.wait(_RENEW_S):
            with suppress(TransientError):
                self._renew()

    def _renew(self) -> None:
        with self._lock:
            if self._lost is not None:
                return
            try:
                self._write(holder=self._holder)
            except TransientError:
                self._lost = self._taken_by_another()
                if self._lost is None:
                    raise

    def _taken_by_another(self) -> str | None:
        """Say who has the lease, or claims it; None if it is still ours."""
        found = self._cluster.get(COORDINATION, "Lease", self._name)
        if found is None:
            return f"{self._name}: found its Lease deleted; expected it to be left alone"
        if claim := found["metadata"].get("annotations", {}).get(_CLAIM):
            self._version, self._claimed = found["metadata"]["resourceVersion"], True
            return f"{self._name}: found that it must give way: {claim}"
        holder = found["spec"].get("holderIdentity") or "nobody"
        if holder != self._holder:
            return f"{self._name}: found the deploy taken over by {holder}; expected no pause of {LEASE_S} s"
        self._version = found["metadata"]["resourceVersion"]
        return None

    def _create(self) -> None:
        self._read(self._cluster.create(self._manifest(self._holder)))

    def _write(self, holder: str, claim: str | None = None, renew: str | None = None) -> str:
        manifest = self._manifest(holder, claim, renew)
        manifest["metadata"]["resourceVersion"] = self._version
        found = self._cluster.apply(manifest)
        self._version = str(found["metadata"]["resourceVersion"])
        self._renewed = time.monotonic()
        return self._version

    def _read(self, found: Mapping[str, Any]) -> None:
        self._version = str(found["metadata"]["resourceVersion"])
        self._transitions = found["spec"].get("leaseTransitions", 0)
        self._renewed = time.monotonic()
        written = found["metadata"].get("annotations", {}).get(_ROLLOUT)
        self.written = json.loads(written) if written else None

    def _manifest(self, holder: str, claim: str | None = None, renew: str | None = None) -> dict[str, Any]:
        notes = {_ROLLOUT: json.dumps(self.written)} if self.written is not None else {}
        return {
            "apiVersion": COORDINATION,
            "kind": "Lease",
            "metadata": {**self._about, "annotations": notes | ({_CLAIM: claim} if claim else {})},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": LEASE_S,
                "leaseTransitions": self._transitions,
                "renewTime": renew or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
