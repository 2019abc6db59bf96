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


@pytest.mark.parametrize(
    ("origin", "api"),
    [
        ("https://me:s3cret@[::1]:3000/team/models.git", "https://[::1]:3000/api/v1"),
        ("ssh://me:s3cret@[::1]:22/team/models", "https://[::1]/api/v1"),
        ("git@[fe80::1]:team/models.git", "https://[fe80::1]/api/v1"),
        ("ssh://me:s3cret@git.example:2222/team/models", "https://git.example/api/v1"),
    ],
)
def test_a_login_or_an_address_of_ipv6_is_not_taken_for_another_host(origin: str, api: str) -> None:
    """Or that one would be given the token."""
    found = find_address({}, origin, "gitea")
    assert (found.api, found.repository) == (api, "team/models")


@pytest.mark.parametrize("origin", ["http://[::1/team/models", "me:s3cret@/team/models", "ssh://[::1/team/models"])
def test_an_origin_that_cannot_be_read_is_refused(origin: str) -> None:
    with pytest.raises(InputError, match="expected the address of a repository at a Git host") as error:
        find_address({}, origin, "gitea")
    assert "s3cret" not in str(error.value)


def test_a_token_is_what_a_header_can_hold_and_is_in_no_message() -> None:
    assert find_token(HOSTS["gitlab"], {"GITLAB_TOKEN": " s3cret\n"}) == "s3cret"
    for token in ("s3cret\nx: y", "s3crét", "s3cret two"):
        with pytest.raises(InputError, match="GITLAB_TOKEN: found a token that no header can hold") as error:
            find_token(HOSTS["gitlab"], {"GITLAB_TOKEN": token})
        assert "s3cr" not in str(error.value)
