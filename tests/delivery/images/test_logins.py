"""Logins to registries: found where Docker's own client finds them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docker import auth
from pipeline.delivery.images.logins import TOKEN, find_login
from pipeline.errors import InputError

HOSTS = ("docker.io", "r.example", "r.example:5000", "localhost:5000")
NAMES = (
    *("docker.io", "index.docker.io", "https://index.docker.io/v1/", "https://index.docker.io/v2/"),
    *(name for host in HOSTS[1:] for name in (host, f"http://{host}", f"https://{host}", f"https://{host}/v1/")),
    *("https://r.example/v2/", "other.example", "r.example.org", "https://r.example.org/r.example"),
)
HELPER = """#!/bin/sh
read -r host
case "$host" in
  https://index.docker.io/v1/) echo '{"ServerURL": "", "Username": "hub", "Secret": "secret of the hub"}' ;;
  r.example) echo '{"ServerURL": "", "Username": "<token>", "Secret": "secret of r"}' ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


def basic(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


_TEXTS = st.text("ab:ü ", max_size=4)
ENTRIES = st.one_of(
    st.just({}),
    st.builds(basic, st.text("abü", min_size=1, max_size=4), _TEXTS),
    st.fixed_dictionaries({"identitytoken": st.text("xyz", min_size=1, max_size=4)}),
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "auths": st.dictionaries(st.sampled_from(NAMES), ENTRIES, max_size=3),
        "credHelpers": st.dictionaries(st.sampled_from((*HOSTS, "https://index.docker.io/v1/")), st.just("ours")),
        "credsStore": st.just("ours"),
    },
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder of Docker's configuration, and a program that keeps two logins."""
    program = tmp_path / "docker-credential-ours"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


def docker_finds(config: Mapping[str, Any], host: str) -> tuple[str, str] | None:
    known = auth.load_config(config_dict=json.loads(json.dumps(config)))
    found = auth.resolve_authconfig(known, host)
    if not found:
        return None
    found = {name.lower(): value for name, value in found.items()}
    token = found.get("identitytoken")
    return (TOKEN, token) if token else (found["username"], found["password"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONFIGS, st.sampled_from(HOSTS))
def test_a_login_is_the_one_that_dockers_client_takes(folder: Path, config: dict[str, Any], host: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    assert find_login(host) == docker_finds(config, host)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"auths": []}',
        '{"credHelpers": "ours"}',
        '{"auths": {"r.example": "secret"}}',
        '{"auths": {"r.example": {"auth": "c2VjcmV0"}}}',
        '{"auths": {"r.example": {"auth": "secret!"}}}',
        '{"auths": {"r.example": {"auth": 5}}}',
    ],
)
def test_a_configuration_that_is_none_is_said_without_what_it_holds(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: .*expected .*'docker login'") as caught:
        find_login("r.example")
    assert "secret" not in str(caught.value)


def test_a_program_that_answers_nonsense_is_said_without_what_it_answers(folder: Path) -> None:
    (folder / "config.json").write_text('{"credsStore": "ours"}')
    (folder / "docker-credential-ours").write_text('#!/bin/sh\necho \'{"Username": "secret"}\'\n')
    with pytest.raises(InputError, match="docker-credential-ours: found an answer without a login") as caught:
        find_login("r.example")
    assert "secret" not in str(caught.value)
