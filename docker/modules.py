"""Copy the modules that the prediction server imports, also inside functions, and nothing else of the package.

Only the standard library is used, since this runs while the image is being built.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("pipeline.serving.process.server", "pipeline.serving.process.unit")


def main() -> None:
    """Copy from one folder of the package to another."""
    source, target = map(Path, sys.argv[1:])
    for file in sorted(needed(source)):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def needed(package: Path) -> set[Path]:
    """List the files of the server's modules, of all that they import, and the pages next to them."""
    found: set[Path] = set()
    waiting = list(ROOTS)
    while waiting:
        file = file_of(package, waiting.pop())
        if file is None or file in found:
            continue
        found |= {file, *file.parent.glob("*.html")}
        waiting += imports_of(file)
    parents = {folder / "__init__.py" for file in found for folder in file.parents if folder.is_relative_to(package)}
    return found | parents


def file_of(package: Path, module: str) -> Path | None:
    """Find the file of a module or of a package; None for a name that is in a module."""
    place = package.parent.joinpath(*module.replace("pipeline", package.name, 1).split("."))
    return next((each for each in (place.with_suffix(".py"), place / "__init__.py") if each.exists()), None)


def imports_of(file: Path) -> Iterator[str]:
    """Name what of the package a file imports, but for types alone, and what might be a module there."""
    tree = ast.parse(file.read_text("utf-8"))
    guards = [each for each in ast.walk(tree) if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"]
    for_types = {id(inner) for guard in guards for inner in ast.walk(guard)}
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom) and id(each) not in for_types and each.module:
            inside = each.module.split(".")[0] == "pipeline"
            yield from (each.module, *(f"{each.module}.{alias.name}" for alias in each.names)) if inside else ()


if __name__ == "__main__":
    main()
