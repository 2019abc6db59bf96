"""``modelrail run`` beside a bare script, Kedro, ZenML, Metaflow and DVC: the same job on the same flights.

``python -m benchmarks.main_job.compare [--runs 5] [--only modelrail bare dvc] [--peak-only]``

In each round every contender starts from an empty folder, one after the other; then, where it can reuse, it runs
again with nothing changed; Modelrail also with one partition of twelve changed. The virtual environments of the peers
are made once, in ``~/.cache/modelrail-benchmarks`` (``--cache``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import install
from benchmarks.measuring import environment, run, say, say_machine
from benchmarks.project import MODELRAIL, SPEC, commit, make_flights, make_project, remove_project

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
Command = tuple[str | Path, ...]


@dataclass(frozen=True)
class Place:
    """Where a contender works: an empty folder, the flights, the virtual environments."""

    folder: Path
    flights: Path
    cache: Path

    def tool(self, peer: str, name: str) -> Path:
        """Find a program of a peer."""
        return self.cache / peer / "bin" / name


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Attributes
    ----------
    prepare : callable
        Makes what its users make once (a repository, a project); not measured.
    command, again : callable
        What is measured: the first run, and the one after it, None where that computes everything anew.
    """

    prepare: Callable[[Place], None]
    command: Callable[[Place], Command]
    again: Callable[[Place], Command] | None = None
    settings: Callable[[Place], Mapping[str, str]] = lambda _: {}


def copy_peer(peer: str, place: Place) -> None:
    shutil.copytree(PEERS / peer, place.folder, dirs_exist_ok=True)
    shutil.copy(HERE / "bare.py", place.folder)


def prepare_modelrail(place: Place) -> None:
    make_project(place.folder, place.flights)


def prepare_bare(place: Place) -> None:
    place.folder.mkdir(exist_ok=True)


def prepare_kedro(place: Place) -> None:
    copy_peer("kedro", place)
    (place.folder / "flights").symlink_to(place.flights / "flights")


def prepare_zenml(place: Place) -> None:
    copy_peer("zenml", place)
    (place.folder / "mlflow").mkdir()
    env = environment(**zenml_settings(place))
    subprocess.run([place.tool("zenml", "zenml"), "init"], cwd=place.folder, env=env, check=True, capture_output=True)


def zenml_settings(place: Place) -> dict[str, str]:
    return {
        "ZENML_CONFIG_PATH": str(place.folder / "zenml"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_VERBOSITY": "WARN",
    }


def prepare_metaflow(place: Place) -> None:
    copy_peer("metaflow", place)
    (place.folder / "mlflow").mkdir()


def prepare_dvc(place: Place) -> None:
    copy_peer("dvc", place)
    shutil.copytree(place.flights / "flights", place.folder / "flights")
    commit(place.folder, "A pipeline", initial=True)
    for words in (("init", "--quiet"), ("config", "core.analytics", "false")):
        subprocess.run([place.tool("dvc", "dvc"), *words], cwd=place.folder, env=environment(), check=True)
    commit(place.folder, "DVC")


def run_modelrail(_: Place) -> Command:
    return (MODELRAIL, "run", SPEC, "--json")


def run_bare(place: Place) -> Command:
    return (sys.executable, HERE / "bare.py", place.flights, place.folder)


def run_bare_alone(place: Place) -> Command:
    return (*run_bare(place), "--no-mlflow")


def run_kedro(place: Place) -> Command:
    return (place.tool("kedro", "kedro"), "run")


def run_zenml(place: Place) -> Command:
    return (place.tool("zenml", "python"), "pipeline.py", place.flights, place.folder / "mlflow")


def run_metaflow(place: Place) -> Command:
    return (
        *(place.tool("metaflow", "python"), "flow.py", "--quiet", "--no-pylint", "run"),
        *("--flights", place.flights, "--out", place.folder / "mlflow"),
    )


def run_dvc(place: Place) -> Command:
    return (place.tool("dvc", "dvc"), "repro")


def activate(peer: str) -> Callable[[Place], Mapping[str, str]]:
    """Return a contender its own environment, as its activation would."""

    def settings(place: Place) -> Mapping[str, str]:
        path = f"{place.cache / peer / 'bin'}:{environment()['PATH']}"
        more = zenml_settings(place) if peer == "zenml" else {}
        return {"PATH": path, "PYTHONPATH": str(place.folder), "USERNAME": "benchmark", **more}

    return settings


CONTENDERS: Mapping[str, Contender] = {
    "modelrail": Contender(prepare_modelrail, run_modelrail, run_modelrail),
    "bare": Contender(prepare_bare, run_bare),
    "bare without MLflow": Contender(prepare_bare, run_bare_alone),
    "kedro": Contender(prepare_kedro, run_kedro, None, activate("kedro")),
    "zenml": Contender(prepare_zenml, run_zenml, run_zenml, activate("zenml")),
    "metaflow": Contender(prepare_metaflow, run_metaflow, None, activate("metaflow")),
    "dvc": Contender(prepare_dvc, run_dvc, run_dvc, activate("dvc")),
}


def measure(name: str, scratch: Path, given: argparse.Namespace, found: dict[str, dict[str, list[float]]]) -> None:
    """Let one contender do the job, then again, and keep what that took."""
    contender, place = CONTENDERS[name], Place(scratch / "work", given.cache / "flights", given.cache)
    contender.prepare(place)
    env = environment(**contender.settings(place))
    first = run(contender.command(place), place.folder, env, memory=given.peak_only)
    found["cold"].setdefault(name, []).append(first.seconds)
    found["cpu"].setdefault(name, []).append(first.cpu_s)
    found["peak"].setdefault(name, []).append(first.peak_mb)
    if not given.peak_only and contender.again:
        found["again"].setdefault(name, []).append(run(contender.again(place), place.folder, env).seconds)
    if name == "modelrail":
        if not given.peak_only:
            found["shares"].setdefault("of reading, cleaning, statistics", []).append(change_one(place, first.output))
        remove_project(place.folder)
    else:
        shutil.rmtree(place.folder)


def change_one(place: Place, first: str) -> float:
    """Change one flight of one month; give what cleaning and transforming take, as a share of the first run's."""
    data = place.folder / ".modelrail" / "flights"
    month = data / "flights" / "2013-06.csv"
    lines = month.read_text().splitlines(keepends=True)
    month.write_text("".join([*lines[:1], *lines[2:]]))
    commit(data, "One flight fewer in June")
    second = run(run_modelrail(place), place.folder).output
    return partition_seconds(second) / partition_seconds(first)


def partition_seconds(output: str) -> float:
    steps: list[dict[str, Any]] = json.loads(output)["steps"]
    return float(sum(each["seconds"] for each in steps if each["step"] in {"clean", "transform"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks")
    parser.add_argument("--peak-only", action="store_true", help="sample memory instead (which slows what is sampled)")
    given = parser.parse_args()
    make_flights(given.cache)
    for peer in given.only:
        if (PEERS / peer).is_dir():
            install(given.cache / peer, PEERS / peer / "requirements.txt")
    say_machine()
    found: dict[str, dict[str, list[float]]] = {"cold": {}, "cpu": {}, "again": {}, "peak": {}, "shares": {}}
    for number in range(given.runs):
        for name in given.only:
            with tempfile.TemporaryDirectory() as scratch:
                measure(name, Path(scratch), given, found)
            print(f"round {number + 1}: {name} {found['cold'][name][-1]:.2f} s", file=sys.stderr, flush=True)
    if given.peak_only:
        say("Peak memory: sum of PSS of all processes", found["peak"], "MB", against="bare")
        return
    say("Everything, from nothing: wall time", found["cold"], against="bare")
    say("The same, against Modelrail", found["cold"], against="modelrail")
    say("CPU time of it", found["cpu"], against="bare")
    say("Again, with nothing changed", found["again"], against="dvc")
    say("One partition of twelve changed (2/12 = 0.167)", found["shares"], "")


if __name__ == "__main__":
    main()
