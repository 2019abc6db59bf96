"""Which model each spec is of, read without the schema, whose import takes longer than most commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.messages import examples, quote, suggest
from pipeline.spec.files import FileError, find_specs, list_yaml
from pipeline.spec.loading.documents import Mark, read_document


def names_in(paths: Iterable[Path]) -> dict[Path, str]:
    """Read the name of the model that each spec is of, as far as possible."""
    return {file: name for file, _, name in read_names(paths)}


def list_specs(root: Path) -> list[Path]:
    """List the specs of a repository: what is in ``models/``, and what at its root says of which model it is."""
    return [*list_yaml(root / "models"), *names_in(list_yaml(root))]


def require_specs(root: Path) -> list[Path]:
    """List the specs of a repository that must have one.

    Raises
    ------
    InputError
        There are none.
    """
    return list_specs(root) or find_specs(root / "models")


def find_spec_of(model: str, root: Path, elsewhere: Sequence[Path] = ()) -> Path:
    """Find the spec of a model in a repository by the model's name; one in ``models/`` comes first.

    Parameters
    ----------
    elsewhere : sequence of Path
        Further files that may be it.

    Raises
    ------
    InputError
        If no spec has that name, with the names that there are.
    """
    known: dict[str, Path] = {}
    for places in (list_yaml(root / "models"), list_yaml(root), elsewhere):
        files = by_name(places)
        if model in files:
            return files[model]
        known |= files
    expected = suggest(model, known, f"one of {examples(known)}" if known else f"a spec of it in {root / 'models'}")
    raise InputError(f"found no model {quote(model)}; expected {expected}")


def find_every_spec(root: Path) -> dict[str, Path]:
    """Find the spec of each model in a repository, as `find_spec_of` finds that of one."""
    return {**by_name(list_yaml(root)), **by_name(list_yaml(root / "models"))}


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Find the spec of each model among files; of two of one name the later."""
    return {name: file for file, name in names_in(files).items()}


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
