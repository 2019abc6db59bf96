"""Bundles: the folders from which servers are started, each made of a train artifact, and signed if there is a key."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.delivery.releases import Release
from pipeline.errors import DeploymentError, InputError
from pipeline.extras import require
from pipeline.model.reference import REFERENCE
from pipeline.model.sentences import ENCODER, PIECES
from pipeline.serving.scoring.signatures import SIGNATURE
from pipeline.storage.artifacts import Artifact, Store

KEY = "MODELRAIL_SIGNING_KEY_FILE"
"""PEM private key of an elliptic curve (P-256, P-384 or P-521) by which bundles are signed; without it none is."""


def signs_bundles(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a key to sign with is configured."""
    return bool(environment.get(KEY))


def require_key(environment: Mapping[str, str] = os.environ) -> None:
    """Make sure that bundles can be signed, if they are to be.

    Raises
    ------
    InputError
        If the extra ``signing`` is not installed, or the key is not there.
    """
    if key := environment.get(KEY):
        require("signing", KEY, "signing of bundles")
        if not os.access(key, os.R_OK):
            raise InputError(f"{KEY}: found no file {key} that can be read; expected a PEM private key")


def sign_bundle(folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Sign a bundle as a whole, if a key is configured and it is not signed yet; no network is needed.

    Raises
    ------
    InputError
        If the key cannot be used, or the extra ``signing`` is not installed.
    """
    key = environment.get(KEY)
    if not key or (folder / SIGNATURE).exists():
        return
    require("signing", KEY, "signing of bundles")
    from model_signing import hashing, signing

    draft = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.sig"
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=Path(key))
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False))
        config.sign(folder, draft)
        draft.replace(folder / SIGNATURE)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{KEY}: found {key}: {error}; expected a PEM private key of P-256, P-384 or P-521") from error
    finally:
        draft.unlink(missing_ok=True)


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
        write_release(draft, artifact, release, store.find(release.evidence.artifacts.get("evaluate", "")))
        sign_bundle(draft)
        if not (folder / RECORD).exists():
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def write_release(folder: Path, artifact: Artifact, release: Release, evaluation: Artifact | None) -> None:
    """Write a release's bundle, unsigned, into a folder of the caller's; the bytes are those of `bundle_of`.

    Without its evaluation, which a clone's store may lack, a release has no reference: it is served, and not counted.
    """
    write_bundle(folder, artifact, _facts(release), evaluation)


def write_bundle(
    folder: Path, artifact: Artifact, facts: Mapping[str, Any], evaluation: Artifact | None = None
) -> None:
    """Copy what is served, and record each file's digest together with the facts."""
    sources = {name: artifact for name in _FILES if artifact.has(name)}
    if evaluation is not None and evaluation.has(REFERENCE):
        sources[REFERENCE] = evaluation
    for name, source in sources.items():
        shutil.copyfile(source.file(name), folder / name)
    digests = {name: source.manifest["files"][name]["sha256"] for name, source in sources.items()}
    (folder / RECORD).write_text(json.dumps({**facts, "files": digests}, indent=1), "utf-8")


def _facts(release: Release) -> dict[str, Any]:
    known = {"data_time": release.evidence.data_time} if release.evidence.data_time else {}
    return {
        "model": release.model,
        "version": str(release.version),
        "tag": release.tag,
        "data_commit": release.evidence.data_commit,
        "spec_commit": release.evidence.spec_commit,
        "artifact": release.evidence.artifacts["train"],
        **known,
    }
