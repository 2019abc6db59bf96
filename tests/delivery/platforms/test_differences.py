"""What differs between an object and what it should be, and how it is made so."""

from __future__ import annotations

from typing import Any

from pipeline.delivery.platforms.differences import adopt, compare, flatten

OURS = {"manager": "modelrail", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
THEIRS = {
    "manager": "kubectl-edit",
    "operation": "Update",
    "time": "2026-01-01T00:00:00Z",
    "fieldsV1": {"f:metadata": {"f:annotations": {"f:note": {}}}, "f:spec": {'k:{"name":"x"}': {".": {}, "f:env": {}}}},
}
STATUS = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}}
SCALE = {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def make(replicas: int, *entries: Any) -> dict[str, Any]:
    metadata = {"name": "line", "resourceVersion": str(replicas), "managedFields": list(entries)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


def test_a_value_that_applying_would_change_is_told_with_both() -> None:
    found = compare(make(5, OURS), make(2, OURS, STATUS, SCALE), "modelrail")
    assert [str(each) for each in found] == ["Deployment/line: spec.replicas: found 5; expected 2"]
    assert compare(make(2), make(2, OURS, STATUS, SCALE), "modelrail") == []


def test_an_object_that_is_not_there_is_one_difference() -> None:
    assert [str(each) for each in compare(None, make(2), "modelrail")] == [
        "Deployment/line: found nothing; expected a new object"
    ]


def test_what_a_stranger_has_set_beside_is_told_with_who_and_when() -> None:
    (found,) = compare(make(2, OURS, THEIRS), make(2, OURS, THEIRS), "modelrail")
    assert str(found) == (
        "Deployment/line: spec.x.env: found a value (set by kubectl-edit, 2026-01-01T00:00:00Z); expected nothing"
    )


def test_what_a_stranger_has_set_becomes_ours_and_only_that() -> None:
    assert adopt(make(2, OURS, STATUS, SCALE), "modelrail") is None
    fields = adopt(make(2, OURS, THEIRS, STATUS, SCALE), "modelrail")
    assert fields is not None
    kept = {"f:metadata": {"f:annotations": {"f:note": {}}}}
    union = {"f:spec": {"f:replicas": {}, 'k:{"name":"x"}': {".": {}, "f:env": {}}}}
    assert fields == [{**THEIRS, "fieldsV1": kept}, STATUS, SCALE, {**OURS, "fieldsV1": union}]
    assert OURS["fieldsV1"] == {"f:spec": {"f:replicas": {}}}, "the input is not changed"


def test_leaves_are_told_by_their_names() -> None:
    assert flatten({"a": [{"name": "x", "v": 1}, {"v": 2}], "b": {}, "c": [3]}) == {
        "a[x].name": "x",
        "a[x].v": 1,
        "a[1].v": 2,
        "b": {},
        "c[0]": 3,
    }
