"""CI systems: what differs between them. What is the same is in the templates' commands, which any person can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
    hooks : bool
        Whether its file reads the webhooks of the Git host, which must then be known.
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
    hooks: bool = False
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
    "tekton": System(
        files=(File("tekton/modelrail.yaml", "tekton.yaml.j2"),),
        reports=(JUNIT,),
        number='"$PULL_REQUEST"',
        commit="$(git rev-parse HEAD)",
        in_image=True,
        hooks=True,
    ),
}
"""Name → what it wants."""

_GITHUB_HOOKS: Mapping[str, Any] = {
    "interceptor": "github",
    "pull_events": ["pull_request"],
    "push_events": ["push"],
    "pull": "body.action in ['opened', 'synchronize', 'synchronized', 'reopened']",
    "same": "body.pull_request.head.repo.full_name == body.repository.full_name",
    "pull_values": [
        ("repository", "$(body.repository.clone_url)"),
        ("ref", "refs/pull/$(body.number)/head"),
        ("number", "$(body.number)"),
    ],
    "push_values": [("repository", "$(body.repository.clone_url)")],
}
HOOKS: Mapping[str, Mapping[str, Any]] = {
    "github": _GITHUB_HOOKS,
    "gitea": _GITHUB_HOOKS,
    "gitlab": {
        "interceptor": "gitlab",
        "pull_events": ["Merge Request Hook"],
        "push_events": ["Push Hook"],
        "pull": "body.object_attributes.action in ['open', 'reopen', 'update']",
        "same": "body.object_attributes.source_project_id == body.object_attributes.target_project_id",
        "pull_values": [
            ("repository", "$(body.project.git_http_url)"),
            ("ref", "refs/merge-requests/$(body.object_attributes.iid)/head"),
            ("number", "$(body.object_attributes.iid)"),
        ],
        "push_values": [("repository", "$(body.project.git_http_url)")],
    },
}
"""Git host → how Tekton's triggers read its webhooks; Gitea sends GitHub's headers and signature as well."""

PINS: Mapping[str, str] = {
    "checkout": "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
    "cache": "actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0",
    "restore": "actions/cache/restore@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0",
    "upload": "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
}
"""GitHub's own actions, by commit."""
