"""Many small files: ``python -m benchmarks.small_files [--files 2000] [--rows 20] [--runs 3]``.

One model of five years of daily files against a bare script that reads them all with pandas, fits scikit-learn's ridge
and records it in MLflow: from nothing, with one file changed, with one file reformatted (the same rows), unchanged.
The bare script, which keeps nothing, does all of it each time. What each step took is printed too.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from benchmarks.measuring import Run, environment, run, say, say_machine
from benchmarks.project import MODELRAIL, commit, remove_project

SPEC = """\
model: {name: daily, trainer: ridge, task: regression, target: y}
data: {files: "data/{day}.csv"}
features: {drop: [day]}
evaluate: {bootstrap: 50}
deploy: {port: 0}
"""
BARE = """\
import sys
from pathlib import Path
import mlflow, pandas as pd
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

rows = pd.concat([pd.read_csv(file) for file in sorted(Path("data").glob("*.csv"))], ignore_index=True)
rows = rows.drop_duplicates().dropna()
features = pd.get_dummies(rows.drop(columns=["day", "y"]), columns=["c"], dtype=float)
x, x_test, y, y_test = train_test_split(features, rows["y"], test_size=0.2, random_state=0)
scaler = StandardScaler().fit(x)
model = Ridge().fit(scaler.transform(x), y)
told = model.predict(scaler.transform(x_test))
metrics = {"rmse": root_mean_squared_error(y_test, told), "mae": mean_absolute_error(y_test, told),
           "r2": r2_score(y_test, told)}
if len(sys.argv) > 1:
    mlflow.set_tracking_uri(sys.argv[1])
    with mlflow.start_run():
        mlflow.log_params(model.get_params())
        mlflow.log_metrics(metrics)
        mlflow.sklearn.log_model(model, name="model", registered_model_name="daily", serialization_format="skops")
"""


def make_project(folder: Path, files: int, rows: int) -> Path:
    """Write and commit the files and the spec."""
    draw = random.Random(0)  # noqa: S311 - made data, not secrets
    (folder / "data").mkdir(parents=True)
    (folder / "models").mkdir()
    for number in range(files):
        day = date(2020, 1, 1) + timedelta(days=number)
        lines = [_line(day, draw) for _ in range(rows)]
        (folder / "data" / f"{day}.csv").write_text("\n".join(["day,x,c,n,y", *lines, ""]))
    (folder / "models/daily.yaml").write_text(SPEC)
    (folder / "bare.py").write_text(BARE)
    (folder / ".gitignore").write_text(".modelrail/\nbare.db\nmlruns/\n")
    commit(folder, "Five years", initial=True)
    return folder


def _line(day: date, draw: random.Random) -> str:
    x, number = draw.gauss(0, 1), draw.randint(0, 9)
    return f"{day},{x:.4f},{draw.choice('abc')},{number},{2 * x + number / 10 + draw.gauss(0, 0.1):.4f}"


def change(project: Path, *, rows: bool) -> None:
    """Change one file in the middle: one row fewer, or the same rows with their numbers in quotes."""
    files = sorted((project / "data").glob("*.csv"))
    file = files[len(files) // 2]
    first, *lines = file.read_text().splitlines()
    lines = lines[1:] if rows else [f'{head},"{last}"' for head, _, last in (line.rpartition(",") for line in lines)]
    file.write_text("\n".join([first, *lines, ""]))
    commit(project, "One file")


def modelrail(project: Path) -> Run:
    done = run((MODELRAIL, "run", "models/daily.yaml", "--json"), project, environment())
    steps = {each["step"]: each["seconds"] for each in json.loads(done.output)["steps"]}
    print("  " + ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items() if seconds >= 0.005), flush=True)
    return done


def measure(scratch: Path, files: int, rows: int) -> dict[str, Run]:
    project = make_project(scratch / "project", files, rows)
    try:
        bare = (sys.executable, "bare.py")
        found = {
            "bare": run(bare, project, environment()),
            "bare, with MLflow": run((*bare, "sqlite:///bare.db"), project, environment()),
            "from nothing": modelrail(project),
        }
        change(project, rows=True)
        found["one file changed"] = modelrail(project)
        change(project, rows=False)
        found["one file reformatted"] = modelrail(project)
        return found | {"unchanged": modelrail(project)}
    finally:
        remove_project(project)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=20, help="of each file")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    say_machine()
    runs = []
    for _ in range(given.runs):
        with tempfile.TemporaryDirectory() as scratch:
            runs.append(measure(Path(scratch), given.files, given.rows))
    say("Wall time", {name: [each[name].seconds for each in runs] for name in runs[0]}, against="bare, with MLflow")
    say("CPU time", {name: [each[name].cpu_s for each in runs] for name in runs[0]}, against="bare, with MLflow")
    per_file = statistics.median(each["from nothing"].seconds for each in runs) / given.files * 1000
    print(f"\n{per_file:.2f} ms a file from nothing")


if __name__ == "__main__":
    main()
