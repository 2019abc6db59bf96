"""Copy the prediction server, and of the rest of the package only the modules that it imports, also inside functions.

The store is left out: it needs libraries that the image has not. Only the standard library is used, since this runs
while the image is being built.
"""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

LEFT_OUT = {"store"}


def main() -> None:
    """Copy from one folder of the package to another."""
    source, target = map(Path, sys.argv[1:])
    target.mkdir(parents=True)
    for name in sorted({"__init__", *needed(source)}):
        for file in files_of(source, name):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def needed(package: Path) -> set[str]:
    """Name the server and all that it imports of the package: modules, and folders of them."""
    found, todo = {"serving"}, ["serving"]
    while todo:
        new = set().union(*map(imports_of, files_of(package, todo.pop()))) - found - LEFT_OUT
        found |= new
        todo += new
    return found


def files_of(package: Path, name: str) -> list[Path]:
    """List the files of a module, or of a folder of them."""
    module = package / f"{name}.py"
    inside = (package / name).rglob("*")
    return [module] if module.exists() else [each for each in inside if each.suffix in {".py", ".html"}]


def imports_of(file: Path) -> set[str]:
    """Name what of the package a file imports, but for types alone."""
    if file.suffix != ".py":
        return set()
    tree = ast.parse(file.read_text("utf-8"))
    guards = [each for each in ast.walk(tree) if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"]
    for_types = {id(inner) for guard in guards for inner in ast.walk(guard)}
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and id(each) not in for_types]
    return {each.module.split(".")[1] for each in imports if each.module and each.module.startswith("pipeline.")}


if __name__ == "__main__":
    main()
