"""What rows and columns cost: ``python -m benchmarks.shapes [--draw docs/images/scale.svg]``.

A whole run, from nothing to a live model, of a table of numbers in four files, with a ridge regression, beside a bare
script that reads it, fits the same with scikit-learn and tests it. One is ten times as long, then a hundred times; the
other ten times as wide, then a hundred times. CPU time, and the largest memory of all processes together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measuring import Run, environment, run, say_machine
from benchmarks.project import MODELRAIL, commit, remove_project

FILES, BASE_ROWS, BASE_COLUMNS = 4, 20_000, 10
ROWS = (20_000, 200_000, 2_000_000)
COLUMNS = (10, 100, 1_000)
Figures = Mapping[tuple[int, int], tuple[Run, Run]]
SPEC = """\
model: {name: shape, trainer: ridge, task: regression, target: y}
data: {files: "data/{part}.csv"}
evaluate: {bootstrap: 50}
deploy: {port: 0}
"""
BARE = """\
from pathlib import Path
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

rows = pd.concat([pd.read_csv(file) for file in sorted(Path("data").glob("*.csv"))], ignore_index=True)
rows = rows.drop_duplicates().dropna()
x, x_test, y, y_test = train_test_split(rows.drop(columns="y"), rows["y"], test_size=0.2, random_state=0)
scaler = StandardScaler().fit(x)
told = Ridge().fit(scaler.transform(x), y).predict(scaler.transform(x_test))
print(root_mean_squared_error(y_test, told), mean_absolute_error(y_test, told), r2_score(y_test, told))
"""


def make_project(folder: Path, rows: int, columns: int) -> None:
    """Write and commit the table and the spec."""
    draw = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    (folder / "models").mkdir()
    for part in range(FILES):
        numbers = draw.normal(size=(rows // FILES, columns)).round(4)
        table = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(columns)])
        table["y"] = (numbers[:, :5].sum(axis=1) + draw.normal(size=len(numbers))).round(4)
        table.to_csv(folder / f"data/{part}.csv", index=False)
    (folder / "models/shape.yaml").write_text(SPEC)
    (folder / ".gitignore").write_text(".modelrail/\n")
    commit(folder, "A table", initial=True)


def measure(rows: int, columns: int) -> tuple[Run, Run]:
    """Run the bare script and Modelrail once each."""
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        make_project(project, rows, columns)
        try:
            bare = run((sys.executable, "-c", BARE), project, environment(), memory=True)
            ours = run((MODELRAIL, "run", "models/shape.yaml"), project, environment(), memory=True)
        finally:
            remove_project(project)
    return bare, ours


def lines(figures: Figures) -> Iterator[str]:
    """Build the table."""
    yield "| rows | columns | bare: CPU, peak | Modelrail: CPU, peak | CPU beside bare | a million numbers more |"
    yield "|---|---|---|---|---|---|"
    first = figures[BASE_ROWS, BASE_COLUMNS][1]
    for (rows, columns), (bare, ours) in figures.items():
        more = (rows * columns - BASE_ROWS * BASE_COLUMNS) / 1e6
        slope = f"{(ours.cpu_s - first.cpu_s) / more:.2f} s" if more else ""
        sides = " | ".join(f"{each.cpu_s:.1f} s, {each.peak_mb:,.0f} MB" for each in (bare, ours))
        yield f"| {rows:,} | {columns:,} | {sides} | {ours.cpu_s / bare.cpu_s:.2f} | {slope} |"


def draw_curves(figures: Figures, path: Path) -> None:
    """Draw CPU time over rows and over columns, both in logarithms, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "shapes"  # the same file of the same figures
    from matplotlib import pyplot as plt

    shown = plt.figure(figsize=(9, 3.4), layout="constrained")
    shown.patch.set_facecolor("white")  # it stands on dark pages too
    axes = shown.subplots(1, 2, sharey=True)
    for axis, place, name in ((axes[0], 0, "rows of 10 columns"), (axes[1], 1, "columns of 20,000 rows")):
        fixed = (BASE_ROWS, BASE_COLUMNS)[1 - place]
        sizes = [size for size in figures if size[1 - place] == fixed]
        for number, label in ((1, "Modelrail, everything"), (0, "bare script")):
            axis.loglog(
                [each[place] for each in sizes], [figures[each][number].cpu_s for each in sizes], "o-", label=label
            )
        axis.set(xlabel=name)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.set_yticks([1, 2, 5, 10, 20, 50])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.grid(visible=True, which="both", alpha=0.3)
    axes[0].set(ylabel="CPU time, s")
    axes[0].legend()
    shown.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; draw it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS)
    parser.add_argument("--draw", type=Path, help="an SVG of the curves")
    given = parser.parse_args(arguments)
    say_machine()
    sizes = [*((rows, BASE_COLUMNS) for rows in given.rows), *((BASE_ROWS, columns) for columns in given.columns)]
    figures = {size: measure(*size) for size in dict.fromkeys([(BASE_ROWS, BASE_COLUMNS), *sizes])}
    print("\n".join(["", *lines(figures)]))
    if given.draw:
        draw_curves(figures, given.draw)


if __name__ == "__main__":
    main()
