"""A look at a release that is really live, from its own counts and from a real Prometheus."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import live
from pipeline.errors import InputError, TransientError
from pipeline.monitoring.history import read_looks
from pipeline.monitoring.rendering import Asked, Watched
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.spec.loading.loading import load_spec
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.captures import CaptureFiles
from tests.conftest import Commit
from tests.monitoring.stack import needs_stack, until, watching
from tests.ports import free_port

SPEC = """
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {id: int, delay: float, carrier: str, arrival: float}
  derive: {late: arrival > 15}
  key: [id]
features: {select: [delay, carrier]}
evaluate: {metrics: [roc_auc, accuracy], bootstrap: 20}
monitoring: {min_requests: 200}
deploy: {port: 0}
"""


def records(seed: int, count: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [{"delay": round(draw.gauss(10, 20), 1), "carrier": draw.choice(["AA", "UA", "DL"])} for _ in range(count)]


def month(seed: int, *, flipped: bool = False) -> str:
    draw, sign = random.Random(seed), -1 if flipped else 1
    rows = (f"{seed * 1000 + row},{each['delay']},{each['carrier']},{sign * each['delay'] + draw.gauss(0, 10):.1f}"
            for row, each in enumerate(records(seed, 900)))  # fmt: skip
    return "\n".join(["id,delay,carrier,arrival", *rows, ""])


@pytest.fixture
def address(live_project: Path, commit: Commit) -> str:
    months = {f"data/2013-0{number}.csv": month(number) for number in (1, 2)}
    commit(months | {"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n"})
    run(RunRequest("models/late.yaml"), lambda _: None)
    found = live("late", live_project / ".modelrail")
    assert found is not None
    return found.address


def ask(address: str, rows: list[dict[str, Any]]) -> None:
    with httpx.Client(base_url=address) as client:
        for row in rows:
            assert client.post("/api/predict", json={"inputs": [row]}).status_code == 200


def look(*options: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["watch", "late", "--json", *options], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each | {"delay": each["delay"] * 60} for each in rows]


def test_what_is_live_is_judged_by_its_own_counts(address: str) -> None:
    assert look()["verdict"] == "waiting"  # the question after the deployment alone
    ask(address, records(7, 400))
    quiet = look()
    assert quiet["verdict"] == "quiet"
    assert quiet["drifted"] == []
    assert {each["metric"] for each in quiet["quality"]} == {"roc_auc", "accuracy"}
    assert all(each["low"] <= each["reference"] for each in quiet["quality"])
    assert look()["verdict"] == "waiting"  # a window begins where the last one was judged
    ask(address, seconds(records(8, 400)))
    moved = look()
    assert moved["verdict"] == "drift"
    assert moved["requests"] == 400
    assert moved["drifted"][0]["feature"] == "delay"
    assert [each["feature"] for each in moved["sudden"]][:1] == ["delay"]
    assert moved["diagnosis"]["cause"] == "pipeline"
    assert "another unit" in moved["diagnosis"]["signs"][0]["text"]
    state = Path.cwd() / ".modelrail"
    kept = read_looks(FolderStore(state / "store"), "late", "local")
    assert [(each.verdict, each.signals) for each in kept] == [("quiet", ()), ("drift", ("pipeline", "drift"))]
    assert kept[1].requests == 400
    assert "another unit" in " ".join(kept[1].lines)
    assert moved["since"][1] == "this release was quiet before, so it is not the release alone"
    assert [f"  {each}" for each in moved["since"]] == [each for each in kept[1].lines if each[2:] in moved["since"]]
    assert kept[1].indexes["delay"] > 1
    assert {each["metric"] for each in kept[1].quality} == {"roc_auc", "accuracy"}


def test_quality_is_known_as_soon_as_the_truth_is_committed(address: str, live_project: Path, commit: Commit) -> None:
    commit({"data/2013-03.csv": month(3)})
    waiting = look()
    assert waiting["verdict"] == "waiting"
    assert {each["metric"]: (each["rows"], each["worse"]) for each in waiting["quality"]} == {
        "roc_auc": (900, False),
        "accuracy": (900, False),
    }
    newer = commit({"data/2013-04.csv": month(4, flipped=True)})
    found = look()
    assert found["verdict"] == "quality"
    assert found["diagnosis"]["cause"] == "concept"
    assert all(each["worse"] and not each["estimated"] and each["data_commit"] == newer for each in found["quality"])
    (kept,) = read_looks(FolderStore(live_project / ".modelrail/store"), "late", "local")
    assert (kept.verdict, kept.cause) == ("quality", "concept")
    assert look()["verdict"] == "quality"
    assert read_looks(FolderStore(live_project / ".modelrail/store"), "late", "local") == (kept,)  # no news
    done = CliRunner().invoke(app, ["watch", "late", "--detailed-exitcode"])
    assert done.exit_code == 2
    assert "it does worse than on its test rows" in done.stdout
    assert f"on 1,800 rows that it has never seen (data {newer[:10]})" in " ".join(done.stdout.split())
    ask(address, records(7, 400))
    asked = look()
    assert asked["verdict"] == "quality"
    assert {each["estimated"] for each in asked["quality"]} == {True, False}


def tell(address: str, rows: list[dict[str, Any]], *, flipped: bool) -> None:
    """Ask about rows, and tell some time after what came true."""
    with httpx.Client(base_url=address) as client:
        answers = [client.post("/api/predict", json={"inputs": [row]}).json() for row in rows]
        late = [(row["delay"] > 15) != flipped for row in rows]
        truths = [{"id": each["id"], "truth": true} for each, true in zip(answers, late, strict=True)]
        assert client.post("/api/truth", json={"truths": truths}).json()["counted"] == len(rows)


def test_quality_is_known_as_soon_as_callers_tell_the_truth(address: str) -> None:
    tell(address, records(7, 100), flipped=False)
    few = look()
    assert few["verdict"] == "waiting"
    assert {each["metric"]: (each["rows"], each["level"]) for each in few["quality"]} == {
        "roc_auc": (100, 0.0),
        "accuracy": (100, 0.0),
    }
    tell(address, records(8, 200), flipped=False)
    good = look()
    assert good["verdict"] == "quiet"
    known = [each for each in good["quality"] if not each["estimated"]]
    assert [(each["rows"], each["worse"], each["data_commit"]) for each in known] == [(300, False, None)] * 2
    tell(address, records(9, 300), flipped=True)
    found = look()
    assert (found["verdict"], found["diagnosis"]["cause"], found["drifted"]) == ("quality", "concept", [])
    assert all(each["worse"] and each["rows"] == 300 for each in found["quality"] if not each["estimated"])
    assert "on 300 answers whose truth came, on its test rows" in found["diagnosis"]["signs"][0]["text"]
    assert look()["verdict"] == "waiting"  # what was told is judged once


def test_a_look_goes_on_where_newer_rows_cannot_be_evaluated(address: str, commit: Commit) -> None:
    commit({"data/2013-03.csv": "id,carrier,arrival\n1,AA,3\n"})
    ask(address, records(7, 400))
    found = look()
    assert found["verdict"] == "quiet"
    assert found["notes"][0].startswith("it was not evaluated on newer rows: ")
    assert "delay" in found["notes"][0]


def test_failed_requests_and_an_exit_code(address: str) -> None:
    with httpx.Client(base_url=address) as client:
        for _ in range(250):
            assert client.post("/api/predict", json={"inputs": [{"delay": "soon"}]}).status_code == 422
    done = CliRunner().invoke(app, ["watch", "late", "--detailed-exitcode"])
    assert done.exit_code == 2
    assert "too many requests are refused (251 requests" in " ".join(done.stdout.split())
    assert "99.6% of the requests were refused" in done.stdout
    assert CliRunner().invoke(app, ["watch", "late", "--detailed-exitcode"]).exit_code == 0  # waiting again


def test_what_cannot_be_looked_at_says_why(address: str, live_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(CliRunner().invoke(app, ["watch", "--json"]).stdout)
    assert [each["model"] for each in listed] == ["late"]
    monkeypatch.setenv("MODELRAIL_PROMETHEUS", "ftp://nowhere")
    done = CliRunner().invoke(app, ["watch", "late"])
    assert done.exit_code == InputError.exit_code
    assert "MODELRAIL_PROMETHEUS" in done.stderr
    monkeypatch.setenv("MODELRAIL_PROMETHEUS", f"http://127.0.0.1:{free_port()}")
    assert CliRunner().invoke(app, ["watch", "late"]).exit_code == TransientError.exit_code
    monkeypatch.setenv("MODELRAIL_PROMETHEUS", address)  # a server, but no Prometheus
    assert "found the status 404; expected 200" in CliRunner().invoke(app, ["watch", "late"]).stderr


@needs_stack
def test_what_prometheus_has_added_up_is_judged(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked([Watched(load_spec(Path("models/late.yaml")).spec, None)])
    folder = tmp_path / "stack"
    folder.mkdir()
    with watching(folder, asked, address.removeprefix("http://")) as stack:
        until(lambda: stack.query("sum(ml_inference_requests_total) >= 1"), "scraped")
        ask(address, seconds(records(9, 300)))
        tell(address, seconds(records(10, 100)), flipped=False)
        until(lambda: stack.query('sum(ml_inference_feature_total{feature="delay"}) >= 401'), "all rows scraped")
        monkeypatch.setenv("MODELRAIL_PROMETHEUS", stack.prometheus)
        moved = look()
    assert moved["verdict"] == "drift"
    assert moved["drifted"][0]["feature"] == "delay"
    assert sum(each["rows"] for each in moved["quality"] if not each["estimated"]) >= 200
    assert moved["requests"] >= 400  # Prometheus extrapolates to the ends of its window


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "1.0.0"}'])
def test_a_note_of_the_last_look_that_is_damaged_is_none(address: str, live_project: Path, content: bytes) -> None:
    ask(address, records(7, 400))
    assert look()["verdict"] == "quiet"
    (note,) = (live_project / ".modelrail/store/notes/watch").rglob("*.json")
    note.write_bytes(content)
    again = look()
    assert (again["verdict"], again["seconds"], again["requests"]) == ("quiet", None, 401)


KEYED = SPEC.replace("select: [delay, carrier]", "select: [id, delay, carrier]")


@pytest.mark.parametrize("spec", [SPEC, KEYED], ids=["by all inputs", "by the key"])
def test_captured_answers_are_held_against_rows_of_newer_commits(
    live_project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str
) -> None:
    months = {f"data/2013-0{number}.csv": month(number) for number in (1, 2)}
    commit(months | {"models/late.yaml": spec, ".gitignore": ".modelrail/\n"})
    run(RunRequest("models/late.yaml"), lambda _: None)
    monkeypatch.setenv("MODELRAIL_SERVE_CAPTURE_TO", str(tmp_path / "kept"))
    lines = [line.split(",") for line in month(3).splitlines()[1:]]
    record = ({"id": int(key), "delay": float(delay), "carrier": carrier} for key, delay, carrier, _ in lines[:400])
    names = {"delay", "carrier"} | ({"id"} if spec is KEYED else set())
    rows = [
        {"id": f"late@v1.0.0:{place:032x}", "row": 0, "time": 1.0, "output": row["delay"] < 15,  # the contrary
         "record": {name: row[name] for name in names}}
        for place, row in enumerate(record)
    ]  # fmt: skip
    content = "".join(json.dumps(each) + "\n" for each in rows).encode()
    CaptureFiles(str(tmp_path / "kept")).write("late", "1.0.0", content)
    newer = commit({"data/2013-03.csv": month(3)})
    found = look()
    assert found["verdict"] == "quality"
    (captured,) = [each for each in found["quality"] if each["captured"]]
    assert (captured["metric"], captured["worse"], captured["data_commit"]) == ("accuracy", True, newer)
    assert captured["rows"] == 400 if spec is KEYED else 350 < captured["rows"] <= 400  # few have the same inputs
    assert captured["value"] < 0.3
    assert f"captured answers (data {newer[:10]}), on its test rows" in found["diagnosis"]["signs"][0]["text"]
    assert all(not each["worse"] for each in found["quality"] if not each["captured"])
