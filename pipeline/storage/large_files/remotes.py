"""Where the contents of large files may come from: a data repository of somebody else's can name any address.

Without ``data.remotes`` that is any address but those of this machine and of its nearest network, where services
answer that trust whoever reaches them. Addresses are compared by their parts, since ``https://host.example`` begins
as ``https://host`` does.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputError, redact
from pipeline.storage.large_files.lfs_ssh import read_ssh_address

_PORTS = {"http": 80, "https": 443, "ssh": 22, "sftp": 22, "ftp": 21}
_HOSTED = frozenset({"http", "https", "ssh", "git+ssh", "sftp", "ftp", "smb", "webdav", "webdavs", "hdfs", "webhdfs"})
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""Kinds of addresses whose first part is a name at a service that the kind says, and no host."""
_METADATA = tuple(map(ip_network, ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128")))
"""Services of clouds that give a machine its logins; those of the others are link-local."""
_NOWHERE = tuple(map(ip_network, ("0.0.0.0/8", "::/128")))
_IN_BRACKETS = re.compile(r"\[[^\]]*\]")
_WITHIN = tuple(map(ip_network, ("64:ff9b::/96", "::/96")))
"""Networks of IPv6 whose last 32 bits are an address of IPv4; ``2002::/16`` has it in the middle."""


@dataclass(frozen=True)
class Remotes:
    """The addresses and folders that ``data.remotes`` names; None where the spec has no such key."""

    named: Sequence[str] | None = None

    def check(self, address: str, source: str) -> None:
        """Refuse an address, or a folder of this machine, that contents may not come from.

        Parameters
        ----------
        source : str
            Where the address stands, for the message: ``.lfsconfig``.

        Raises
        ------
        InputError
            If it is not allowed.
        OSError
            If its host has no address.
        """
        reason = self._find_reason(address)
        if reason:
            raise InputError(
                f"{source}: found the address '{redact(address)}', {reason}; expected another, or this one named "
                "where it is meant (data.remotes)"
            )

    def resolve(self, host: str, port: int) -> list[tuple[int, tuple[str | int, ...]]]:
        """Find the addresses of a host that may be opened, each with its family.

        Raises
        ------
        InputError
            If one of them is not allowed.
        OSError
            If it has none.
        """
        found = _resolve(host, port)
        if self.named is None and (reason := _reason_against(found)):
            raise InputError(f"{host}: found a host {reason}; expected another (data.remotes)")
        return found

    def _find_reason(self, address: str) -> str:
        parts = _parts_of(address)
        if parts is not None and (not parts.host or "::" in _IN_BRACKETS.sub("", address)):
            return "which is none of one host or bucket"  # fsspec chains addresses by '::'
        if self.named is not None:
            return "" if any(_lies_below(address, each) for each in self.named) else "which data.remotes does not name"
        if parts is None or parts.kind in _BUCKETS:
            return ""
        if parts.kind not in _HOSTED:
            return "of a kind that must be named"
        return _reason_against(_resolve(parts.host, parts.port or 0))


@dataclass(frozen=True)
class _Parts:
    """The parts of an address that are compared."""

    kind: str
    host: str
    port: int | None
    path: tuple[str, ...]


def _parts_of(address: str) -> _Parts | None:
    """Take an address apart; None for a folder of this machine."""
    if ssh := read_ssh_address(address):
        return _Parts("ssh", ssh.host.rpartition("@")[2].lower(), ssh.port or _PORTS["ssh"], _components(ssh.path))
    if "://" not in address:
        return None
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise InputError(f"found no address in '{redact(address)}' ({error}); expected one (data.remotes)") from error
    if "%" in (parts.hostname or ""):  # some read it as the character that it stands for
        raise InputError(f"found '%' in the host of '{redact(address)}'; expected none (data.remotes)")
    return _Parts(parts.scheme, (parts.hostname or "").rstrip("."), port, _components(parts.path))


def _components(path: str) -> tuple[str, ...]:
    return tuple(each for each in unquote(path).split("/") if each)


def _lies_below(address: str, named: str) -> bool:
    """Tell whether an address or folder is one that is named, or lies below it."""
    found, above = _parts_of(address), _parts_of(named)
    if found is None or above is None:
        return found is above and Path(os.path.realpath(address)).is_relative_to(os.path.realpath(_expand(named)))
    same = (found.kind, found.host, found.port) == (above.kind, above.host, above.port)
    return same and not {".", ".."} & {*found.path} and found.path[: len(above.path)] == above.path


def _expand(folder: str) -> Path:
    return Path(folder).expanduser()


def _resolve(host: str, port: int) -> list[tuple[int, tuple[str | int, ...]]]:
    found: Sequence[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, place) for family, _, _, _, place in found]


def _reason_against(found: Sequence[tuple[int, tuple[str | int, ...]]]) -> str:
    """Say why one of a host's addresses is not opened unless it is named; empty where all may be."""
    for _, place in found:
        address = _embedded(ip_address(str(place[0]).partition("%")[0]))
        for what, fits in _KINDS.items():
            if fits(address):
                return f"which leads to {address}, {what}"
    return ""


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address of IPv4 that one of IPv6 stands for, else the address itself."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if any(address in each for each in _WITHIN):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


_KINDS: Mapping[str, Callable[[IPv4Address | IPv6Address], bool]] = {
    "an address of this machine alone": lambda each: each.is_loopback,
    "an address of the nearest network alone (link-local)": lambda each: each.is_link_local,
    "the address of a cloud's metadata": lambda each: any(each in network for network in _METADATA),
    "no address of a machine": lambda each: each.is_multicast or any(each in network for network in _NOWHERE),
}
