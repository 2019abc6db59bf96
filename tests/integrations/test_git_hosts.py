"""Where a pull request is: what the CI system says comes first, then the clone's origin."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.integrations.git_hosts import HOSTS, find_address, find_token

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://api.github.com",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "team/models",
    "GITHUB_RUN_ID": "9",
}
GITEA = {
    **GITHUB,
    "GITEA_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_RUN_NUMBER": "4",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_API_V4_URL": "https://gitlab.example/api/v4",
    "CI_PROJECT_PATH": "group/sub/models",
    "CI_JOB_URL": "https://gitlab.example/group/sub/models/-/jobs/1",
}


@pytest.mark.parametrize(
    ("environ", "origin", "named", "kind", "api", "repository", "run"),
    [
        (GITHUB, None, None, "github", "https://api.github.com", "team/models",
         "https://github.com/team/models/actions/runs/9"),
        (GITEA, None, None, "gitea", "https://git.example/api/v1", "team/models",
         "https://git.example/team/models/actions/runs/4"),
        (GITLAB, None, None, "gitlab", "https://gitlab.example/api/v4", "group/sub/models", GITLAB["CI_JOB_URL"]),
        ({}, "git@github.com:team/models.git", None, "github", "https://api.github.com", "team/models", None),
        ({}, "https://x:y@gitlab.com/a/b/c.git", None, "gitlab", "https://gitlab.com/api/v4", "a/b/c", None),
        ({}, "ssh://git@bitbucket.org/team/models", None, "bitbucket", "https://api.bitbucket.org/2.0", "team/models",
         None),
        ({}, "https://codeberg.org/team/models", None, "gitea", "https://codeberg.org/api/v1", "team/models", None),
        ({}, "http://127.0.0.1:30/team/models", "gitea", "gitea", "http://127.0.0.1:30/api/v1", "team/models", None),
        ({}, "https://ghe.example/team/models", "github", "github", "https://ghe.example/api/v3", "team/models", None),
        ({"JENKINS_URL": "x", "BUILD_URL": "https://ci/7"}, "https://gitlab.corp/a/b", None, "gitlab",
         "https://gitlab.corp/api/v4", "a/b", "https://ci/7"),
        (GITHUB, "https://git.example/team/models", "gitea", "gitea", "https://git.example/api/v1", "team/models",
         "https://github.com/team/models/actions/runs/9"),
    ],
)  # fmt: skip
def test_the_address_is_found(
    environ: dict[str, str], origin: str, named: str, kind: str, api: str, repository: str, run: str
) -> None:
    found = find_address(environ, origin, named)
    assert (found.kind, found.api, found.repository, found.run) == (kind, api, repository, run)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (None, "origin: found no remote of that name; expected the address of a repository"),
        ("/srv/git/models.git", "origin: found '/srv/git/models.git'; expected the address of a repository"),
        ("https://git.example/team/models", "--host: found none, and 'git.example' does not say what it is; expected"),
    ],
)
def test_what_cannot_be_told_is_refused(origin: str | None, message: str) -> None:
    with pytest.raises(InputError) as error:
        find_address({}, origin)
    assert message in str(error.value)


def test_a_login_in_the_origin_is_in_no_message() -> None:
    with pytest.raises(InputError) as error:
        find_address({}, "https://me:s3cret@git.example/models")
    assert "s3cret" not in str(error.value)


def test_the_token_comes_from_the_environment_alone() -> None:
    assert find_token(HOSTS["gitlab"], {"MODELRAIL_GIT_TOKEN": "a", "GITLAB_TOKEN": "b"}) == "a"
    assert find_token(HOSTS["gitea"], {"MODELRAIL_GIT_TOKEN": "", "GITEA_TOKEN": "b"}) == "b"
    with pytest.raises(
        InputError, match=r"found no token in the environment; expected .*\(MODELRAIL_GIT_TOKEN or GITLAB"
    ):
        find_token(HOSTS["gitlab"], {"GITHUB_TOKEN": "another host's"})
