"""`modelrail review` as CI calls it, and what a comment says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.ui.terminal.reviews import fit, markdown_review, marker_of
from tests.conftest import Commit, git
from tests.integrations.git_host import GitHost, serve
from tests.ui.test_cli import modelrail, told

GOOD = """
model: {name: line, trainer: ridge, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], bootstrap: 0}
"""
BROKEN = "model: {name: curve, trainr: ridge, target: y}\ndata: {files: 'data/{part}.csv'}\n"


def review(host: GitHost, project: Path, *arguments: str, token: str | None = None) -> tuple[int, str, str]:
    git(project, "remote", "add", "origin", f"{host.url}/team/models.git")
    secret = host.token if token is None else token
    done = modelrail(
        ["review", "--pull-request", "7", "--host", host.kind, *arguments], project, MODELRAIL_GIT_TOKEN=secret
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_good_pull_request_gets_a_plan_and_a_status_that_is_well(project: Path, commit: Commit) -> None:
    tip = commit({"models/line.yaml": GOOD, "data/1.csv": "x,y\n1,2\n2,4\n", "environments/prod.yaml": "{}\n"})
    with serve(GitHost("gitea")) as host:
        code, said, _ = review(host, project, "--environment", "prod", "--out", "whole.md")
    assert code == 0
    assert said.splitlines()[0] == "pull request 7: comment created"
    (body,) = host.bodies()
    marker, _, text = body.partition("\n\n")
    assert marker == marker_of("prod")
    assert text.strip() == (project / "whole.md").read_text().strip()
    assert "| line | 5 of 5 | - | a new release (the first) would be live in prod, if it passes its gate |" in text
    assert "| run | clean | 1 | it never ran here |" in text
    assert f"Planned by Modelrail at `{tip[:12]}`." in text
    ((_, status),) = host.statuses
    assert (status["state"], status["context"]) == ("success", "modelrail/prod")
    assert status["description"] == "1 of 1 model would change"


def test_a_broken_spec_is_told_with_its_line_and_hides_no_other(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": GOOD, "models/curve.yaml": BROKEN, "data/1.csv": "x,y\n1,2\n2,4\n"})
    with serve(GitHost("gitlab")) as host:
        code, _, errors = review(host, project)
    assert code == 2
    assert "models/curve.yaml:1:" in errors
    (body,) = host.bodies()
    assert "| curve | - | - | cannot be planned |" in body
    assert "models/curve.yaml:1:" in body
    assert "### line" in body
    ((_, status),) = host.statuses
    assert (status["state"], status["name"]) == ("failed", "modelrail/review")
    assert status["description"] == "1 model cannot be planned, 1 of 2 models would change"


def test_a_spec_calls_nobody_by_a_comment_of_ours(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": GOOD.replace("ridge", "'@everyone <img src=x>'"), "data/1.csv": "x,y\n1,2\n"})
    with serve(GitHost("github")) as host:
        code, _, _ = review(host, project)
    assert code == 2
    (body,) = host.bodies()
    assert "everyone" in body
    assert "@everyone" not in body
    assert "\\<img" in body


def test_without_a_token_nothing_is_planned(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": GOOD})
    with serve(GitHost("github")) as host:
        code, _, errors = review(host, project, token="")
    assert code == 2
    assert "MODELRAIL_GIT_TOKEN: found no token in the environment; expected one that may comment" in errors
    assert not host.asked


def test_a_host_that_refuses_is_an_error_without_the_token(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": GOOD, "data/1.csv": "x,y\n1,2\n2,4\n"})
    with serve(GitHost("bitbucket", token="another")) as host:
        git(project, "remote", "add", "origin", f"{host.url}/team/models.git")
        system = {"BITBUCKET_BUILD_NUMBER": "1", "BITBUCKET_REPO_FULL_NAME": "team/models"}
        done = modelrail(["review", "--pull-request", "7", "--host", "gitea"], project, GITEA_TOKEN="wrong", **system)
    assert done.returncode == 1
    assert "found status 401" in done.stderr
    assert "wrong" not in done.stderr


@pytest.mark.parametrize("longest", [400, 1000, 5000])
def test_a_long_comment_is_cut_after_a_line_and_says_where_the_whole_is(longest: int) -> None:
    text = "\n".join(f"| row {number} | reason |" for number in range(1000))
    short = fit(text, longest, Path("out/whole.md"))
    assert len(short) <= longest
    kept, _, note = short.partition("\n\n**Cut here**")
    assert text.startswith(kept + "\n")
    assert "the file `whole.md` of the run has all" in note
    assert fit("short", longest, None) == "short"


def test_one_endless_line_is_cut_too() -> None:
    assert len(fit("x" * 10_000, 500, None)) <= 500


def test_a_run_without_a_spec_runs_all_and_one_that_fails_hides_no_other(live_project: Path, commit: Commit) -> None:
    data = "x,y\n" + "".join(f"{x / 10},{2 * x / 10 + 1}\n" for x in range(60))
    commit(
        {
            "models/curve.yaml": BROKEN,
            "models/line.yaml": f"{GOOD}deploy: {{port: 0}}\n",
            "data/1.csv": data,
            ".gitignore": ".modelrail/\n",
        }
    )
    done = modelrail(["run", "--why", "a merge", "--json"], live_project)
    assert done.returncode == 2
    assert "models/curve.yaml:1:" in done.stderr
    assert [(each["spec"], each["outcome"]) for each in told(done)] == [("models/line.yaml", "released")]


@pytest.mark.parametrize("text", ["&commat;everyone", "é@everyone", "&#64;everyone"])
def test_no_spelling_calls_anybody(text: str) -> None:
    failed = [(Path("models/a.yaml"), InputError(f"found {text}"))]
    said = markdown_review([], failed, None, "0" * 40)
    assert not re.search(r"(?<!\\)&|@(?=\w)", said)


def test_the_name_of_a_file_is_text_in_a_comment() -> None:
    failed = [(Path("models/a\n## b <img src=x> \udce9.yaml"), InputError("wrong"))]
    said = markdown_review([], failed, None, "0" * 40)
    assert "### a \\#\\# b \\<img src=x\\>" in said
    said.encode("utf-8")


def test_a_review_is_not_written_through_a_link(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": BROKEN})
    (project / "whole.md").symlink_to(project.parent / "outside")
    with serve(GitHost("gitea")) as host:
        code, _, errors = review(host, project, "--out", "whole.md")
    assert code == 2
    assert "whole.md: found a link; expected" in errors
    assert not (project.parent / "outside").exists()
