"""Git: what a commit holds, and what differs from it.

The ``git`` command does the work, so that users' credentials, signing and large-repository settings hold
here as they do in their shell. This is the only module that runs it; `tags` writes and reads tags through it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import InputError, TransientError, redact

_IDENTITY = {"name": "Modelrail", "email": "modelrail@localhost"}
_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REPOSITORY_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
_URL = re.compile(r"[a-z+]+://|[^/]+@[^/]+:")
_UNREACHABLE = re.compile(
    r"could not resolve|unable to access|connection|timed out|early EOF|hung up|cannot lock ref|\.lock'", re.IGNORECASE
)


_ACCESS: ContextVar[Mapping[str, str]] = ContextVar("git_access", default={})  # noqa: B039 - nobody changes it


class GitError(InputError):
    """A git command failed; the message is git's own."""


@dataclass(frozen=True)
class Commit:
    """One commit: its id, when it was committed (UTC), its first line and author."""

    id: str
    date: datetime
    subject: str
    author: str

    def __str__(self) -> str:
        return f"{self.id[:10]} ({self.date:%Y-%m-%d}, {self.subject})"


@dataclass(frozen=True, order=True)
class File:
    """One file, in a commit or in the work tree, with Git's hash of its content."""

    path: str
    id: str
    bytes: int


@dataclass(frozen=True, order=True)
class FileGroup(File):
    """Several files that are one partition; the hash is of what the members are.

    The path has ``*`` in it, or is that of the first member, which the others belong to.
    """

    members: tuple[File, ...]

    @classmethod
    def of(cls, path: str, members: tuple[File, ...]) -> FileGroup:
        """Put files together under a path."""
        digest = hashlib.sha256("".join(f"{each.id} {each.path}\n" for each in members).encode()).hexdigest()
        return cls(path, digest, sum(each.bytes for each in members), members)


_NOTHING: Mapping[File, bytes] = {}


@dataclass(frozen=True)
class Attempt:
    """What came of a git command that may fail; `transient` where trying again can help."""

    succeeded: bool
    output: str
    message: str

    @property
    def transient(self) -> bool:
        """Whether the remote did not answer, or a lock was held."""
        return _UNREACHABLE.search(self.message) is not None


@dataclass(frozen=True)
class Repository:
    """A Git repository on this machine.

    Attributes
    ----------
    root : Path
        The top of the work tree, or the folder of a bare repository.
    mirrored : bool
        Whether it is a clone that Modelrail made, to be updated from where it came.
    """

    root: Path
    bare: bool = False
    mirrored: bool = False

    def commit(self, revision: str = "HEAD") -> Commit:
        """Resolve a branch, tag or (shortened) commit id.

        Raises
        ------
        InputError
            If the repository has no such commit, or the name stands for several.
        """
        one = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        named = _text(_run(one, self.root).stdout)
        if not _ID.fullmatch(named):
            raise InputError(f"{self.root}: {_explain_revision(revision)} of that repository")
        form = "%H%x00%cI%x00%s%x00%an <%ae>"
        line = self._git("log", "-1", f"--format={form}", named, "--")
        identity, date, subject, author = line.rstrip("\n").split("\0")
        return Commit(identity, datetime.fromisoformat(date).astimezone(UTC), subject, author)

    def has_commits(self) -> bool:
        """Tell whether anything was ever committed."""
        return _run(["rev-parse", "--verify", "-q", "HEAD"], self.root).returncode == 0

    def holds(self, commit: str) -> bool:
        """Tell whether a commit, named by its full id, is here."""
        return _run(["cat-file", "-e", f"{commit}^{{commit}}"], self.root).returncode == 0

    def holding(self, commits: Iterable[str]) -> set[str]:
        """Give those of the commits, named by their full ids, that are here; git is asked once."""
        wanted = sorted(each for each in commits if _ID.fullmatch(each))
        lines = self._git("cat-file", "--batch-check", stdin="".join(f"{each}\n" for each in wanted)).splitlines()
        return {each for each, line in zip(wanted, lines, strict=True) if line.split()[1] == "commit"}

    def files(self, commit: str, *places: str) -> list[File]:
        """List the files of a commit at or below some places (an empty one is the root), sorted by path."""
        place = ["--", *places] if places and all(places) else []
        listing = self._git("ls-tree", "-r", "-z", "--long", "--full-tree", commit, *place)
        entries = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
        parsed = ((facts.split(), path) for facts, path in entries)
        return sorted(File(path, facts[2], int(facts[3])) for facts, path in parsed if facts[1] == "blob")

    def work_tree_files(self, *places: str) -> list[File]:
        """List the files of the work tree at or below some places, tracked or not, but for the ignored ones.

        One that Git calls unchanged is the file of the newest commit, also where its content is elsewhere (Git LFS).
        """
        known = {file.path: file for file in self.files("HEAD", *places)} if self.has_commits() else {}
        changed = self.changes([place or "." for place in places] or ["."])
        here = sorted({path for path in changed if (self.root / path).is_file()})
        if broken := next((path for path in (*known, *here) if "\n" in path), None):
            raise InputError(f"{self.root}: found a line break in the file name {broken!r}; expected none: rename it")
        ids = self._git("hash-object", "--no-filters", "--stdin-paths", stdin="\n".join(here)).split() if here else []
        sizes = ((self.root / path).stat().st_size for path in here)
        kept = (file for path, file in known.items() if path not in set(changed))
        return sorted([*kept, *(File(*each) for each in zip(here, ids, sizes, strict=True))])

    def read(self, file: File, elsewhere: Mapping[File, bytes] = _NOTHING) -> bytes:
        """Read a file's content: from the object database, or from the work tree if it was never added.

        Several files are read as a ZIP archive of them, named as below the folder that the path says they share.

        Parameters
        ----------
        elsewhere : mapping, optional
            Contents of those among several files that are not in Git.
        """
        if isinstance(file, FileGroup):
            return self._pack(file, elsewhere)
        result = _run(["cat-file", "blob", file.id], self.root)
        if result.returncode == 0:
            return result.stdout
        source = self.root / file.path
        if not self.bare and source.is_file():
            return source.read_bytes()
        raise InputError(f"{self.root}: found no content for {file.path} ({file.id[:10]}); expected it in Git")

    def _pack(self, file: FileGroup, elsewhere: Mapping[File, bytes]) -> bytes:
        packed, base = io.BytesIO(), _base_of(file.path) if "*" in file.path else ""
        contents = self.read_all(each for each in file.members if each not in elsewhere) | dict(elsewhere)
        with zipfile.ZipFile(packed, "w") as archive:
            for each in file.members:
                archive.writestr(zipfile.ZipInfo(each.path.removeprefix(base)), contents[each])
        return packed.getvalue()

    def read_all(self, files: Iterable[File]) -> dict[File, bytes]:
        """Read many small files at once; places as for ``read``."""
        wanted = list(files)
        if not wanted:
            return {}
        stream = _run(["cat-file", "--batch"], self.root, stdin="".join(f"{each.id}\n" for each in wanted)).stdout
        contents, position = dict[File, bytes](), 0
        for file in wanted:
            end = stream.index(b"\n", position)
            facts, start = stream[position:end].split(), end + 1
            if facts[-1] == b"missing":
                contents[file], position = self.read(file), start
            else:
                position = start + int(facts[2]) + 1
                contents[file] = stream[start : position - 1]
        return contents

    def read_path(self, commit: str, path: str) -> bytes | None:
        """Read a file by its path at a commit, or in the work tree (an empty commit); None if there is none."""
        if not commit:
            source = self.root / path
            return source.read_bytes() if source.is_file() else None
        result = _run(["cat-file", "blob", f"{commit}:{path}"], self.root)
        return result.stdout if result.returncode == 0 else None

    def common_folder(self) -> Path:
        """Give Git's own folder, which further work trees share."""
        return self.root / self._git("rev-parse", "--git-common-dir").strip()

    def changes(self, paths: Sequence[str]) -> list[str]:
        """List those of the paths (files, folders, globs) that differ from the newest commit."""
        listing = self._git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", *paths)
        return [entry[3:] for entry in listing.split("\0") if entry]

    def update(self) -> None:
        """Fetch a mirror's branches and tags from where it was cloned."""
        self._git(
            "fetch", "--quiet", "--prune", "--force", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"
        )

    def is_ancestor(self, earlier: str, later: str) -> bool:
        """Tell whether a commit is part of another one's history (or is that one); False where either is not here."""
        return _run(["merge-base", "--is-ancestor", earlier, later], self.root).returncode == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """Give the newest commit that two commits have in common, if any."""
        result = _run(["merge-base", one, other], self.root)
        return _text(result.stdout) if result.returncode == 0 else None

    def path_of(self, file: Path) -> str:
        """Give a file's path as Git names it, relative to the root."""
        return file.resolve().relative_to(self.root).as_posix()

    def origin(self) -> str | None:
        """Give the URL of the remote ``origin``, if there is one."""
        return _text(_run(["remote", "get-url", "origin"], self.root).stdout) or None

    def who(self) -> str:
        """Name the person that Git knows as the user: ``Name <address>``."""
        result = _run(["var", "GIT_COMMITTER_IDENT"], self.root, environment=self.identity())
        return _text(result.stdout).rpartition(">")[0] + ">"

    def identity(self) -> dict[str, str]:
        """Give variables that name an author where the user has not told Git who they are."""
        if _run(["var", "GIT_COMMITTER_IDENT"], self.root).returncode == 0 and self._configured("user.email"):
            return {}
        roles = ("COMMITTER", "AUTHOR")
        return {f"GIT_{role}_{key.upper()}": value for role in roles for key, value in _IDENTITY.items()}

    def _configured(self, key: str) -> bool:
        return _run(["config", key], self.root).returncode == 0 or "GIT_COMMITTER_EMAIL" in os.environ

    def ask(self, *arguments: str, stdin: str = "") -> str:
        """Run a git command that is expected to work, and give what it prints.

        Raises
        ------
        TransientError
            If the remote did not answer, or another process holds a lock.
        InputError
            If git refuses for another reason.
        """
        return self._git(*arguments, stdin=stdin)

    def attempt(self, *arguments: str, stdin: str = "") -> Attempt:
        """Run a git command that may fail, as the user that `identity` names."""
        result = _run(arguments, self.root, stdin=stdin, environment=self.identity())
        return Attempt(result.returncode == 0, _text(result.stdout), _text(result.stderr))

    def run_over_ssh(self, host: str, port: int | None, command: str) -> Attempt:
        """Run a command on a host by the SSH that git would use for it, with its keys."""
        environment = _environment()
        configured = _text(_run(["config", "core.sshCommand"], self.root).stdout)
        ssh = environment.get("GIT_SSH_COMMAND") or configured or "ssh"
        options = ["-p", str(port)] if port else []
        shell = ["sh", "-c", f'{ssh} "$@"', "ssh", *options, "--", host, command]
        done = subprocess.run(shell, capture_output=True, env=environment, stdin=subprocess.DEVNULL, check=False)
        return Attempt(done.returncode == 0, _text(done.stdout), _text(done.stderr))

    def _git(self, *arguments: str, stdin: str = "") -> str:
        result = _run(arguments, self.root, stdin=stdin)
        if result.returncode:
            message = f"git {arguments[0]} in {self.root} failed: {_text(result.stderr)}"
            raise TransientError(message) if _UNREACHABLE.search(message) else GitError(message)
        return result.stdout.decode("utf-8", "surrogateescape")


def open_repository(place: Path) -> Repository:
    """Open the repository that holds a file or folder.

    Raises
    ------
    InputError
        If no Git repository holds it.
    """
    folder = place if place.is_dir() else place.parent
    if not folder.is_dir():
        raise InputError(f"{folder}: found no such folder; expected a Git repository (data.repository)")
    result = _run(["rev-parse", "--is-bare-repository", "--absolute-git-dir"], folder)
    if result.returncode:
        if b"dubious ownership" in result.stderr:
            raise InputError(_text(result.stderr))
        raise InputError(
            f"{folder}: found no Git repository; expected one: 'git init && git add . && git commit' makes it"
        )
    bare, folder_of_git = _text(result.stdout).split("\n")
    top = _text(_run(["rev-parse", "--show-toplevel"], folder).stdout)  # inside .git there is none
    if bare == "true" or not top:
        return Repository(Path(folder_of_git), bare=True)
    return Repository(Path(top))


def mirror(address: str, state: Path) -> Repository:
    """Clone a repository by its URL into a bare mirror, or open the mirror made before."""
    folder = mirror_folder(address, state)
    if not (folder / "HEAD").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        result = _run(["clone", "--quiet", "--bare", "--end-of-options", address, str(draft)], folder.parent)
        if result.returncode:
            message = f"git clone of {address} failed: {_text(result.stderr)}"
            transient = _UNREACHABLE.search(message)
            raise TransientError(message) if transient else InputError(f"{message} (data.repository)")
        if not folder.exists():
            draft.rename(folder)
    return Repository(folder, bare=True, mirrored=True)


def check_out(address: str, commit: str, state: Path) -> Path:
    """Give a work tree of a commit of a repository that is named by its URL."""
    repository = mirror(address, state)
    if not repository.holds(commit):
        repository.update()
    if not repository.holds(commit):
        raise InputError(f"{redact(address)}: found no commit {commit[:12]}; expected it pushed there: 'git push'")
    folder = repository.root.with_name(f"{repository.root.name}-{commit[:12]}")
    if not folder.exists():
        repository.ask("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
    return folder


def mirror_folder(address: str, state: Path) -> Path:
    """Give the folder of a repository's mirror, whether or not it is there."""
    return state / "repositories" / hashlib.sha256(address.encode()).hexdigest()[:16]


@contextmanager
def access(environment: Mapping[str, str]) -> Iterator[None]:
    """Let git, in this context, have these variables too: where its credentials are."""
    token = _ACCESS.set(dict(environment))
    try:
        yield
    finally:
        _ACCESS.reset(token)


def is_url(address: str) -> bool:
    """Tell a URL (or ``git@host:path``) from a path."""
    return _URL.match(address) is not None


def read_remote_tip(address: str, branch: str) -> str:
    """Ask a repository, by its URL, for the id of a branch's newest commit (of its default branch if empty)."""
    wanted = f"refs/heads/{branch}" if branch else "HEAD"
    result = _run(["ls-remote", "--quiet", "--end-of-options", address, wanted], Path.cwd())
    if result.returncode:
        message = f"git ls-remote of {address} failed: {_text(result.stderr)}"
        raise TransientError(message) if _UNREACHABLE.search(message) else InputError(f"{message} (data.repository)")
    lines = (line.partition("\t") for line in _text(result.stdout).splitlines())
    found = {name: commit for commit, _, name in lines}
    if wanted not in found:
        raise InputError(f"{address}: found no branch '{branch or 'HEAD'}'; expected one of its branches (data.branch)")
    return found[wanted]


def key_in(template: str) -> Callable[[str], str | None]:
    """Give a function from a path to the partition's key; None for a path that is no partition.

    Parameters
    ----------
    template : str
        A path in which ``{name}`` stands for the part that tells partitions apart: ``flights/{month}.csv``.
        A template without one is a single partition, named by the file. ``*`` stands for whatever part of a name, so
        that several files are one partition: ``digits/{part}/*/*.png``.
    """
    names = re.findall(r"{(\w+)}", template)
    alone = Path(_base_of(template)).name or "all" if "*" in template else ""
    pieces = re.split(r"{\w+}", template)
    pattern = re.compile("([^/]+)".join(re.escape(each).replace(r"\*", "[^/]*") for each in pieces))

    def key(path: str) -> str | None:
        match = pattern.fullmatch(path)
        if match is None:
            return None
        return "/".join(match.groups()) if names else alone or Path(path).name

    return key


def matching(files: Iterable[File], template: str) -> dict[str, File]:
    """Find the partitions among files: key → file, sorted by key.

    Parameters
    ----------
    template : str
        As for ``key_in``.
    """
    key = key_in(template)
    found: dict[str, list[File]] = {}
    for file in files:
        if (name := key(file.path)) is not None:
            found.setdefault(name, []).append(file)
    join = "*" in template
    return {name: _together(name, each, template) if join else each[-1] for name, each in sorted(found.items())}


def _together(key: str, files: Sequence[File], template: str) -> FileGroup:
    """Make one partition of several files."""
    parts = iter(key.split("/"))
    path = re.sub(r"{\w+}", lambda _: next(parts), template)
    return FileGroup.of(path, tuple(sorted(files)))


def _base_of(path: str) -> str:
    """Give the folder that several files have in common, with a slash at its end, by the path with ``*`` in it."""
    folder, slash, _ = path.split("*", maxsplit=1)[0].rpartition("/")
    return folder + slash


def folder_of(template: str) -> str:
    """Give the folder below which every path of a template lies."""
    return template.split("{", maxsplit=1)[0].rpartition("/")[0]


def _explain_revision(revision: str) -> str:
    if ".." in revision or revision.startswith("^"):
        return f"found a range of commits, '{revision}'; expected one commit: a branch, tag or id"
    return f"found no commit '{revision}'; expected a branch, tag or commit id"


def _run(
    arguments: Sequence[str], folder: Path, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    data = stdin.encode("utf-8", "surrogateescape")
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            input=data,
            capture_output=True,
            env=_environment() | (environment or {}),
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError("git: found no such command; expected Git 2.30 or newer on the PATH") from error


def _environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    return inherited | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **_ACCESS.get()}


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()
