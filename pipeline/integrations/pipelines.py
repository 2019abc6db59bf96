"""Pipelines for CI systems: from a few wishes to files. Every step is a plain command, so there is no logic in them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.errors import InputError
from pipeline.integrations.git_hosts import HOSTS
from pipeline.integrations.regions import Region, State, difference, find_region, merge, state_of, wrap
from pipeline.integrations.systems import HOOKS, PINS, SYSTEMS, File, System
from pipeline.messages import encodable, join, quote

_TAIL = "\f"  # what comes after it is written once, and the user's from then on
_PATTERNS = {
    "--to": re.compile(r"[a-z0-9][a-z0-9-]*=[\w][\w./-]*"),
    "--secret": re.compile(r"[A-Z][A-Z0-9_]*"),
    "--variable": re.compile(r"[A-Z][A-Z0-9_]*=[ -~]+"),
    "--image": re.compile(r"[a-z0-9][\w.:/-]*@sha256:[0-9a-f]{64}"),
    "--runner": re.compile(r"[\w][\w.:/-]*"),
    "--install": re.compile(r"[ -~]+"),
}
_LOGIN = re.compile(r"://(?!git@)[^/\s$@]+@")  # not $NAME, which the shell fills in
_MINUTES = re.compile(r"[1-9][0-9]{0,5}")
_WORD = re.compile(r"(?!(?:null|true|false|yes|no|on|off|y|n)$)[a-z][\w./-]*", re.IGNORECASE)
_EXPECTED = {
    "--to": "ENVIRONMENT=BRANCH, such as prod=main",
    "--secret": "the name of a variable, such as AWS_SECRET_ACCESS_KEY",
    "--variable": "NAME=VALUE, such as MODELRAIL_STORE=s3://bucket/folder",
    "--image": "an image by its digest, such as registry.example/modelrail@sha256:… (modelrail images build --push)",
    "--runner": "what the system calls a runner: a label, a tag, a class",
    "--install": "one line of shell that makes the command modelrail available",
}
_SEVERAL = {"to": "to", "secrets": "secret", "variables": "variable"}
_OPTIONS = {*_PATTERNS, "--for", "--host", "--minutes"}
_SECRETIVE = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY\b|://[^/\s]*:[^/\s]*@")


@dataclass(frozen=True)
class Wishes:
    """What a pipeline is asked to be: the options of ``modelrail ci init``, checked.

    Attributes
    ----------
    system : str
        Key of `SYSTEMS`.
    to : tuple of str
        ``ENVIRONMENT=BRANCH``, in the order in which a release goes through the environments.
    host : str or None
        Key of `HOSTS`, where the system works for several.
    install : str or None
        Line of shell that makes ``modelrail`` available; ``{extras}`` in it becomes the extras that the specs need.
    image : str or None
        In which jobs run, by digest.
    secrets : tuple of str
        Names of secrets that the jobs with rights get.
    variables : tuple of str
        ``NAME=VALUE`` for all jobs.
    minutes : int
        That a run may take.
    """

    system: str
    to: tuple[str, ...] = ()
    host: str | None = None
    install: str | None = None
    image: str | None = None
    runner: str | None = None
    secrets: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    minutes: int = 120

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            raise InputError(f"--for: found {quote(self.system)}; expected {join(SYSTEMS)}")
        for option, value in self._given():
            if not _PATTERNS[option].fullmatch(value):
                raise InputError(f"{option}: found {quote(value)}; expected {_EXPECTED[option]}")
        for each in self.variables:
            if _SECRETIVE.search(each.upper()):
                name = each.partition("=")[0]
                raise InputError(
                    f"--variable: found {name}, which looks like a secret; expected --secret {name}, its value in the"
                    " system's own store of secrets"
                )
        if self.install and _LOGIN.search(self.install):
            raise InputError("--install: found a login in a URL; expected none, since all can read the file (--image)")
        self._require_host()
        self._require_order()

    def _given(self) -> Iterator[tuple[str, str]]:
        several = (("--to", self.to), ("--secret", self.secrets), ("--variable", self.variables))
        yield from ((option, each) for option, values in several for each in values)
        single = (("--image", self.image), ("--runner", self.runner), ("--install", self.install))
        yield from ((option, each) for option, each in single if each is not None)

    def _require_host(self) -> None:
        own = SYSTEMS[self.system].host
        if self.host is not None and (self.host not in HOSTS or own not in (None, self.host)):
            raise InputError(f"--host: found {quote(self.host)}; expected {own or join(HOSTS)}")
        if SYSTEMS[self.system].hooks and self.host not in HOOKS:
            found = quote(self.host) if self.host else "none"
            raise InputError(f"--host: found {found}; expected {join(HOOKS)}, whose webhooks {self.system} is to read")
        if SYSTEMS[self.system].in_image and self.image is None:
            raise InputError(
                f"--image: found none; expected {_EXPECTED['--image']}: jobs of {self.system} run in images"
            )

    def _require_order(self) -> None:
        """Refuse what the system cannot ask a person for, and what is said twice."""
        environments = [each.partition("=")[0] for each in self.to]
        if len(set(environments)) < len(environments):
            raise InputError(f"--to: found {join(environments, 'and')}; expected each environment once")
        branches = [each.partition("=")[2] for each in self.to]
        if SYSTEMS[self.system].approval == "none" and len(set(branches)) < len(branches):
            raise InputError(
                f"--to: found two environments of one branch; expected a branch for each, since {self.system} has no"
                " approvals: a merge to its branch, which can be protected, is the approval"
            )

    def options(self) -> str:
        """Write the options that lead to these wishes again."""
        parts = ["--for", self.system]
        for option, value in self._given():
            parts += [option, value]
        parts += ["--host", self.host] if self.host else []
        parts += ["--minutes", str(self.minutes)] if self.minutes != Wishes.minutes else []
        return shlex.join(parts)


def read_wishes(options: str) -> Wishes:
    """Read the options that stand in a file: `Wishes.options` backwards, and anybody's until they are checked.

    Raises
    ------
    InputError
        They are not those of ``modelrail ci init``.
    """
    try:
        words = shlex.split(options)
    except ValueError:
        words = []
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=False):
        given.setdefault(option, []).append(value)
    minutes = given.get("--minutes", [str(Wishes.minutes)])[-1]
    known = "--for" in given and set(given) <= _OPTIONS and not len(words) % 2
    if not known or not _MINUTES.fullmatch(minutes):
        raise InputError(
            f"modelrail ci init: found options that cannot be read, {quote(options)}; expected those of that command"
        )
    one = {name: given[f"--{name}"][-1] for name in ("host", "install", "image", "runner") if f"--{name}" in given}
    several = {name: tuple(given.get(f"--{option}", ())) for name, option in _SEVERAL.items()}
    return Wishes(given["--for"][-1], minutes=int(minutes), **one, **several)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Target:
    """A file as it is and as it should be.

    Attributes
    ----------
    state : str
        See `regions.state_of`; of an entry that names what it must, ``current``.
    content : str
        As it should be, with all that the user has around the region.
    """

    file: File
    state: State
    content: str
    diff: str = field(default="", repr=False)


def targets(wishes: Wishes, extras: Sequence[str], root: Path) -> list[Target]:
    """Hold the files of a repository against what they should be.

    Parameters
    ----------
    extras : sequence of str
        That the specs need.
    root : Path
        Of the repository.
    """
    return [_target(each, wishes, extras, root) for each in SYSTEMS[wishes.system].files]


def _target(file: File, wishes: Wishes, extras: Sequence[str], root: Path) -> Target:
    place = root / file.path
    content, end = _text_of(place) if place.is_file() else (None, "\n")
    text, _, tail = render(file, wishes, extras).partition(f"{_TAIL}\n")
    wanted = wrap(text, wishes.options(), file.comment)
    if file.entry and content is not None and file.entry in content:
        return Target(file, "current", content.replace("\n", end))
    state = state_of(content, wanted, file.comment)
    if content is None:
        return Target(file, state, f"{wanted}{tail}")
    merged = merge(content, wanted, file.comment)
    shown = difference(content, f"{wanted}{tail}" if state == "foreign" else merged, file.path)
    return Target(file, state, merged.replace("\n", end), encodable(shown))


def _text_of(place: Path) -> tuple[str, str]:
    """Read a file that may be anybody's, and how its lines end; what is no UTF-8 stays (``surrogateescape``)."""
    text = place.read_bytes().decode("utf-8", "surrogateescape")
    by_two = text.count("\r\n")
    return (text.replace("\r\n", "\n"), "\r\n") if by_two and by_two == text.count("\n") else (text, "\n")


def render(file: File, wishes: Wishes, extras: Sequence[str]) -> str:
    """Fill the template of a file."""
    return _templates().get_template(file.template).render(**_shown(wishes, SYSTEMS[wishes.system], extras))


def _shown(wishes: Wishes, system: System, extras: Sequence[str]) -> dict[str, Any]:
    variables = dict(each.split("=", 1) for each in wishes.variables)
    host = wishes.host if system.host is None else None
    install = wishes.install.replace("{extras}", ",".join(extras)) if wishes.install else None
    return {
        "branches": list(dict.fromkeys(each.partition("=")[2] for each in wishes.to)),
        "variables": [*variables.items()],
        "named": variables.keys(),
        "install": install,
        "image": wishes.image,
        "runner": wishes.runner or system.runner,
        "secrets": [*dict.fromkeys(wishes.secrets)],
        "minutes": wishes.minutes,
        "keeps_store": "MODELRAIL_STORE" not in variables,
        "commands": {
            "check": " ".join(["modelrail check", *(f"--report {each}" for each in system.reports)]),
            "review": _review(wishes, system, host),
        },
        "deployments": _deployments(wishes, system),
        "pins": PINS,
        "hook": HOOKS.get(wishes.host or "", {}),
        "end": _TAIL,
        **_jenkins(wishes),
    }


def _review(wishes: Wishes, system: System, host: str | None) -> str:
    environment = f" --environment {wishes.to[-1].partition('=')[0]}" if wishes.to else ""
    named = f" --host {host}" if host else ""
    return f"modelrail review --pull-request {system.number}{environment}{named} --out modelrail-review.md"


def _deployments(wishes: Wishes, system: System) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    last: dict[str, str] = {}
    for each in wishes.to:
        environment, _, branch = each.partition("=")
        job = f"deploy-{environment}"
        found.append(
            {
                "environment": environment,
                "branch": branch,
                "job": job,
                "after": last.get(branch),
                "approved": branch in last and system.approval == "job",
                "command": f'modelrail run --environment {environment} --why "commit {system.commit}"',
            }
        )
        last[branch] = job
    return found


def _jenkins(wishes: Wishes) -> dict[str, str]:
    """Write the parts of a Jenkinsfile that are made of Groovy."""
    bound = "".join(f", string(credentialsId: '{each}', variable: '{each}')" for each in dict.fromkeys(wishes.secrets))
    inner = f"docker {{ image {_groovy(wishes.image)} }}" if wishes.image else f"label {_groovy(wishes.runner or '')}"
    return {
        "agent": f"{{ {inner} }}" if wishes.image or wishes.runner else "any",
        "credentials": bound,
        "checkout": "checkout scmGit(branches: scm.branches, userRemoteConfigs: scm.userRemoteConfigs,"
        " extensions: scm.extensions + [cloneOption(shallow: false, noTags: false)])",
    }


def _groovy(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _plain(command: str) -> str:
    """Write a command as YAML: as it is where that is read as it stands, else in quotes."""
    return command if re.fullmatch(r"""[a-z][\w ./=@"$-]* [\w ./=@"$-]*""", command) else json.dumps(command)


def _word(text: str) -> str:
    """Write a name as YAML: in quotes where it would be read as a number, a truth or a mapping."""
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        variable_start_string="«",
        variable_end_string="»",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML and Groovy; every value has a pattern or is quoted
    )
    environment.filters |= {
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "groovy": _groovy,
        "plain": _plain,
        "word": _word,
    }
    return environment


def written(root: Path) -> Mapping[str, Region]:
    """Find the pipelines that a repository has: system → the region that tells its options."""
    found: dict[str, Region] = {}
    for name, system in SYSTEMS.items():
        for file in system.files:
            place = root / file.path
            region = find_region(_text_of(place)[0], file.comment) if place.is_file() else None
            if region:
                found.setdefault(name, region)
    return found
