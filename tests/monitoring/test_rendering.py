"""What is rendered for whom, and how the command writes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.kubernetes.manifests import MONITORING
from pipeline.errors import InputError, SpecError

LINE = (
    "model: {name: %s, trainer: ridge, task: regression, target: y}\n"
    "data: {files: data.csv, columns: {x: float, y: float}}\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    for name in ("first", "second"):
        (tmp_path / "models" / f"{name}.yaml").write_text(LINE % name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def render(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["monitoring", "render", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def load(text: str) -> list[Any]:
    return list(YAML(typ="safe").load_all(text))


def test_rules_of_one_model_or_of_all_are_one_file(project: Path) -> None:
    (one,) = load(render("first", "--to", "prometheus"))
    assert {each["name"].split()[1] for each in one["groups"]} == {"first"}
    (both,) = load(render("--to", "prometheus"))
    assert [each for each in both["groups"] if each["name"].split()[1] == "first"] == one["groups"]
    assert {each["name"].split()[1] for each in both["groups"]} == {"first", "second"}


def test_a_model_is_found_by_its_name_and_by_its_file(project: Path) -> None:
    (project / "models/third.yaml").write_text(LINE % "another")
    by_name = render("another", "--to", "prometheus")
    assert by_name == render("models/third.yaml", "--to", "prometheus") == render("third", "--to", "prometheus")
    with pytest.raises(InputError, match="found no model 'fourth'; expected"):
        render("fourth", "--to", "prometheus")


def test_a_folder_gets_a_file_for_each_model(project: Path) -> None:
    said = render("--to", "prometheus", "--out", "rules")
    assert said.splitlines() == ["rules/modelrail-first.rules.yml", "rules/modelrail-second.rules.yml"]
    render("--to", "grafana", "--out", "rules")
    render("first", "--to", "grafana", "--out", "rules")
    assert {each.name for each in (project / "rules").iterdir()} == {
        "modelrail-first.rules.yml", "modelrail-second.rules.yml", "modelrail.dashboard.json",
        "modelrail-first.dashboard.json",
    }  # fmt: skip
    every = json.loads((project / "rules/modelrail.dashboard.json").read_bytes())
    assert [each["name"] for each in every["templating"]["list"]] == ["datasource", "model", "feature"]


@pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool: 'apt install prometheus-alertmanager'")
def test_alertmanagers_own_tool_accepts_the_routes(project: Path) -> None:
    Path("alertmanager.yml").write_text(render("--to", "alertmanager", "--webhook", "http://ops.example/alerts/"))
    subprocess.run(["amtool", "check-config", "alertmanager.yml"], check=True, capture_output=True)
    routed = {}
    for labels in ("model=first severity=page", "model=second severity=ticket", "model=other severity=page"):
        command = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels.split()]
        routed[labels] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert list(routed.values()) == ["modelrail-page", "modelrail-ticket", "nobody"]
    (found,) = load(Path("alertmanager.yml").read_text())
    urls = [each["webhook_configs"][0]["url"] for each in found["receivers"][1:]]
    assert urls == ["http://ops.example/alerts/page", "http://ops.example/alerts/ticket"]


def test_routes_need_an_address(project: Path) -> None:
    with pytest.raises(InputError, match="--webhook: found none; expected the address that alerts are sent to"):
        render("--to", "alertmanager")


def test_the_operator_gets_what_it_scrapes_and_the_rules(project: Path) -> None:
    (project / "environments").mkdir()
    base = f"r.example/s@sha256:{'0' * 64}"
    images = f"{{base: '{base}', repository: r.example/models}}"
    overlay = f"environment: {{platform: kubernetes}}\ndeploy: {{namespace: models, image: {images}}}\n"
    (project / "environments" / "prod.yaml").write_text(overlay)
    scraped, rules = load(render("first", "--to", "servicemonitor", "--environment", "prod"))
    assert (scraped["apiVersion"], scraped["kind"], rules["kind"]) == (MONITORING, "ServiceMonitor", "PrometheusRule")
    assert scraped["metadata"] == rules["metadata"]
    assert scraped["metadata"]["namespace"] == "models"
    (plain,) = load(render("first", "--to", "prometheus", "--environment", "prod"))
    assert rules["spec"]["groups"] == plain["groups"]
    with pytest.raises(InputError, match="first: found the platform local; expected kubernetes"):
        render("first", "--to", "servicemonitor")


def test_objectives_are_those_of_the_spec(project: Path) -> None:
    asked = "monitoring: {max_drift: 0.5, availability: 0.9, latency: {within_s: 0.25, share: 0.5}, max_age_days: 3}\n"
    (project / "models/first.yaml").write_text(LINE % "first" + asked)
    text = render("first", "--to", "prometheus")
    assert re.search(r'modelrail:feature_drift:1h{model="first", track!="shadow", [^}]*} > 0.5', text)
    assert 'modelrail:failed_share:1h{model="first"} > 1.44' in text
    assert 'modelrail:slow_share:1h{model="first"} > 7.2' in text
    assert 'le="0.25"' in text
    assert "> 259200" in text


def test_a_latency_objective_is_one_that_servers_count(project: Path) -> None:
    (project / "models/first.yaml").write_text(LINE % "first" + "monitoring: {latency: {within_s: 0.3}}\n")
    with pytest.raises(SpecError, match=r"monitoring.latency.within_s: found 0.3; expected one of 0.00025, 0.0005"):
        render("first", "--to", "prometheus")
