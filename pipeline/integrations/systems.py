"""CI systems: what differs between them. What is the same is in the templates' commands, which any person can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Approval = Literal["environments", "job", "none"]


@dataclass(frozen=True)
class File:
    """A file that a system reads.

    Attributes
    ----------
    path : str
        In the repository.
    template : str
        In ``templates/``.
    comment : str
        What begins a comment there.
    entry : str or None
        For a file that only leads to another one: where the user has one of their own already, it must name this, and
        is left as it is.
    """

    path: str
    template: str
    comment: str = "#"
    entry: str | None = None


@dataclass(frozen=True)
class System:
    """One CI system.

    Attributes
    ----------
    reports : tuple of str
        What `check` is to write so that the system shows it (``--report``).
    number : str
        What a shell of its says the pull request's number is.
    commit : str
        Likewise, the commit.
    host : str or None
        The Git host that it belongs to; None for a system that works for several.
    approval : str
        How a person agrees to a deployment: ``environments``, in the system's own settings of an environment; ``job``,
        in the pipeline; ``none``, not at all.
    in_image : bool
        Whether its jobs run in an image only.
    runner : str or None
        What its jobs run on unless something else is asked for.
    """

    files: tuple[File, ...]
    reports: tuple[str, ...]
    number: str
    commit: str
    host: str | None = None
    approval: Approval = "job"
    in_image: bool = False
    runner: str | None = None


JUNIT = "junit=modelrail-check.xml"

SYSTEMS: Mapping[str, System] = {
    "github": System(
        files=(File(".github/workflows/modelrail.yaml", "actions.yaml.j2"),),
        reports=("github",),
        number='"$PULL_REQUEST"',
        commit="$GITHUB_SHA",
        host="github",
        approval="environments",
        runner="ubuntu-24.04",
    ),
    "gitea": System(
        files=(File(".gitea/workflows/modelrail.yaml", "actions.yaml.j2"),),
        reports=("github",),
        number='"$PULL_REQUEST"',
        commit="$GITHUB_SHA",
        host="gitea",
        approval="none",
        runner="ubuntu-latest",
    ),
    "gitlab": System(
        files=(
            File(".gitlab/modelrail.yml", "gitlab.yml.j2"),
            File(".gitlab-ci.yml", "gitlab-entry.yml.j2", entry=".gitlab/modelrail.yml"),
        ),
        reports=("gitlab=gl-code-quality-report.json", JUNIT),
        number='"$CI_MERGE_REQUEST_IID"',
        commit="$CI_COMMIT_SHA",
        host="gitlab",
    ),
    "azure": System(
        files=(File("azure-pipelines.yml", "azure.yml.j2"),),
        reports=("azure", JUNIT),
        number='"$SYSTEM_PULLREQUEST_PULLREQUESTNUMBER"',
        commit="$BUILD_SOURCEVERSION",
        approval="environments",
        runner="ubuntu-24.04",
    ),
    "jenkins": System(
        files=(File("Jenkinsfile", "Jenkinsfile.j2", comment="//"),),
        reports=(JUNIT,),
        number='"$CHANGE_ID"',
        commit="$(git rev-parse HEAD)",
    ),
    "circleci": System(
        files=(File(".circleci/config.yml", "circleci.yml.j2"),),
        reports=(JUNIT,),
        number='"${CIRCLE_PULL_REQUEST##*/}"',
        commit="$CIRCLE_SHA1",
        in_image=True,
        runner="medium",
    ),
}
"""Name → what it wants."""

PINS: Mapping[str, str] = {
    "checkout": "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
    "cache": "actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0",
    "restore": "actions/cache/restore@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0",
    "upload": "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
}
"""GitHub's own actions, by commit."""
