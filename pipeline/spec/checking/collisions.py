"""Checks of all specs and environments together: no two may want the same object of a cluster, or port of a host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.messages import quote
from pipeline.spec.findings import Finding
from pipeline.spec.object_names import objects_of
from pipeline.spec.schema.spec import Spec

_ALL = ("0.0.0.0", "::")  # noqa: S104 - what a spec may say
Candidate = tuple[str, str | None, Spec]
"""A spec's file, the environment that was laid over it, and the spec that it is then."""


def find_collisions(candidates: Sequence[Candidate]) -> Iterator[tuple[int, Finding]]:
    """Find what two want of one namespace; yield the number of the later one with a finding in it.

    Environments whose specs name no context are taken for clusters of their own: which one is meant is said where they
    are deployed from.
    """
    first: dict[tuple[str, ...], int] = {}
    for number, candidate in enumerate(candidates):
        for wanted in _wanted(candidate):
            other = candidates[first.setdefault(wanted, number)]
            if other is not candidate and not _has_name_twice(other, candidate):
                yield number, _finding(other, candidate, f"{wanted[-2]} {wanted[-1]}")
                break
    yield from _find_shared_ports(candidates)


def _find_shared_ports(candidates: Sequence[Candidate]) -> Iterator[tuple[int, Finding]]:
    """Find models that want to listen on one port of a host."""
    seen: list[Candidate] = []
    for number, candidate in enumerate(candidates):
        if other := next((each for each in seen if _share_port(each[2], candidate[2])), None):
            file, environment, theirs = other
            there = f" in the environment {quote(environment)}" if environment else ""
            found = f"{candidate[2].deploy.port}, on which {quote(theirs.model.name)} listens too{there} ({file})"
            yield number, Finding(("deploy", "port"), found, "another port of the host for one of them")
        if _listens(candidate[2]):
            seen.append(candidate)


def _listens(spec: Spec) -> bool:
    """Tell whether a spec's model has a server on a host: not where the environment names others alone."""
    named = spec.environment.models
    return spec.environment.platform == "server" and (not named or spec.model.name in named)


def _share_port(one: Spec, other: Spec) -> bool:
    here, there = one.deploy.server, other.deploy.server
    if here is None or there is None or one.model.name == other.model.name or not _listens(other):
        return False
    hosts = {each.host.rpartition("@")[2] for each in (here, there)}
    ports = {one.deploy.port, other.deploy.port}
    addresses = {here.listen, there.listen}
    return len(hosts) == len(ports) == 1 and (len(addresses) == 1 or not addresses.isdisjoint(_ALL))


def _wanted(candidate: Candidate) -> Iterator[tuple[str, ...]]:
    """Yield the place and, last, kind and name of what a spec has on a cluster."""
    _, environment, spec = candidate
    if spec.environment.platform != "kubernetes":
        return
    context, namespace = spec.deploy.context, spec.deploy.namespace
    cluster = ("context", context) if context else ("environment", environment or "")
    for kind, name in objects_of(spec.model.name, spec.deploy):
        yield (*cluster, namespace, kind, name)


def _has_name_twice(one: Candidate, other: Candidate) -> bool:
    """Tell whether two files have one name, which is a mistake of its own."""
    return one[0] != other[0] and one[2].model.name.casefold() == other[2].model.name.casefold()


def _finding(other: Candidate, candidate: Candidate, wanted: str) -> Finding:
    file, environment, theirs = other
    model, their_model, namespace = candidate[2].model.name, theirs.model.name, candidate[2].deploy.namespace
    there = f" in the environment {quote(environment)}" if environment else ""
    shared = f"whose {wanted} in the namespace {quote(namespace)} is also that of {quote(their_model)}"
    if their_model == model:
        found = f"{quote(namespace)} for {quote(model)}, {shared}{there}"
        return Finding(("deploy", "namespace"), found, "a namespace for each environment")
    expected = "another name for one of them, or another namespace (deploy.namespace)"
    return Finding(("model", "name"), f"{quote(model)}, {shared}{there} ({file})", expected)
