"""What steps and servers should get, by what they took: notes of runs, and a real Prometheus with a day of figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.home import home, store_address
from pipeline.monitoring.advice import Serving, advise, as_patch
from pipeline.runs.costs import Spent, record
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import open_store
from tests.monitoring.stack import answers, running, until
from tests.ports import free_port

MIB = 2**20
PRICES = "environment: {platform: kubernetes, prices: {cpu_hour: 0.05, gib_hour: 0.01}}\n"
SPEC = """\
model: {name: risk, trainer: ridge, task: regression, target: y}
data: {files: "data/{day}.csv", columns: {x: float, y: float}}
run: {default: {where: pod, cpu: 1, memory: 1Gi}, train: {cpu: 4, memory: 8Gi}, image: "registry.example/p:1",
      deployer: modelrail-deployer, %s}
deploy: {push_tags: true, image: {base: "b:1", repository: "registry.example/risk"}, %s}
"""


def spec_of(tmp_path: Path, run: str = "batches: 8", deploy: str = "replicas: 2") -> Spec:
    path = tmp_path / "risk.yaml"
    path.write_text(SPEC % (run, deploy) + PRICES)
    return load_spec(path).spec


def spent(
    step: str, *, run: str = "a", mib: float = 500, seconds: float = 100, cpu_s: float = 90, **more: Any
) -> Spent:
    facts = {"computed": 1, "done": True, "data_commit": "d", "spec_commit": "s", "environment": None, "trigger": "t"}
    started = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime())
    return Spent("risk", step, run, started, seconds, cpu_s, round(mib * MIB), **(facts | more))


def thrice(step: str, **more: Any) -> list[Spent]:
    return [spent(step, run=run, **more) for run in "abc"]


def test_memory_that_is_twice_what_is_needed_is_too_much_and_near_its_limit_too_little(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    found = advise(spec, [*thrice("train", mib=1_000, seconds=3_600, cpu_s=3_600), *thrice("normalize", mib=950)], None)
    assert [(each.key, each.kind, each.now, each.better) for each in found] == [
        ("run.normalize.memory", "tight", "1Gi", "1280Mi"),
        ("run.train.memory", "waste", "8Gi", "1280Mi"),
        ("run.train.cpu", "waste", "4", "1"),
    ]
    memory, cpu = found[1:]
    assert memory.saves == pytest.approx(3 * (8 - 1.25) * 0.01)  # three hours
    assert cpu.saves == pytest.approx(3 * 3 * 0.05)
    assert as_patch(found) == {
        "run": {"normalize": {"memory": "1280Mi"}, "train": {"memory": "1280Mi", "cpu": 1.0}},
    }


def test_what_fits_is_left_alone_and_so_is_what_was_not_measured_often(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run="batches: 2")
    fits = [*thrice("train", mib=5_000, cpu_s=300), *thrice("clean", mib=500, seconds=200, cpu_s=180)]
    assert advise(spec, fits, None) == []
    assert advise(spec, thrice("train", mib=100)[:2], None) == []
    assert advise(spec, [*thrice("train", mib=100, done=False)], None) == []


def test_steps_that_share_a_pod_share_its_figures(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run="fuse: [normalize, train]")
    (found,) = advise(spec, [*thrice("normalize", mib=10), *thrice("train", mib=1_000)], None)
    assert (found.key, found.kind, found.better) == ("run.normalize.memory", "tight", "1280Mi")


def test_pods_that_start_longer_than_they_work_are_too_many(tmp_path: Path) -> None:
    quick = [spent("clean", run=run, mib=600, seconds=5, cpu_s=5) for run in "abc" for _ in range(8)]
    (found,) = advise(spec_of(tmp_path), quick, None)
    assert (found.key, found.now, found.better) == ("run.batches", "8", "1")
    assert as_patch([found]) == {"run": {"batches": 1}}


def test_servers_are_judged_by_what_the_cluster_measured(tmp_path: Path) -> None:
    set_ = "resources: {requests: {cpu: '2', memory: 4Gi}, limits: {memory: 4Gi}}"
    found = advise(spec_of(tmp_path, deploy=set_), [], Serving(300 * MIB, 0.4, 2))
    assert {each.key: each.better for each in found} == {
        "deploy.resources.limits.memory": "384Mi",
        "deploy.resources.requests.memory": "384Mi",
        "deploy.resources.requests.cpu": "300m",
    }
    assert sum(each.saves for each in found) == pytest.approx(720 * 2 * ((4 - 0.375) * 0.01 + 1.7 * 0.05))
    tight = advise(spec_of(tmp_path), [], Serving(500 * MIB, 0.4, 2))  # limits of 512Mi, requests of 100m
    assert {each.key: (each.kind, each.better) for each in tight} == {
        "deploy.resources.limits.memory": ("tight", "640Mi"),
        "deploy.resources.requests.cpu": ("tight", "300m"),
    }


@pytest.mark.parametrize("environment", [None, "prod"])
def test_the_command_reads_the_notes_of_its_environment_alone(
    environment: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "environments").mkdir()
    spec_of(tmp_path / "models")
    (tmp_path / "environments/prod.yaml").write_text("deploy: {replicas: 3}\n")
    store = open_store(store_address(home()), home())
    for each in thrice("train", mib=1_000, environment=environment):
        record(store, each)
    here = [] if environment is None else ["--environment", environment]
    said = run("advise", "risk", *here)
    assert "risk: 2 keys to change (3 runs of 30 days" in said
    (patch,) = YAML(typ="safe").load_all(run("advise", "risk", "--patch", *here))
    assert patch == {"run": {"train": {"memory": "1280Mi", "cpu": 1.0}}}
    told = json.loads(run("advise", "risk", "--json", *here))
    assert [each["key"] for each in told["advice"]] == ["run.train.memory", "run.train.cpu"]
    assert run("advise", "risk", "--detailed-exitcode", *here, expected=2)
    other = ["--environment", "prod"] if environment is None else []
    assert "risk: nothing to change (0 runs" in run("advise", "risk", "--detailed-exitcode", *other)


def run(*arguments: str, expected: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert (2 if done.exception and expected == 2 else done.exit_code) == expected, done.output
    return done.output


def history() -> str:
    """Write a day of a cluster's figures: two replicas, and a pod of another model whose name begins alike."""
    now = int(time.time()) // 60 * 60
    lines = []
    for name, kind in (("container_memory_working_set_bytes", "gauge"), ("container_cpu_usage_seconds", "counter")):
        lines.append(f"# TYPE {name} {kind}")
        for pod, memory, cores in (
            ("risk-7c9f-abcde", 300e6, 0.3), ("risk-7c9f-fghij", 310e6, 0.1), ("risk-eu-7c9f-abcde", 9e9, 3),
        ):  # fmt: skip
            labels = f'{{namespace="prod",container="server",pod="{pod}"}}'
            for second in range(now - 86_400, now, 60):
                value = memory if kind == "gauge" else cores * (second - now + 86_400)
                lines.append(f"{name}{'_total' if kind == 'counter' else ''}{labels} {value} {second}")
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "history").write_text(history())
    blocks = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        str(tmp_path / "history"),
        str(tmp_path / "data"),
    ]
    subprocess.run(blocks, check=True, capture_output=True)
    (tmp_path / "prometheus.yml").write_text("{}\n")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with running([*command, f"--web.listen-address={address}"], tmp_path / "log"):
        until(lambda: answers(f"http://{address}/-/ready"), "Prometheus")
        yield f"http://{address}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no Prometheus: 'apt install prometheus'")
def test_figures_of_a_days_servers_come_from_prometheus(
    prometheus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("MODELRAIL_PROMETHEUS", prometheus)
    spec_of(tmp_path / "models", deploy="namespace: prod, resources: {requests: {cpu: '2'}, limits: {memory: 320Mi}}")
    told = json.loads(run("advise", "risk", "--json"))
    assert {each["key"]: (each["kind"], each["better"]) for each in told["advice"]} == {
        "deploy.resources.limits.memory": ("tight", "384Mi"),
        "deploy.resources.requests.cpu": ("waste", "300m"),
    }
    assert "0.20 CPUs a replica" in told["advice"][1]["why"]
    spec_of(tmp_path / "models", deploy="namespace: elsewhere")
    assert json.loads(run("advise", "risk", "--json"))["judged"][1] == "no figures of servers in Prometheus"
