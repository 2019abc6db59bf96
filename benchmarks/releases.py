"""How long a model's releases take to list: ``python -m benchmarks.releases [--tags 1000] [--runs 7]``.

``modelrail releases`` and what else reads their tags (``diff``, ``trace``, ``audit``), the whole commands, at that many
releases and as many stages of two environments: as git leaves tags that were made one by one (a file each), and packed,
as in a clone.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measuring import interleave, run, say, say_machine
from benchmarks.pages import make_project
from benchmarks.project import MODELRAIL

COMMANDS = {
    "modelrail --help": ("--help",),
    "releases": ("releases", "many"),
    "releases --json": ("releases", "many", "--json"),
    "releases --all": ("releases", "many", "--all"),
    "releases --all --json": ("releases", "many", "--all", "--json"),
    "diff": ("diff", "many", "v1.0.3", "v1.0.4"),
    "trace": ("trace", "many@v1.0.500"),
    "audit": ("audit",),
}


def loosen(project: Path) -> None:
    """Write every tag and its object to a file of its own."""
    git = ("git", "-C", str(project))
    for pack in (project / ".git/objects/pack").glob("*.pack"):
        renamed = pack.rename(project / pack.name)
        subprocess.run([*git, "unpack-objects", "-q"], stdin=renamed.open("rb"), check=True)
        renamed.unlink()
        for each in pack.parent.glob(f"{pack.stem}.*"):
            each.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project", given.tags, given.tags)
        actions = {
            name: (lambda each=each: run((MODELRAIL, *each), project).seconds) for name, each in COMMANDS.items()
        }
        loosen(project)
        say(f"{given.tags:,} releases and stages each, a file each", interleave(actions, given.runs))
        subprocess.run(["git", "-C", str(project), "gc", "--quiet"], check=True)
        say("The same, packed", interleave(actions, given.runs), against="modelrail --help")


if __name__ == "__main__":
    main()
