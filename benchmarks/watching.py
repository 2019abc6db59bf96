"""What `modelrail watch` finds: ``.venv/bin/python -m benchmarks.watching [--seeds 20] [--quiet 1000] [--rows 1000]``.

``--beside evidently=PYTHON nannyml=PYTHON`` has these judge the very same windows, each in an interpreter of its own.

Releases `flight-delay`, then asks it windows of its own test rows, with a fault put into them or with none. Rows are
counted by the server's own code, and judged as `watch` judges them: beside the reference, and beside a quiet window
before, five minutes each. Of each fault: in how many of the seeds it was found in the first and in the second window,
how often the diagnosis named its cause and its column. Of quiet windows: how many were called anything else. What is
kept of a window is compared with its payloads. Labels are told by prediction id, a window after the answers, flipped in
some of the rows: found or not in the first and in the second window of which they came; and where none is flipped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measuring import environment, run, say_machine
from benchmarks.project import MODELRAIL, SPEC, make_flights, make_project, remove_project
from pipeline.model.reference import Reference
from pipeline.model.signature import Signature
from pipeline.monitoring.answered import judge_told
from pipeline.monitoring.counts import Bins, Counts
from pipeline.monitoring.diagnosis import diagnose
from pipeline.monitoring.judging import MONTH_S, budget_of, judge
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session
from pipeline.runs.work.evaluation import gather_test_rows
from pipeline.runs.work.scoring import encode
from pipeline.serving.observing.features import Counting, FeatureMeters
from pipeline.serving.observing.truth import Told, TruthMeters
from pipeline.serving.rows.records import Rows
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import ServedModel
from pipeline.spec.schema.spec import Monitoring
from pipeline.steps.features import TARGET
from pipeline.steps.transform import number_matrix, text_matrix

WINDOW_S = 300.0
Draw = np.random.Generator
Frame = pd.DataFrame


@dataclass(frozen=True)
class Fault:
    """What is done to a window, and what should be said of it: the column's name, or a cause alone."""

    name: str
    change: Callable[[Frame, Draw], Frame]
    cause: str | None
    column: str = ""
    failed: float = 0.0
    lies: bool = False


def some(column: str, share: float, value: object) -> Callable[[Frame, Draw], Frame]:
    """Put a value into a share of the rows."""
    return lambda rows, draw: rows.assign(**{column: rows[column].mask(draw.random(len(rows)) < share, value)})


def times(column: str, factor: float) -> Callable[[Frame, Draw], Frame]:
    return lambda rows, _: rows.assign(**{column: rows[column] * factor})


def shifted(column: str, by: float) -> Callable[[Frame, Draw], Frame]:
    """Move a column by so many of its standard deviations."""
    return lambda rows, _: rows.assign(**{column: rows[column] + by * DEVIATIONS[column]})


def shuffled(column: str) -> Callable[[Frame, Draw], Frame]:
    return lambda rows, draw: rows.assign(**{column: draw.permutation(rows[column].to_numpy())})


def same(rows: Frame, _draw: Draw) -> Frame:
    return rows


DEVIATIONS: dict[str, float] = {}
SHIFTS = (0.1, 0.25, 0.5, 1.0)
HEAD = "| fault | found in the first window | or the second | cause and column right | |"
FAULTS = (
    Fault("delay in seconds", times("dep_delay", 60), "pipeline", "dep_delay"),
    Fault("distance in kilometres", times("distance", 1.609), "data", "distance"),
    Fault("delay missing in 5 %", some("dep_delay", 0.05, np.nan), "pipeline", "dep_delay"),
    Fault("delay missing in all", some("dep_delay", 1, np.nan), "pipeline", "dep_delay"),
    Fault("distance constant", some("distance", 1, 1_000.0), "pipeline", "distance"),
    Fault("new carrier in 5 %", some("carrier", 0.05, "ZZ"), "data", "carrier"),
    Fault("no flights of EWR", lambda rows, _: rows.assign(origin=rows["origin"].where(rows["origin"] != "EWR", "JFK")),
          "pipeline", "origin"),
    *(Fault(f"{column} + {by:g} deviations", shifted(column, by), "data", column)
      for column in ("distance", "dep_delay") for by in SHIFTS),
    Fault("distance shuffled among rows", shuffled("distance"), None, "distance"),
    Fault("5 % of the requests fail", same, "service", "", 0.05),
    Fault("1 % of the requests fail", same, "service", "", 0.01),
    Fault("a release that lies", same, "concept", "", 0.0, lies=True),
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """A release, and rows that it has never seen."""

    model: ServedModel
    signature: Signature
    reference: Reference
    rows: Frame
    truth: Sequence[object]

    def labels(self, draw: Draw, rows: int, flipped: float) -> dict[str, Bins]:
        """Ask a window, and tell what came true of it, the contrary of a share of the rows; return what was counted."""
        places = draw.integers(0, len(self.rows), rows)
        asked = self.rows.iloc[places]
        numbers = number_matrix(asked, self.signature.numbers) if self.signature.numbers else None
        texts = text_matrix(asked, self.signature.texts) if self.signature.texts else None
        meters, key = TruthMeters(None, 0, Counting()), ("flight-delay", "1.0.0", "live")
        meter = meters.of(key, self.signature, self.reference, rows)
        assert meter is not None  # noqa: S101 - rows are remembered
        ids = [f"{place + 1:016x}{0:016x}" for place in range(rows)]
        meter.offer(self.model.predict(numbers, texts), ids, [1] * rows)
        no, yes = self.signature.classes or (0, 1)
        other = {no: yes, yes: no}
        flips = draw.random(rows) < flipped
        truth = [
            other[self.truth[place]] if flip else self.truth[place] for place, flip in zip(places, flips, strict=True)
        ]
        meters.tell([Told("flight-delay", "1.0.0", int.from_bytes(bytes.fromhex(digits[:16]), "little"), 0, each)
                     for digits, each in zip(ids, truth, strict=True)])  # fmt: skip
        (found,) = meters.readings({key}).values()
        return {name: tuple(bins) for name, bins in zip(found.answered.counted, found.counts.tolist(), strict=True)}

    def window(self, draw: Draw, rows: int, fault: Fault) -> tuple[Counts, Frame]:
        """Ask a window; return what was counted, and what was asked and answered, which only others keep."""
        asked = fault.change(self.rows.iloc[draw.integers(0, len(self.rows), rows)].reset_index(drop=True), draw)
        numbers = number_matrix(asked, self.signature.numbers) if self.signature.numbers else None
        texts = text_matrix(asked, self.signature.texts) if self.signature.texts else None
        answered = self.model.predict(numbers, texts)
        if fault.lies and answered.probabilities is not None:
            told = {"values": 1 - answered.values, "probabilities": answered.probabilities[:, ::-1]}  # noqa: PD011
            answered = replace(answered, **told)
        meters = FeatureMeters(None, 0)
        meter = meters.of(("flight-delay", "1.0.0", "live"), self.reference, self.signature)
        assert meter is not None  # noqa: S101 - there is a reference
        meter.offer(Rows(numbers, texts, rows), answered)
        (found,) = meters.readings(()).values()
        edges = np.cumsum([len(each.shares) for each in found.described.features])[:-1]
        bins = np.split(found.counts, edges)
        features = {each.name: tuple(map(float, own)) for each, own in zip(found.described.features, bins, strict=True)}
        failed = int(draw.binomial(rows, fault.failed))
        score = answered.values if answered.probabilities is None else answered.probabilities[:, -1]  # noqa: PD011
        return Counts(rows + failed, failed, 0, features), asked.assign(score=np.ravel(score))


def make_world(project: Path) -> World:
    """Release the model; gather its test rows."""
    run((MODELRAIL, "run", SPEC), project, environment())
    inputs = Session(open_job(RunRequest(str(project / SPEC)))).inputs
    (bundle,) = (project / ".modelrail/releases/flight-delay").iterdir()
    model = load_model(bundle)
    assert model.reference is not None  # noqa: S101 - a release of this code has one
    tested = gather_test_rows(inputs, [model.signature])
    rows = tested[[each.name for each in model.signature.inputs]]
    DEVIATIONS.update({str(name): float(rows[name].std()) for name in rows if rows[name].dtype.kind == "f"})
    classes = model.signature.classes or ()
    truth = [classes[place] for place in encode(tested[TARGET], model.signature).tolist()]
    return World(model, model.signature, model.reference, rows, truth)


QUIET = Fault("none", same, None)


def measure_fault(world: World, fault: Fault, seeds: int, rows: int) -> str:
    """Return a line of the table."""
    first = second = right = 0
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        before, _ = world.window(draw, rows, QUIET)
        for place in range(2):
            window, _ = world.window(draw, rows, fault)
            judged = judge(window, world.reference, Monitoring(), WINDOW_S, before)
            if judged.verdict not in ("quiet", "waiting"):
                said = diagnose(judged, window, world.reference)
                named = not fault.column or said.signs[0].feature == fault.column
                right += said.cause == fault.cause and named
                first, second = first + (place == 0), second + 1
                break
    return f"| {fault.name} | {first} | {second} | {right} | of {seeds}"


def measure_quiet(world: World, windows: int, rows: int) -> tuple[int, float, int, int]:
    """Count false alarms; return them, the share of a month that the windows are, and the bytes kept and asked."""
    draw, alarms, asked, kept = np.random.default_rng(10_000), 0, 0, 0
    before = None
    for _ in range(windows):
        window, asked_rows = world.window(draw, rows, QUIET)
        size = len(asked_rows.drop(columns="score").to_json(orient="records"))
        judged = judge(window, world.reference, Monitoring(), WINDOW_S, before)
        alarms += judged.verdict != "quiet"
        before, asked, kept = window, asked + size, len(json.dumps(window.features))
    return alarms, windows * WINDOW_S / (30 * 86_400), kept, asked


FLIPPED = (0.05, 0.1, 0.2, 0.5, 1.0)


def judge_labels(world: World, draw: Draw, rows: int, flipped: float) -> bool:
    """Tell whether a window of labels is called worse."""
    level = budget_of(Monitoring(), world.reference, 3 * len(world.reference.metrics)) * WINDOW_S / MONTH_S
    told = judge_told(world.labels(draw, rows, flipped), world.reference, level)
    return judge(Counts(), world.reference, Monitoring(), WINDOW_S, known=told).verdict == "quality"


def measure_labels(world: World, flipped: float, seeds: int, rows: int) -> str:
    """Return a line of the table; labels of a window come while the next one is asked."""
    first = second = 0
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        found = [judge_labels(world, draw, rows, flipped) for _ in range(2)]
        first, second = first + found[0], second + any(found)
    return f"| labels flipped in {flipped:.0%} of the rows, told a window late | {first} | {second} | | of {seeds}"


def write_windows(world: World, folder: Path, seeds: int, quiet: int, rows: int) -> None:
    """Write the same windows for others to judge, and twenty quiet ones as what they are compared with."""
    (folder / "windows").mkdir(parents=True)
    draw = np.random.default_rng(20_000)
    pd.concat([world.window(draw, rows, QUIET)[1] for _ in range(20)]).to_parquet(folder / "reference.parquet")
    for number, fault in enumerate(FAULTS):
        for seed in range(seeds if not fault.failed else 0):
            draw = np.random.default_rng(seed)
            world.window(draw, rows, QUIET)
            for place in range(2):
                world.window(draw, rows, fault)[1].to_parquet(folder / f"windows/{number}-{seed}-{place}.parquet")
    draw = np.random.default_rng(10_000)
    for number in range(quiet):
        world.window(draw, rows, QUIET)[1].to_parquet(folder / f"windows/quiet-{number}.parquet")


def say_peer(name: str, python: str, folder: Path, seeds: int, quiet: int) -> None:
    """Print a peer's table: any column that moved is found, the faulty one among them is right."""
    command = (python, str(Path(__file__).with_name("watching_peers.py")), name, str(folder))
    told = json.loads(run(command, folder, environment()).output.splitlines()[-1])
    found = told["found"]
    print(f"\n{name}\n\n{HEAD}\n|---|---|---|---|---|")
    for number, fault in enumerate(FAULTS):
        if not fault.failed:
            looks = [[found[f"{number}-{seed}-{place}"] for place in range(2)] for seed in range(seeds)]
            right = sum((fault.column or "score") in next(filter(None, each), ()) for each in looks)
            first, second = (sum(any(each[:upto]) for each in looks) for upto in (1, 2))
            print(f"| {fault.name} | {first} | {second} | {right} | of {seeds}")
    alarms = sum(bool(found[f"quiet-{number}"]) for number in range(quiet))
    print(
        f"\n{alarms} false alarms in {quiet:,} quiet windows; {told['cpu_s'] / len(found) * 1000:.1f} ms CPU a window"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quiet", type=int, default=1_000, help="windows without a fault")
    parser.add_argument("--rows", type=int, default=1_000, help="of a window, one a request")
    parser.add_argument("--beside", nargs="*", default=(), help="NAME=PYTHON of evidently or nannyml")
    given = parser.parse_args(arguments)
    say_machine()
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project", make_flights(Path(scratch)))
        try:
            world = make_world(project)
            print(f"\n{HEAD}\n|---|---|---|---|---|")
            for fault in FAULTS:
                print(measure_fault(world, fault, given.seeds, given.rows), flush=True)
            for flipped in FLIPPED:
                print(measure_labels(world, flipped, given.seeds, given.rows), flush=True)
            draw = np.random.default_rng(20_000)
            alarms = sum(judge_labels(world, draw, given.rows, 0.0) for _ in range(given.quiet))
            print(f"\n{alarms} false alarms in {given.quiet:,} windows of true labels")
            alarms, share, kept, asked = measure_quiet(world, given.quiet, given.rows)
            print(f"\n{alarms} false alarms in {given.quiet:,} quiet windows, {share:.2f} months of 0.01 each")
            print(f"{kept:,} bytes kept, {asked:,} bytes of payloads: {asked / kept:,.0f} times as many")
            if given.beside:
                write_windows(world, Path(scratch) / "peers", given.seeds, given.quiet, given.rows)
            for name, python in (each.split("=", 1) for each in given.beside):
                say_peer(name, python, Path(scratch) / "peers", given.seeds, given.quiet)
        finally:
            remove_project(project)


if __name__ == "__main__":
    main()
