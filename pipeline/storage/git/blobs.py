"""Contents of files, asked of one ``git cat-file --batch`` that stays: a process for each costs more than it reads."""

from __future__ import annotations

import os
import subprocess
import threading
import weakref
from pathlib import Path

from pipeline.storage.git.command import start_git


class Blobs:
    """Reads the blobs of one repository, for any thread; what it started ends with it, or with this process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._git: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def read(self, identity: str, kind: str = "blob") -> bytes | None:
        """Read a blob, or an object of another kind, by its id; None if Git does not have it."""
        with self._lock:
            git, answered = self._started(), False
            try:
                content = _ask(git, identity, kind)
                answered = True
            except OSError:
                content = None
            finally:
                if not answered:  # what is left in the pipe would be taken for the next answer
                    self._git = None
                    git.kill()
            return content

    def _started(self) -> subprocess.Popen[bytes]:
        """Return the running command; a fork of this process, or one whose command was killed, starts its own."""
        if self._git is None or self._owner != os.getpid() or self._git.poll() is not None:
            self._git, self._owner = start_git(["cat-file", "--batch"], self._root), os.getpid()
            weakref.finalize(self, _end, self._git, self._owner)
        return self._git


def _ask(git: subprocess.Popen[bytes], identity: str, kind: str) -> bytes | None:
    assert git.stdin is not None  # noqa: S101 - both are pipes
    assert git.stdout is not None  # noqa: S101
    git.stdin.write(f"{identity}\n".encode())
    git.stdin.flush()
    facts = git.stdout.readline().split()
    if not facts or facts[-1] == b"missing":  # nothing where it has ended
        return None
    content = git.stdout.read(int(facts[2]) + 1)[:-1]
    return content if len(content) == int(facts[2]) and facts[1] == kind.encode() else None


def _end(git: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a fork does not end what its parent uses
        return
    git.kill()
    for stream in (git.stdin, git.stdout):
        if stream is not None:
            stream.close()
    git.wait()
