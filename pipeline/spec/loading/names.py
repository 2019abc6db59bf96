"""Which model each spec is of, read without the schema, whose import takes longer than most commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import InputError
from pipeline.messages import examples, quote, suggest
from pipeline.spec.files import FileError, list_yaml
from pipeline.spec.loading.documents import Mark, read_document


def names_in(paths: Iterable[Path]) -> dict[Path, str]:
    """Read the name of the model that each spec is of, as far as possible."""
    return {file: name for file, _, name in read_names(paths)}


def find_spec_of(model: str, folder: Path) -> Path:
    """Find the spec of a model in a folder by the model's name.

    Raises
    ------
    InputError
        If no spec there has that name, with the names that there are.
    """
    files = {name: file for file, name in names_in(list_yaml(folder)).items()}
    if model not in files:
        expected = suggest(model, files, f"one of {examples(files)}" if files else f"a spec of it in {folder}")
        raise InputError(f"found no model {quote(model)}; expected {expected}")
    return files[model]


def read_names(files: Iterable[Path]) -> Iterator[tuple[Path, Mark, str]]:
    """Yield each spec with the place and the text of its ``model.name``."""
    for file in files:
        try:
            document = read_document(file)
        except FileError:
            continue
        model = (document.data or {}).get("model")
        name = model.get("name") if isinstance(model, dict) else None
        if isinstance(name, str):
            yield file, document.values["model", "name"], name
