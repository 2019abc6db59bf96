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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pipeline.answers import asks_once, remembered
from pipeline.errors import InputError, TransientError
from pipeline.storage.git.blobs import Blobs
from pipeline.storage.git.command import UNREACHABLE, Attempt, GitError, git_environment, run_git, text_of
from pipeline.storage.git.credentials import Credentials, no_credentials
from pipeline.storage.regular_files import read_below

_IDENTITY = {"name": "Modelrail", "email": "modelrail@localhost"}
_LINK = "120000"
_GLOB = re.compile(r"[*?\[\\:]")  # also what begins a magic path of Git's
_FILES = ("100644", "100755", "100664")  # the last is of old repositories
_ASTRAY = ("dangling", "loop", "notdir", "symlink")
_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NEWEST = "# branch.oid "
_BEFORE_PATH = {"1": 8, "u": 10, "?": 1}
"""How many words stand before the path, by the kind of a line that `git status` prints: changed, unmerged, new."""


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
class LinkAstray(File):
    """A symbolic link that leads to no file of the repository."""


@dataclass(frozen=True, order=True)
class FileGroup(File):
    """Several files that are one partition; the hash is of what the members are.

    The path has ``*`` in it, or is that of the first member, which the others belong to.
    """

    members: tuple[File, ...]

    @classmethod
    def of(cls, path: str, members: tuple[File, ...]) -> FileGroup:
        """Put files together under a path."""
        listing = "".join(f"{each.id} {each.path}\n" for each in members)
        digest = hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
        return cls(path, digest, sum(each.bytes for each in members), members)


@dataclass(frozen=True)
class WorkTree:
    """What the work tree has: the newest commit ("" where nothing was ever committed), and what differs from it."""

    commit: str
    changes: list[str]


@dataclass(frozen=True)
class Listing:
    """The files at some places: in the newest commit ("" where there is none), and in the work tree."""

    commit: str
    committed: list[File]
    present: list[File]


_NOTHING: Mapping[File, bytes] = {}


@dataclass(frozen=True)
class Repository:
    """A Git repository on this machine.

    Attributes
    ----------
    root : Path
        The top of the work tree, or the folder of a bare repository.
    mirrored : bool
        Whether it is a clone that Modelrail made, to be updated from where it came.
    credentials : callable
        Opens the login of where it came from.
    """

    root: Path
    bare: bool = False
    mirrored: bool = False
    credentials: Credentials = field(default=no_credentials, compare=False, repr=False)

    def resolve(self, revision: str = "HEAD") -> str:
        """Return the id of the commit that a branch, tag or (shortened) commit id stands for.

        Raises
        ------
        InputError
            If the repository has no such commit, or the name stands for several.
        """
        one = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        named = text_of(run_git(one, self.root).stdout)
        if not _ID.fullmatch(named):
            raise InputError(f"{self.root}: {_explain_revision(revision)} of that repository")
        return named

    def commit(self, revision: str = "HEAD") -> Commit:
        """Read the commit that a branch, tag or (shortened) commit id stands for; errors as for `resolve`."""
        form = "%H%x00%cI%x00%s%x00%an <%ae>"
        line = self._git("log", "-1", f"--format={form}", self.resolve(revision), "--")
        identity, date, subject, author = line.rstrip("\n").split("\0")
        return Commit(identity, datetime.fromisoformat(date).astimezone(UTC), subject, author)

    def has_commits(self) -> bool:
        """Tell whether anything was ever committed."""
        return run_git(["rev-parse", "--verify", "-q", "HEAD"], self.root).returncode == 0

    def holds(self, commit: str) -> bool:
        """Tell whether a commit, named by its full id, is here."""
        return run_git(["cat-file", "-e", f"{commit}^{{commit}}"], self.root).returncode == 0

    def holding(self, commits: Iterable[str]) -> set[str]:
        """Find those of the commits, named by their full ids, that are here; git is asked once."""
        wanted = sorted(each for each in commits if _ID.fullmatch(each))
        lines = self._git("cat-file", "--batch-check", stdin="".join(f"{each}\n" for each in wanted)).splitlines()
        return {each for each, line in zip(wanted, lines, strict=True) if line.split()[1] == "commit"}

    def files(self, commit: str, *places: str) -> list[File]:
        """List the files of a commit at or below some places (an empty one is the root), sorted by path."""
        return remembered(("files", self.root, commit, places), lambda: self._files(commit, places))

    def _files(self, commit: str, places: Sequence[str]) -> list[File]:
        found, links = self._list(commit, places)
        return sorted([*found, *self._follow(commit, links)], key=_path_of)

    def _list(self, commit: str, places: Sequence[str]) -> tuple[list[File], list[str]]:
        """List the files of a commit, and the paths of its symbolic links."""
        place = ["--", *places] if places and all(places) else []
        listing = self._git("ls-tree", "-r", "-z", "--long", "--full-tree", commit, *place)
        entries = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
        parsed = [(facts.split(), path) for facts, path in entries]
        files = [File(path, facts[2], int(facts[3])) for facts, path in parsed if facts[0] in _FILES]
        return files, [path for facts, path in parsed if facts[0] == _LINK]

    def _follow(self, commit: str, links: Sequence[str]) -> Iterator[File]:
        """Yield what symbolic links of a commit lead to, under the links' paths, as far as it is in the commit."""
        wanted = [path for path in links if "\n" not in path]
        if not wanted:
            return
        question = "".join(f"{commit}:{path}\n" for path in wanted)
        answers = iter(self._git("cat-file", "--batch-check", "--follow-symlinks", stdin=question).split("\n"))
        for path in wanted:
            kind, *facts = next(answers).rsplit(" ", 2)
            if facts[:1] == ["blob"]:
                yield File(path, kind, int(facts[1]))
            elif kind in _ASTRAY:
                next(answers)  # where it leads to
                yield LinkAstray(path, _LINK, 0)
            elif facts[:1] != ["tree"]:
                yield LinkAstray(path, _LINK, 0)

    def work_tree_files(self, *places: str) -> list[File]:
        """List the files of the work tree at or below some places; see `list_both`."""
        return self.list_both(*places).present

    def list_both(self, *places: str) -> Listing:
        """List the files at or below some places, in the newest commit and in the work tree.

        In the work tree, tracked ones or not, but for the ignored ones. One that Git calls unchanged is the file of the
        newest commit, also where its content is elsewhere (Git LFS).
        """
        tree = self.work_tree([place or "." for place in places] or ["."])
        files, links = self._list(tree.commit, places) if tree.commit else ([], [])
        committed = sorted([*files, *self._follow(tree.commit, links)], key=_path_of)
        changed = tree.changes + self._links_to_changes(links)
        if broken := next((path for path in (*map(_path_of, committed), *changed) if "\n" in path), None):
            raise InputError(f"{self.root}: found a line break in the file name {broken!r}; expected none: rename it")
        return Listing(tree.commit, committed, self._present(committed, changed) if changed else committed)

    def _present(self, committed: Sequence[File], changed: Sequence[str]) -> list[File]:
        """List the files of the work tree by those of the newest commit, and by the paths that differ from it."""
        here = sorted({path for path in changed if (self.root / path).is_file()})
        astray = [path for path in here if self._leads_to(path).startswith("..")]
        here = [path for path in here if path not in astray]
        ids = self._git("hash-object", "--no-filters", "--stdin-paths", stdin="\n".join(here)).split() if here else []
        sizes = ((self.root / path).stat().st_size for path in here)
        kept = (file for file in committed if file.path not in set(changed))
        strays = (LinkAstray(path, _LINK, 0) for path in astray)
        found = (File(*each) for each in zip(here, ids, sizes, strict=True))
        return sorted([*kept, *strays, *found], key=_path_of)

    def _links_to_changes(self, links: Sequence[str]) -> list[str]:
        """List the symbolic links that lead to a file whose content differs from the newest commit's."""
        targets = {path: self._leads_to(path) for path in links}
        inside = [target for target in targets.values() if not target.startswith("..")]
        changed = set(self.changes(inside)) if inside else set()
        return [path for path, target in targets.items() if target in changed]

    def _leads_to(self, link: str) -> str:
        """Return the path, from the root, that a symbolic link of the work tree leads to."""
        return os.path.relpath(os.path.realpath(self.root / link), os.path.realpath(self.root))

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
        content = self._blobs.read(file.id)
        if content is None and not self.bare:
            content = read_below(self.root, file.path)
        if content is not None:
            return content
        raise InputError(f"{self.root}: found no content for {file.path} ({file.id[:10]}); expected it in Git")

    def _pack(self, file: FileGroup, elsewhere: Mapping[File, bytes]) -> bytes:
        packed, base = io.BytesIO(), base_of(file.path) if "*" in file.path else ""
        contents = self.read_all(each for each in file.members if each not in elsewhere) | dict(elsewhere)
        with zipfile.ZipFile(packed, "w") as archive:
            for each in file.members:
                archive.writestr(zipfile.ZipInfo(readable(each.path).removeprefix(base)), contents[each])
        return packed.getvalue()

    def read_tag(self, identity: str) -> bytes | None:
        """Read an annotated tag by its own id, as Git keeps it; None if Git does not have it."""
        return self._blobs.read(identity, "tag")

    def read_all(self, files: Iterable[File]) -> dict[File, bytes]:
        """Read several files; places as for ``read``."""
        return {file: self.read(file) for file in files}

    def read_path(self, commit: str, path: str) -> bytes | None:
        """Read a file by its path at a commit, or in the work tree (an empty commit); None if there is none."""
        if not commit:
            return read_below(self.root, path)
        result = run_git(["cat-file", "blob", f"{commit}:{path}"], self.root)
        return result.stdout if result.returncode == 0 else None

    def common_folder(self) -> Path:
        """Find Git's own folder, which further work trees share."""
        return self.root / self._git("rev-parse", "--git-common-dir").strip()

    def changes(self, paths: Sequence[str]) -> list[str]:
        """List those of the paths (files, folders, globs) that differ from the newest commit."""
        return self.work_tree(paths).changes

    def work_tree(self, paths: Sequence[str]) -> WorkTree:
        """Find the newest commit, and what of the paths (files, folders, globs) differs from it; Git is asked once."""
        if not asks_once() or any(_GLOB.search(path) for path in paths):
            return self._work_tree(paths)
        whole = remembered(("work tree", self.root), lambda: self._work_tree(()))
        inside = tuple(f"{path.rstrip('/')}/" for path in paths)
        everything = "./" in inside
        return WorkTree(whole.commit, [each for each in whole.changes if everything or f"{each}/".startswith(inside)])

    def _work_tree(self, paths: Sequence[str]) -> WorkTree:
        form = ("--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--untracked-files=all", "--no-renames")
        entries = self._git("status", *form, "--", *paths).split("\0")
        commit = next(each.removeprefix(_NEWEST) for each in entries if each.startswith(_NEWEST))
        changes = [each.split(" ", _BEFORE_PATH[each[0]])[-1] for each in entries if each and each[0] in _BEFORE_PATH]
        return WorkTree(commit if _ID.fullmatch(commit) else "", changes)

    def update(self) -> None:
        """Fetch a mirror's branches and tags from where it was cloned."""
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        with self.credentials() as login:
            self._git("fetch", "--quiet", "--prune", "--force", "origin", *everything, environment=login)

    def push(self, target: str, *, dry_run: bool = False) -> Attempt:
        """Push to where a mirror was cloned from, with the login that cloned it."""
        options = ["--quiet", *(["--dry-run"] if dry_run else [])]
        with self.credentials() as login:
            return self.attempt("push", *options, "origin", target, environment=login)

    def is_ancestor(self, earlier: str, later: str) -> bool:
        """Tell whether a commit is part of another one's history (or is that one); False where either is not here."""
        return run_git(["merge-base", "--is-ancestor", earlier, later], self.root).returncode == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """Find the newest commit that two commits have in common, if any."""
        result = run_git(["merge-base", one, other], self.root)
        return text_of(result.stdout) if result.returncode == 0 else None

    def path_of(self, file: Path) -> str:
        """Return a file's path as Git names it, relative to the root."""
        return file.resolve().relative_to(self.root).as_posix()

    def origin(self) -> str | None:
        """Read the URL of the remote ``origin``, if there is one."""
        return text_of(run_git(["remote", "get-url", "origin"], self.root).stdout) or None

    def who(self) -> str:
        """Name the person that Git knows as the user: ``Name <address>``."""
        if not self._identity:
            return self._committer
        return f"{_IDENTITY['name']} <{_IDENTITY['email']}>"

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self.root)

    @cached_property
    def _committer(self) -> str:
        """Whom Git knows as the user, or guesses; empty where it cannot."""
        result = run_git(["var", "GIT_COMMITTER_IDENT"], self.root)
        return text_of(result.stdout).rpartition(">")[0] + ">" if result.returncode == 0 else ""

    @cached_property
    def _identity(self) -> dict[str, str]:
        """Variables that name an author where the user has not told Git who they are."""
        if self._committer and self._configured("user.email"):
            return {}
        roles = ("COMMITTER", "AUTHOR")
        return {f"GIT_{role}_{key.upper()}": value for role in roles for key, value in _IDENTITY.items()}

    def signs(self, what: str) -> bool:
        """Tell whether the user's Git signs each ``tag``, or each ``commit``."""
        return self._git("config", "--type=bool", "--default=false", f"{what}.gpgSign").strip() == "true"

    def _configured(self, key: str) -> bool:
        return run_git(["config", key], self.root).returncode == 0 or "GIT_COMMITTER_EMAIL" in os.environ

    def ask(self, *arguments: str, stdin: str = "") -> str:
        """Run a git command that is expected to work; return what it prints.

        Raises
        ------
        TransientError
            If the remote did not answer, or another process holds a lock.
        InputError
            If git refuses for another reason.
        """
        return self._git(*arguments, stdin=stdin)

    def attempt(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Attempt:
        """Run a git command that may fail, under a name that stands in where the user has told Git none."""
        result = run_git(arguments, self.root, stdin=stdin, environment={**self._identity, **(environment or {})})
        return Attempt(result.returncode == 0, text_of(result.stdout), text_of(result.stderr))

    def ask_for_login(self, question: str) -> Attempt:
        """Ask git for a login, as it would for a fetch."""
        with self.credentials() as login:
            done = run_git(["credential", "fill"], self.root, stdin=question, environment=login)
        return Attempt(done.returncode == 0, text_of(done.stdout), text_of(done.stderr))

    def run_over_ssh(self, host: str, port: int | None, command: str) -> Attempt:
        """Run a command on a host by the SSH that git would use for it, with its keys."""
        with self.credentials() as login:
            return self._run_over_ssh(host, port, command, {**git_environment(), **login})

    def _run_over_ssh(self, host: str, port: int | None, command: str, environment: Mapping[str, str]) -> Attempt:
        configured = text_of(run_git(["config", "core.sshCommand"], self.root).stdout)
        ssh = environment.get("GIT_SSH_COMMAND") or configured or "ssh"
        options = ["-p", str(port)] if port else []
        shell = ["sh", "-c", f'{ssh} "$@"', "ssh", *options, "--", host, command]
        done = subprocess.run(shell, capture_output=True, env=environment, stdin=subprocess.DEVNULL, check=False)
        return Attempt(done.returncode == 0, text_of(done.stdout), text_of(done.stderr))

    def _git(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
        result = run_git(arguments, self.root, stdin=stdin, environment=environment)
        if result.returncode:
            message = f"git {arguments[0]} in {self.root} failed: {text_of(result.stderr)}"
            raise TransientError(message) if UNREACHABLE.search(message) else GitError(message)
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
    return remembered(("repository", folder), lambda: _open(folder))


def _open(folder: Path) -> Repository:
    result = run_git(["rev-parse", "--is-bare-repository", "--absolute-git-dir", "--show-toplevel"], folder)
    bare, folder_of_git, top = [*text_of(result.stdout).split("\n"), "", ""][:3]  # inside .git there is no top
    if not folder_of_git:
        if b"dubious ownership" in result.stderr:
            raise InputError(text_of(result.stderr))
        raise InputError(
            f"{folder}: found no Git repository; expected one: 'git init && git add . && git commit' makes it"
        )
    if bare == "true" or not top:
        return Repository(Path(folder_of_git), bare=True)
    return Repository(Path(top))


def readable(path: str) -> str:
    """Return a path as text: a byte of it that is no UTF-8 is written by its hexadecimal digits."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _path_of(file: File) -> str:
    return file.path


def base_of(path: str) -> str:
    """Find the folder that several files have in common from their path with ``*``; it ends with a slash."""
    folder, slash, _ = path.split("*", maxsplit=1)[0].rpartition("/")
    return folder + slash


def _explain_revision(revision: str) -> str:
    if ".." in revision or revision.startswith("^"):
        return f"found a range of commits, '{revision}'; expected one commit: a branch, tag or id"
    return f"found no commit '{revision}'; expected a branch, tag or commit id"
