"""Where contents may come from: what a repository names is checked before, and while, it is opened."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.errors import DataError, InputError, TransientError
from pipeline.storage.large_files.opening import Opener
from pipeline.storage.large_files.remotes import Remotes
from tests.conftest import git
from tests.storage.large_files.conftest import LOGIN, Data, LfsServer, dvc_pointer, lfs_pointer, month, put
from tests.storage.large_files.test_lfs import served

Names = Callable[..., None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return a function that gives a host its addresses: a list each time that it is asked for, then the last."""
    real = socket.getaddrinfo
    known: dict[str, list[list[str]]] = {}

    def look_up(host: str, port: int, *rest: object, **options: object) -> object:
        if host not in known:
            return real(host, port, *rest, **options)  # type: ignore[arg-type]
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return lambda host, *answers: known.update({host: list(answers)})


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:9/x", "127.0.0.1, an address of this machine alone"),
        ("http://127.8.9.1/x", "an address of this machine alone"),
        ("http://2130706433/x", "127.0.0.1, an address of this machine alone"),
        ("http://0x7f.1/x", "127.0.0.1, an address of this machine alone"),
        ("http://localhost./x", "an address of this machine alone"),
        ("http://[::1]/x", "::1, an address of this machine alone"),
        ("http://[::ffff:127.0.0.1]/x", "127.0.0.1, an address of this machine alone"),
        ("http://[64:ff9b::a9fe:a9fe]/x", "169.254.169.254, an address of the nearest network"),
        ("http://[2002:7f00:1::]/x", "127.0.0.1, an address of this machine alone"),
        ("http://169.254.169.254/latest", "169.254.169.254, an address of the nearest network"),
        ("http://[fe80::1]/x", "fe80::1, an address of the nearest network"),
        ("http://0.0.0.0/x", "0.0.0.0, no address of a machine"),
        ("http://[::]/x", "::, no address of a machine"),
        ("http://224.0.0.1/x", "no address of a machine"),
        ("http://100.100.100.200/x", "the address of a cloud's metadata"),
        ("http://[fd00:ec2::254]/x", "the address of a cloud's metadata"),
        ("http://me:s3cret@127.0.0.1/x", "'http://***@127.0.0.1/x', which leads to 127.0.0.1"),
        ("git@127.0.0.1:team/x.git", "an address of this machine alone"),
        ("ssh://git@127.0.0.1:22/x", "an address of this machine alone"),
        ("sftp://127.0.0.1/x", "an address of this machine alone"),
        ("simplecache::http://127.0.0.1/x", "none of one host or bucket"),
        ("s3://bucket/x::http://127.0.0.1/x", "none of one host or bucket"),
        ("s3::http://127.0.0.1/x", "none of one host or bucket"),
        ("local://x/etc/passwd", "of a kind that must be named"),
        ("reference://x/y", "of a kind that must be named"),
        ("http://127.0.0.%31/x", "found '%' in the host"),
        ("http://[::1/x", "found no address in"),
    ],
)
def test_addresses_of_this_machine_and_its_nearest_network_must_be_named(address: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        Remotes().check(address, ".lfsconfig")
    assert why in str(caught.value)
    assert "(data.remotes)" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://93.184.215.14/x", "http://10.1.2.3/x", "s3://bucket/x", "/srv/dvc"])
def test_any_other_address_and_folder_is_allowed(address: str) -> None:
    Remotes().check(address, ".lfsconfig")


def test_each_address_of_a_host_must_be_allowed(names: Names) -> None:
    names("both.example", ["93.184.215.14", "127.0.0.1"])
    with pytest.raises(InputError, match=r"'https://both\.example/x', which leads to 127\.0\.0\.1"):
        Remotes().check("https://both.example/x", ".lfsconfig")


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("https://host.example/team", "https://host.example/team/x"),
        ("https://host.example/team/", "https://HOST.example:443/team"),
        ("ssh://host.example/team", "git@host.example:team/x.git"),
        ("s3://bucket/folder", "s3://bucket/folder/files/md5"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/x"),
        ("/srv/dvc", "/srv/dvc/files/md5"),
    ],
)
def test_what_is_named_is_allowed_with_all_that_lies_below_it(named: str, address: str) -> None:
    Remotes([named]).check(address, ".lfsconfig")


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("https://host.example/team", "https://host.example/teams"),
        ("https://host.example/team", "https://host.example/team/../other"),
        ("https://host.example/team", "https://host.example/team/%2e%2e/other"),
        ("https://host.example", "https://host.example.evil.example/x"),
        ("https://host.example", "https://host.example@evil.example/x"),
        ("https://host.example", "https://host.example:8443/x"),
        ("https://host.example", "http://host.example/x"),
        ("s3://bucket", "s3://bucket-of-others/x"),
        ("/srv/dvc", "/srv/dvc-of-others"),
        ("/srv/dvc", "/srv/dvc/../other"),
        ("/srv/dvc", "https://host.example/srv/dvc"),
    ],
)
def test_what_only_begins_with_the_same_letters_is_not_what_is_named(named: str, address: str) -> None:
    with pytest.raises(InputError, match=r"\.lfsconfig: found the address .*which data\.remotes does not name"):
        Remotes([named]).check(address, ".lfsconfig")


def test_no_address_of_this_machine_is_asked_unless_the_spec_names_it(data: Data, server: LfsServer) -> None:
    served(data, server)
    data.remotes = None
    with pytest.raises(InputError, match=rf"\.lfsconfig: found the address '{server.url}/objects/batch', which leads"):
        data.open().read("2013-01")
    assert server.asked == []


def test_where_the_server_sends_for_a_content_is_checked_too(data: Data, server: LfsServer) -> None:
    served(data, server)
    git(data.folder, "config", "lfs.url", server.url.replace("//", f"//{LOGIN}@"))
    data.remotes = [server.url]
    with pytest.raises(InputError, match=rf"the answer of the LFS server {server.url}: found the address .*/contents/"):
        data.open().read("2013-01")
    assert server.asked == ["/flights.git/info/lfs/objects/batch"]


class _Sending(BaseHTTPRequestHandler):
    """Sends each caller elsewhere."""

    to = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.to)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def sending(to: str) -> Iterator[str]:
    handler = type("Handler", (_Sending,), {"to": to})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("http://169.254.169.254/latest", "'http://169.254.169.254/latest', which data.remotes does not name"),
        ("ftp://127.0.0.1/x", "'ftp://127.0.0.1/x' where HTTP was asked"),
        ("file:///etc/hostname", "file:///etc/hostname"),
    ],
)
def test_a_redirect_is_checked_as_the_first_address_was(tmp_path: Path, to: str, found: str) -> None:
    with sending(to) as address, pytest.raises((InputError, TransientError)) as caught:
        Opener(Remotes([address]), ".dvc/config").fetch(f"{address}/x", {}, tmp_path / "x")
    assert found in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_host_that_changes_its_address_after_the_check_is_not_reached(tmp_path: Path, names: Names) -> None:
    names("turning.example", ["93.184.215.14"], ["127.0.0.1"])
    with pytest.raises(InputError, match=r"turning\.example: found a host which leads to 127\.0\.0\.1"):
        Opener(Remotes(), ".dvc/config").fetch("http://turning.example/x", {}, tmp_path / "x")


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ("url = http://127.0.0.1:9/dvc", "remote 'storage': found the address 'http://127.0.0.1:9/dvc/"),
        ("url = s3://bucket/x\n    endpointurl = http://169.254.169.254", "'http://169.254.169.254', which leads to"),
        ("url = sftp://localhost/x", "'sftp://localhost/x/"),
    ],
)
def test_a_remote_of_dvc_is_checked_with_the_address_of_its_service(data: Data, config: str, found: str) -> None:
    text = f"[core]\n    remote = storage\n['remote \"storage\"']\n    {config}\n"
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv"), ".dvc/config": text})
    with pytest.raises(InputError) as caught:
        data.open().read("2013-01")
    assert str(caught.value).startswith(".dvc/config: remote 'storage': ")
    assert found in str(caught.value)


def test_a_remote_of_dvc_by_http_is_read_where_it_is_named(data: Data, server: LfsServer) -> None:
    address = f"http://127.0.0.1:{server.server_port}/dvc"
    text = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {address}\n"
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv"), ".dvc/config": text})
    data.remotes = [address]
    with pytest.raises(InputError, match=r"reading it is refused .*403"):
        data.open().read("2013-01")


def test_folders_are_read_unless_the_spec_names_others(data: Data) -> None:
    data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | data.with_remote())
    put(data.remote, month(1))
    data.remotes = ["/srv/dvc"]
    with pytest.raises(InputError, match=rf"\.dvc/config: remote 'storage': found the address '{data.remote}/files"):
        data.open().read("2013-01")
    data.remotes = [str(data.remote)]
    assert data.open().read("2013-01") == month(1)


def test_a_repository_chooses_neither_the_remote_nor_the_folder_of_git_lfs(data: Data) -> None:
    text = '[remote]\n\tlfsdefault = git@127.0.0.1:x\n[lfs]\n\tstorage = /etc\n[remote "origin"]\n\turl = ext::x\n'
    data.commit({"flights/2013-01.csv": lfs_pointer(month(1)), ".lfsconfig": text})
    with pytest.raises(
        DataError, match=r"found no content sha256 .*which flights/2013-01\.csv names, in .*/\.git/lfs/"
    ):
        data.open().read("2013-01")
