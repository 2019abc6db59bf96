"""Annotated tags: read all at once, written once, pushed so that the faster of two wins and nobody overwrites.

A tag that is to be pushed is marked (``refs/modelrail/pushing/``) until the remote has it, so that a process which is
killed in between leaves no tag behind that only this clone knows: `settle` finishes what was begun.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pipeline.answers import asks_once, remembered
from pipeline.errors import ReleaseError, TransientError
from pipeline.retries import attempts
from pipeline.storage.git.command import Attempt
from pipeline.storage.git.repository import Repository

_FIELDS = (
    *("refname:strip=2", "objectname", "*objectname", "taggerdate:iso-strict"),
    *("taggername", "taggeremail", "contents:size"),
)
_FORM = "".join(f"%({each})%00" for each in _FIELDS) + "%(contents)"
_LONGEST_HEAD = 1 << 16  # of what stands before a message: names and addresses of people, for example
_LAST = "\U0010ffff"  # sorts after every character of a name
_PUSHING = "refs/modelrail/pushing/"
_CLOBBERED = re.compile(r"-> (\S+) +\(would clobber existing tag\)")


@dataclass(frozen=True)
class Tag:
    """One annotated tag: what it points at, who made it, and its message (a signature may stand behind it).

    Attributes
    ----------
    id : str
        Of the tag itself, as Git's object.
    """

    name: str
    commit: str
    date: datetime
    message: str
    tagger: str = ""
    id: str = ""

    @property
    def signed(self) -> bool:
        """Whether a signature stands behind the message; whether it is good is for `git tag -v` to say."""
        return "\n-----BEGIN " in self.message and " SIGNATURE-----" in self.message


def list_tags(repository: Repository, *patterns: str) -> list[Tag]:
    """List the annotated tags that match one of the globs, oldest first."""
    if (known := _find_remembered(repository, patterns)) is not None:
        tags = [
            remembered(("tag", repository.root, name, identity), partial(_read, repository, name, identity))
            for name, identity in known
        ]
        return sorted((each for each in tags if each is not None), key=lambda each: (each.date, each.name))
    places = [f"refs/tags/{pattern}" for pattern in patterns]
    listing = repository.ask("for-each-ref", f"--format={_FORM}", "--sort=creatordate", *places)
    return list(_parse(listing.encode("utf-8", "surrogateescape")))


def _parse(listing: bytes) -> Iterator[Tag]:
    """Read the listing by the sizes in it: a message may hold any character, and so no separator."""
    start = 0
    while start < len(listing):
        *head, _ = listing[start : start + _LONGEST_HEAD].split(b"\0", len(_FIELDS))
        name, identity, commit, date, person, address, size = (each.decode("utf-8", "replace") for each in head)
        start += sum(len(each) + 1 for each in head)
        message, start = listing[start : start + int(size)], start + int(size) + 1
        if commit and date:
            when = datetime.fromisoformat(date).astimezone(UTC)
            yield Tag(name, commit, when, message.decode("utf-8", "replace").strip(), f"{person} {address}", identity)


def list_names(repository: Repository, *patterns: str) -> list[str]:
    """List the names of the annotated tags that match one of the globs, without reading what they say."""
    if (known := _find_remembered(repository, patterns)) is not None:
        return [name for name, _ in known]
    places = [f"refs/tags/{pattern}" for pattern in patterns]
    rows = repository.ask("for-each-ref", "--format=%(objecttype) %(refname:strip=2)", *places).splitlines()
    return [name for kind, _, name in (row.partition(" ") for row in rows) if kind == "tag"]


def list_ids(repository: Repository, *patterns: str) -> set[str]:
    """List the ids of the annotated tags that match one of the globs: they differ as soon as one of the tags does."""
    if (known := _find_remembered(repository, patterns)) is not None:
        return {identity for _, identity in known}
    places = [f"refs/tags/{pattern}" for pattern in patterns]
    rows = repository.ask("for-each-ref", "--format=%(objecttype) %(objectname)", *places).splitlines()
    return {identity for kind, _, identity in (row.partition(" ") for row in rows) if kind == "tag"}


def _find_remembered(repository: Repository, patterns: Sequence[str]) -> list[tuple[str, str]] | None:
    """Find the names and ids of tags among all that there are, where Git is asked once; None where it is to be asked.

    A glob for the tags of every model is asked of Git all the same: it reads them faster than one by one.
    """
    if not asks_once() or any(pattern.startswith("*") for pattern in patterns):
        return None
    every = remembered(("tags", repository.root), lambda: _list_every(repository))
    found: dict[str, str] = {}
    for pattern in patterns:
        start = pattern.partition("*")[0]
        matches = re.compile("[^/]*".join(map(re.escape, pattern.split("*")))).fullmatch
        first, last = bisect_left(every, (start,)), bisect_left(every, (start + _LAST,))
        found |= {name: identity for name, identity in every[first:last] if matches(name)}
    return sorted(found.items())


def _list_every(repository: Repository) -> list[tuple[str, str]]:
    rows = repository.ask("for-each-ref", "--format=%(objecttype) %(objectname) %(refname:strip=2)", "refs/tags")
    split = (row.split(" ", 2) for row in rows.splitlines())
    return sorted((name, identity) for kind, identity, name in split if kind == "tag")


def _read(repository: Repository, name: str, identity: str) -> Tag | None:
    """Read one tag as Git keeps it: lines of facts, an empty line, the message."""
    head, _, message = (repository.read_tag(identity) or b"").partition(b"\n\n")
    facts = dict(line.partition(" ")[::2] for line in head.decode("utf-8", "replace").split("\n"))
    person, _, when = facts.get("tagger", "").rpartition("> ")
    if not when:
        return None
    date = datetime.fromtimestamp(int(when.split()[0]), UTC)
    return Tag(name, facts["object"], date, message.decode("utf-8", "replace").strip(), f"{person}>", identity)


def write_tag(
    repository: Repository, name: str, commit: str, message: str, *, push: bool = False, also: Sequence[str] = ()
) -> bool:
    """Create an annotated tag, signed where the user's Git signs; push it to ``origin`` if asked to.

    Parameters
    ----------
    also : sequence of str
        Tags that the remote must have too: all are pushed, or none.

    Returns
    -------
    bool
        False if the tag existed already: somebody was faster.

    Raises
    ------
    ReleaseError
        If the tag could be made but not signed or not pushed (it is taken back).
    TransientError
        The same, where trying again can help.
    """
    signs = repository.signs("tag")
    if push:
        repository.ask("update-ref", _PUSHING + name, commit)
    command = ["tag", "--sign" if signs else "--annotate", "--file=-", "--cleanup=verbatim", "--end-of-options"]
    made = repository.attempt(*command, name, commit, stdin=message)
    if made.succeeded:
        if signs:
            _refuse_unsigned(repository, name, made.message)
        return _push(repository, name, also) if push else True
    if push:
        _unmark(repository, name)
    if "already exists" in made.message:
        return False
    # Of two processes of one clone, one may find the other's lock.
    if made.transient:
        raise TransientError(f"git tag {name} failed: {made.message}; run again")
    raise ReleaseError(f"git tag {name} failed: {made.message}")


def _refuse_unsigned(repository: Repository, name: str, said: str) -> None:
    """Remove a tag that git has made without a signature: for an SSH key that it cannot load, it only warns."""
    if all(each.signed for each in list_tags(repository, name)):
        return
    _take_back(repository, name)
    raise ReleaseError(
        f"git tag {name}: found no signature behind it, though tag.gpgSign is set ({said}); nothing was recorded:"
        " check user.signingkey"
    )


def child_commit(repository: Repository, commit: str, message: str) -> str:
    """Make a commit that changes nothing, on top of another and on no branch; return its id."""
    signs = repository.signs("commit")
    command = ["commit-tree", *(["-S"] if signs else []), "-p", commit, "-F", "-", f"{commit}^{{tree}}"]
    made = repository.attempt(*command, stdin=message)
    if not made.succeeded:
        raise ReleaseError(f"git commit-tree on {commit[:12]} failed: {made.message}")
    return made.output


def fetch_tags(repository: Repository, *patterns: str) -> None:
    """Fetch the tags that ``origin`` has.

    Raises
    ------
    ReleaseError
        If this clone has a tag of the same name that is another.
    TransientError
        If the remote does not answer.
    """
    places = [f"refs/tags/{pattern}:refs/tags/{pattern}" for pattern in patterns]
    done = repository.attempt("fetch", "--no-tags", "origin", *places)
    if done.succeeded:
        return
    if names := ", ".join(_CLOBBERED.findall(done.message)):
        raise ReleaseError(
            f"git fetch: found other tags at 'origin' under the names {names}; expected the same as here: a release"
            " that was made here without being pushed has lost its name; 'git tag -d' it here, and run again"
        )
    raise _refusal("git fetch of tags", done, "nothing was recorded")


def require_push(repository: Repository, tag: str) -> None:
    """Make sure that ``origin`` lets this user push tags; none is pushed.

    Raises
    ------
    ReleaseError
        If it refuses.
    TransientError
        If it does not answer.
    """
    done = repository.attempt("push", "--dry-run", "--no-verify", "--quiet", "origin", f"HEAD:refs/tags/{tag}")
    if not done.succeeded:
        raise _refusal("git push of tags", done, "nothing was recorded")


def settle(repository: Repository) -> None:
    """Finish pushes that a killed process had begun; a tag that somebody else took meanwhile becomes theirs."""
    for name in repository.ask("for-each-ref", "--format=%(refname)", _PUSHING).split():
        tag = name.removeprefix(_PUSHING)
        if repository.attempt("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}").succeeded:
            _push(repository, tag, ())
        else:
            _unmark(repository, tag)


def _push(repository: Repository, name: str, beside: Sequence[str]) -> bool:
    refs = [f"refs/tags/{each}" for each in (*beside, name)]
    for _ in attempts(pause_s=0.05):
        done = repository.attempt("push", "--quiet", "--atomic", "origin", *refs)
        theirs = None if done.succeeded else _remote_object(repository, name)
        if done.succeeded or theirs == repository.ask("rev-parse", f"refs/tags/{name}").strip():
            _unmark(repository, name)
            return True
        if theirs:
            _take_back(repository, name)
            repository.ask("fetch", "--quiet", "--no-tags", "origin", f"refs/tags/{name}:refs/tags/{name}")
            return False
        if not done.transient:
            break
    _take_back(repository, name)
    raise _refusal(f"git push of {name}", done, "nothing was released")


def _remote_object(repository: Repository, name: str) -> str | None:
    """Read the id of the tag object that the remote has under a name; None if it has none, or does not answer."""
    return repository.attempt("ls-remote", "origin", f"refs/tags/{name}").output.partition("\t")[0] or None


def _take_back(repository: Repository, name: str) -> None:
    repository.ask("tag", "-d", name)
    _unmark(repository, name)


def _unmark(repository: Repository, name: str) -> None:
    repository.attempt("update-ref", "-d", _PUSHING + name)


def _refusal(what: str, done: Attempt, outcome: str) -> Exception:
    if done.transient:
        return TransientError(f"{what} failed: {done.message}; {outcome}, run again")
    return ReleaseError(f"{what} failed: {done.message}; {outcome}: check the rights to push tags to 'origin'")
