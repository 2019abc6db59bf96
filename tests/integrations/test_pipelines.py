"""Pipelines are written from a few wishes, written anew without a loss, and known to be out of date."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.errors import InputError
from pipeline.home import CHECKOUT
from pipeline.integrations.pipelines import Wishes, read_wishes, render, targets
from pipeline.integrations.systems import HOOKS, PINS, SYSTEMS
from tests.conftest import Commit
from tests.ui.test_cli import modelrail

IMAGE = f"registry.example/modelrail@sha256:{'a' * 64}"
BOTH = ("staging=main", "production=main")
SPEC = "model: {name: line, trainer: ridge, task: regression, target: y}\ndata: {files: 'data/{part}.csv'}\n"
SCHEMAS = {
    "github": ("vendor.github-workflows", "default"),
    "gitea": ("vendor.github-workflows", "default"),
    "gitlab": ("vendor.gitlab-ci", "default"),
    "azure": ("vendor.azure-pipelines", "python"),
    "circleci": ("vendor.circle-ci", "default"),
}


@pytest.fixture
def models(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a spec and two environments, as the current folder."""
    overlay = "deploy: {push_tags: true}\n"
    commit({"models/line.yaml": SPEC, "environments/staging.yaml": overlay, "environments/production.yaml": overlay})
    monkeypatch.chdir(project)
    return project


def wishes(system: str, **changes: Any) -> Wishes:
    to = ("production=main",) if system == "gitea" else BOTH
    image, host = (IMAGE if SYSTEMS[system].in_image else None), ("gitea" if SYSTEMS[system].hooks else None)
    return Wishes(system, **{"to": to, "image": image, "host": host, **changes})


def text_of(asked: Wishes, extras: tuple[str, ...] = ()) -> str:
    return render(SYSTEMS[asked.system].files[0], asked, extras)


WISHES = [
    {},
    {"to": ()},
    {"image": IMAGE, "secrets": ("A_KEY", "B"), "variables": ('MODELRAIL_STORE=s3://bucket/it\'s "1"',)},
    {"install": "pip install 'modelrail[{extras}] @ git+https://git.example/m@abc' # \"x\": \\ y", "minutes": 30},
]


@pytest.mark.parametrize("system", SCHEMAS)
def test_a_pipeline_is_what_the_system_s_schema_says(system: str, tmp_path: Path) -> None:
    files = []
    for number, changes in enumerate(WISHES):
        files.append(tmp_path / f"{number}.yml")
        files[-1].write_text(text_of(wishes(system, **changes)))
    schema, patterns = SCHEMAS[system]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, "--regex-variant", patterns]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("system", SCHEMAS)
def test_a_schema_refuses_what_a_pipeline_may_not_say(system: str, tmp_path: Path) -> None:
    """Or the test above could not fail."""
    wrong = {
        "azure": ("timeoutInMinutes", "timeoutInMinuts"),
        "gitlab": ("stage:", "stag:"),
        "circleci": ("docker:", "dockr:"),
    }
    text = text_of(wishes(system))
    old, new = wrong.get(system, ("runs-on", "runs-at"))
    assert old in text
    (tmp_path / "wrong.yml").write_text(text.replace(old, new))
    schema, patterns = SCHEMAS[system]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, "--regex-variant", patterns]
    assert subprocess.run([*command, str(tmp_path / "wrong.yml")], capture_output=True, check=False).returncode


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_systems_call_the_same_commands(system: str) -> None:
    text = text_of(wishes(system))
    assert "modelrail check --report " in text
    assert "modelrail review --pull-request " in text
    assert "modelrail run --environment " in text
    assert "production" in text


@pytest.mark.parametrize("system", SYSTEMS)
def test_options_lead_to_the_same_wishes_again(system: str) -> None:
    asked = wishes(system, install="a 'b' \"c\"", secrets=("A", "B"), variables=("C=d e",), minutes=7, runner="big-1")
    assert read_wishes(asked.options()) == asked


def test_forks_get_neither_secrets_nor_rights() -> None:
    document = YAML(typ="safe").load(text_of(wishes("github", secrets=("A_KEY",))))
    jobs = document["jobs"]
    assert document["permissions"] == {}
    assert jobs["check"]["permissions"] == {"contents": "read"}
    assert "secrets." not in str(jobs["check"])
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    assert all(
        same in job["if"] or "github.event_name == 'push'" in job["if"]
        for job in jobs.values()
        if "secrets." in str(job)
    )
    assert "pull_request_target" not in document["on"], "it runs a fork's code with rights"


def test_actions_are_pinned_by_commit() -> None:
    steps = [step for job in YAML(typ="safe").load(text_of(wishes("github")))["jobs"].values() for step in job["steps"]]
    used = {step["uses"] for step in steps if "uses" in step}
    assert used
    assert all(len(each.rpartition("@")[2]) == 40 for each in used)


def test_a_release_goes_through_the_environments_in_order_and_waits_for_a_person() -> None:
    gitlab = YAML(typ="safe").load(text_of(wishes("gitlab")))
    first, second = gitlab["modelrail-deploy-staging"], gitlab["modelrail-deploy-production"]
    assert (first["needs"], second["needs"]) == ([], ["modelrail-deploy-staging"])
    assert "when" not in first["rules"][0]
    assert second["rules"][0]["when"] == "manual"
    circle = YAML(typ="safe").load(text_of(wishes("circleci")))["workflows"]["modelrail"]["jobs"]
    (held,) = [each for each in circle if "hold-deploy-production" in each]
    assert held["hold-deploy-production"]["type"] == "approval"
    jenkins = text_of(wishes("jenkins"))
    assert (
        jenkins.index("stage('modelrail staging')")
        < jenkins.index("input message")
        < jenkins.index("'modelrail production'")
    )
    github = YAML(typ="safe").load(text_of(wishes("github")))["jobs"]
    assert (github["deploy-production"]["needs"], github["deploy-production"]["environment"]) == (
        "deploy-staging",
        "production",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to": ("Prod main",)}, "--to: found 'Prod main'; expected ENVIRONMENT=BRANCH, such as prod=main"),
        ({"to": ("a=b", "a=c")}, "--to: found a and a; expected each environment once"),
        ({"image": "python:3.11"}, "--image: found 'python:3.11'; expected an image by its digest"),
        ({"secrets": ("a b",)}, "--secret: found 'a b'; expected the name of a variable"),
        ({"variables": ("API_TOKEN=1",)}, "found API_TOKEN, which looks like a secret; expected --secret API_TOKEN"),
        ({"variables": ("S=https://me:pw@host",)}, "found S, which looks like a secret"),
        ({"install": "a\nb"}, "--install: found"),
        ({"install": "pip install git+https://me:pw@host/m"}, "--install: found a login in a URL; expected none"),
        ({"install": "pip install git+https://ghp_1@host/m"}, "--install: found a login in a URL; expected none"),
        ({"host": "gitea"}, "--host: found 'gitea'; expected github"),
    ],
)
def test_wishes_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        wishes("github", **changes)
    assert message in str(error.value)


@pytest.mark.parametrize("host", HOOKS)
def test_tekton_gives_forks_an_account_without_secrets_and_lets_a_person_begin_what_follows(host: str) -> None:
    documents = list(YAML(typ="safe").load_all(text_of(wishes("tekton", host=host, secrets=("A_KEY",)))))
    named = {(each["kind"], each["metadata"]["name"]): each for each in documents if each}
    assert "secretKeyRef" not in str(named["Task", "modelrail-check"])
    assert "secrets" not in named["ServiceAccount", "modelrail-check"]
    triggers = {each["name"]: each for each in named["EventListener", "modelrail"]["spec"]["triggers"]}
    runs = {name: each["template"]["spec"]["resourcetemplates"][0]["spec"] for name, each in triggers.items()}
    assert runs["check"]["taskRunTemplate"] == {"serviceAccountName": "modelrail-check"}
    assert HOOKS[host]["same"] in str(triggers["review"]["interceptors"])
    assert "status" not in runs["deploy-staging"]
    assert runs["deploy-production"]["status"] == "PipelineRunPending"
    for name, run in runs.items():  # what is handed on is what the task takes
        (called,) = run["pipelineSpec"]["tasks"]
        task = named["Task", called["taskRef"]["name"]]["spec"]
        assert {each["name"] for each in called["params"]} <= {each["name"] for each in task["params"]}, name
        assert [each["name"] for each in task.get("workspaces", [])] == [
            each["name"] for each in called.get("workspaces", [])
        ]
        bound = {each["name"] for each in triggers[name]["bindings"]}
        assert {each["value"] for each in called["params"]} == {f"$(tt.params.{each})" for each in bound}


def test_tekton_reads_the_webhooks_of_a_host_that_is_known() -> None:
    for host in (None, "bitbucket"):
        with pytest.raises(InputError, match="expected github, gitea or gitlab, whose webhooks tekton is to read"):
            wishes("tekton", host=host)


def test_a_system_is_asked_for_nothing_that_it_lacks() -> None:
    with pytest.raises(InputError, match="expected a branch for each, since gitea has no approvals"):
        wishes("gitea", to=BOTH)
    with pytest.raises(InputError, match="jobs of circleci run in images"):
        wishes("circleci", image=None)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_the_user_adds_around_the_marks_stays(system: str, models: Path) -> None:
    arguments = ["ci", "init", "--for", system, "--to", "production=main", "--image", IMAGE]
    arguments += ["--host", "gitea"] if SYSTEMS[system].hooks else []
    assert modelrail(arguments, models).returncode == 0
    place = models / SYSTEMS[system].files[0].path
    mark = SYSTEMS[system].files[0].comment
    place.write_text(f"{mark} ours before\n{place.read_text()}{mark} ours after\n")
    assert modelrail([*arguments, "--minutes", "5"], models).returncode == 0
    text = place.read_text()
    assert text.startswith(f"{mark} ours before\n")
    assert text.endswith(f"{mark} ours after\n")
    assert "--minutes 5" in text
    assert text.count(">>> modelrail ci init") == 1
    assert modelrail(["ci", "check"], models).returncode == 0


def test_a_change_between_the_marks_is_shown_and_not_lost(models: Path) -> None:
    arguments = ["ci", "init", "--for", "github", "--to", "production=main"]
    modelrail(arguments, models)
    place = models / ".github/workflows/modelrail.yaml"
    place.write_text(place.read_text().replace("timeout-minutes: 15", "timeout-minutes: 99"))
    before = place.read_text()
    done = modelrail(arguments, models)
    assert done.returncode == 2
    assert "-    timeout-minutes: 99" in done.stdout
    assert "found changes between the marks; expected it as it was written: move them out" in done.stderr
    assert place.read_text() == before
    assert modelrail([*arguments, "--overwrite"], models).returncode == 0
    assert "99" not in place.read_text()


def test_a_file_of_the_user_s_own_is_never_replaced(models: Path) -> None:
    (models / "Jenkinsfile").write_text("pipeline { agent any }\n")
    for extra in ([], ["--overwrite"]):
        done = modelrail(["ci", "init", "--for", "jenkins", *extra], models)
        assert done.returncode == 2
        assert "Jenkinsfile: found a file without Modelrail's marks; expected none" in done.stderr
    assert (models / "Jenkinsfile").read_text() == "pipeline { agent any }\n"


def test_gitlab_s_own_file_must_include_ours_and_is_left_as_it_is(models: Path) -> None:
    mine = "stages: [test, deploy]\n"
    (models / ".gitlab-ci.yml").write_text(mine)
    done = modelrail(["ci", "init", "--for", "gitlab"], models)
    assert done.returncode == 2
    assert "+  - local: .gitlab/modelrail.yml" in done.stdout
    assert ".gitlab-ci.yml: found a file that does not name .gitlab/modelrail.yml" in done.stderr
    assert not (models / ".gitlab/modelrail.yml").exists(), "nothing is written unless all can be"
    (models / ".gitlab-ci.yml").write_text(f"include: .gitlab/modelrail.yml\n{mine}")
    assert modelrail(["ci", "init", "--for", "gitlab"], models).returncode == 0
    assert (models / ".gitlab-ci.yml").read_text() == f"include: .gitlab/modelrail.yml\n{mine}"


def test_a_spec_that_needs_another_extra_makes_the_pipeline_older(models: Path) -> None:
    install = "pip install 'modelrail[{extras}]==1'"
    assert modelrail(["ci", "init", "--for", "github", "--install", install], models).returncode == 0
    assert modelrail(["ci", "check"], models).returncode == 0
    (models / "models/line.yaml").write_text(SPEC.replace("ridge", "lightgbm"))
    done = modelrail(["ci", "check"], models)
    assert done.returncode == 1
    assert ".github/workflows/modelrail.yaml: older than the specs, or than this version of Modelrail" in done.stdout
    assert "+      - run: \"pip install 'modelrail[boosting]==1'\"" in done.stdout
    assert f"modelrail ci init --for github --install '{install[:3]}" in done.stdout


def test_another_version_s_template_makes_the_pipeline_older(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = wishes("github")
    (target,) = targets(asked, (), models)
    place = models / target.file.path
    place.parent.mkdir(parents=True)
    place.write_text(target.content)
    assert [each.state for each in targets(asked, (), models)] == ["current"]
    newer = {name: pin.replace("v5.0.0", "v9.9.9") for name, pin in PINS.items()}
    monkeypatch.setattr("pipeline.integrations.pipelines.PINS", newer)
    (later,) = targets(asked, (), models)
    assert later.state == "older"
    assert "v9.9.9" in later.diff


def test_an_environment_that_is_gone_is_named(models: Path) -> None:
    modelrail(["ci", "init", "--for", "github", "--to", "staging=main"], models)
    (models / "environments/staging.yaml").unlink()
    done = modelrail(["ci", "check"], models)
    assert done.returncode == 2
    assert "environment: found 'staging'" in done.stderr


def test_what_the_pipeline_will_miss_is_noted(models: Path) -> None:
    (models / "environments/production.yaml").write_text("{}\n")
    said = modelrail(["ci", "init", "--for", "github", "--to", "production=main"], models).stdout
    assert "note: line.yaml, production: releases stay in the job's clone" in said
    assert "note: jobs expect the command modelrail on the runner" in said


def test_marks_that_anybody_wrote_are_read_with_care(models: Path) -> None:
    place = models / "Jenkinsfile"
    for options in (
        "--for jenkins --install",
        "--for jenkins --evil x",
        "--for '",
        "--for jenkins --variable A_TOKEN=1",
    ):
        place.write_text(f"// >>> modelrail ci init {options}\n// <<< modelrail sha256:0\n")
        done = modelrail(["ci", "check"], models)
        assert done.returncode == 2, options
        assert "Traceback" not in done.stderr


def test_without_a_pipeline_there_is_nothing_to_check(models: Path) -> None:
    done = modelrail(["ci", "check"], models)
    assert done.returncode == 2
    assert "found no pipeline of Modelrail's; expected one (modelrail ci init --for SYSTEM)" in done.stderr


def test_the_commands_of_the_page_work(models: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "docs/ci.md").read_text("utf-8"), re.DOTALL)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert [each[:3] for each in commands] == [["modelrail", "ci", "init"], ["modelrail", "ci", "check"]]
    for each in commands:
        done = modelrail(each[1:], models)
        assert done.returncode == 0, done.stderr


def test_the_command_that_mends_is_quoted_whatever_a_file_says(models: Path) -> None:
    """It is copied to a shell, and anybody can propose the file."""
    options = "--for jenkins --install $(touch${IFS}x);touch${IFS}y"
    (models / "Jenkinsfile").write_text(f"// >>> modelrail ci init {options}\n// <<< modelrail sha256:0\n")
    said = modelrail(["ci", "check"], models).stdout.splitlines()[-1]
    assert said.startswith("modelrail ci init --for jenkins --install '$(touch")
    (models / "Jenkinsfile").write_text("// >>> modelrail ci init --for '\x1b[2J\n// <<< modelrail sha256:0\n")
    assert "\x1b" not in modelrail(["ci", "check"], models).stderr


@pytest.mark.parametrize("minutes", ["²", "0", "-1", "9" * 5000])
def test_minutes_that_anybody_wrote_are_a_number(minutes: str) -> None:
    with pytest.raises(InputError, match="found options that cannot be read"):
        read_wishes(f"--for jenkins --minutes {minutes}")


@pytest.mark.parametrize("system", SCHEMAS)
def test_names_are_said_once_and_stay_texts(system: str) -> None:
    to = ("null=main",) if system == "gitea" else ("null=main", "1=main")
    secrets = ("A_KEY", "A_KEY", "GITHUB_TOKEN", "MODELRAIL_GIT_TOKEN")
    variables = ("PIP_CACHE_DIR=cache/pip", "GIT_DEPTH=9")
    text = text_of(wishes(system, to=to, secrets=secrets, variables=variables, install="true", runner="big:"))
    document = YAML(typ="safe").load(text)  # refuses a key that is there twice
    if system in ("github", "gitea"):
        job = document["jobs"]["deploy-null"]
        assert (job["environment"], job["runs-on"]) == ("null", "big:")
    assert "cache/pip" in text


@pytest.mark.parametrize("link", ["Jenkinsfile", ".github"])
def test_a_link_is_not_written_through(link: str, models: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (models / link).symlink_to(outside / "file" if link == "Jenkinsfile" else outside)
    system = "jenkins" if link == "Jenkinsfile" else "github"
    done = modelrail(["ci", "init", "--for", system], models)
    assert done.returncode == 2
    assert f"{link}: found a link; expected" in done.stderr
    assert not list(outside.iterdir())


def test_line_ends_and_bytes_of_the_user_s_own_stay(models: Path) -> None:
    arguments = ["ci", "init", "--for", "jenkins"]
    modelrail(arguments, models)
    place = models / "Jenkinsfile"
    place.write_bytes(b"// caf\xe9\r\n" + place.read_bytes().replace(b"\n", b"\r\n"))
    assert modelrail(["ci", "check"], models).returncode == 0
    done = modelrail([*arguments, "--install", "true"], models)
    assert done.returncode == 0, done.stderr
    content = place.read_bytes()
    assert content.startswith(b"// caf\xe9\r\n")
    assert content.count(b"\n") == content.count(b"\r\n")
