"""Mirrors of a repository whose URL has a login in it."""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.home import prepare_home
from pipeline.storage.git.credentials import no_credentials, without_login
from pipeline.storage.git.mirrors import check_out, mirror, mirror_folder, read_remote_tip
from tests.conftest import Commit, git

NAME, PASSWORD = "me@example.org", "s3cret/t0ken %s"
LOGIN = "me%40example.org:s3cret%2Ft0ken %25s"


class _Guarded(SimpleHTTPRequestHandler):
    """Serves files to who knows the login."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == f"Basic {base64.b64encode(f'{NAME}:{PASSWORD}'.encode()).decode()}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="data"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(project: Path, commit: Commit) -> Iterator[str]:
    """Serve a repository with one commit, read-only and behind a login."""
    commit({"a.csv": "x\n1\n"})
    git(project, "update-server-info")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Guarded, directory=str(project))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{LOGIN}@127.0.0.1:{server.server_port}/.git"
        server.shutdown()
        thread.join()


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have git write every argument that it, and all that it starts, is given."""
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    return tmp_path / "trace"


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the user's own settings keep each login that worked."""
    kept, settings = tmp_path / "kept", tmp_path / "gitconfig"
    settings.write_text(f"[credential]\n\thelper = store --file={kept}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    return kept


def test_a_login_in_a_url_is_in_no_argument_and_in_no_file(
    project: Path, address: str, trace: Path, keeper: Path, tmp_path: Path
) -> None:
    repository = mirror(address, tmp_path / "state")
    assert repository.commit("main").id == git(project, "rev-parse", "main").strip()
    repository.update()
    assert read_remote_tip(address, "main", no_credentials) == repository.commit("main").id
    told = trace.read_text()
    assert {"clone", "fetch", "ls-remote"} <= {each for each in told.split() if each.isprintable()}
    kept = [each for each in (tmp_path / "state").rglob("*") if each.is_file()]
    texts = [each.read_bytes() for each in kept] + [told.encode(), repr(repository).encode()]
    assert [text for text in texts if b"s3cret" in text or b"me%40" in text] == []
    assert not keeper.exists()


def test_a_mirror_that_was_made_with_the_login_forgets_it(address: str, tmp_path: Path, trace: Path) -> None:
    state = tmp_path / "state"
    mirror(address, state)
    folder = mirror_folder(address, state)
    git(folder, "config", "remote.origin.url", address)
    trace.unlink()
    mirror(address, state).update()
    assert git(folder, "config", "remote.origin.url").strip() == address.replace(f"{LOGIN}@", "")
    assert "s3cret" not in trace.read_text() + (folder / "config").read_text()


def test_a_commit_is_checked_out_whatever_hooks_people_have(project: Path, commit: Commit, tmp_path: Path) -> None:
    first = commit({"a.csv": b"x\n1\n"})
    assert (check_out(project.as_uri(), first, tmp_path / "state") / "a.csv").read_bytes() == b"x\n1\n"


def test_a_wrong_login_is_refused_without_saying_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"git clone of http://\*\*\*@127\.0\.0\.1.*data\.repository") as caught:
        mirror(address.replace("t0ken", "t1ken"), tmp_path / "state")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown", "expected"),
    [
        ("https://me@host/x", "https://host/x", {"credential.https://host.username": "me"}),
        ("https://token:@host:8443/x", "https://host:8443/x", {"credential.https://host:8443.helper": "!f() {"}),
        ("https://host/x@y", "https://host/x@y", {}),
        ("ssh://git@host/x", "ssh://git@host/x", {}),
        ("git@host:x", "git@host:x", {}),
        ("/srv/x@y", "/srv/x@y", {}),
    ],
)
def test_only_addresses_by_http_have_a_login_that_is_taken_out(
    address: str, shown: str, expected: dict[str, str]
) -> None:
    found, credentials = without_login(address)
    with pickle.loads(pickle.dumps(credentials))() as login:  # noqa: S301 - as a job that goes to another process
        settings = [login[f"GIT_CONFIG_KEY_{place}"] for place in range(int(login.get("GIT_CONFIG_COUNT", "0")))]
        values = [login[f"GIT_CONFIG_VALUE_{place}"] for place in range(len(settings))]
    assert found == shown
    told = dict(zip(settings, values, strict=True))
    assert {name: value[: len(expected[name])] for name, value in told.items()} == expected


def test_settings_that_are_given_by_variables_already_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    with without_login("https://me@host/x")[1]() as login:
        assert login == {
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_2": "credential.https://host.username",
            "GIT_CONFIG_VALUE_2": "me",
        }


def test_an_address_that_is_no_url_is_named_without_its_login() -> None:
    with pytest.raises(InputError, match=r"found no URL in 'https://\*\*\*@\[x/y'.*data\.repository") as caught:
        without_login("https://me:s3cret@[x/y")
    assert "s3cret" not in str(caught.value)


def test_the_state_is_its_owners_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new" / ".modelrail"
    old.mkdir(mode=0o755)
    (old / ".gitignore").write_text("*\n")
    for state in (old, new):
        prepare_home(state)
        assert state.stat().st_mode & 0o777 == 0o700
        assert [each.name for each in state.iterdir()] == [".gitignore"]
