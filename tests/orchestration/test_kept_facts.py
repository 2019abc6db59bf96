from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import SpecError
from pipeline.home import CHECKOUT
from pipeline.orchestration.dag_facts import DagFacts
from pipeline.orchestration.kept_facts import KeptFacts

SPEC = """\
model: {{name: {name}, owner: ann@example.org, trainer: ridge, target: y}}
data: {{files: "data/{{month}}.csv", columns: {{x: float, y: float}}}}
evaluate: {{gate: {{r2: {{at_least: 0.5}}}}}}
schedule: {{cron: "0 3 * * *"}}
tasks: {{retries: 4, timeout_s: 120}}
"""
OWN_NETWORK = """\
model: {name: own, trainer: torch_custom, task: regression, target: y, params: {module: network.py}}
data: {files: "data/{month}.csv", columns: {x: float, y: float}}
"""
NETWORK = "def build(n_features, n_outputs):\n    return None\n"
READ = """
import json, sys
from pathlib import Path
from pipeline.orchestration.kept_facts import KeptFacts, digest_of_code
KeptFacts(Path(sys.argv[1]), digest_of_code()).read(Path(sys.argv[2]))
print(json.dumps("pydantic" in sys.modules))
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "a.yaml"
    path.parent.mkdir()
    path.write_text(SPEC.format(name="first"))
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def records(state: Path) -> list[Path]:
    return sorted((state / "cache" / "specs").iterdir())


def read(state: Path, path: Path, code: bytes = b"one") -> DagFacts:
    return KeptFacts(state, code).read(path)[0]


def test_the_facts_are_those_of_the_spec_the_first_time_and_again(spec: Path, state: Path) -> None:
    first = KeptFacts(state, b"one").read(spec)
    assert first == KeptFacts(state, b"one").read(spec)
    facts, text = first
    assert text == spec.read_text()
    assert (facts.name, facts.owner, facts.cron, facts.retries, facts.timeout_s) == (
        *("first", "ann@example.org", "0 3 * * *"),
        *(4, 120),
    )
    assert facts.tags == ("local", "model", "regression", "ridge")
    assert ("gate", "r2 (at least 0.5)") in facts.summary


def test_a_kept_spec_is_read_without_the_schema(spec: Path, state: Path) -> None:
    def imports_pydantic() -> bool:
        command = [sys.executable, "-c", READ, str(state), str(spec)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
        return bool(json.loads(done.stdout))

    assert (imports_pydantic(), imports_pydantic()) == (True, False)


def test_another_text_is_another_spec_and_the_old_text_is_still_known(spec: Path, state: Path) -> None:
    read(state, spec)
    spec.write_text(SPEC.format(name="second"))
    assert read(state, spec).name == "second"
    spec.write_text(SPEC.format(name="first"))
    assert read(state, spec).name == "first"
    assert len(records(state)) == 2


def test_a_copy_elsewhere_is_the_same_spec(spec: Path, state: Path) -> None:
    read(state, spec)
    copy = spec.with_name("b.yaml")
    copy.write_bytes(spec.read_bytes())
    assert read(state, copy).name == "first"
    assert len(records(state)) == 1


def test_a_file_that_the_spec_names_counts(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN_NETWORK)
    network = tmp_path / "network.py"
    network.write_text(NETWORK)
    assert read(state, path).name == "own"
    network.write_text("import os\n")
    with pytest.raises(SpecError, match=r"network\.py"):
        read(state, path)
    network.unlink()
    with pytest.raises(SpecError, match=r"network\.py"):
        read(state, path)
    network.write_text(NETWORK)
    assert read(state, path).name == "own"


def test_what_other_code_has_kept_does_not_count(spec: Path, state: Path) -> None:
    read(state, spec, b"one")
    read(state, spec, b"two")
    assert len(records(state)) == 2


def test_a_broken_spec_is_not_kept(spec: Path, state: Path) -> None:
    spec.write_text("model: {name: broken, trainerr: ridge}\n")
    for _ in range(2):
        with pytest.raises(SpecError, match="trainerr"):
            read(state, spec)
    assert not (state / "cache" / "specs").exists()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda content: content[:-20],
    "a changed byte": lambda content: content.replace(b"first", b"fjrst"),
    "no JSON": lambda _: b"\xff" * 100,
    "a digest only": lambda content: content[:65],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_record_is_made_anew(damage: Callable[[bytes], bytes], spec: Path, state: Path) -> None:
    read(state, spec)
    (record,) = records(state)
    whole = record.read_bytes()
    record.write_bytes(damage(whole))
    assert read(state, spec).name == "first"
    assert record.read_bytes() == whole


def test_where_nothing_can_be_kept_the_spec_is_read(spec: Path, tmp_path: Path) -> None:
    state = tmp_path / "file"
    state.write_text("no folder")
    assert read(state, spec).name == "first"
    assert read(state, spec).name == "first"


def test_many_may_read_and_keep_at_once(spec: Path, state: Path) -> None:
    for number in range(20):
        spec.with_name(f"{number}.yaml").write_text(SPEC.format(name=f"model-{number}"))
    paths = sorted(spec.parent.glob("*.yaml")) * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: read(state, path).name, paths))
    assert sorted(set(found)) == sorted({"first", *(f"model-{number}" for number in range(20))})
    assert len(records(state)) == 21


def test_what_was_not_used_for_a_month_goes_when_something_new_is_kept(spec: Path, state: Path) -> None:
    old, new = spec.with_name("old.yaml"), spec.with_name("new.yaml")
    for path in (old, new):
        path.write_text(SPEC.format(name=path.stem))
    now, day_s = time.time(), 24 * 60 * 60
    for path in (spec, old):
        read(state, path)
    for each in records(state):
        os.utime(each, (now, now - 40 * day_s))
    read(state, spec)  # in use: only the other one has gone unused
    read(state, new)
    found = b"".join(each.read_bytes() for each in records(state))
    assert [name in found for name in (b'"first"', b'"old"', b'"new"')] == [True, False, True]
