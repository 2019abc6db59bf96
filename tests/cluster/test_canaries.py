"""Canaries on a real cluster: candidates that are bad in their own ways, a client that never stops, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from pipeline.delivery.stages import stages
from pipeline.errors import AbortedError, DeploymentError, TransientError
from pipeline.home import CHECKOUT
from pipeline.serving.process.workers import child_environment
from pipeline.storage.git.repository import open_repository
from tests.delivery.rollouts.candidates import SLOPE, erring_graph, slow_graph
from tests.serving.bundles import line_graph

from .conftest import Project, modelrail, rows, wait_until
from .cutting import cut_off
from .lines import NAME, Line, as_deployer, begin


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    """Return the model with its first release live, and a client that never stops."""
    return begin(namespace, serving_image, tmp_path)


def corrupt(line: Line, version: str) -> None:
    """Write a release whose server ends at once: its graph is not the one that was released."""
    bundle = line.bundle(version, line_graph(SLOPE))
    (bundle / "model.onnx").write_bytes(b"broken")


def test_a_good_candidate_is_promoted_and_no_request_is_dropped(line: Line) -> None:
    made = line.deploy("2.0.0")
    assert (made.version, made.replaced) == ("2.0.0", "1.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    wait_until(lambda: line.answered()["2.0.0"] > 300, "answers of the new release")
    assert line.dropped() == {}


@pytest.mark.parametrize(
    ("graph", "why"),
    [(slow_graph(), "latency: "), (erring_graph(), "errors: "), (line_graph(1.2 * SLOPE), "outputs: ")],
    ids=["slow", "erring", "lying"],
)
def test_a_bad_candidate_is_aborted_and_what_is_live_is_untouched(line: Line, graph: onnx.ModelProto, why: str) -> None:
    stable = line.pods("stable")
    with pytest.raises(AbortedError, match=rf"line@v2.0.0: aborted: {why}.*; v1.0.0 stays live"):
        line.deploy("2.0.0", graph)
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert line.live() == "1.0.0"
    assert line.dropped() == {}
    assert line.answered()["2.0.0"] > 100, "it was asked"


def test_a_candidate_that_ends_again_and_again_is_aborted_before_it_is_asked(line: Line) -> None:
    stable = line.pods("stable")
    corrupt(line, "2.0.0")
    with pytest.raises(AbortedError, match=r"aborted: pod line-canary-.*ends again and again"):
        line.deploy("2.0.0")
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def test_a_release_that_is_made_anew_ends_the_live_one_first(line: Line) -> None:
    anew = line.with_deploy(strategy="recreate", canary=None)
    assert anew.deploy("2.0.0").replaced == "1.0.0"
    assert line.get("deployment", NAME)["spec"]["strategy"] == {"type": "Recreate"}
    assert line.deploy("3.0.0").replaced == "2.0.0"
    assert line.get("deployment", NAME)["spec"]["strategy"]["type"] == "RollingUpdate"


def blue_green(line: Line) -> Line:
    return line.with_deploy(strategy="blue-green", canary=None)


def test_blue_green_brings_a_release_up_whole_and_sends_it_all_requests_at_once(line: Line) -> None:
    assert blue_green(line).deploy("2.0.0").replaced == "1.0.0"
    assert line.get("service", NAME)["spec"]["selector"]["modelrail.dev/version"] == "2.0.0"
    old = line.answered()["1.0.0"]
    corrupt(line, "3.0.0")
    with pytest.raises(AbortedError, match=r"line@v3.0.0: aborted: .*ends again and again.*; v2.0.0 stays live"):
        blue_green(line).deploy("3.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.answered()["1.0.0"] == old, "nobody was answered by the old one any more"
    assert blue_green(line).deploy("1.0.0", at_once=True).replaced == "2.0.0"
    assert line.deploy("4.0.0").replaced == "1.0.0", "a canary finds its requests after it"
    assert line.dropped() == {}


@pytest.mark.parametrize("after", ["the new one is up", "all requests go to it"])
def test_a_killed_blue_green_deploy_drops_nothing_and_the_next_begins_anew(line: Line, after: str) -> None:
    line = blue_green(line)
    line.deploy("1.5.0")
    stages: dict[str, Callable[[], bool]] = {
        "the new one is up": lambda: line.tracks() == {NAME: 1, f"{NAME}-canary": 1},
        "all requests go to it": lambda: (
            line.get("service", NAME)["spec"]["selector"]["modelrail.dev/version"] == "2.0.0"
        ),
    }
    with start(line, "2.0.0") as process:
        wait_until(stages[after], after)
        os.kill(process.pid, signal.SIGKILL)
    assert line.deploy("3.0.0").version == "3.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_weight_that_pods_cannot_reach_is_an_error_and_nothing_is_started(line: Line) -> None:
    with pytest.raises(AbortedError, match=r"found the weight 10; expected a weight that 1 stable pod leaves room for"):
        line.with_canary(steps=[{"weight": 10}]).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def shadowed(line: Line) -> Line:
    """Let candidates be asked, but not answer."""
    given = line.with_canary(steps=[{"weight": 50, "hold_s": 5}], metrics={"errors": 0.01, "outputs": 0.25})
    return given.with_deploy(strategy="shadow")


def test_a_shadow_is_asked_too_and_promoted_without_a_dropped_request(line: Line) -> None:
    assert shadowed(line).deploy("2.0.0").replaced == "1.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_lying_shadow_is_aborted_and_has_answered_nobody(line: Line) -> None:
    stable = line.pods("stable")
    with pytest.raises(AbortedError, match=r"aborted: outputs: .*; v1.0.0 stays live"):
        shadowed(line).deploy("2.0.0", line_graph(1.2 * SLOPE))
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def start(
    line: Line, version: str, graph: onnx.ModelProto | None = None, kubeconfig: Path | None = None
) -> subprocess.Popen[bytes]:
    """Deploy in a process of its own, which can be killed."""
    code = """
import sys
from pathlib import Path
from pipeline.delivery.platforms.target import Target
from pipeline.spec.schema.spec import Spec
from tests.cluster.lines import Line
from pipeline.errors import ModelrailError
spec, folder, version = Spec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
try:
    Line(Target(spec, None, folder), folder).deploy(version)
except ModelrailError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
    line.bundle(version, graph or line_graph(SLOPE))
    spec = line.target.spec.model_dump_json(exclude_unset=True)
    command = [sys.executable, "-c", code, spec, str(line.folder), version]
    environment = child_environment() | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE)


def test_a_killed_deploy_is_taken_over_where_it_was_and_two_never_interleave(line: Line) -> None:
    with start(line, "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        with pytest.raises(
            TransientError, match=r"line: found another deploy at work \(.*\); expected it to end first"
        ):
            line.deploy("3.0.0")
        os.kill(process.pid, signal.SIGKILL)
    left = line.rollout()
    assert (left["candidate"], left["verdict"]) == ("line@v2.0.0", None)
    assert line.tracks() == {NAME: 1, f"{NAME}-canary": 1, f"{NAME}-baseline": 1}
    canaries = line.pods("canary")
    seen: list[set[str]] = []
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(1):
            seen.append(line.pods("canary"))

    thread = threading.Thread(target=watch)
    thread.start()
    assert line.deploy("2.0.0").version == "2.0.0"
    watching.set()
    thread.join()
    assert canaries in seen, "the same canary went on"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_killed_deploy_is_aborted_by_the_deadline_or_by_a_deploy_of_another_release(line: Line) -> None:
    with start(line.with_canary(deadline_s=8, min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(AbortedError, match="when the deadline of 8 s was over"):
        line.with_canary(deadline_s=8, min_requests=100_000).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    with start(line.with_canary(min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        os.kill(process.pid, signal.SIGKILL)
    assert line.deploy("3.0.0").replaced == "1.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_rollback_in_the_middle_ends_the_canary_within_seconds(line: Line) -> None:
    with start(line.with_canary(min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        line.deploy("1.0.0", at_once=True)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "found that it must give way: line@v1.0.0 is made live at once" in said
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    assert line.live() == "1.0.0"
    assert line.dropped() == {}


def test_the_deployer_s_account_has_the_rights_for_a_canary(line: Line) -> None:
    kubeconfig = as_deployer(line)
    with start(line, "2.0.0", line_graph(1.2 * SLOPE), kubeconfig) as process:
        _, said = process.communicate()
    assert "AbortedError: deploy line@v2.0.0: aborted: outputs" in said.decode()
    assert line.tracks() == {NAME: 1}
    with start(line, "3.0.0", kubeconfig=kubeconfig) as process:
        assert process.wait() == 0
    assert line.live() == "3.0.0"


def test_without_requests_it_is_aborted_at_the_deadline(line: Line) -> None:
    # with a period of 0, as the pod has, it is gone from the API while its process still asks
    line.kubectl("delete", "pod", "client", "--grace-period=1", "--wait=true")
    with pytest.raises(DeploymentError, match=r"0 of 200 requests were answered in the step when the deadline of 10 s"):
        line.with_canary(deadline_s=10).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}


@pytest.mark.parametrize(
    ("stage", "graph", "ends"),
    [
        (lambda line: "line-canary" in line.tracks(), line_graph(SLOPE), "promoted"),
        (lambda line: line.rollout().get("verdict") == "promote", line_graph(SLOPE), "promoted"),
        (lambda line: line.rollout().get("verdict") == "abort", line_graph(1.2 * SLOPE), "aborted"),
    ],
    ids=["coming up", "promoting", "aborting"],
)
def test_a_deploy_killed_at_any_stage_is_brought_to_its_end_by_the_next(
    line: Line, stage: Callable[[Line], bool], graph: onnx.ModelProto, ends: str
) -> None:
    with start(line, "2.0.0", graph) as process:
        wait_until(lambda: stage(line), "the stage", every_s=0.05)  # an abort is over within a second
        os.kill(process.pid, signal.SIGKILL)
    if ends == "promoted":
        assert line.deploy("2.0.0").version == "2.0.0"
    else:
        with pytest.raises(AbortedError, match="aborted: outputs"):
            line.deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    assert line.live() == ("2.0.0" if ends == "promoted" else "1.0.0")
    assert line.dropped() == {}


def test_a_canary_goes_on_after_the_api_server_was_away_for_half_a_minute(line: Line, tmp_path: Path) -> None:
    with cut_off(tmp_path) as (kubeconfig, cut), start(line, "2.0.0", kubeconfig=kubeconfig) as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        cut.set()
        threading.Event().wait(1)
        left = line.get("lease", NAME)["metadata"]["resourceVersion"]
        threading.Event().wait(30)
        assert line.get("lease", NAME)["metadata"]["resourceVersion"] == left, "it was cut off"
        assert process.poll() is None
        cut.clear()
        assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert line.live() == "2.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_an_aborted_canary_of_a_run_is_written_to_git_and_held(flights: Project) -> None:
    flights.run()
    canary = {"steps": [{"weight": 33, "hold_s": 0}], "deadline_s": 30, "every_s": 1}
    flights.configure(strategy="canary", canary=canary)
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    with pytest.raises(AbortedError, match=r"v1.0.1: aborted: .* when the deadline of 30 s .*; v1.0.0 stays"):
        flights.run()
    first, second, last = stages(open_repository(flights.root), "late-flights")
    assert [(each.action, str(each.version)) for each in (first, second, last)] == [
        ("deploy", "1.0.0"), ("deploy", "1.0.1"), ("abort", "1.0.0")
    ]  # fmt: skip
    assert last.image == first.image
    assert "when the deadline of 30 s" in last.why
    assert flights.run()["deploy"].reason.startswith("late-flights@v1.0.1 is held")
    said = modelrail(flights, "releases", "late-flights").stdout
    assert "v1.0.0" in said
