"""Captured requests, asked of a candidate beside what is live."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.errors import InputError
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.storage.captures import CaptureFiles
from tests.conftest import Commit

SPEC = """
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{part}.csv
  columns:
    delay: {type: float, nullable: true}
    carrier: {type: str, nullable: true}
    at: {type: datetime, nullable: false}
    late: bool
clean: {missing: {delay: mean}}
evaluate: {metrics: [accuracy], bootstrap: 0}
deploy: {port: 0}
"""


def table(seed: int, late_from: float = 15) -> str:
    draw = random.Random(seed)
    lines = ["delay,carrier,at,late"]
    for row in range(600):
        delay = draw.gauss(10, 20)
        late = delay + draw.gauss(0, 5) > late_from
        lines.append(f"{delay:.1f},{draw.choice(['AA', 'UA'])},2013-01-{row % 28 + 1:02d}T{row % 24:02d}:00:00,{late}")
    return "\n".join([*lines, ""])


def records(count: int) -> list[dict[str, Any]]:
    draw = random.Random(9)
    return [{"delay": draw.gauss(10, 20), "carrier": draw.choice(["AA", "UA"]), "at": "2013-02-01T07:00:00"}
            for _ in range(count)]  # fmt: skip


@pytest.fixture
def released(live_project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], str]:
    """Release a model, whose server captures all that it is asked; return where it answers."""
    for name, value in {"SHARE": "1", "TO": str(tmp_path / "kept")}.items():
        monkeypatch.setenv(f"MODELRAIL_SERVE_CAPTURE_{name}", value)
    commit({"data/a.csv": table(1), "models/late.yaml": SPEC, ".gitignore": ".modelrail/\n"})
    run(RunRequest("models/late.yaml"), lambda _: None)
    found = live("late", live_project / ".modelrail")
    assert found is not None
    return lambda: found.address


def replay(*options: str, code: int) -> Any:
    done = CliRunner().invoke(app, ["replay", *options, "--json"], catch_exceptions=False)
    assert done.exit_code == code
    return json.loads(done.stdout)


def refuse(*options: str) -> str:
    done = CliRunner().invoke(app, ["replay", *options])
    assert isinstance(done.exception, InputError)
    return str(done.exception)


def capture(kept: Path, rows: list[dict[str, Any]], age_s: float = 0.0, rows_each: int = 1) -> None:
    """Write rows as a server does."""
    now = time.time() - age_s
    lines = [
        {"id": f"late@v1.0.0:{place // rows_each:032x}", "row": place % rows_each, "time": now, "record": row,
         "output": True}
        for place, row in enumerate(rows)
    ]  # fmt: skip
    CaptureFiles(str(kept)).write("late", "1.0.0", "".join(json.dumps(each) + "\n" for each in lines).encode(), now)


def test_a_candidate_is_tried_by_what_servers_were_asked(
    released: Callable[[], str], commit: Commit, live_project: Path, tmp_path: Path
) -> None:
    with httpx.Client(base_url=released()) as client:
        for row in records(220):
            assert client.post("/api/predict", json={"inputs": [row]}).status_code == 200
    commit({"data/b.csv": table(2)})
    run(RunRequest("models/late.yaml"), lambda _: None)
    commit({"data/a.csv": table(1, late_from=-20), "data/b.csv": table(2, late_from=-20)})
    run(RunRequest("models/late.yaml"), lambda _: None)
    stop_all(live_project / ".modelrail")  # writes what was captured
    good = replay("late@v1.0.1", "--against", "v1.0.0", code=0)
    assert good["passed"]
    assert good["requests"] >= 220
    assert {each["metric"] for each in good["compared"]} == {"errors", "latency", "outputs"}
    bad = replay("late@v1.0.2", "--against", "v1.0.0", code=1)
    assert [each["metric"] for each in bad["compared"] if each["worse"]] == ["outputs"]
    assert bad["different"] > 100
    done = CliRunner().invoke(app, ["replay", "late@v1.0.1"])  # beside what is live, for which nearly all are late
    assert done.exit_code == 1
    assert "late@v1.0.1 beside late@v1.0.2: worse (" in " ".join(done.stdout.split())


def test_time_columns_and_limits(released: Callable[[], str], tmp_path: Path) -> None:
    released()
    kept = tmp_path / "other"
    rows = records(250)
    capture(kept, rows)
    capture(kept, rows, age_s=20 * 86_400)
    asked = ["late@v1.0.0", "--captures", str(kept)]
    assert replay(*asked, code=0)["requests"] == 250
    assert replay(*asked, "--since", "4w", code=0)["requests"] == 500
    as_arrays = [{"delay": None, "carrier": "", "at": 1359702000.0} for _ in rows]
    capture(tmp_path / "arrays", as_arrays)
    found = replay("late@v1.0.0", "--captures", str(tmp_path / "arrays"), code=0)
    assert found["compared"][0]["text"].startswith("errors: 0.00% of 250 requests failed")
    capture(tmp_path / "many", rows, rows_each=5)
    refused = refuse("late@v1.0.0", "--captures", str(tmp_path / "many"))
    assert "found 50 captured requests; expected at least 200" in refused


def test_what_captures_hide_is_missing_in_both_if_it_may_be(
    released: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released()
    monkeypatch.setenv("MODELRAIL_SERVE_CAPTURE_PRIVATE", "carrier=hash")
    dropped = [{"at": each["at"], "carrier": "0123456789abcdef"} for each in records(250)]
    capture(tmp_path / "hidden", dropped)
    found = replay("late@v1.0.0", "--captures", str(tmp_path / "hidden"), code=0)
    assert found["hidden"] == ["carrier", "delay"]
    capture(tmp_path / "needed", [{"delay": 1.0, "carrier": "AA"}] * 250)
    refused = refuse("late@v1.0.0", "--captures", str(tmp_path / "needed"))
    assert "found no values of 'at', which they hide or lack" in refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["late"], "found 'late'; expected MODEL@VERSION"),
        (["late@v1.0.0", "--since", "0d"], "--since: found '0d'; expected hours, days or weeks"),
        (["late@v9.0.0"], "found no release late@v9.0.0"),
        (["late@v1.0.0"], "found no address of captures"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    released: Callable[[], str], monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    released()
    monkeypatch.delenv("MODELRAIL_SERVE_CAPTURE_TO")
    assert said in refuse(*options)
