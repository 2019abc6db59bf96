"""Requests made from the OpenAPI document, good and bad: none fails, and no answer is undocumented."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.model.signature import Input, Signature
from tests.serving.bundles import GREETING, is_equal_graph, sum_graph, write_bundle
from tests.serving.conftest import Live, Start
from tests.serving.test_server import call

EXAMPLES = 12
"""Of each operation, good and bad each."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MIXED = Signature(
    "regression",
    (
        Input("x", "float"),
        Input("n", "int", nullable=False),
        Input("b", "bool", nullable=False),
        Input("at", "datetime"),
    ),
    None,
    {"x": 0.5, "n": 3, "b": True, "at": "2013-01-31T08:15:00Z"},
)


@pytest.fixture(scope="module")
def servers(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Live]:
    folder = tmp_path_factory.mktemp("b")
    mixed = write_bundle(folder / "mixed", signature=MIXED, graph=sum_graph(4), model="mixed")
    greeting = write_bundle(folder / "greeting", signature=GREETING, graph=is_equal_graph("hello"), model="greeting")
    return {
        "numbers": start(mixed, "--bundle", str(greeting)),
        "words": start(greeting, "--bundle", str(mixed)),
    }


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["numbers", "words"])
def test_every_answer_is_documented_and_none_is_a_failure(
    servers: dict[str, Live], name: str, mode: GenerationMode
) -> None:
    live = servers[name]
    document = schemathesis.openapi.from_url(f"{live.address}/openapi.json")
    asked = set()
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    for result in document.get_all_operations():
        operation = result.ok()
        asked.add(operation.path)
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters):
            continue  # nothing of it can be wrong

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=checks)

        ask()
    assert asked == set(call(live, "GET", "/openapi.json")[2]["paths"]) - {"/openapi.json"}  # it asked for that first
    assert live.process.poll() is None


def test_every_path_that_is_answered_is_described(servers: dict[str, Live]) -> None:
    live = servers["numbers"]
    described = set(call(live, "GET", "/openapi.json")[2]["paths"])
    assert set(call(live, "GET", "/")[2]["endpoints"]) <= described
    for path in described:
        named = path.replace("{model}", "mixed").replace("{version}", "1.0.0")
        status = call(live, "GET", named)[0]
        assert (path, status) in {(path, 200), (path, 405)}
