"""A pull request is told once, by each host's own interface, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import ModelrailError, TransientError
from pipeline.integrations.git_hosts import HOSTS, Address
from pipeline.integrations.pull_requests import Posted, Status, publish
from tests.integrations.git_host import HEAD, ME, OTHER, GitHost, serve

MARKER = "[modelrail]: # (review of prod)"
WELL = Status("modelrail/prod", True, "1 of 2 models would change")


@pytest.fixture(params=list(HOSTS))
def host(request: pytest.FixtureRequest) -> Iterator[GitHost]:
    with serve(GitHost(request.param)) as running:
        yield running


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Take the pauses between attempts out, and note those that a host asks for."""
    monkeypatch.setattr("pipeline.integrations.pull_requests._PAUSE_S", 0.0)
    return []


def tell(host: GitHost, text: str, status: Status = WELL, number: int = 7, **changes: Any) -> Posted:
    address = Address(host.kind, host.api, "team/models", "https://ci.example/run/1")
    return publish(address, host.token, number, MARKER, text, status, **changes)


def test_a_pull_request_has_one_comment_that_is_kept_up_to_date(host: GitHost) -> None:
    assert tell(host, "first").action == "created"
    assert tell(host, "first").action == "unchanged"
    assert tell(host, "second").action == "updated"
    assert host.bodies() == [f"{MARKER}\n\nsecond"]


def test_the_newest_commit_has_a_status_in_the_words_of_the_host(host: GitHost) -> None:
    tell(host, "text")
    told = tell(host, "text", Status("modelrail/prod", False, "1 model cannot be planned"))
    words = {"gitlab": ("success", "failed"), "bitbucket": ("SUCCESSFUL", "FAILED")}
    assert [document["state"] for _, document in host.statuses] == list(words.get(host.kind, ("success", "failure")))
    commit, document = host.statuses[-1]
    assert HEAD.startswith(commit)
    assert told.commit == commit
    name = {"gitlab": "name", "bitbucket": "key"}.get(host.kind, "context")
    link = "url" if host.kind == "bitbucket" else "target_url"
    assert (document[name], document[link]) == ("modelrail/prod", "https://ci.example/run/1")
    assert document["description"] == "1 model cannot be planned"


def test_a_comment_of_somebody_else_with_our_marker_stays_theirs(host: GitHost) -> None:
    """Or they could change afterwards what the comment says."""
    host.comment(f"{MARKER}\n\nall is well", OTHER)
    assert tell(host, "the truth").action == "created"
    assert host.bodies() == [f"{MARKER}\n\nall is well", f"{MARKER}\n\nthe truth"]
    assert tell(host, "the truth").action == "unchanged"


def test_the_comment_is_found_on_a_later_page(host: GitHost) -> None:
    host.page = 2
    for number in range(5):
        host.comment(f"remark {number}", OTHER)
    host.comment(f"{MARKER}\n\nold", ME)
    assert tell(host, "new").action == "updated"
    assert len(host.comments) == 6


def test_a_comment_whose_answer_was_lost_is_not_written_twice(host: GitHost) -> None:
    for lost in range(4):  # each of the requests in turn
        host.comments.clear()
        host.asked.clear()
        host.first = [*["usual"] * lost, "lost"]
        tell(host, f"text {lost}")
        assert len(host.comments) == 1, f"after request {lost} was lost"


def test_a_host_that_is_busy_is_left_alone_for_as_long_as_it_says(host: GitHost, pauses: list[float]) -> None:
    host.first = [(429, {}, {"retry-after": "7"}), (503, {}, {})]
    assert tell(host, "text", sleep=pauses.append).action == "created"
    assert pauses == [7.0]


def test_a_limit_that_lasts_long_ends_the_command_with_try_again(host: GitHost, pauses: list[float]) -> None:
    host.first = [(403, {"message": "secondary rate limit"}, {"retry-after": "3600"})]
    with pytest.raises(TransientError, match="found status 403; expected an answer: the host is busy"):
        tell(host, "text", sleep=pauses.append)
    assert len(host.asked) == 1
    assert not pauses


def test_a_token_that_may_not_is_told_what_it_must(host: GitHost) -> None:
    host.token = "another"
    with pytest.raises(ModelrailError, match=r"found status 401 .*expected a token that is valid") as error:
        tell(host, "text")
    assert "another" not in str(error.value)


def test_a_pull_request_that_is_not_there_is_named(host: GitHost) -> None:
    with pytest.raises(ModelrailError, match=r"8: GET .*found status 404 .*a repository and a pull request that the"):
        tell(host, "text", number=8)
    assert not host.comments


def test_a_host_that_is_away_is_asked_five_times(host: GitHost) -> None:
    address = Address(host.kind, "http://127.0.0.1:9", "team/models")
    with pytest.raises(TransientError, match="found no answer"):
        publish(address, "token", 7, MARKER, "text", WELL)


def test_a_token_that_may_not_ask_whose_it_is_writes_as_the_host_s_own_ci() -> None:
    with serve(GitHost("github", hides_me=True)) as host:
        tell(host, "first")
        assert tell(host, "second").action == "updated"
        assert len(host.comments) == 1


def test_a_next_page_elsewhere_is_not_given_the_token() -> None:
    with serve(GitHost("github")) as host:
        pull = (200, {"head": {"sha": HEAD}}, {})
        host.first = [pull, (200, [], {"link": '<https://evil.example/2>; rel="next"'})]
        with pytest.raises(ModelrailError, match=r"found a next page at evil\.example; expected one of the same host"):
            tell(host, "text")


def test_a_status_that_gitlab_has_already_is_no_error() -> None:
    with serve(GitHost("gitlab")) as host:
        tell(host, "text")
        said = {"message": "Cannot transition status via :succeed from :success"}
        host.first = ["usual", "usual", "usual", (400, said, {})]
        assert tell(host, "text").action == "unchanged"


def test_a_next_page_at_another_port_is_not_given_the_token(host: GitHost) -> None:
    """The address that is asked stays the same; a host behind a proxy names itself otherwise."""
    with serve(GitHost(host.kind)) as elsewhere:
        host.page, real = 1, host.url
        host.comment("a remark", OTHER)
        host.comment(f"{MARKER}\n\nold", ME)
        pages = GitHost.pages

        def misled(query: str) -> Any:
            host.url = elsewhere.url
            found = pages(host, query)
            host.url = real
            return found

        host.pages = misled  # type: ignore[method-assign]
        assert tell(host, "new").action == "updated"
        assert not elsewhere.asked


@pytest.mark.parametrize("document", [{}, [], "a text", None, {"head": None, "sha": None, "values": 3}])
def test_a_document_of_another_form_is_an_error_and_nothing_is_written(host: GitHost, document: Any) -> None:
    for usual in (0, 1):
        host.first = [*["usual"] * usual, (200, document, {})]
        if usual and document == []:
            continue  # a pull request without a comment
        with pytest.raises(ModelrailError, match=r"found an answer without .* expected the API of a Git host"):
            tell(host, "text")
    assert not host.comments
    assert not host.statuses


def test_a_comment_whose_author_is_gone_is_nobody_s(host: GitHost) -> None:
    host.hides_me = True
    gone = host.comment(f"{MARKER}\n\nall is well", OTHER)
    gone.update({"user": None, "author": None})
    assert tell(host, "the truth").action == "created"


@pytest.mark.parametrize(
    ("name", "proxy"),
    [
        ("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:9"),
        ("HTTP_PROXY", "ftp://me:s3cret@h"),
        ("HTTP_PROXY", "http://h:p"),
    ],
)
def test_a_proxy_that_cannot_be_is_wrong_usage(name: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(ModelrailError, match="found a proxy that cannot be used") as error:
        publish(Address("github", "http://127.0.0.1:9", "team/models"), "token", 7, MARKER, "text", WELL)
    assert "s3cret" not in str(error.value)
