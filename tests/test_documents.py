"""What the documents say is so: commands run and print what is promised, links lead somewhere, lists are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT
from pipeline.spec.loading.loading import load_spec

DECISIONS = sorted((CHECKOUT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = [
    *(CHECKOUT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((CHECKOUT / "docs").glob("**/*.md")),
]
CONTRIBUTING = CHECKOUT / "CONTRIBUTING.md"
PROSE = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    CHECKOUT / "benchmarks" / "README.md",
]
TUTORIAL = CHECKOUT / "docs" / "your-own-data.md"
COMMANDS = CHECKOUT / "docs" / "commands.md"
DATA_COMMITS = CHECKOUT / "docs" / "data-commits.md"
WATCHING = CHECKOUT / "docs" / "watching.md"
LOGS = CHECKOUT / "docs" / "logs.md"
ARCHITECTURE = CHECKOUT / "docs" / "architecture.md"
GLOSSARY = CHECKOUT / "docs" / "glossary.md"
EXAMPLES = sorted((CHECKOUT / "docs").glob("example-*.md"))
"""Run by ``test_example_pages.py``."""
CONTAINERS = CHECKOUT / "docs" / "containers.md"
KUBERNETES = CHECKOUT / "docs" / "kubernetes.md"
"""Run by ``cluster/test_page.py``."""

# Commands of the documents that this module does not run, and what does.
RUN_ELSEWHERE = {
    "make run": "tests/orchestration/services (up --run), tests/ui/test_examples.py",
    "make setup": "sets up what these tests run in",
    "make .venv/test.done": "sets up what these tests run in",
    "make check": "make test",
    ".venv/bin/python -m pytest tests/spec/test_cron.py": "this very run; and the test of its walks' paths",
    ".venv/bin/python -m pytest tests/spec/test_cron.py -k ticks": "this very run; and the test of its walks' paths",
    'export PATH="$PWD/.venv/bin:$PATH"': "the environment of the tests",
    "modelrail up models/diabetes.yaml --run": "tests/orchestration/services",
    "modelrail up --detach": "tests/orchestration/services",
    "modelrail serve diabetes@v1.0.0 --port 8090": "tests/serving",
    "modelrail example flights ../flights": "tests/ui/test_examples.py",
    "modelrail watch": "tests/monitoring/test_watching.py",
    "modelrail watch diabetes --json": "tests/monitoring/test_watching.py",
    "modelrail diagnose diabetes": "tests/monitoring/test_mending.py",
    "modelrail diagnose diabetes --html ../watch.html": "tests/monitoring/test_mending.py",
    "modelrail doctor": "tests/operations/test_doctor.py",
    "modelrail doctor models/diabetes.yaml": "tests/runs/test_preflight.py",
    "modelrail plan --commit HEAD --environment prod --markdown": "tests/operations/test_review.py",
    "modelrail review --pull-request 12 --environment prod": "tests/integrations",
    "modelrail ci init --for github --to staging=main --to production=main": "tests/integrations",
    "modelrail ci check": "tests/integrations",
    "modelrail diff --environment dev prod": "tests/operations/provenance",
    "modelrail rebuild diabetes@v1.0.1": "tests/operations/provenance, where the code is committed",
    "modelrail images build serving --tag registry.example/serving:1 --push": "tests/cluster",
    "modelrail manifests flight-delay --environment kubernetes": "tests/cluster",
    "modelrail manifests flight-delay --environment kubernetes --access": "tests/cluster",
    "modelrail manifests flight-delay@v1.0.0 --environment kubernetes --offline": "tests/ui/test_naming.py",
    "modelrail replay flight-delay@v1.2.0 --since 7d": "tests/operations/test_replay.py",
    "modelrail backfill flight-delay --from 2013-06-01 --to 2013-12-01": "tests/airflow/test_backfill.py",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, with the line on which it begins."""

    kind: str
    text: str
    line: int


def read_blocks(document: Path) -> Iterator[Block]:
    text = document.read_text("utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(match[1], match[2], text[: match.start()].count("\n") + 1)


def name_of(document: Path) -> str:
    return document.relative_to(CHECKOUT).as_posix()


def own_environment(folder: Path) -> dict[str, str]:
    """Return an environment with nothing of the user's settings: ``modelrail`` on the path, an identity for Git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))}
    person = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
              for key, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))}  # fmt: skip
    return kept | person | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "200",
        "HOME": str(folder),
    }  # fmt: skip


def without_elsewhere(block: Block) -> str:
    return "".join(line for line in block.text.splitlines(keepends=True) if line.strip() not in RUN_ELSEWHERE)


def run_shell(script: str, folder: Path, place: str) -> tuple[str, Path]:
    """Run a block; return what it printed and the folder that it ended in."""
    result = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", f"{script}\npwd > {folder.parent}/pwd"],
        cwd=folder,
        env=own_environment(folder.parent),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, f"{place}: exit code {result.returncode}:\n{script}\n{said}"
    return said, Path((folder.parent / "pwd").read_text().strip())


def simplify(text: str) -> str:
    """Take out what differs from machine to machine: decimals, ports, widths."""
    text = re.sub(r"(127\.0\.0\.1):\d+", r"\1:#", text)
    return re.sub(r" +", " ", re.sub(r"(?<![\d.])\d+\.\d+(?![.\d])", "#.#", text)).strip()


def find_missing(promised: str, said: str) -> str | None:
    """Return the first promised line that is not in the output, in its order; … stands for anything."""
    lines = iter([simplify(line) for line in said.splitlines()])
    for promise in map(simplify, promised.splitlines()):
        pattern = ".*".join(re.escape(part.strip()) for part in promise.split("…"))
        if not any(re.search(pattern, line) for line in lines):
            return promise
    return None


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Walk through ``your-own-data.md``; yield the folder it ends in and every promise that was not kept."""
    folder = tmp_path_factory.mktemp("tutorial") / "start"
    folder.mkdir()
    broken, said = [], ""
    try:
        for block in read_blocks(TUTORIAL):
            place = f"{TUTORIAL.name}:{block.line}"
            if block.kind == "sh":
                said, folder = run_shell(without_elsewhere(block), folder, place)
            elif missing := find_missing(block.text, said):
                broken.append(f"{place}: found no line with '{missing}' in:\n{said}")
        yield folder, broken
    finally:
        subprocess.run(["modelrail", "down"], cwd=folder, env=own_environment(folder.parent), check=False)


def test_the_tutorial_gives_what_it_promises(tutorial: tuple[Path, list[str]]) -> None:
    _, broken = tutorial
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("document", [COMMANDS, DATA_COMMITS, WATCHING, LOGS], ids=lambda path: path.name)
def test_every_command_of_the_reference_works(tutorial: tuple[Path, list[str]], document: Path) -> None:
    folder, _ = tutorial
    for block in read_blocks(document):
        if block.kind == "sh" and (script := without_elsewhere(block)):
            run_shell(script, folder, f"{document.name}:{block.line}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_shell_block_elsewhere_holds_only_commands_that_a_test_runs(document: Path) -> None:
    if document in {TUTORIAL, COMMANDS, DATA_COMMITS, WATCHING, LOGS, KUBERNETES, *EXAMPLES}:
        return
    for block in read_blocks(document):
        rest = without_elsewhere(block).strip() if block.kind == "sh" else ""
        assert not rest, f"{document.name}:{block.line}: no test runs this: {rest}"


def test_the_table_of_commands_run_elsewhere_has_no_leftovers() -> None:
    shown = {line.strip() for path in DOCUMENTS for block in read_blocks(path) for line in block.text.splitlines()}
    assert set(RUN_ELSEWHERE) <= shown


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_and_images_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = document.parent / path if path else document
        assert found.exists(), f"{document.name}: {target} leads nowhere"
        assert not anchor or anchor in find_anchors(found), f"{document.name}: {target} has no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_that_a_document_names_are_there(document: Path) -> None:
    named = re.findall(r"`((?:pipeline|tests|plugins|dags)/[\w./-]+)", document.read_text("utf-8"))
    missing = [path for path in named if not (CHECKOUT / path).exists()]
    assert not missing, f"{document.name}: found {', '.join(missing)}; expected files of this repository"


def test_each_walk_of_a_contributor_ends_with_a_commit_that_is_there() -> None:
    text = CONTRIBUTING.read_text("utf-8")
    walks = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    examples = [re.search(r"^Example: ([0-9a-f]{7}), \"(.+)\"\.$", walk, re.MULTILINE) for walk in walks]
    assert len(examples) == 5
    for walk, example in zip(walks, examples, strict=True):
        assert example, f"CONTRIBUTING.md: found no example in the walk {walk.splitlines()[0]!r}"
        subject = ["git", "-C", str(CHECKOUT), "show", "--no-patch", "--format=%s", example[1]]
        done = subprocess.run(subject, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("this checkout has no history")
        assert done.stdout.startswith(example[2])


def test_every_document_has_a_line_where_readers_begin() -> None:
    begin = [CHECKOUT / name for name in ("README.md", "docs/README.md", "docs/examples.md")]
    text = "".join(path.read_text("utf-8") for path in begin)
    for document in (CHECKOUT / "docs").glob("*.md"):
        linked = re.search(rf"\((docs/)?{re.escape(document.name)}[#)]", text)
        assert linked or document in begin, f"docs/README.md: lacks {document.name}"


def lay_out_containers(folder: Path) -> None:
    """Write the files that the specs of ``containers.md`` name; a saved network is only looked for."""
    folder.mkdir(exist_ok=True)
    (script,) = [block.text for block in read_blocks(CONTAINERS) if block.kind == "python"]
    (folder / "train.py").write_text(script, "utf-8")
    lock = CHECKOUT / "tests" / "isolated" / "requirements.txt"
    (folder / "requirements.txt").write_bytes(lock.read_bytes())
    for name in ("net-symbol.json", "net-0000.params"):
        (folder / name).touch()


def find_anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pictures_are_small() -> None:
    for picture in (CHECKOUT / "docs" / "images").iterdir():
        assert picture.stat().st_size <= 150_000, f"{picture.name} is larger than 150 kB"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_specs_in_documents_are_valid(document: Path, project: Path) -> None:
    blocks = list(read_blocks(document))
    for own in re.findall(r"module: (\w+\.py)", document.read_text("utf-8")):  # a network, shown below its spec
        (text,) = [block.text for block in blocks if block.kind == "python" and "def build(" in block.text]
        (project / "models").mkdir(exist_ok=True)
        (project / "models" / own).write_text(text, "utf-8")
    if document == CONTAINERS:
        lay_out_containers(project / "models")
    for block in blocks:
        if block.kind == "yaml" and re.search(r"^model:", block.text, re.MULTILINE):
            spec = project / "models" / "shown.yaml"
            spec.parent.mkdir(exist_ok=True)
            spec.write_text(block.text, "utf-8")
            load_spec(spec)  # raises with every problem


def find_long_lines(document: Path) -> Iterator[str]:
    """Yield what is longer than 120 characters and could be broken: no row of a table, no lone link, no code."""
    code = False
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        code ^= line.startswith("```")
        words = line.lstrip(" ->*").split()
        if len(line) > 120 and not (code or line.lstrip().startswith("|") or len(words) == 1):
            yield f"{document.name}:{number}: {len(line)} characters"


@pytest.mark.parametrize("document", PROSE, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_lines_have_120_characters_at_most(document: Path) -> None:
    assert not list(find_long_lines(document))


def test_the_glossary_is_in_alphabetical_order_and_explains_what_it_refers_to() -> None:
    text = GLOSSARY.read_text("utf-8")
    words = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", text, re.MULTILINE)[1:]
    assert words == sorted(set(words), key=str.casefold)
    assert {each.rstrip("s") for each in re.findall(r"(?<!\w)\*([\w -]+)\*", text)} - {"italic"} <= set(words)
    assert "](glossary.md)" in ARCHITECTURE.read_text("utf-8")


def test_the_reference_has_every_command_and_option_and_no_other() -> None:
    from typer.main import get_command

    from pipeline.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    text = COMMANDS.read_text("utf-8")
    assert set(re.findall(r"^## modelrail (\S+)$", text, re.MULTILINE)) == set(commands)
    every = [each for command in commands.values() for each in (command, *getattr(command, "commands", {}).values())]
    options = {name for command in every for option in command.params for name in option.opts}
    unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - options - {"--help"}
    assert not unknown, f"commands.md: found {', '.join(sorted(unknown))}; no command has it"


def test_the_architecture_lists_every_module_and_no_other() -> None:
    listed = set(re.findall(r"^\| `([\w/]+(?:\.py|/))`", ARCHITECTURE.read_text("utf-8"), re.MULTILINE))
    package = CHECKOUT / "pipeline"
    there = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    modules = (path.relative_to(package) for path in package.glob("*/*.py") if path.name != "__init__.py")
    there |= {path.as_posix() for path in modules}
    there |= {f"{path.parent.relative_to(package).as_posix()}/" for path in package.glob("*/*/__init__.py")}
    assert listed == there


def test_the_architecture_names_every_import_contract() -> None:
    names = re.findall(r'^name = "([^"]+)"\ntype', (CHECKOUT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    text = " ".join(ARCHITECTURE.read_text("utf-8").split())
    assert names
    for name in names:
        assert name in text, f"architecture.md: does not name the import contract '{name}'"


def test_the_index_of_decisions_lists_every_one_and_each_says_what_would_change_it() -> None:
    index, *others = sorted(DECISIONS, key=lambda path: path.name != "README.md")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index.read_text("utf-8"))) == {path.name for path in others}
    for path in others:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 40, f"{path.name}: is longer than half a screen or so"
        for part in ("Context", "Decided", "What would change it"):
            assert f"**{part}.**" in text, f"{path.name}: says no {part.lower()}"


def test_documents_name_no_machine_and_no_package_host() -> None:
    for document in DOCUMENTS:
        found = re.search(r"(?<!\w)/(?:work|tmp|home|root)/|\bpypi\b", document.read_text("utf-8"))
        assert found is None, f"{document.name}: found {found[0]!r}" if found else ""
