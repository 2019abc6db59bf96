"""Git hosts: where each takes a comment and a status, and in which words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from pipeline.errors import InputError
from pipeline.messages import join
from pipeline.messages import quote as quoted

TOKEN = "MODELRAIL_GIT_TOKEN"  # noqa: S105 - a name


@dataclass(frozen=True)
class GitHost:
    """What one kind of Git host wants to be told, and how. ``{repository}``, ``{number}`` … are filled in.

    Attributes
    ----------
    tokens : tuple of str
        Variables that may hold the token, the first that is set counts.
    authorization : tuple of str
        Header and the value before the token.
    address : str
        Of the API, by the host's web address; what the CI system says comes before it.
    head : tuple of str
        Path in a pull request's document to the commit that gets the status.
    comments, comment, statuses, me : str
        Paths: to list and add comments; to change one; to set a status; who the token belongs to.
    change : str
        Method that changes a comment.
    bot : str or None
        Who writes where the host does not tell a token whose it is: the account of its own CI system.
    longest : int
        Characters that a comment may have.
    states : mapping
        Its words for a status that is well, and for one that is not.
    """

    tokens: tuple[str, ...]
    authorization: tuple[str, str]
    address: str
    pull: str
    head: tuple[str, ...]
    comments: str
    comment: str
    change: str
    body: tuple[str, ...]
    statuses: str
    states: tuple[str, str]
    context: str
    url: str
    me: str
    author: tuple[str, ...]
    name: tuple[str, ...]
    bot: str | None
    longest: int
    repository: str
    headers: Mapping[str, str]

    def encode(self, repository: str) -> str:
        """Write a repository's name as the paths want it."""
        return quote(repository, safe="" if self.repository == "encoded" else "/")


_GITHUB_PATHS: Mapping[str, Any] = {
    "pull": "/repos/{repository}/pulls/{number}",
    "head": ("head", "sha"),
    "comments": "/repos/{repository}/issues/{number}/comments",
    "comment": "/repos/{repository}/issues/comments/{comment}",
    "change": "PATCH",
    "body": ("body",),
    "statuses": "/repos/{repository}/statuses/{commit}",
    "states": ("success", "failure"),
    "context": "context",
    "url": "target_url",
    "me": "/user",
    "author": ("user", "login"),
    "name": ("login",),
    "longest": 65_000,
    "repository": "plain",
}

HOSTS: Mapping[str, GitHost] = {
    "github": GitHost(
        tokens=(TOKEN, "GITHUB_TOKEN", "GH_TOKEN"),
        authorization=("authorization", "Bearer "),
        address="{scheme}://{host}/api/v3",
        bot="github-actions[bot]",
        headers={"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"},
        **_GITHUB_PATHS,
    ),
    "gitea": GitHost(
        tokens=(TOKEN, "GITEA_TOKEN", "FORGEJO_TOKEN", "GITHUB_TOKEN"),
        authorization=("authorization", "token "),
        address="{scheme}://{host}/api/v1",
        bot="gitea-actions",
        headers={"accept": "application/json"},
        **_GITHUB_PATHS,
    ),
    "gitlab": GitHost(
        tokens=(TOKEN, "GITLAB_TOKEN"),
        authorization=("private-token", ""),
        address="{scheme}://{host}/api/v4",
        pull="/projects/{repository}/merge_requests/{number}",
        head=("sha",),
        comments="/projects/{repository}/merge_requests/{number}/notes",
        comment="/projects/{repository}/merge_requests/{number}/notes/{comment}",
        change="PUT",
        body=("body",),
        statuses="/projects/{repository}/statuses/{commit}",
        states=("success", "failed"),
        context="name",
        url="target_url",
        me="/user",
        author=("author", "username"),
        name=("username",),
        bot=None,
        longest=990_000,
        repository="encoded",
        headers={"accept": "application/json"},
    ),
    "bitbucket": GitHost(
        tokens=(TOKEN, "BITBUCKET_TOKEN"),
        authorization=("authorization", "Bearer "),
        address="https://api.bitbucket.org/2.0",
        pull="/repositories/{repository}/pullrequests/{number}",
        head=("source", "commit", "hash"),
        comments="/repositories/{repository}/pullrequests/{number}/comments",
        comment="/repositories/{repository}/pullrequests/{number}/comments/{comment}",
        change="PUT",
        body=("content", "raw"),
        statuses="/repositories/{repository}/commit/{commit}/statuses/build",
        states=("SUCCESSFUL", "FAILED"),
        context="key",
        url="url",
        me="/user",
        author=("user", "uuid"),
        name=("uuid",),
        bot=None,
        longest=32_000,
        repository="plain",
        headers={"accept": "application/json"},
    ),
}
"""Kind → what it wants. Forgejo is a ``gitea``."""

_ACTIONS = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs"


@dataclass(frozen=True)
class _System:
    """Where a CI system says which repository it works for.

    Attributes
    ----------
    mark : str
        Variable that tells that it is this one.
    kind, repository, api : str or None
        Its own Git host: what it is, the variable that names the repository, the address of the API; None for a system
        that works for any host.
    run : str
        Page of the run.
    """

    mark: str
    run: str
    kind: str | None = None
    repository: str = ""
    api: str = ""


_SYSTEMS = (
    _System(
        "GITEA_ACTIONS",
        f"{_ACTIONS}/{{GITHUB_RUN_NUMBER}}",
        "gitea",
        "GITHUB_REPOSITORY",
        "{GITHUB_SERVER_URL}/api/v1",
    ),
    _System("GITHUB_ACTIONS", f"{_ACTIONS}/{{GITHUB_RUN_ID}}", "github", "GITHUB_REPOSITORY", "{GITHUB_API_URL}"),
    _System("GITLAB_CI", "{CI_JOB_URL}", "gitlab", "CI_PROJECT_PATH", "{CI_API_V4_URL}"),
    _System(
        "BITBUCKET_BUILD_NUMBER",
        "{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
        "bitbucket",
        "BITBUCKET_REPO_FULL_NAME",
        HOSTS["bitbucket"].address,
    ),
    _System("CIRCLECI", "{CIRCLE_BUILD_URL}"),
    _System("JENKINS_URL", "{BUILD_URL}"),
    _System("TF_BUILD", "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}"),
)

_KNOWN = {"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket", "codeberg.org": "gitea"}
_PUBLIC = {"github.com": "https://api.github.com"}
_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[\w.-]+|\[[\da-fA-F:.]+\]):(?P<path>[^@]+)")
_LOGIN = re.compile(r"^([a-z]+://)?[^/]*@")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Address:
    """One repository at one host.

    Attributes
    ----------
    kind : str
        Key of `HOSTS`.
    api : str
        Address of its API, without a slash at the end.
    repository : str
        ``owner/name``; with more parts in groups of GitLab.
    run : str or None
        Page of the CI system's run, which the status links to.
    """

    kind: str
    api: str
    repository: str
    run: str | None = None

    @property
    def host(self) -> GitHost:
        """What its kind wants."""
        return HOSTS[self.kind]


def find_address(environ: Mapping[str, str], origin: str | None, kind: str | None = None) -> Address:
    """Find out where a pull request is: by what the CI system says, else by the clone's origin.

    Parameters
    ----------
    kind : str, optional
        Of the host; by default the CI system's own, or that of a host whose name is known.

    Raises
    ------
    InputError
        It cannot be told.
    """
    systems = [each for each in _SYSTEMS if environ.get(each.mark)]
    run = next((_fill(each.run, environ) for each in systems), None)
    for each in systems:
        own = each.kind if kind in (None, each.kind) else None
        named, api = environ.get(each.repository), _fill(each.api, environ)
        if own and named and api:
            return Address(own, api.rstrip("/"), named, run)
    return _by_origin(origin, kind, run)


def _fill(template: str, environ: Mapping[str, str]) -> str | None:
    """Fill in what the CI system says; None if it says not all of it."""
    try:
        return template.format_map(environ)
    except KeyError:
        return None


def _by_origin(origin: str | None, kind: str | None, run: str | None) -> Address:
    scheme, host, path = _parts(origin or "")
    if not (host and path.count("/") >= 1):
        shown = quoted(_LOGIN.sub(r"\1***@", origin)) if origin else "no remote of that name"
        raise InputError(
            f"origin: found {shown}; expected the address of a repository at a Git host (git remote set-url origin URL)"
        )
    found = kind or _KNOWN.get(host) or next((each for each in HOSTS if each in host), None)
    if found is None:
        raise InputError(f"--host: found none, and '{host}' does not say what it is; expected {join(HOSTS)}")
    api = _PUBLIC.get(host) or HOSTS[found].address.format(scheme=scheme, host=host)
    return Address(found, api, path, run)


def _parts(origin: str) -> tuple[str, str, str]:
    """Take an address of Git apart: scheme of its API, host with its port, and the repository's path."""
    if origin.startswith(("http://", "https://", "ssh://")):
        try:
            url = urlsplit(origin)
        except ValueError:  # half an address of IPv6
            return "", "", ""
        host, path = url.netloc.rpartition("@")[2], _named(url.path)
        return ("https", re.sub(r":\d+$", "", host), path) if url.scheme == "ssh" else (url.scheme, host, path)
    match = _SCP.fullmatch(origin)
    return ("https", match["host"], _named(match["path"])) if match else ("", "", "")


def _named(path: str) -> str:
    return path.strip("/").removesuffix(".git")


def find_token(host: GitHost, environ: Mapping[str, str]) -> str:
    """Return the token for a host, which only the environment may hold.

    Raises
    ------
    InputError
        None of its variables is set, or it can be no token.
    """
    name = next((each for each in host.tokens if environ.get(each, "").strip()), None)
    if name is None:
        raise InputError(
            f"{host.tokens[0]}: found no token in the environment; expected one that may comment and set a status"
            f" ({join(host.tokens)})"
        )
    token = environ[name].strip()
    if not _TOKEN.fullmatch(token):  # the error of the HTTP client would print it
        raise InputError(f"{name}: found a token that no header can hold; expected letters, digits and signs of ASCII")
    return token
