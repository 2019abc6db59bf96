"""Signs bundles, in the format of OpenSSF Model Signing; `pipeline.serving.scoring.signatures` checks them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import InputError
from pipeline.extras import require
from pipeline.serving.scoring.signatures import SIGNATURE

KEY = "MODELRAIL_SIGNING_KEY_FILE"
"""PEM private key of an elliptic curve (P-256, P-384 or P-521) by which bundles are signed; without it none is."""


def signs_bundles(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a key to sign with is configured."""
    return bool(environment.get(KEY))


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
