"""Bundles: the folders from which servers are started, each made of a train artifact."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.delivery.releases import Release
from pipeline.delivery.signing import sign_bundle
from pipeline.errors import DeploymentError
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.storage.artifacts import Artifact, Store

RECORD = "release.json"
_FILES = ("model.onnx", "signature.json", "preprocess.onnx", "estimator.skops", ENCODER, PIECES)


def bundle_of(release: Release, store: Store, state: Path, twin: Artifact | None = None) -> Path:
    """Find a release's bundle, or make it from the store.

    Parameters
    ----------
    twin : Artifact, optional
        An artifact with the release's very content, to be used where the store lacks the release's own: a clone
        knows releases that another store holds.

    Raises
    ------
    DeploymentError
        If the store no longer has the release's artifacts.
    InputError
        If a key to sign with is configured and cannot be used.
    """
    folder = state / "releases" / release.model / f"v{release.version}"
    if (folder / RECORD).exists():
        sign_bundle(folder)
        return folder
    key = release.evidence.artifacts["train"]
    artifact = store.find(key) or twin
    if artifact is None:
        raise DeploymentError(
            f"{release.tag}: found no artifact {key[:12]} in the store; expected it there: set MODELRAIL_STORE to the"
            f" store that has it, or run its spec again at commit {release.evidence.spec_commit[:12]} and data commit"
            f" {release.evidence.data_commit[:12]}"
        )
    draft = folder.with_name(f"{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    try:
        write_release(draft, artifact, release)
        sign_bundle(draft)
        if not (folder / RECORD).exists():
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def write_release(folder: Path, artifact: Artifact, release: Release) -> None:
    """Write a release's bundle, unsigned, into a folder of the caller's; the bytes are those of `bundle_of`."""
    write_bundle(folder, artifact, _facts(release))


def write_bundle(folder: Path, artifact: Artifact, facts: Mapping[str, Any]) -> None:
    """Copy what is served, and record each file's digest together with the facts."""
    names = [name for name in _FILES if artifact.has(name)]
    for name in names:
        shutil.copyfile(artifact.file(name), folder / name)
    digests = {name: artifact.manifest["files"][name]["sha256"] for name in names}
    (folder / RECORD).write_text(json.dumps({**facts, "files": digests}, indent=1), "utf-8")


def _facts(release: Release) -> dict[str, Any]:
    return {
        "model": release.model,
        "version": str(release.version),
        "tag": release.tag,
        "data_commit": release.evidence.data_commit,
        "spec_commit": release.evidence.spec_commit,
        "artifact": release.evidence.artifacts["train"],
    }
