"""How long the pages of Airflow's UI take at many releases: ``python -m benchmarks.pages [--releases 1000]``.

The pages are made as the plugin makes them, without Airflow's own share (login, database) and without the network.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import say, say_machine
from pipeline.delivery.releases import Evidence, Release, Version, message
from pipeline.delivery.stages import Stage
from pipeline.delivery.stages import message as stage_message
from pipeline.ui.pages.archive import Archive
from pipeline.ui.pages.fleet import fleet_page
from pipeline.ui.pages.model import model_page
from pipeline.ui.pages.rendering import render

SPEC = "model: {name: many, trainer: ridge, task: regression, target: y}\ndata: {files: 'data/{year}.csv'}\n"
INPUTS = [
    {"name": f"column_{place}", "type": "float", "nullable": True, "text": None, "format": None} for place in range(30)
]


def make_project(folder: Path, count: int, stages: int = 0) -> Path:
    """Make a repository with a spec and that many releases and stages, as one stream that git reads."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "many.yaml").write_text(SPEC)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    stream = [b"commit refs/heads/main\nmark :1\ncommitter B <b@localhost> 1700000000 +0000\ndata 1\nx\n"]
    stream += [tag(place) for place in range(count)]
    stream += [stage_tag(number) for number in range(1, stages + 1)]
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=b"".join(stream), check=True)
    return folder


def tag(place: int) -> bytes:
    value = 0.9 + place % 17 / 1000
    evidence = Evidence(
        data_repository=".", data_commit=f"{place:040x}", spec_commit="0" * 40, code="modelrail 0.1.0",
        spec_path="models/many.yaml", environment=None, as_of=None, partitions=12,
        artifacts=dict.fromkeys(("normalize", "train", "evaluate"), f"{place:064x}"), model_digest=f"{place:064x}",
        recipe="r", signature={"task": "regression", "inputs": INPUTS, "classes": None, "example": {}},
        metrics={name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name in ("r2", "mae", "rmse")},
        verdict=[f"r2 {value} is at least 0.7: passed"], mlflow_run=None, who="B <b@localhost>", why=f"Data {place}",
    )  # fmt: skip
    text = message(Release("many", Version(1, 0, place), evidence), None).encode()
    return tag_object(f"many@v1.0.{place}", text, place)


def stage_tag(number: int) -> bytes:
    version = Version(1, 0, number % 100)
    stage = Stage("many", ("dev", "prod")[number % 2], number, version, "deploy", "B <b@localhost>", f"Data {number}")
    return tag_object(stage.tag, stage_message(stage, None).encode(), number)


def tag_object(name: str, text: bytes, place: int) -> bytes:
    head = f"tag {name}\nfrom :1\ntagger B <b@localhost> {1700000000 + place * 60} +0000\ndata {len(text)}\n"
    return head.encode() + text + b"\n"


def timed(make: Callable[[], str]) -> float:
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project", given.releases)
        models = project / "models"

        def show_models(archive: Archive) -> str:
            return render("models.html", "/modelrail", shown=fleet_page(archive, lambda _: True, lambda _: {}))

        def show_model(archive: Archive) -> str:
            (source,) = archive.sources.all()
            shown = model_page(archive, source, [], page=25)
            return render("model.html", "/modelrail", shown=shown, may_change=True, notice="")

        warm = Archive(models)
        show_models(warm)
        found: dict[str, list[float]] = {"models, first": [], "model, first": [], "models": [], "model": []}
        for _ in range(given.runs):
            found["models, first"].append(timed(lambda: show_models(Archive(models))))
            found["model, first"].append(timed(lambda: show_model(Archive(models))))
            found["models"].append(timed(lambda: show_models(warm)))
            found["model"].append(timed(lambda: show_model(warm)))
        say(f"A page at {given.releases:,} releases; 'first': every tag is read anew, as after a new release", found)


if __name__ == "__main__":
    main()
