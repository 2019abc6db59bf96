"""Checks of all specs and environments together: no two of them may want the same object of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.messages import quote
from pipeline.spec.findings import Finding
from pipeline.spec.object_names import objects_of
from pipeline.spec.schema.spec import Spec

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
