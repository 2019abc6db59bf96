"""Which specs and environments there are, and their text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pipeline.errors import InputError, Problem
from pipeline.messages import closest, examples, quote

MOST_BYTES: Final = 1 << 20
MOST_COLUMNS: Final = 100_000

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


_ENDINGS = (".yaml", ".yml")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class FileError(InputError):
    """A file that was named is not there, or can't be opened."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class UnreadableError(Exception):
    """Reading a file cannot go on from here.

    Attributes
    ----------
    line, column : int
        Where, counted from 1; 0 for the whole file.
    """

    def __init__(self, line: int, column: int, found: str, expected: str) -> None:
        self.line, self.column, self.found, self.expected = line, column, found, expected
        super().__init__(found)


def read_bytes(path: Path) -> bytes:
    """Read a file, at most one byte beyond the limit.

    Raises
    ------
    FileError
        There is no file at this path, or it cannot be opened.
    """
    try:
        if path.is_dir():
            raise _unusable(path, "a folder", f"a YAML file, such as {path / 'my-model.yaml'}")
        if path.is_symlink() and not path.exists():
            raise _unusable(path, f"a link to {path.readlink()}, which isn't there", "a YAML file")
        if not path.exists():
            raise _unusable(path, "no such file", f"the path of a YAML file{_neighbour(path)}")
        if not path.is_file():
            raise _unusable(path, "something that is no regular file", "a YAML file")
        with path.open("rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unusable(path, f"a file that can't be read ({reason})", "a readable YAML file") from error


def _unusable(path: Path, found: str, expected: str) -> FileError:
    return FileError(Problem(str(path), 0, 0, "", found, expected))


def _neighbour(path: Path) -> str:
    folder = path.parent
    names = {each.stem: each for each in list_yaml(folder) if each.exists()} if folder.is_dir() else {}
    match = closest(path.stem, names)
    return f"; did you mean '{names[match]}'?" if match else ""


def decode(content: bytes) -> str:
    """Read bytes as text.

    Raises
    ------
    UnreadableError
        They are too many, no UTF-8, or hold control characters or overlong lines.
    """
    if len(content) > MOST_BYTES:
        raise UnreadableError(0, 0, "more than 1 MiB", "a spec of at most 1 MiB (data belong in files of their own)")
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            raise UnreadableError(1, 1, f"a byte order mark ({name})", "UTF-8 without a byte order mark")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line, column = _line_and_column(content[: error.start].decode())
        byte = content[error.start]
        raise UnreadableError(line, column, f"the byte 0x{byte:02x}, which is no UTF-8", "UTF-8 text") from None
    if match := _FORBIDDEN.search(text):
        line, column = _line_and_column(text[: match.start()])
        found = f"the control character U+{ord(match.group()):04X}"
        raise UnreadableError(line, column, found, "printable text")
    for line, length in enumerate(map(len, text.split("\n")), start=1):
        if length > MOST_COLUMNS:  # the scanner takes quadratic time for some long lines
            raise UnreadableError(line, 1, f"a line of {length} characters", f"lines of at most {MOST_COLUMNS}")
    return text


def _line_and_column(before: str) -> tuple[int, int]:
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", before)
    return len(lines), len(lines[-1]) + 1


def list_yaml(folder: str | Path) -> list[Path]:
    """List the YAML files in a folder, by name; hidden ones are an editor's own (``.#m.yaml``)."""
    return sorted(each for each in Path(folder).glob("[!.]*") if each.suffix in _ENDINGS)


def find_specs(folder: str | Path = "models") -> list[Path]:
    """List the specs in a folder, by name, also those that cannot be opened, such as a link to nowhere.

    Raises
    ------
    InputError
        There are none.
    """
    specs = list_yaml(folder)
    if not specs:
        raise InputError(f"{folder}: found no spec; expected one such as {Path(folder) / 'my-model.yaml'}")
    return specs


def find_environments(path: Path, environments: str | Path | None = None) -> list[str]:
    """List the names of the environments that can be laid over a spec."""
    folders = _environment_folders(path, environments)
    return sorted({each.stem for folder in folders for each in list_yaml(folder)})


def find_overlay(path: Path, environment: str, environments: str | Path | None = None) -> Path:
    """Find the file of an environment.

    Raises
    ------
    InputError
        There is none of that name.
    """
    folders = _environment_folders(path, environments)
    if _ENVIRONMENT_NAME.fullmatch(environment):
        for file in (folder / f"{environment}{ending}" for folder in folders for ending in _ENDINGS):
            if file.is_file():
                return file
    names = find_environments(path, environments)
    expected = f"one of {examples(names)}" if names else f"a file {folders[-1] / 'NAME.yaml'}"
    match = closest(environment, names)
    hint = f"; did you mean {quote(match)}?" if match else ""
    raise InputError(f"environment: found {quote(environment)}; expected {expected}{hint}")


def _environment_folders(path: Path, environments: str | Path | None) -> list[Path]:
    if environments is not None:
        return [Path(environments)]
    folder = path.parent
    above = folder / ".." if folder.name in {"", ".."} else folder.parent
    return [folder / "environments", above / "environments"]
