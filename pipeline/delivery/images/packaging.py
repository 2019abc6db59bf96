"""An image of a release: one reproducible layer with the model, appended to the serving image in the registry.

The layer is a plain tar of the bundle, in ``/model``: sorted, without times and owners, not compressed (an ONNX file
hardly shrinks, and compressors differ between versions). So the same bundle on the same base is the same image, by its
digest, wherever it is made. Nothing is unpacked, and the base's layers are mounted, not copied.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.delivery.images.registry import Blob, Registry, digest_of
from pipeline.delivery.releases import Release
from pipeline.errors import DeploymentError
from pipeline.spec.image_names import Reference

FOLDER = "model"
PREFIX = "modelrail.dev"
"""What labels and annotations of ours begin with."""
_INDEX, _MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
_CONFIG, _LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
_OCI = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{_LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": _LAYER,
}


@dataclass(frozen=True)
class Image:
    """An image in a registry.

    Attributes
    ----------
    reference : str
        Its name with its digest: what a deployment names.
    tag : str
        A further tag of its own, so that no registry removes it while it may be rolled back to.
    blobs : dict
        How many were ``mounted``, ``copied``, ``pushed`` or ``there``.
    """

    reference: str
    tag: str
    blobs: Mapping[str, int]


def labels_of(release: Release) -> dict[str, str]:
    """Build an image's labels, which say what made its release: every commit."""
    evidence = release.evidence
    return {
        "org.opencontainers.image.title": release.model,
        "org.opencontainers.image.version": str(release.version),
        "org.opencontainers.image.revision": evidence.spec_commit,
        "org.opencontainers.image.source": evidence.data_repository,
        f"{PREFIX}/release": release.tag,
        f"{PREFIX}/data-commit": evidence.data_commit,
        f"{PREFIX}/spec-commit": evidence.spec_commit,
        f"{PREFIX}/code": evidence.code,
        f"{PREFIX}/artifact": evidence.artifacts["train"],
    }


def package(
    bundle: Path, base: str, repository: str, tag: str, labels: Mapping[str, str], *, push: bool = True
) -> Image:
    """Append a bundle to the serving image and push the result.

    Parameters
    ----------
    bundle : Path
        Folder of the release.
    base : str
        The serving image; of several architectures, if it is.
    repository : str
        Where the image goes, without a tag.
    tag : str
        What its tag begins with; the digest follows.
    labels : mapping
        What stands in its configuration.
    push : bool
        Without it nothing is pushed, and the image is only named.

    Raises
    ------
    DeploymentError
        If the registry refuses, or the serving image is not there.
    """
    origin, place = Reference.parse(base), Reference.parse(repository)
    with ExitStack() as opened:
        source = opened.enter_context(closing(Registry(origin.host)))
        same = place.host == origin.host
        target = source if same else opened.enter_context(closing(Registry(place.host)))
        found = find_base(source, origin, base)
        made = _Push(source, origin.name, target, place.name, Blob(model_layer(bundle)), labels, dry=not push)
        content, media_type = made.append(json.loads(found))
        digest = digest_of(content)
        named = f"{tag}-{digest.partition(':')[2][:12]}"
        made.store(named, content, media_type)
    return Image(f"{place}@{digest}", f"{place}:{named}", made.blobs)


def find_base(registry: Registry, origin: Reference, base: str) -> bytes:
    """Fetch the manifest of the serving image.

    Parameters
    ----------
    base : str
        How the spec names it.

    Raises
    ------
    DeploymentError
        If it is not there.
    """
    found = registry.manifest(origin.name, origin.version)
    if found is None:
        raise DeploymentError(
            f"{base}: found no such image; expected the serving image: build and push it with"
            f" 'modelrail images build serving --tag {base} --push'"
        )
    return found[0]


def model_layer(bundle: Path) -> bytes:
    """Make the layer: the same files give the same bytes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo(FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for file in sorted(each for each in bundle.iterdir() if each.is_file()):
            entry = tarfile.TarInfo(f"{FOLDER}/{file.name}")
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return made.getvalue()


def append_to_config(config: Mapping[str, Any], layer: Blob, labels: Mapping[str, str]) -> bytes:
    """Add a layer and labels to an image's configuration; the argument stays as it is."""
    rootfs, settings = config["rootfs"], config.get("config") or {}
    entry = {"created": config.get("created", "1970-01-01T00:00:00Z"), "created_by": "modelrail"}
    return _json(
        {
            **config,
            "rootfs": {**rootfs, "diff_ids": [*rootfs["diff_ids"], layer.digest]},
            "history": [*config.get("history", ()), entry],
            "config": {**settings, "Labels": {**(settings.get("Labels") or {}), **labels}},
        }
    )


def append_to_manifest(manifest: Mapping[str, Any], config: Blob, layer: Blob) -> bytes:
    """Write an image's manifest, in OCI's form, with another configuration and one more layer."""
    layers = [{**each, "mediaType": _OCI.get(each["mediaType"], each["mediaType"])} for each in manifest["layers"]]
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(config, _CONFIG),
            "layers": [*layers, _described(layer, _LAYER)],
        }
    )


@dataclass
class _Push:
    """One image on its way: where from, where to, and what is added."""

    source: Registry
    origin: str
    target: Registry
    name: str
    layer: Blob
    labels: Mapping[str, str]
    dry: bool
    blobs: Counter[str] = field(default_factory=Counter)

    def append(self, manifest: Mapping[str, Any]) -> tuple[bytes, str]:
        """Push all of an image but its manifest; return the manifest and its media type."""
        return self._append_each(manifest) if "manifests" in manifest else self._append_one(manifest)

    def store(self, version: str, content: bytes, media_type: str) -> None:
        """Store a manifest under a tag or its digest."""
        if not self.dry:
            self.target.put_manifest(self.name, version, content, media_type)

    def _append_one(self, manifest: Mapping[str, Any]) -> tuple[bytes, str]:
        base = json.loads(self.source.blob(self.origin, manifest["config"]["digest"]))
        config = Blob(append_to_config(base, self.layer, self.labels))
        content = append_to_manifest(manifest, config, self.layer)
        if not self.dry and self.target.manifest(self.name, digest_of(content)) is None:
            for each in manifest["layers"]:
                self.blobs[self.target.take(self.name, each["digest"], self.source, self.origin)] += 1
            for blob in (self.layer, config):
                self.blobs[self.target.push(self.name, blob)] += 1
        return content, _MANIFEST

    def _append_each(self, index: Mapping[str, Any]) -> tuple[bytes, str]:
        """Append to the image of every architecture; leave out attestations, which describe the images before."""
        appended = []
        for each in index["manifests"]:
            if each.get("platform", {}).get("os", "unknown") == "unknown":
                continue
            found = self.source.manifest(self.origin, each["digest"])
            if found is None:
                raise DeploymentError(f"{self.origin}@{each['digest']}: found no such manifest; expected a whole image")
            content, media_type = self.append(json.loads(found[0]))
            self.store(digest_of(content), content, media_type)
            appended.append({**_described(Blob(content), media_type), "platform": each["platform"]})
        return _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": appended}), _INDEX


def _described(blob: Blob, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": len(blob.content)}


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
