"""A cluster's API: what is needed of it, with errors in words.

The only module that imports the Kubernetes client, which reads whatever a kubeconfig may hold. It is imported when a
cluster is opened, since that takes half a second. The API itself is plain HTTP,
which no version of that client changes.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote, urlencode

from pipeline.errors import DeploymentError, InputError, TransientError
from pipeline.serving.client import credentials, refusal

MANAGER = "modelrail"
"""Our name as the owner of fields (server-side apply)."""
_TIMEOUT_S = 15.0
_DENIED = "admission webhook"  # so begins what is said of an object that somebody else's program refuses

Object = dict[str, Any]


def open_cluster(context: str | None, namespace: str) -> Cluster:
    """Reach the cluster of a kubeconfig's context, or the one that this process runs in.

    Raises
    ------
    InputError
        If there is no kubeconfig or no such context.
    """
    from kubernetes import client, config

    settings = client.Configuration()
    inside = "KUBERNETES_SERVICE_HOST" in os.environ and context is None and "KUBECONFIG" not in os.environ
    try:
        if inside:
            config.load_incluster_config(client_configuration=settings)
        else:
            # Named, since the client looks at the variable only once, when it is imported.
            config.load_kube_config(os.environ.get("KUBECONFIG"), context, client_configuration=settings)
    except config.ConfigException as error:
        raise InputError(
            f"found no cluster ({error}); expected a kubeconfig: set KUBECONFIG, or deploy.context to one of its"
            " contexts"
        ) from error
    return Cluster(settings, namespace)


class Cluster:
    """One namespace of a cluster.

    Raises
    ------
    DeploymentError
        From every method, if the cluster refuses.
    TransientError
        From every method, if it does not answer, or not now.
    """

    def __init__(self, settings: Any, namespace: str) -> None:
        import httpx

        self._settings, self.namespace = settings, namespace
        trust = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if not settings.verify_ssl:
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        if settings.cert_file:
            trust.load_cert_chain(settings.cert_file, settings.key_file)
        self._http = httpx.Client(base_url=settings.host, verify=trust, proxy=settings.proxy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Apply an object server-side: the fields that it names become ours; return it as it is then."""
        query = {"fieldManager": MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        path = self._path(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        return self._ask("PATCH", path, query, manifest, "application/apply-patch+yaml")

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Make an object; a TransientError if it is there already."""
        path = self._path(manifest["apiVersion"], manifest["kind"])
        return self._ask("POST", path, {"fieldManager": MANAGER}, manifest, "application/json")

    def own(self, manifest: Mapping[str, Any], fields: Sequence[Mapping[str, Any]], version: str) -> None:
        """Set who owns which fields of an object, unless the object has changed since."""
        path = self._path(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        body = {"metadata": {"managedFields": fields, "resourceVersion": version}}
        self._ask("PATCH", path, {"fieldManager": MANAGER}, body, "application/merge-patch+json")

    def get(self, api: str, kind: str, name: str) -> Object | None:
        """Read an object; None if it, or its API, does not exist."""
        try:
            return self._ask("GET", self._path(api, kind, name))
        except _NotFoundError:
            return None

    def list(self, api: str, kind: str, labels: Mapping[str, str]) -> list[Object]:
        """List all objects of a kind that carry these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        items = self._ask("GET", self._path(api, kind), {"labelSelector": selector})["items"]
        return [{"apiVersion": api, "kind": kind, **each} for each in items]

    def delete(self, api: str, kind: str, name: str) -> bool:
        """Remove an object, with what belongs to it; False if it was not there."""
        try:
            self._ask("DELETE", self._path(api, kind, name), {"propagationPolicy": "Background"})
        except _NotFoundError:
            return False
        return True

    def apis(self) -> frozenset[str]:
        """List the ``GROUP/VERSION`` of every API that the cluster has."""
        groups = self._ask("GET", "/apis")["groups"]
        return frozenset(version["groupVersion"] for group in groups for version in group["versions"])

    def rules(self) -> Sequence[Object]:
        """List what this account may do in the namespace, as far as the cluster can list it."""
        answer = self._review("SelfSubjectRulesReview", {"namespace": self.namespace})
        rules: Sequence[Object] = answer["status"]["resourceRules"]
        return rules

    def allows(self, group: str, resource: str, verb: str, name: str) -> bool:
        """Ask whether this account may do something in the namespace with an object; an empty name stands for any."""
        kind, _, part = resource.partition("/")
        what = {"group": group, "resource": kind, "subresource": part, "verb": verb, "name": name}
        answer = self._review("SelfSubjectAccessReview", {"resourceAttributes": {"namespace": self.namespace, **what}})
        return bool(answer["status"]["allowed"])

    def _review(self, kind: str, spec: Object) -> Object:
        api = "authorization.k8s.io/v1"
        document = {"apiVersion": api, "kind": kind, "spec": spec}
        return self._ask("POST", f"/apis/{api}/{kind.lower()}s", None, document, "application/json")

    def post(self, service: str, path: str, body: bytes, timeout_s: float, scheme: str) -> tuple[int, bytes]:
        """Ask a Service, by way of the API server; return the status and the body of the answer."""
        where = f"/api/v1/namespaces/{self.namespace}/services/{scheme}:{service}:http/proxy{path}"
        return self._send("POST", where, body, "application/json", timeout_s, credentials())

    def metrics(self, pod: str, port: int, scheme: str) -> str:
        """Read what a pod's server counts, by way of the API server.

        Raises
        ------
        TransientError
            If it does not answer.
        """
        where = f"/api/v1/namespaces/{self.namespace}/pods/{scheme}:{pod}:{port}/proxy/metrics"
        status, content = self._send("GET", where, None, "", _TIMEOUT_S, credentials())
        if status == 401:
            raise DeploymentError(f"pod {pod}: {refusal(status, content)}")
        if status != 200:
            raise TransientError(f"pod {pod}: found status {status}; expected its metrics")
        return content.decode()

    def _path(self, api: str, kind: str, name: str = "") -> str:
        root = f"/apis/{api}" if "/" in api else f"/api/{api}"
        plural = re.sub(r"y$", "ie", kind.lower()) + "s"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{quote(name)}" if name else "")

    def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, media: str = ""
    ) -> Object:
        where = f"{path}?{urlencode(query)}" if query else path
        content = json.dumps(body).encode() if body is not None else None
        status, content = self._send(method, where, content, media, _TIMEOUT_S)
        if status >= 400:
            raise self._error(method, path, status, content)
        answer: Object = json.loads(content)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        media: str,
        timeout_s: float,
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        import httpx

        access = self._settings.auth_settings().get("BearerToken", {})  # asked each time: a token may have run out
        headers = {"accept": "application/json", **(more or {})}
        headers |= {"content-type": media} if media else {}
        headers |= {"authorization": access["value"]} if access else {}
        try:
            answer = self._http.request(method, path, content=body, headers=headers, timeout=timeout_s)
        except httpx.HTTPError as error:
            found = str(error) or type(error).__name__
            raise TransientError(f"cluster {self._settings.host}: found {found}; expected its API to answer") from error
        return answer.status_code, answer.content

    def _error(self, method: str, path: str, status: int, content: bytes) -> Exception:
        try:
            said = str(json.loads(content)["message"])
        except (ValueError, KeyError, TypeError):
            said = content.decode(errors="replace")[:300]
        if status == 404 and 'namespaces "' in said:
            return DeploymentError(
                f"cluster: found no namespace '{self.namespace}'; expected it:"
                f" 'kubectl create namespace {self.namespace}', or another one (deploy.namespace)"
            )
        if status == 404:
            return _NotFoundError(f"cluster: {path}: {said}")
        if status in {401, 403} and not said.startswith(_DENIED):
            return DeploymentError(
                f"cluster: found no right to it ({said}); expected an account that may {method.lower()} it"
                " ('modelrail manifests --access' prints the role)"
            )
        if status in {409, 429} or status >= 500:
            return TransientError(f"cluster: {said}")
        return DeploymentError(f"cluster: found {said}; expected an object that it accepts")


class _NotFoundError(DeploymentError):
    """There is no such object."""
