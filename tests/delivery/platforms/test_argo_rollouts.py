"""What Argo Rollouts is told, what its queries find in Prometheus, and what its word means."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.argo.objects import at_once
from pipeline.delivery.platforms.kubernetes.argo.rollouts import (
    State,
    back_to,
    keeping,
    stable_of,
    state_of,
    version_in,
)
from pipeline.delivery.platforms.kubernetes.manifests import Manifest, manifests
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.spec.canary_weights import argo_weights
from pipeline.spec.schema.spec import Spec

from .test_manifests import IMAGE
from .test_platforms import make_release

CANARY = {
    "steps": [{"weight": 33, "hold_s": 60}, {"weight": 67, "hold_s": 5}],
    "prometheus": "http://prometheus:9090",
    "every_s": 5,
    "deadline_s": 600,
}


def spec(**canary: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "line"},
            "environment": {"platform": "kubernetes"},
            "deploy": {
                "image": {"base": "r.example/s:1", "repository": "r.example/models"},
                "namespace": "shop",
                "replicas": 3,
                "strategy": "argo-rollouts",
                "canary": CANARY | canary,
            },
        }
    )


def render(**canary: Any) -> list[Manifest]:
    return manifests(spec(**canary), make_release(), "prod", IMAGE)


def test_a_rollout_takes_the_deployments_place_and_is_applied_last() -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in render()]
    assert names[-4:] == [
        ("Service", "line"),
        ("AnalysisTemplate", "line"),
        ("AnalysisTemplate", "line-enough"),
        ("Rollout", "line"),
    ]
    assert "Deployment" not in dict(names)
    rollout = render()[-1]
    assert rollout["spec"]["replicas"] == 3
    assert rollout["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert rollout["spec"]["selector"]["matchLabels"]["modelrail.dev/track"] == "rollout"
    assert rollout["metadata"]["annotations"] == {
        key: rollout["spec"]["template"]["metadata"]["annotations"][key] for key in rollout["metadata"]["annotations"]
    }
    steps = rollout["spec"]["strategy"]["canary"]["steps"]
    assert [next(iter(each)) for each in steps] == ["setWeight", "analysis", "pause"] * 2
    assert [each["setWeight"] for each in steps[::3]] == [33, 67]
    assert [each["pause"]["duration"] for each in steps[2::3]] == ["60s", "10s"], "two looks at least"
    wanted = [each["analysis"]["args"][1]["value"] for each in steps[1::3]]
    assert wanted == ["200", "400"], "what is counted is counted from the start"
    assert not {"steps", "analysis"} & set(at_once(rollout)["spec"]["strategy"]["canary"])


def test_waiting_for_requests_has_a_look_left_for_the_one_that_finds_enough() -> None:
    (template,) = (each for each in render() if each["metadata"]["name"] == "line-enough")
    for metric in template["spec"]["metrics"]:
        # Argo's own rule: it aborts a rollout whose analysis breaks it.
        assert metric["count"] >= metric["failureLimit"] + metric["consecutiveSuccessLimit"]


def test_only_the_platform_of_argo_waits_for_argo() -> None:
    assert type(platform_of(spec())).__name__ == "ArgoKubernetes"


def series(counter: str, version: str, count: int, **labels: Any) -> dict[str, str]:
    known = {"namespace": "shop", "model": "line", "track": "live", "version": version, "pod": f"line-{version}"}
    told = ",".join(f'{key}="{value}"' for key, value in {**known, **labels}.items())
    return {"series": f"ml_inference_{counter}{{{told}}}", "values": f"{count}x3"}


def track(version: str, failed: int, fast: int, low: int, requests: int = 1000) -> list[dict[str, str]]:
    """Return what the servers of a version have counted: so many failed, fast, and of a low prediction."""
    return [
        series("requests_total", version, requests - failed, status=200),
        series("requests_total", version, failed, status=422),
        series("duration_seconds_bucket", version, fast, le="0.001"),
        series("duration_seconds_bucket", version, requests, le="0.01"),
        series("duration_seconds_bucket", version, requests, le="+Inf"),
        series("duration_seconds_count", version, requests),
        series("outputs_total", version, low, above="1.0"),
        series("outputs_total", version, requests - low, above="2.0"),
    ]


def answered(folder: Path, name: str, candidate: list[dict[str, str]], stable: list[dict[str, str]]) -> set[str]:
    """Let Prometheus itself evaluate the queries of a template; gives the metrics whose query gives a number."""
    (template,) = (each for each in render() if each["kind"] == "AnalysisTemplate" and each["metadata"]["name"] == name)
    given = {"{{args.version}}": str(make_release().version).replace(".", "[.]"), "{{args.requests}}": "200"}
    rules = []
    for metric in template["spec"]["metrics"]:
        query = metric["provider"]["prometheus"]["query"]
        for argument, value in given.items():
            query = query.replace(argument, value)
        rules.append({"record": metric["name"].replace("-", "_"), "expr": query})
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "canary", "rules": rules}]}))
    found = set()
    for rule in rules:
        expected = [{"expr": f"count({rule['record']})", "eval_time": "1m", "exp_samples": []}]
        test = {"interval": "30s", "input_series": [*candidate, *stable], "promql_expr_test": expected}
        asked = {"rule_files": ["rules.json"], "evaluation_interval": "30s", "tests": [test]}
        (folder / "test.json").write_text(json.dumps(asked))
        command = ["promtool", "test", "rules", "test.json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            assert "got:" in done.stderr + done.stdout, done.stderr + done.stdout
            found.add(rule["record"])
    return found


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install Prometheus ('apt install prometheus')"
)
@pytest.mark.parametrize(
    ("candidate", "worse"),
    [
        ({}, set()),
        ({"failed": 50}, {"errors"}),
        ({"failed": 8}, set()),
        ({"fast": 100}, {"latency"}),
        ({"low": 100}, {"outputs"}),
        ({"low": 480}, set()),
        ({"failed": 5, "fast": 10, "low": 10, "requests": 100}, set()),
        ({"failed": 500, "fast": 100, "low": 100}, {"errors", "latency", "outputs"}),
    ],
    ids=["equal", "erring", "hardly erring", "slow", "lying", "hardly other", "too few to say", "all of it"],
)
def test_prometheus_says_which_metric_of_a_candidate_is_worse(
    candidate: dict[str, int], worse: set[str], tmp_path: Path
) -> None:
    same = {"failed": 1, "fast": 900, "low": 500}
    version = str(make_release().version)
    assert answered(tmp_path, "line", track(version, **{**same, **candidate}), track("0.9.0", **same)) == worse


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install Prometheus ('apt install prometheus')"
)
@pytest.mark.parametrize(
    ("candidate", "goes_on"),
    [
        ({}, {"requests", "errors", "latency", "outputs"}),
        ({"failed": 8}, {"requests", "latency", "outputs"}),
        ({"fast": 120}, {"requests", "errors", "outputs"}),
        ({"requests": 199}, set()),
    ],
    ids=["equal", "in doubt: errors", "in doubt: latency", "too few to say"],
)
def test_a_step_goes_on_when_prometheus_has_no_doubt(
    candidate: dict[str, int], goes_on: set[str], tmp_path: Path
) -> None:
    same = {"failed": 0, "fast": 190, "low": 100, "requests": 210}
    tracks = track(str(make_release().version), **{**same, **candidate}), track("0.9.0", **same)
    found = answered(tmp_path, "line-enough", *tracks)
    assert {name.removesuffix("_within_limit") for name in found} == goes_on
    if len(goes_on) == 3:
        assert answered(tmp_path, "line", *tracks) <= {"latency"}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install Prometheus ('apt install prometheus')"
)
def test_without_anything_live_beside_it_nothing_is_worse(tmp_path: Path) -> None:
    assert answered(tmp_path, "line", track(str(make_release().version), 500, 0, 0), []) == set()


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, State.GOING),
        ({"observedGeneration": "1", "phase": "Healthy", "stableRS": "a", "currentPodHash": "a"}, State.GOING),
        ({"observedGeneration": "2", "phase": "Progressing"}, State.GOING),
        ({"observedGeneration": "2", "phase": "Paused", "message": "CanaryPauseStep"}, State.GOING),
        ({"observedGeneration": "2", "phase": "Healthy", "stableRS": "a", "currentPodHash": "b"}, State.GOING),
        ({"observedGeneration": "2", "phase": "Healthy", "stableRS": "a", "currentPodHash": "a"}, State.DONE),
        ({"observedGeneration": "2", "phase": "Degraded", "message": "RolloutAborted"}, State.FAILED),
        ({"observedGeneration": "2", "phase": "Progressing", "abort": True}, State.FAILED),
    ],
)
def test_argos_word_counts_only_for_what_was_applied_last(status: dict[str, Any], state: State) -> None:
    assert state_of({"metadata": {"generation": 2}, "status": status})[0] is state


def test_the_pods_of_before_are_kept_where_the_next_process_finds_them() -> None:
    live, candidate = render()[-1], json.loads(json.dumps(render()[-1]).replace("1.2.3", "2.0.0"))
    assert stable_of(live) is None, "nothing is live yet"
    before = stable_of({**live, "status": {"stableRS": "a"}})
    assert before is not None
    kept = keeping(candidate, before)
    assert stable_of({**kept, "status": {"stableRS": "a"}}) == before
    again = back_to(candidate, before)
    assert again["spec"]["template"] == before
    assert again["metadata"] == live["metadata"]
    assert version_in(before) == str(make_release().version)
    assert stable_of({**again, "status": {"stableRS": "a"}}) == before


def test_the_weights_that_pods_reach_are_those_of_its_own_function() -> None:
    given = json.loads(Path(__file__).with_name("argo_weights.json").read_bytes())
    assert {pods: argo_weights(int(pods)) for pods in given} == given
