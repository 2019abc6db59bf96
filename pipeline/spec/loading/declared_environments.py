"""Environments that name models: what is to be live there, as soon as there is a release of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from pipeline.errors import Problem
from pipeline.messages import quote, suggest
from pipeline.spec.files import FileError, find_environments, find_overlay
from pipeline.spec.loading.documents import Document, read_document

_SECTION, _KEY = "environment", "models"
_NAME = f"{_SECTION}.{_KEY}"
# Reading YAML takes milliseconds, and most environments name no model.
_MAY_NAME = re.compile(rb"models[\"']?\s*:")


def find_declared(spec: Path, model: str) -> list[str]:
    """List the environments that name a model, as far as they can be read.

    Parameters
    ----------
    spec : Path
        The spec's file; whether it is there does not matter, since environments lie next to it.
    """
    return [name for name in find_environments(spec) if model in _models(_read(find_overlay(spec, name)))]


def find_unknown(
    specs: Iterable[Path], find_names: Callable[[], Collection[str]], environments: str | Path | None
) -> Iterator[Problem]:
    """Find what environments name and no spec is: each is waited for in vain.

    Parameters
    ----------
    find_names : callable
        Finds the names of all models; not called where no environment names any, since that reads every spec.
    """
    overlays = {
        find_overlay(spec, name, environments) for spec in specs for name in find_environments(spec, environments)
    }
    for file in sorted(overlays):
        document = _read(file)
        named = _models(document)
        names = find_names() if named else ()
        for place, model in enumerate(named):
            if document is not None and model not in names:
                mark = document.values[_SECTION, _KEY, place]
                expected = suggest(model, names, f"a model of {', '.join(sorted(names)[:5])}")
                yield Problem(mark.file, mark.line, mark.column, _NAME, quote(model), expected)


def find_misplaced(document: Document) -> Iterator[Problem]:
    """Find the key in a spec itself, which is no environment."""
    if _models(document):
        mark = document.keys[_SECTION, _KEY]
        expected = "it in a file of environments/, for that is what the models are to be live in"
        yield Problem(mark.file, mark.line, mark.column, _NAME, "a list of models in a spec", expected)


def _read(file: Path) -> Document | None:
    try:
        return read_document(file) if _MAY_NAME.search(file.read_bytes()) else None
    except (FileError, OSError):
        return None


def _models(document: Document | None) -> list[str]:
    section = (document.data or {}).get(_SECTION) if document else None
    found = section.get(_KEY) if isinstance(section, dict) else None
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
