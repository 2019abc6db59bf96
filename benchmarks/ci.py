"""Generated pipelines on the real engines: a pull request with a mistake, a good one, and its merge.

    eval "$(gitea up FOLDER)"   # prints GITEA_URL and GITEA_TOKEN
    python -m benchmarks.ci --act act --actionlint actionlint --gitlab "node gitlab-ci-local/dist/index.js"

Each system has a repository of its own on a real Gitea, where its comments and statuses are posted, and which merges.
A system whose engine is not given is left out, and that is said. Jenkins, CircleCI and Azure have none that can be had:
the shell lines of their files are run in the files' order, with the variables that they would have.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from ruamel.yaml import YAML

from pipeline.integrations.systems import SYSTEMS
from pipeline.retries import attempts
from tests.integrations.git_host import GitHost, serve

Event = Literal["pull", "merge"]
Engine = Callable[["Repository", Event, int], tuple[int, str]]

SPEC = """\
model: {name: line, trainer: ridge, target: y, params: {alpha: 1.0}}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {behind_champion_at_most: 100}}, bootstrap: 0}
deploy: {port: 0}
"""
MISTAKE = SPEC.replace("evaluate: {metrics", "evaluate: {metriks")
MISTAKEN_LINE = SPEC[: SPEC.index("evaluate:")].count("\n") + 1
IMAGE = f"registry.example/modelrail@sha256:{'0' * 64}"
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "circleci": ("--image", IMAGE, "--host", "gitea"),
    "azure": ("--host", "gitea"),
    "jenkins": ("--host", "gitea"),
    "tekton": ("--image", IMAGE, "--host", "gitea"),
}
SECRET = "s3cret"  # noqa: S105 - of a host that lives for a minute
ACTION = "runs: {using: composite, steps: [{run: 'true', shell: bash}]}\n"


class FailedError(Exception):
    """Something did not go as it should."""


def require(holds: object, otherwise: object) -> None:
    """Fail unless something holds."""
    if not holds:
        raise FailedError(str(otherwise))


@dataclass(frozen=True)
class Repository:
    """A clone, and its repository at Gitea.

    Attributes
    ----------
    gitlab : GitHost
        What merge requests are told where there is no GitLab to be had: a stand-in that answers as its documents say.
    """

    system: str
    folder: Path
    gitea: str
    token: str
    gitlab: GitHost

    @property
    def name(self) -> str:
        """Return its name at Gitea."""
        return f"ci-{self.system}"

    def git(self, *arguments: str) -> str:
        """Run a command of Git in the clone."""
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def api(self, method: str, path: str, document: Any = None) -> Any:
        """Ask Gitea."""
        headers = {"authorization": f"token {self.token}"}
        answer = httpx.request(method, f"{self.gitea}/api/v1{path}", json=document, headers=headers, timeout=60)
        return answer.json() if answer.content else {"code": answer.status_code}

    def write(self, path: str, content: str) -> None:
        """Write a file of the clone."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(content)

    def push(self, branch: str, subject: str) -> None:
        """Commit all, and push it."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        self.git("push", "-q", "-f", "origin", branch)

    def environment(self, **more: str) -> dict[str, str]:
        """Return what a job's process gets: little of this one's, and the token."""
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**kept, "PATH": path, "MODELRAIL_GIT_TOKEN": self.token, "MLFLOW_DISABLE_TELEMETRY": "true", **more}


def main() -> None:
    asked = _arguments()
    engines: dict[str, Engine] = {
        "jenkins": run_jenkins,
        "circleci": run_circleci,
        "azure": run_azure,
        "tekton": run_tekton,
        **({name: partial(run_actions, asked.act) for name in ("github", "gitea")} if asked.act else {}),
        **({"gitlab": partial(run_gitlab, asked.gitlab)} if asked.gitlab else {}),
    }
    failed = False
    for system in asked.systems or SYSTEMS:
        if system not in engines:
            print(f"{system}: left out, its engine is not given")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                for line in prove(system, engines[system], Path(folder), asked):
                    print(f"{system}: {line}", flush=True)
            except (FailedError, subprocess.CalledProcessError) as error:
                failed = True
                print(f"{system}: FAILED: {error}", flush=True)
    sys.exit(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", help="by default all")
    parser.add_argument("--act", help="the program act")
    parser.add_argument("--actionlint", help="the program actionlint")
    parser.add_argument("--groovy-lint", help="the command npm-groovy-lint")
    parser.add_argument("--tekton", help="the program of benchmarks/tekton, which reads a file as Tekton does")
    parser.add_argument("--gitlab", help="the command of gitlab-ci-local")
    return parser.parse_args()


def prove(system: str, engine: Engine, folder: Path, linters: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each thing that went as it should."""
    with serve(GitHost("gitlab")) as gitlab, listen() as (address, events):
        repository = make_repository(system, folder, gitlab)
        hook = {"url": address, "content_type": "json", "secret": SECRET}
        wanted = {"type": "gitea", "active": True, "events": ["push", "pull_request"], "config": hook}
        repository.api("POST", f"/repos/admin/{repository.name}/hooks", wanted)
        yield from _prove(repository, engine, linters)
        if system == "tekton" and linters.tekton:
            yield hear(repository, linters.tekton, events)


def _prove(repository: Repository, engine: Engine, linters: argparse.Namespace) -> Iterator[str]:
    try:
        yield lint(repository, linters)
        mistake = open_pull(repository, "mistake", MISTAKE)
        code, said = engine(repository, "pull", mistake)
        require(code, f"a mistake is green:\n{said}")
        yield f"a mistake is red, {annotation(repository, said)}"
        comment, status = told(repository, mistake)
        require(status in ("failure", None), status)
        yield f"it has the status {status}, and {'a comment' if comment else 'no comment'}"
        good = open_pull(repository, "good", SPEC.replace("alpha: 1.0", "alpha: 2.0"))
        for _ in range(2):  # the second time, the comment is the same one
            code, said = engine(repository, "pull", good)
            require(not code, said)
        comment, status = told(repository, good)
        require(status == "success", f"{status}\n{said}")
        require("| line | 5 of 5 |" in comment, comment)
        yield "a good change is green, with one comment that has the plan"
        yield merge(repository, engine, good)
    finally:
        subprocess.run(["modelrail", "down"], cwd=repository.folder, env=repository.environment(), check=False)


@contextmanager
def listen() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Take the webhooks of Gitea, as they were sent."""
    events: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            events.append({"Headers": dict(self.headers), "Body": body})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", events
        server.shutdown()


def hear(repository: Repository, program: str, events: list[dict[str, Any]]) -> str:
    """Let Tekton's triggers read what Gitea has sent: they make each run, and with a wrong secret none."""
    merged = '"ref": "refs/heads/main"'
    for _ in attempts(pause_s=0.5):
        if any(merged in each["Body"] for each in events):
            break
    file, place = repository.folder.parent / "events.json", str(repository.folder / "tekton/modelrail.yaml")
    file.write_text(json.dumps(events))
    made: list[list[str]] = []
    for secret in (SECRET, "wrong"):
        done = subprocess.run([program, place, str(file), secret], check=True, capture_output=True, text=True)
        made.append(sorted(set(re.findall(r"^(\S+) makes", done.stdout, re.MULTILINE))))
    require(made == [["check", "deploy-production", "review"], []], made)
    return "of Gitea's webhooks, Tekton's triggers make a check and a review a pull request, and a deployment"


def make_repository(system: str, folder: Path, gitlab: GitHost) -> Repository:
    """Make a project with the generated pipeline on Gitea, and its clone; mistakes cannot be merged there."""
    gitea, token = os.environ["GITEA_URL"], os.environ["GITEA_TOKEN"]
    made = Repository(system, folder / "project", gitea, token, gitlab)
    made.folder.mkdir()
    made.git("init", "-q", "-b", "main")
    for key, value in (("user.name", "CI"), ("user.email", "ci@example.org")):
        made.git("config", key, value)
    made.api("DELETE", f"/repos/admin/{made.name}")
    made.api("POST", "/user/repos", {"name": made.name, "default_branch": "main"})
    made.git("remote", "add", "origin", f"http://admin:{token}@{urlsplit(gitea).netloc}/admin/{made.name}.git")
    made.write("models/line.yaml", SPEC)
    made.write("environments/production.yaml", "deploy: {push_tags: true}\n")
    made.write("data/1.csv", "x,y\n" + "".join(f"{x / 10},{2 * x / 10 + 1}\n" for x in range(60)))
    made.write(".gitignore", ".modelrail/\n.gitlab-ci-local/\n*.json\n*.xml\nmodelrail-review.md\n")
    command = ["modelrail", "ci", "init", "--for", system, "--to", "production=main", *OPTIONS.get(system, ())]
    subprocess.run(command, cwd=made.folder, env=made.environment(), check=True, capture_output=True)
    made.push("main", "a line, and its pipeline")
    if system == "gitlab":  # its status is not told to Gitea
        return made
    rule = {"rule_name": "main", "enable_status_check": True, "status_check_contexts": ["modelrail/production"]}
    made.api("POST", f"/repos/admin/{made.name}/branch_protections", {**rule, "enable_push": True})
    return made


def lint(repository: Repository, linters: argparse.Namespace) -> str:
    """Let a system's own linter read its file."""
    if repository.system == "jenkins" and linters.groovy_lint:
        command = [*shlex.split(linters.groovy_lint), "--noserver", "--failon", "error", "Jenkinsfile"]
        subprocess.run(command, cwd=repository.folder, check=True, capture_output=True)
        return "npm-groovy-lint finds no error"
    files = [str(repository.folder / each.path) for each in SYSTEMS[repository.system].files]
    schemas = {"github": "github-workflows", "gitea": "github-workflows", "gitlab": "gitlab-ci",
               "azure": "azure-pipelines", "circleci": "circle-ci"}  # fmt: skip
    schema = schemas.get(repository.system)
    if schema:
        command = [sys.executable, "-m", "check_jsonschema", "--regex-variant", "python"]
        subprocess.run([*command, "--builtin-schema", f"vendor.{schema}", *files], check=True, capture_output=True)
    if linters.actionlint and schema == "github-workflows":
        subprocess.run([linters.actionlint, *files], check=True)
        return "actionlint and the schema find nothing"
    if repository.system == "tekton" and linters.tekton:
        subprocess.run([linters.tekton, *files], check=True, capture_output=True)
        return "Tekton's own validation finds nothing"
    return "the schema finds nothing" if schema else "not linted, since its linter is not given"


def open_pull(repository: Repository, branch: str, spec: str) -> int:
    repository.git("checkout", "-q", "-B", branch, "main")
    repository.write("models/line.yaml", spec)
    repository.push(branch, f"a {branch}")
    document = {"head": branch, "base": "main", "title": branch}
    for _ in attempts(pause_s=0.5):  # Gitea learns of a pushed branch a moment later
        made = repository.api("POST", f"/repos/admin/{repository.name}/pulls", document)
        if "number" in made:
            return int(made["number"])
    raise FailedError(str(made))


def told(repository: Repository, number: int) -> tuple[str, str | None]:
    """Read what the host says of a pull request: our comments, of which there is one at most, and our status."""
    if repository.system == "gitlab":
        text, status = repository.gitlab.bodies()[-1], repository.gitlab.statuses[-1][1]["state"]
        require(len(repository.gitlab.comments) == 1, repository.gitlab.comments)
        repository.gitlab.comments.clear()
        return text, {"failed": "failure"}.get(status, status)
    place = f"/repos/admin/{repository.name}"
    comments = [each["body"] for each in repository.api("GET", f"{place}/issues/{number}/comments")]
    require(len(comments) <= 1, comments)
    head = repository.api("GET", f"{place}/pulls/{number}")["head"]["sha"]
    statuses = repository.api("GET", f"{place}/commits/{head}/statuses?sort=newest")
    ours = [each["status"] for each in statuses if each["context"] == "modelrail/production"]
    return (comments or [""])[0], (ours or [None])[0]


def annotation(repository: Repository, said: str) -> str:
    """Say where the mistake is shown, which must be its line."""
    report = repository.folder / "gl-code-quality-report.json"
    junit = repository.folder / "modelrail-check.xml"
    if repository.system == "gitlab":
        found = [json.loads(each.read_text()) for each in repository.folder.rglob(report.name)]
        lines = {each["location"]["lines"]["begin"] for each in (found or [[]])[0]}
    elif repository.system == "tekton":
        lines = {int(each) for each in re.findall(r"models/line\.yaml:(\d+):", said)}
    elif repository.system in ("jenkins", "circleci"):
        lines = {int(each) for each in re.findall(r"models/line\.yaml:(\d+):", junit.read_text())}
    else:
        pattern = r"(?:file=models/line\.yaml,line=|sourcepath=models/line\.yaml;linenumber=)(\d+)"
        lines = {int(each) for each in re.findall(pattern, said)}
    require(lines == {MISTAKEN_LINE}, f"annotated {lines}, not {MISTAKEN_LINE}:\n{said}")
    return f"annotated at models/line.yaml:{MISTAKEN_LINE}"


def merge(repository: Repository, engine: Engine, number: int) -> str:
    """Merge by the host, run the pipeline of the branch, and ask what is live."""
    place = f"/repos/admin/{repository.name}/pulls"
    if repository.system != "gitlab":
        refused = repository.api("POST", f"{place}/{number - 1}/merge", {"Do": "merge"})
        require("message" in refused, f"a mistake was merged: {refused}")
    merged = repository.api("POST", f"{place}/{number}/merge", {"Do": "merge"})
    require(merged == {"code": 200}, merged)
    repository.git("checkout", "-q", "main")
    repository.git("pull", "-q", "origin", "main")
    code, said = engine(repository, "merge", number)
    require(not code, said)
    tags = repository.git("ls-remote", "--tags", "origin")
    require("line@v1.0.0" in tags, f"{tags}\n{said}")
    command = ["modelrail", "predict", "line", "--environment", "production", "--record", '{"x": 2.0}', "--json"]
    done = subprocess.run(
        command, cwd=repository.folder, env=repository.environment(), capture_output=True, text=True, check=False
    )
    require(done.returncode == 0, done.stderr)
    guarded = "" if repository.system == "gitlab" else " (a mistake was refused)"
    return f"merged{guarded}, released as line@v1.0.0, live: x = 2 → {json.loads(done.stdout)['outputs'][0]:.2f}"


def run_actions(act: str, repository: Repository, event: Event, number: int) -> tuple[int, str]:
    """Run a workflow by act, on this machine; GitHub's own actions are stand-ins, and its host is Gitea."""
    aside = repository.folder.parent
    (aside / "action").mkdir(exist_ok=True)
    (aside / "action" / "action.yml").write_text(ACTION)
    (aside / "action" / "restore").mkdir(exist_ok=True)
    (aside / "action" / "restore" / "action.yml").write_text(ACTION)
    full = f"admin/{repository.name}"
    head = {"sha": repository.git("rev-parse", "HEAD"), "ref": "x", "repo": {"full_name": full}}
    pull = {"pull_request": {"number": number, "head": head, "base": {"ref": "main"}}, "number": number}
    told_of = {**(pull if event == "pull" else {"ref": "refs/heads/main"}), "repository": {"full_name": full}}
    (aside / "event.json").write_text(json.dumps(told_of))
    (file,) = SYSTEMS[repository.system].files
    used = set(
        re.findall(
            r"uses: (actions/(?:cache|upload-artifact))(?:/\w+)?@(\w+)", (repository.folder / file.path).read_text()
        )
    )
    command = [act, "pull_request" if event == "pull" else "push", "--workflows", file.path]
    command += [
        "-P",
        "ubuntu-24.04=-self-hosted",
        "-P",
        "ubuntu-latest=-self-hosted",
        "--eventpath",
        str(aside / "event.json"),
    ]
    command += [each for name, at in used for each in ("--local-repository", f"{name}@{at}={aside / 'action'}")]
    system = {
        "GITHUB_API_URL": f"{repository.gitea}/api/v1",
        "GITHUB_REPOSITORY": full,
        "GITHUB_SERVER_URL": repository.gitea,
    }
    system["MODELRAIL_HOME"] = str(repository.folder / ".modelrail")  # act copies the clone for each job
    system |= {"GITEA_ACTIONS": "true", "GITHUB_RUN_NUMBER": "1"} if repository.system == "gitea" else {}
    command += [each for name, value in system.items() for each in ("--env", f"{name}={value}")]
    environment = repository.environment(GITHUB_TOKEN=repository.token)
    del environment["MODELRAIL_GIT_TOKEN"]  # what the workflow hands on is to be enough
    return _run([*command, "--secret", "GITHUB_TOKEN"], repository, environment)


def run_gitlab(command: str, repository: Repository, event: Event, _number: int) -> tuple[int, str]:
    """Run the jobs of GitLab by gitlab-ci-local; the merge request is told to the stand-in, as its number 7."""
    told_to = {"CI_API_V4_URL": repository.gitlab.api, "CI_PROJECT_PATH": "team/models", "GITLAB_CI": "true"}
    variables = {"MODELRAIL_GIT_TOKEN": repository.gitlab.token, **told_to}
    if event == "pull":
        project = {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1", "CI_MERGE_REQUEST_PROJECT_ID": "1"}
        variables |= {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7", **project}
    else:
        variables |= {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
    given = [each for name, value in variables.items() for each in ("--variable", f"{name}={value}")]
    options = ["--shell-executor-no-image", "--force-shell-executor", "--no-color"]
    return _run([*shlex.split(command), *options, *given], repository, repository.environment())


def run_jenkins(repository: Repository, event: Event, number: int) -> tuple[int, str]:
    """Run the shell lines of a Jenkinsfile's stages as an agent would."""
    text = (repository.folder / "Jenkinsfile").read_text()
    stages = dict(re.findall(r"stage\('modelrail (\w+)'\)(.*?)(?=stage\('|\Z)", text, re.DOTALL))
    wanted = ("check", "review") if event == "pull" else ("production",)
    lines = [
        re.sub(r"\\(.)", r"\1", each)
        for name in wanted
        for each in re.findall(r"^\s+sh '((?:\\.|[^'])*)'", stages[name], re.MULTILINE)
    ]
    require(len(lines) == len(wanted), text)
    return _shell(
        lines, repository, CHANGE_ID=str(number), JENKINS_URL="http://ci.example", BUILD_URL="http://ci.example/1"
    )


def run_circleci(repository: Repository, event: Event, number: int) -> tuple[int, str]:
    """Run the commands of CircleCI's jobs; its agent's own are a stand-in."""
    jobs = YAML(typ="safe").load(repository.folder / ".circleci/config.yml")["jobs"]
    wanted = ("modelrail-check", "modelrail-review") if event == "pull" else ("modelrail-deploy-production",)
    steps = [step["run"]["command"] for name in wanted for step in jobs[name]["steps"] if "run" in step]
    pull = f"{repository.gitea}/admin/{repository.name}/pulls/{number}"
    commit = repository.git("rev-parse", "HEAD")
    return _shell(
        steps,
        repository,
        CIRCLECI="true",
        CIRCLE_BUILD_URL="http://ci.example/1",
        CIRCLE_PULL_REQUEST=pull,
        CIRCLE_SHA1=commit,
    )


def run_azure(repository: Repository, event: Event, number: int) -> tuple[int, str]:
    """Run the scripts of Azure's jobs."""
    jobs = YAML(typ="safe").load(repository.folder / "azure-pipelines.yml")["jobs"]
    of_pull = [step for job in jobs[:2] for step in job["steps"]]
    steps = of_pull if event == "pull" else jobs[2]["strategy"]["runOnce"]["deploy"]["steps"]
    scripts = [step["script"] for step in steps if "script" in step]
    commit = repository.git("rev-parse", "HEAD")
    return _shell(scripts, repository, SYSTEM_PULLREQUEST_PULLREQUESTNUMBER=str(number), BUILD_SOURCEVERSION=commit)


def run_tekton(repository: Repository, event: Event, number: int) -> tuple[int, str]:
    """Run the steps of Tekton's tasks, in a folder of their own, with the values that its triggers bind."""
    documents = list(YAML(typ="safe").load_all(repository.folder / "tekton/modelrail.yaml"))
    tasks = {each["metadata"]["name"]: each["spec"] for each in documents if each and each["kind"] == "Task"}
    (listener,) = [each["spec"] for each in documents if each and each["kind"] == "EventListener"]
    clone = f"http://admin:{repository.token}@{urlsplit(repository.gitea).netloc}/admin/{repository.name}.git"
    values = {"$(body.repository.clone_url)": clone, "$(body.number)": str(number)}
    codes, said = [0], ""
    for trigger in listener["triggers"]:
        if trigger["name"] not in (("check", "review") if event == "pull" else ("deploy-production",)):
            continue
        bound = {each["name"]: each["value"] for each in trigger["bindings"]}
        (run,) = trigger["template"]["spec"]["resourcetemplates"]
        (called,) = run["spec"]["pipelineSpec"]["tasks"]
        known = {f"$(params.{name})": value for name, value in bound.items()} | values
        known |= {"$(workspaces.store.path)": str(repository.folder / ".modelrail")}
        place = repository.folder.parent / f"{trigger['name']}-{number}-{len(list(repository.folder.parent.iterdir()))}"
        place.mkdir()
        known |= {f"$(results.{name}.path)": str(place / f".git-{name}") for name in ("commit", "release")}
        task = tasks[called["taskRef"]["name"]]
        given = {each["name"]: _filled(each["value"], known) for each in task["stepTemplate"]["env"]}
        scripts = [_filled(each["script"], known) for each in task["steps"]]
        environment = repository.environment(**given)
        done = [_run(["bash", "-c", each], replace(repository, folder=place), environment) for each in scripts]
        codes += [code for code, _ in done]
        said += "\n".join(text for _, text in done)
    return max(codes), said


def _filled(text: str, known: Mapping[str, str]) -> str:
    for _ in range(2):  # a value may name another
        for name, value in known.items():
            text = text.replace(name, value)
    return text


def _shell(lines: list[str], repository: Repository, **variables: str) -> tuple[int, str]:
    """Run lines of shell, as jobs of their own: one that fails keeps the others from nothing."""
    environment = repository.environment(**variables)
    done = [_run(["bash", "-e", "-c", each], repository, environment) for each in lines]
    return max(code for code, _ in done), "\n".join(said for _, said in done)


def _run(command: list[str], repository: Repository, environment: Mapping[str, str]) -> tuple[int, str]:
    require(shutil.which(command[0], path=environment["PATH"]), f"{command[0]}: not found")
    done = subprocess.run(
        command, cwd=repository.folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    main()
