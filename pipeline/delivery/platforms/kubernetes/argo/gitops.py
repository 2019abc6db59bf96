"""Make a release live by a commit: Argo CD applies it, and this waits until it is applied and healthy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.differences import Difference, compare, flatten, strangers
from pipeline.delivery.platforms.kubernetes.argo import cd
from pipeline.delivery.platforms.kubernetes.cluster import MANAGER, Cluster, open_cluster
from pipeline.delivery.platforms.kubernetes.manifests import APPS, STABLE, Manifest, manifests, selector_of, to_yaml
from pipeline.delivery.platforms.kubernetes.owning import check_own, get_own, require_all_own
from pipeline.delivery.platforms.kubernetes.platform import Kubernetes, address_of, find, open_target, own
from pipeline.delivery.platforms.kubernetes.rolling import await_rollout
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import DeploymentError, InputError, TransientError
from pipeline.preflight import ask_all
from pipeline.spec.object_names import application_name, folder_of, former_application_name, name_of
from pipeline.spec.schema.deploy import GitOps
from pipeline.storage.git.mirrors import mirror
from pipeline.storage.git.publishing import Published, publish, read_folder, read_tree, require_push, write_folder
from pipeline.storage.git.repository import Repository

_POLL_S = 1.0
_REFRESH_S = 10.0
_MANAGERS: Mapping[str, str] = {"argocd": "argocd-controller", "flux": "kustomize-controller"}
"""Their names as the owners of fields."""
_APPLICATION_NAMES = (application_name, former_application_name)
_EMPTY = "Nothing is deployed here.\n"


class GitOpsKubernetes(Kubernetes):
    """A cluster that Argo CD, or Flux, brings to what a deployment repository says."""

    def require_cluster(self, target: Target) -> None:
        """Ask the cluster whether it answers and is free, and the deployment repository whether it can be written."""
        ask_all([partial(_require_answer, target), partial(_require_repository, target)])

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Commit the release's objects and wait until they are live; else commit what was there before."""
        image = image or self.package(target, release, bundle)
        with open_target(target) as cluster:
            own(cluster, target)
            before = self.live(target)
            manifests = _Manifests(target, mirror(_settings(target).repository, target.state))
            manifests.require_own()
            objects = _objects(target, release, image, cluster)
            require_all_own(cluster, target, objects)
            made = manifests.publish(
                write_folder(manifests.repository, _files(objects)), _message(release, target, image)
            )
            try:
                manifests.wait(made, cluster, objects)
            except DeploymentError as error:
                raise DeploymentError(f"deploy {release.tag}: {error}{manifests.restore(made, release)}") from error
        replaced = before.version if before and before.version != str(release.version) else None
        note = None if made.changed else "the deployment repository had it already"
        return Live(release.model, str(release.version), address_of(target), replaced, note, image)

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Compare the deployment repository with what it should have, and the cluster with the repository."""
        if image is None:
            raise InputError(f"{release.tag}: found no image of it; expected one: 'modelrail promote' makes it")
        manifests = _Manifests(target, mirror(_settings(target).repository, target.state))
        follower = manifests.settings.applied_by
        with open_target(target) as cluster:
            wanted = _objects(target, release, image, cluster)
            require_all_own(cluster, target, wanted)
            added = [each for one in wanted for each in _added(find(cluster, one), _MANAGERS[follower])]
        seen = cd.differences(manifests.application()) if follower == "argocd" else ()
        return [*_compare(manifests.read(), _files(wanted)), *seen, *added]

    def stop(self, target: Target) -> Live | None:
        """Commit an empty folder; Argo CD removes the objects."""
        before = self.live(target)
        manifests = _Manifests(target, mirror(_settings(target).repository, target.state))
        manifests.require_own()
        tree = write_folder(manifests.repository, {"README.md": _EMPTY})
        made = manifests.publish(tree, f"Remove {target.model} from {target.environment or 'default'}\n")
        with open_target(target) as cluster:
            manifests.wait(made, cluster, ())
        return before


def application_of(target: Target) -> Manifest:
    """Build the application that Argo CD needs for a model, once."""
    return cd.application(target.spec, _settings(target), target.environment)


@dataclass(frozen=True)
class _Manifests:
    """A model's folder in the deployment repository, and its application."""

    target: Target
    repository: Repository

    @property
    def settings(self) -> GitOps:
        return _settings(self.target)

    @property
    def folder(self) -> str:
        return folder_of(self.target.model, self.target.environment)

    def require_own(self) -> None:
        """Refuse a folder that no application follows, where a commit changes nothing, and one of another model."""
        if self.settings.applied_by == "argocd":
            self.application()
        if text := self.read().get("deployment.yaml"):
            try:
                check_own(_parse(text), self.target.model, self.target.environment)
            except DeploymentError as error:
                raise DeploymentError(f"{self.settings.repository}: {self.folder}: {error}") from error

    def publish(self, tree: str | None, message: str, *, review: bool = True) -> Published:
        branch = self.settings.review_branch if review else None
        return publish(self.repository, self.settings.branch, self.folder, tree, message, branch)

    def read(self) -> dict[str, str]:
        """Read what the branch has now."""
        self.repository.update()
        tree = read_tree(self.repository, f"refs/heads/{self.settings.branch}", self.folder)
        return read_folder(self.repository, tree) if tree else {}

    def restore(self, made: Published, release: Release) -> str:
        """Commit what was there before, unless others have changed it since; say what was done."""
        if self.settings.review_branch:
            return ""
        if not made.changed:
            return "; the deployment repository had it before, and keeps it"
        if made.before is None:
            return "; the deployment repository had nothing before, and keeps the commit for you to look at"
        self.repository.update()
        if read_tree(self.repository, f"refs/heads/{self.settings.branch}", self.folder) != made.tree:
            return "; the deployment repository has been changed meanwhile, and that stands"
        again = self.publish(made.before, f"Take {release.tag} back: it did not come up\n", review=False)
        self._refresh()
        return f"; what was there before is committed again ({again.commit[:10]})"

    def application(self) -> Mapping[str, Any]:
        """Read the application.

        Raises
        ------
        DeploymentError
            If there is none, or the one of its name follows another folder.
        """
        name = application_name(self.target.model, self.target.environment)
        with self._argocd() as cluster:
            found = self._find_application(cluster)
            other = None if found else cluster.get(cd.API, cd.KIND, name)
        if other is not None:
            raise DeploymentError(
                f"{self.settings.argocd_namespace}/{cd.KIND}/{name}: found that it follows {cd.path_of(other)!r};"
                f" expected {self.folder!r}: make the application of that folder's model anew under its own name"
                " ('modelrail manifests MODEL --environment NAME --application'), then delete this one without what it"
                " follows ('kubectl delete --cascade=orphan')"
            )
        if found is None:
            option = f" --environment {self.target.environment}" if self.target.environment else ""
            raise DeploymentError(
                f"Argo CD: found no application {self.settings.argocd_namespace}/{name}; expected it:"
                f" 'modelrail manifests {self.target.model}{option} --application | kubectl apply --filename -'"
            )
        return found

    def _find_application(self, cluster: Cluster) -> Mapping[str, Any] | None:
        """Find the application that follows the folder: by its name, or by the one that earlier versions gave it."""
        for name in (each(self.target.model, self.target.environment) for each in _APPLICATION_NAMES):
            found = cluster.get(cd.API, cd.KIND, name)
            if found is not None and cd.path_of(found) == self.folder:
                return found
        return None

    def wait(self, made: Published, cluster: Cluster, objects: Sequence[Manifest]) -> None:
        """Wait until the published folder is applied and healthy; one without objects only has to be applied.

        Raises
        ------
        DeploymentError
            If it cannot be, or takes longer than `synced_within_s`.
        """
        deadline, refreshed, waited = time.monotonic() + self.settings.synced_within_s, 0.0, False
        state = cd.Sync("Argo CD did not answer")
        while time.monotonic() < deadline:
            if time.monotonic() - refreshed > _REFRESH_S:
                self._refresh()
                refreshed = time.monotonic()
            state = self._look(made, cluster, objects)
            if state.final:
                raise DeploymentError(state.say)
            if state.applied and objects and not waited:
                _await_pods(cluster, self.target)  # says which pod has which trouble, and sooner than Argo CD does
                waited = True
            elif not state.say:
                return
            else:
                time.sleep(_POLL_S)
        raise DeploymentError(self._explain(state))

    def _explain(self, state: cd.Sync) -> str:
        within = f"not live within {self.settings.synced_within_s} s: {state.say}"
        if branch := self.settings.review_branch:
            return f"{within}; expected '{branch}' to be merged into '{self.settings.branch}': then run again"
        return f"{within}; expected it to be applied and healthy (deploy.gitops.synced_within_s)"

    def _look(self, made: Published, cluster: Cluster, objects: Sequence[Manifest]) -> cd.Sync:
        try:
            if self.settings.applied_by == "flux":
                return _look_at(cluster, self.target, objects)
            found = self.application()
        except TransientError as error:
            return cd.Sync(str(error))
        is_ours, was_ours = (
            self._tree_at(read(found)) == made.tree for read in (cd.revision_of, cd.operation_revision)
        )
        return cd.judge(found, is_ours=is_ours, was_ours=was_ours)

    def _tree_at(self, revision: str) -> str | None:
        if revision and not self.repository.holds(revision):
            self.repository.update()
        return read_tree(self.repository, revision, self.folder)

    def _refresh(self) -> None:
        """Let Argo CD look at once, where that is allowed; it looks by itself every few minutes."""
        if self.settings.applied_by != "argocd":
            return
        with suppress(DeploymentError, TransientError), self._argocd() as cluster:
            if found := self._find_application(cluster):
                metadata = {"name": found["metadata"]["name"], "annotations": cd.REFRESH}
                cluster.apply({"apiVersion": cd.API, "kind": cd.KIND, "metadata": metadata})

    @contextmanager
    def _argocd(self) -> Iterator[Cluster]:
        context = self.settings.argocd_context or self.target.spec.deploy.context
        with open_cluster(context, self.settings.argocd_namespace) as cluster:
            yield cluster


def _require_answer(target: Target) -> None:
    """Ask for no right to change anything: Argo CD, or Flux, has it."""
    with open_target(target) as cluster:
        own(cluster, target)


def _require_repository(target: Target) -> None:
    manifests = _Manifests(target, mirror(_settings(target).repository, target.state))
    manifests.require_own()
    require_push(manifests.repository, manifests.settings.review_branch or manifests.settings.branch)


def _settings(target: Target) -> GitOps:
    found = target.spec.deploy.gitops
    if found is None:
        raise InputError("deploy.gitops: found nothing; expected {repository: URL} with deploy.mode gitops")
    return found


def _objects(target: Target, release: Release, image: str, cluster: Cluster) -> list[Manifest]:
    return manifests(target.spec, release, target.environment, image, apis=cluster.apis())


def _files(objects: Sequence[Manifest]) -> dict[str, str]:
    """Write each object as a file of its own, so that Git shows which one has changed."""
    return {f"{each['kind'].lower()}.yaml": to_yaml([each]) for each in objects}


def _message(release: Release, target: Target, image: str) -> str:
    evidence = release.evidence
    return (
        f"{release.tag} in {target.environment or 'default'}\n\n"
        f"Image: {image}\nData-commit: {evidence.data_commit}\nSpec-commit: {evidence.spec_commit}\n"
    )


def _compare(found: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Difference]:
    """Compare files with files, value by value."""
    for name in sorted({*found, *wanted} - {"README.md"}):
        now, then = (flatten(_parse(each[name])) if name in each else {} for each in (found, wanted))
        for path in dict.fromkeys([*now, *then]):
            if now.get(path) != then.get(path):
                yield Difference(f"Git: {name}", path, now.get(path), then.get(path))


def _added(found: Mapping[str, Any] | None, manager: str) -> Iterator[Difference]:
    """Yield what others have added to an object, which a tool that follows Git does not see."""
    if found is None:
        return
    for path, who in strangers(found, manager):
        yield Difference(f"{found['kind']}/{found['metadata']['name']}", path, "a value", None, who)


def _parse(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def _look_at(cluster: Cluster, target: Target, objects: Sequence[Manifest]) -> cd.Sync:
    """Ask the cluster itself whether it is as the objects say; of none, whether the Deployment is gone."""
    if not objects and get_own(cluster, target, (APPS, "Deployment", name_of(target.model))) is not None:
        return cd.Sync("Flux has not removed it")
    for each in objects:
        applied = cluster.apply(each, dry_run=True)
        if changes := [
            difference for difference in compare(find(cluster, each), applied, MANAGER) if not difference.who
        ]:
            return cd.Sync(f"Flux has not applied it: {changes[0]}")
    return cd.Sync(applied=True)


def _await_pods(cluster: Cluster, target: Target) -> None:
    name = name_of(target.model)
    await_rollout(cluster, name, selector_of(name, STABLE), target.spec.deploy.ready_within_s)
