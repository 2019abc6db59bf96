"""The files that docs/pods.md shows for KubernetesExecutor, with the addresses of a place of one's own."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pods.md"
PIPELINE, WORKER = "registry.example/pipeline:4be1a2c-pods", "registry.example/worker:4be1a2c"
GIT, API = "https://git.example/models.git", "http://airflow-api-server:8080"
STORE, MLFLOW = "s3://models/store", "https://mlflow.example"
"""As the page has them."""


def block(kind: str, word: str) -> str:
    """Return the page's block of that kind which has the word."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (each for each in blocks if word in each)
    return str(found)


def settings() -> dict[str, str]:
    """Return the page's settings of Airflow, as environment variables, but for those that a place has its own of."""
    parser = configparser.ConfigParser()
    parser.read_string(block("ini", "KubernetesExecutor"))
    found = {
        f"AIRFLOW__{section}__{name}".upper(): parser[section][name] for section in parser for name in parser[section]
    }
    return {name: value for name, value in found.items() if "…" not in value}


def replaced(text: str, places: Mapping[str, str]) -> str:
    for known, own in places.items():
        if known not in text:
            raise SystemExit(f"{PAGE}: found no {known}; expected it")
        text = text.replace(known, own)
    return text


def build_worker(folder: Path, pipeline: str, name: str, options: Sequence[str]) -> None:
    """Build the page's image of a worker, with Buildah, and push it."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(replaced(block("dockerfile", "FROM"), {PIPELINE: pipeline}))
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["buildah", "build", "--tls-verify=false", *options, "--tag", name, str(folder)], check=True)
    subprocess.run(["buildah", "push", "--tls-verify=false", name], check=True)


def write_template(path: Path, places: Mapping[str, str], told: Mapping[str, str]) -> None:
    """Write the page's pod template, its worker told a few variables more."""
    template: dict[str, Any] = YAML(typ="safe").load(replaced(block("yaml", "kind: Pod\n"), places))
    (worker,) = template["spec"]["containers"]
    worker["env"] += [{"name": name, "value": value} for name, value in told.items()]
    YAML().dump(template, path)
