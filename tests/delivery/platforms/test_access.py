"""Rights: which a deploy needs, and which of them a cluster's rules do not give."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.access import describe_rights, rights_to_deploy, unlisted
from pipeline.spec.schema.spec import Spec

RIGHT = ("apps", "deployments", "patch")
PROXY = ("", "services/proxy", "create")


def rule(group: str, resource: str, *verbs: str, **more: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **more}


@pytest.mark.parametrize(
    ("right", "rules", "given"),
    [
        (RIGHT, [], False),
        (RIGHT, [rule("apps", "deployments", "get", "patch")], True),
        (RIGHT, [rule("*", "*", "*")], True),
        (RIGHT, [rule("", "deployments", "patch")], False),
        (RIGHT, [rule("apps", "deployments/status", "patch")], False),
        (RIGHT, [rule("apps", "deployments", "get"), rule("apps", "replicasets", "patch")], False),
        (RIGHT, [rule("apps", "deployments", "patch", resourceNames=["other"])], False),
        (PROXY, [rule("", "services", "create")], False),
        (PROXY, [rule("", "*/proxy", "create")], True),
        (PROXY, [{"verbs": ["create"], "resources": ["services/proxy"]}], False),
    ],
)
def test_a_right_is_given_by_a_rule_for_all_objects(right: Any, rules: list[dict[str, Any]], *, given: bool) -> None:
    assert unlisted([right], rules) == ([] if given else [right])


def make_spec(**deploy: Any) -> Spec:
    given = {"model": {"name": "line", "trainer": "linear_regression", "target": "y"}, "deploy": deploy}
    return Spec.model_validate(given)


def test_what_the_cluster_lacks_and_the_spec_does_not_use_needs_no_right() -> None:
    few = {group for group, _, _ in rights_to_deploy(make_spec(), ["apps"])}
    assert few == {"", "apps", "coordination.k8s.io", "networking.k8s.io", "policy", "autoscaling", "discovery.k8s.io"}
    more = {group for group, _, _ in rights_to_deploy(make_spec(), ["monitoring.coreos.com", "argoproj.io"])}
    assert more == few | {"monitoring.coreos.com"}, "Argo only where the strategy is Argo's"
    assert "delete" not in {verb for _, _, verb in rights_to_deploy(make_spec(), [])}


def test_rights_are_told_by_what_they_are_for() -> None:
    assert describe_rights([("apps", "deployments", "get"), RIGHT, PROXY]) == (
        "get and patch deployments.apps, create services/proxy"
    )
