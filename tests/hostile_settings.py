"""Git as people have set it up for themselves: no test may come out otherwise for it.

A test file that imports `settings` runs each of its tests twice: without any settings of a user, and with these.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

_SETTINGS = """
[advice]
    detachedHead = true
[alias]
    log = "!false"
    rev-parse = "!false"
    status = "!false"
[branch]
    sort = -committerdate
[checkout]
    defaultRemote = upstream
[clone]
    defaultRemoteName = upstream
[color]
    branch = always
    diff = always
    status = always
    ui = always
[column]
    tag = always
    ui = always
[commit]
    cleanup = scissors
    template = {folder}/template.txt
    verbose = true
[core]
    abbrev = 4
    askPass = false
    autocrlf = true
    commentChar = "%"
    editor = false
    eol = crlf
    hooksPath = {folder}/hooks
    logAllRefUpdates = always
    pager = false
    quotePath = true
    untrackedCache = true
[diff]
    algorithm = patience
    colorMoved = zebra
    external = false
    ignoreSubmodules = all
    mnemonicPrefix = true
    noprefix = true
    orderFile = {folder}/none
    relative = true
    renames = copies
    submodule = log
[feature]
    experimental = true
    manyFiles = true
[fetch]
    output = compact
    prune = true
    pruneTags = true
    writeCommitGraph = true
[format]
    pretty = "%C(red)%h%Creset%n%B"
[help]
    autocorrect = immediate
[i18n]
    commitEncoding = ISO-8859-1
    logOutputEncoding = ISO-8859-1
[init]
    defaultBranch = trunk
    templateDir = {folder}/template
[log]
    abbrevCommit = true
    date = relative
    decorate = full
    follow = true
    showRoot = false
    showSignature = true
[merge]
    ff = only
[pager]
    log = true
    tag = true
[push]
    default = nothing
    followTags = true
    recurseSubmodules = check
[remote]
    pushDefault = upstream
[safe]
    bareRepository = explicit
[status]
    branch = true
    relativePaths = false
    short = true
    showStash = true
    showUntrackedFiles = no
    submoduleSummary = true
[submodule]
    recurse = true
[tag]
    sort = -version:refname
[versionsort]
    suffix = -rc
"""
_FAILING = ("post-checkout", "post-commit", "post-merge", "post-rewrite", "post-index-change", "sendemail-validate")
_NOISY = ("pre-push", "pre-auto-gc")


@pytest.fixture(autouse=True, params=["plain", "hostile"])
def settings(request: pytest.FixtureRequest, _own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set a user's own settings of Git, of which every one changes what some command prints or does."""
    if request.param == "plain":
        return
    folder = tmp_path_factory.mktemp("hostile")
    for hooks in (folder / "hooks", folder / "template" / "hooks"):
        hooks.mkdir(parents=True)
        for name in (*_FAILING, *_NOISY):
            _write_hook(hooks / name, fails=name in _FAILING)
    (folder / "template.txt").write_text("% a template\nSubject: \n")
    file = folder / "gitconfig"
    file.write_text(_SETTINGS.format(folder=folder))
    variables = request.getfixturevalue("monkeypatch")
    variables.delenv("GIT_CONFIG_NOSYSTEM")  # the tests' own commands set it, and are not what is tested
    variables.setenv("GIT_CONFIG_SYSTEM", str(file))


def _write_hook(path: Path, *, fails: bool) -> None:
    path.write_text(f"#!/bin/sh\necho noise\necho noise >&2\nexit {int(fails)}\n")
    path.chmod(stat.S_IRWXU)
