"""What came true of rows that were answered: told by the id of their prediction, and counted once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.delivery.platforms.local.deployments import deploy, stop_all
from pipeline.serving.http.truths import MOST, read_truths
from pipeline.serving.observing import truth
from pipeline.serving.observing.exposition import exposition
from pipeline.serving.observing.features import Counting
from pipeline.serving.observing.metrics import Meters
from pipeline.serving.observing.truth import Outcome, Told, TruthMeters
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.served import Predictions
from tests.serving.bundles import GREETING, LINE, is_equal_graph, write_bundle
from tests.serving.conftest import Live, Start
from tests.serving.test_features import ALL, EVERYTHING

KEY = ("m", "v1.0.0", "live")


def digits(number: int) -> str:
    return f"{number + 1:016x}" + "0" * 16


def told(number: int, value: Any, row: int = 0, version: str = "1.0.0") -> Told:
    return Told("m", version, int.from_bytes(bytes.fromhex(digits(number)[:16]), "little"), row, value)


def ids(*numbers: int) -> list[str]:
    return [f"m@v1.0.0:{digits(each)}" for each in numbers]


def numbers(*values: float) -> Predictions:
    return Predictions(np.array(values))


@pytest.fixture(params=["one process", "workers"])
def meters(request: pytest.FixtureRequest, tmp_path: Path) -> TruthMeters:
    return TruthMeters(tmp_path if request.param == "workers" else None, 0, Counting())


def counts(meters: TruthMeters, key: tuple[str, str, str] = KEY) -> dict[str, list[float]]:
    reading = meters.readings({key})[key]
    return dict(zip(reading.answered.counted, reading.counts.tolist(), strict=True))


def test_errors_of_numbers_add_up(meters: TruthMeters) -> None:
    line = meters.of(KEY, LINE, None, 100)
    assert line is not None
    line.offer(numbers(1, 2, 3, 10), ids(0, 1), [3, 1])
    found = meters.tell([told(0, 1, row=0), told(0, 4.5, row=1), told(1, 7)])
    assert found == Outcome(3, 0, [])
    assert counts(meters) == {
        "rows": [3.0],
        "over": [3.0],
        "under": [2.5],
        "square": [2.5**2 + 9],
        "fourth": [2.5**4 + 81],
    }


def test_each_truth_counts_once_and_what_is_not_remembered_is_told(meters: TruthMeters) -> None:
    line = meters.of(KEY, LINE, None, 100)
    assert line is not None
    line.offer(numbers(1, 2), ids(0), [2])
    assert meters.tell([told(0, 1), told(0, 5), told(5, 1), told(0, 1, row=2)]) == Outcome(1, 1, [2, 3])
    assert meters.tell([told(0, 9), told(0, 2, row=1), told(0, 1, version="2.0.0")]) == Outcome(1, 1, [2])
    assert meters.tell([Told("m", "1.0.0", 0, 0, 1.0)]) == Outcome(0, 0, [0])  # a place of the ring that is empty
    assert counts(meters)["rows"] == [2.0]
    assert counts(meters)["over"] == [0.0]


def test_the_newest_answers_are_remembered(meters: TruthMeters) -> None:
    line = meters.of(KEY, LINE, None, 8)
    assert line is not None
    for number in range(20):
        line.offer(numbers(number), ids(number), [1])
        if number % 3 == 0:
            line.count()
    assert meters.tell([told(each, each) for each in range(20)]) == Outcome(8, 0, list(range(12)))
    line.offer(numbers(*range(30)), ids(99), [30])
    assert meters.tell([told(99, each, each) for each in range(30)]) == Outcome(8, 0, list(range(22)))
    assert meters.of(KEY, LINE, None, 8) is line
    assert meters.of(KEY, LINE, None, 0) is None
    assert meters.of(("m", "v1.0.0", "shadow"), LINE, None, 8) is None


def test_classes_are_counted_by_the_bin_of_their_score(meters: TruthMeters) -> None:
    """Of two classes what is true is the second one."""
    answered = meters.of(KEY, ALL, EVERYTHING, 100)
    assert answered is not None
    chances = np.array([0.1, 0.2, 0.9, 0.6])
    both = Predictions((chances >= 0.5).astype(np.int64), np.column_stack([1 - chances, chances]))
    answered.offer(both, ids(0, 1, 2, 3), [1] * 4)
    assert meters.tell([told(0, "no"), told(1, "yes"), told(2, "yes"), told(3, "no")]) == Outcome(4, 0, [])
    assert counts(meters) == {"rows": [0, 0, 2, 2, 0], "true": [0, 0, 1, 1, 0]}


def test_without_scores_what_was_predicted_right_is_counted(meters: TruthMeters) -> None:
    three = type(ALL)("classification", ALL.inputs, (1, 2, 3))
    answered = meters.of(KEY, three, None, 100)
    assert answered is not None
    answered.offer(Predictions(np.array([0, 1, 2])), ids(0, 1, 2), [1, 1, 1])
    assert meters.tell([told(0, 1), told(1, 2.0), told(2, 1)]).counted == 3
    assert counts(meters) == {"rows": [3], "true": [2]}


@pytest.mark.parametrize(
    ("signature", "value", "said"),
    [
        (LINE, "soon", "row 1: found the text 'soon'; expected a number"),
        (LINE, True, "row 1: found true; expected a number"),
        (LINE, None, "row 1: found null; expected a number"),
        (LINE, 10**80, "expected a number"),
        (GREETING, 1, 'row 1: found the number 1; expected one of ["no","yes"]'),
        (type(ALL)("classification", ALL.inputs, (0, 1)), True, "row 1: found true; expected one of [0,1]"),
    ],
)
def test_what_cannot_be_true_is_refused_and_nothing_is_counted(
    meters: TruthMeters, signature: Any, value: Any, said: str
) -> None:
    answered = meters.of(KEY, signature, None, 100)
    assert answered is not None
    answered.offer(Predictions(np.array([0, 1])), ids(0, 1), [1, 1])
    good = 0 if signature is LINE or 1 in signature.classes else "no"
    with pytest.raises(RejectedError) as caught:
        meters.tell([told(0, good), told(1, value)])
    assert caught.value.status == 422
    assert said in str(caught.value)
    assert counts(meters)["rows"] == [0]


def test_predictions_without_end_add_up_to_a_number(meters: TruthMeters) -> None:
    line = meters.of(KEY, LINE, None, 100)
    assert line is not None
    line.offer(numbers(1e300), ids(0), [1])
    assert meters.tell([told(0, -1e70)]).counted == 1
    assert all(np.isfinite(each).all() for each in counts(meters).values())


def test_any_worker_takes_the_truth_of_what_another_has_answered(tmp_path: Path) -> None:
    workers = [TruthMeters(tmp_path, number, Counting()) for number in range(3)]
    for number, worker in enumerate(workers):
        line = worker.of(KEY, LINE, None, 1000)
        assert line is not None
        line.offer(numbers(*range(100)), ids(*range(number * 100, number * 100 + 100)), [1] * 100)
        line.count()
    all_told = [told(each, 0) for each in range(300)]
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda worker: worker.tell(all_told), workers))
    assert sum(each.counted for each in outcomes) == 300
    assert sum(each.repeated for each in outcomes) == 600
    assert [counts(each)["rows"] for each in workers] == [[300.0]] * 3
    again = TruthMeters(tmp_path, 1, Counting())  # takes the place of a worker that was killed
    again.of(KEY, LINE, None, 1000)
    assert again.tell(all_told) == Outcome(0, 300, [])


def test_rings_of_what_is_served_no_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters = TruthMeters(tmp_path, 0, Counting())
    line = meters.of(KEY, LINE, None, 100)
    assert line is not None
    line.offer(numbers(1), ids(0), [1])
    line.count()
    assert meters.readings(()).keys() == {KEY}
    meters.remove_old({KEY})
    meters.remove_old(())
    assert len(list(tmp_path.glob("*.truth"))) == 1
    monkeypatch.setattr(truth, "KEPT_S", -1.0)
    meters.remove_old({KEY})
    assert len(list(tmp_path.glob("*.truth"))) == 1
    meters.remove_old(())
    assert list(tmp_path.glob("*.truth")) == []
    assert meters.tell([told(0, 1)]) == Outcome(0, 0, [0])


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        ([], 400, "found an array; expected {"),
        ({"truths": [], "more": 1}, 400, "found an object"),
        ({"truths": {}}, 400, "found an object"),
        ({"truths": [{}] * (MOST + 1)}, 422, "found 10001 truths; expected at most 10000"),
        ({"truths": [{"id": "m@v1.0.0:00"}]}, 422, "row 0: found an object; expected an id, a truth, and maybe a row"),
        (
            {"truths": [{"id": "m@v1:00", "truth": 1}]},
            422,
            "row 0, column 'id': found the text 'm@v1:00'; expected the id",
        ),
        ({"truths": [{"id": 7, "truth": 1}]}, 422, "column 'id': found the number 7"),
        ({"truths": [{"id": ids(0)[0], "row": -1, "truth": 1}]}, 422, "column 'row': found the number -1"),
        ({"truths": [{"id": ids(0)[0], "row": True, "truth": 1}]}, 422, "column 'row': found true"),
    ],
)
def test_bodies_that_are_none_are_refused(document: Any, status: int, said: str) -> None:
    with pytest.raises(RejectedError) as caught:
        read_truths(json.dumps(document).encode())
    assert caught.value.status == status
    assert said in str(caught.value)


def test_counts_are_shown_to_prometheus() -> None:
    meters = Meters(None, 0, {})
    line = meters.truth.of(("line", "1.0.0", "live"), LINE, None, 10)
    assert line is not None
    line.offer(numbers(3), [f"line@v1.0.0:{digits(0)}"], [1])
    said = Told("line", "1.0.0", told(0, 0).digits, 0, 1)
    meters.truth.tell([said])
    text, _ = exposition(meters, "", {("line", "1.0.0", "live")})
    labels = 'bin="0",counted="over",model="line",track="live",version="1.0.0"'
    assert f"ml_inference_truth_total{{{labels}}} 2.0" in text.decode()


def post(address: str, truths: list[dict[str, Any]], **headers: str) -> httpx.Response:
    return httpx.post(f"{address}/api/truth", json={"truths": truths}, headers=headers)


def ask(address: str, *values: float) -> str:
    answer = httpx.post(f"{address}/api/predict", json={"inputs": [{"x": each} for each in values]}).json()
    return str(answer["id"])


def rows_counted(address: str) -> float:
    pattern = r'^ml_inference_truth_total\{.*counted="rows".*\} (\S+)$'
    return sum(map(float, re.findall(pattern, httpx.get(f"{address}/metrics").text, re.MULTILINE)))


def test_a_server_takes_the_truth(line: Live) -> None:
    asked = ask(line.address, 1, 2)
    answer = post(line.address, [{"id": asked, "truth": 3}, {"id": asked, "row": 1, "truth": 4.0}])
    assert (answer.status_code, answer.json()) == (200, {"counted": 2, "repeated": 0, "unknown": []})
    assert post(line.address, [{"id": asked, "truth": 3}]).json() == {"counted": 0, "repeated": 1, "unknown": []}
    refused = post(line.address, [{"id": ask(line.address, 1), "truth": "x"}])
    assert refused.status_code == 422
    assert refused.json()["problems"] == [{"found": "the text 'x'", "expected": "a number", "row": 0}]
    assert httpx.get(f"{line.address}/api/truth").status_code == 405
    assert httpx.post(f"{line.address}/api/truth", content=b"{").status_code == 400
    assert rows_counted(line.address) == 2


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for state; whatever is deployed there ends with the test."""
    yield tmp_path / "state"
    stop_all(tmp_path / "state")


def test_workers_and_exchanges_of_releases_lose_no_truth(tmp_path: Path, state: Path) -> None:
    first, second = (write_bundle(tmp_path / name, version=name) for name in ("1.0.0", "2.0.0"))
    address = deploy(first, model="line", port=0, state=state, workers=2).address
    asked = [ask(address, each) for each in range(20)]
    deploy(second, model="line", port=0, state=state, workers=2)
    asked += [ask(address, each) for each in range(20)]
    assert {each.partition(":")[0] for each in asked} == {"line@v1.0.0", "line@v2.0.0"}
    waiting = list(asked)
    while waiting:  # what another worker has just answered is in its ring a quarter of a second later
        outcome = post(address, [{"id": each, "truth": 1} for each in waiting]).json()
        waiting = [waiting[place] for place in outcome["unknown"]]
    assert rows_counted(address) == 40


def test_a_server_may_remember_nothing(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_TRUTH_ROWS", "0")
    live = start(write_bundle(tmp_path / "line"))
    answer = post(live.address, [{"id": ask(live.address, 1), "truth": 3}])
    assert answer.status_code == 404
    assert "TRUTH_ROWS" in answer.json()["error"]


def test_keys_are_asked_for(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_text("me secret-key-of-some-length\n")
    monkeypatch.setenv("MODELRAIL_SERVE_API_KEYS_FILE", str(keys))
    live = start(write_bundle(tmp_path / "word", signature=GREETING, graph=is_equal_graph("hello"), model="word"))
    assert post(live.address, []).status_code == 401
    key = {"x-api-key": "secret-key-of-some-length"}
    body = {"inputs": [{"word": "hello"}]}
    asked = httpx.post(f"{live.address}/api/predict", json=body, headers=key).json()["id"]
    answer = post(live.address, [{"id": asked, "truth": "yes"}], **key)
    assert answer.json() == {"counted": 1, "repeated": 0, "unknown": []}
