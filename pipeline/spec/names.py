"""Which model each spec is of, read without the schema, whose import takes longer than most commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import InputError
from pipeline.spec.documents import Mark, read_document
from pipeline.spec.files import FileError, list_yaml
from pipeline.spec.findings import quote, suggest


def names_in(paths: Iterable[Path]) -> dict[Path, str]:
    """Give the name of the model that each spec is of, as far as it can be read."""
    return {file: name for file, _, name in read_names(paths)}


def refuse_unknown(model: str, folder: Path) -> None:
    """Refuse a name that no spec in a folder has, and say which there are.

    Raises
    ------
    InputError
        With the names that there are.
    """
    names = sorted(names_in(list_yaml(folder)).values())
    if model not in names:
        expected = suggest(model, names, f"one of {', '.join(names[:5])}" if names else f"a spec of it in {folder}")
        raise InputError(f"found no model {quote(model)}; expected {expected}")


def read_names(files: Iterable[Path]) -> Iterator[tuple[Path, Mark, str]]:
    """Give each spec with the place and the text of its ``model.name``."""
    for file in files:
        try:
            document = read_document(file)
        except FileError:
            continue
        model = (document.data or {}).get("model")
        name = model.get("name") if isinstance(model, dict) else None
        if isinstance(name, str):
            yield file, document.values["model", "name"], name
