"""The package's optional dependencies (extras): whether they are installed, and which command installs them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import InputError


@dataclass(frozen=True)
class Extra:
    """One of ``[project.optional-dependencies]``.

    Attributes
    ----------
    modules : tuple of str
        What can be imported once it is installed.
    decisive : tuple of str
        Distributions whose version decides a result.
    """

    modules: tuple[str, ...]
    decisive: tuple[str, ...]


EXTRAS: Mapping[str, Extra] = {
    "torch": Extra(("torch", "safetensors"), ("torch",)),
    "tensorflow": Extra(("tensorflow", "keras", "safetensors"), ("keras", "tensorflow-cpu")),
    "images": Extra(("cv2", "pybase64"), ("opencv-python-headless",)),
    "boosting": Extra(("lightgbm", "xgboost"), ("lightgbm", "xgboost")),
    "text": Extra(("gensim", "tokenizers"), ("gensim", "tokenizers")),
    "dask": Extra(("distributed",), ()),
    "isolation": Extra(("uv",), ()),
    "signing": Extra(("model_signing", "OpenSSL"), ()),
}


def is_installed(extra: str) -> bool:
    """Tell whether everything of an extra is installed; nothing is imported."""
    return all(each in sys.modules or find_spec(each) is not None for each in EXTRAS[extra].modules)


def install_command(extra: str) -> str:
    """Write the command that installs an extra: the locked versions in a clone, else any that fit.

    In a clone it can be typed where one is, such as in the folder of another repository with specs.
    """
    clone = Path(__file__).parents[1]
    if not (clone / f"requirements-{extra}.txt").exists():
        return f"pip install 'modelrail[{extra}]'"
    elsewhere = "" if Path.cwd() == clone else f"-C {shlex.quote(str(clone))} "
    return f"make {elsewhere}extra-{extra}"


def lacking(extra: str, wanted_by: str) -> tuple[str, str]:
    """Write the parts of an error about an extra that is not installed: what was found, what was expected."""
    return f"{wanted_by}, whose extra '{extra}' is not installed", f"it installed: {install_command(extra)}"


def require(extra: str, where: str, wanted_by: str) -> None:
    """Refuse to go on without an extra.

    Parameters
    ----------
    where : str
        Key of the spec that asks for it.
    wanted_by : str
        What stands there.

    Raises
    ------
    InputError
        It is not installed.
    """
    if not is_installed(extra):
        found, expected = lacking(extra, wanted_by)
        raise InputError(f"{where}: found {found}; expected {expected}")
