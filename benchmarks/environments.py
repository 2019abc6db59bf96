"""Virtual environments of what Modelrail is measured beside; none of it is in the project's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.project import call


def install(folder: Path, requirements: Path) -> None:
    """Make a peer's virtual environment once, with compiled bytecode, as every tool here has."""
    done, wanted = folder / "done", requirements.read_text()
    if done.exists() and done.read_text() == wanted:
        return
    print(f"Installing {folder.name} ...", flush=True)
    python = folder / "bin" / "python"
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv:
        call(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        call(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "-r", requirements)
    else:
        call(sys.executable, "-m", "venv", "--clear", folder)
        call(python, "-m", "pip", "install", "--quiet", "--compile", "-r", requirements)
    done.write_text(wanted)
