from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.orchestration.services.following import StepState, _combine, _line_printer, draw_table
from pipeline.orchestration.services.health import Looks
from pipeline.orchestration.services.rest_client import TaskInstance, find_error

RAN = {"action": "ran"}
REUSED = {"action": "reused"}


@pytest.mark.parametrize(
    ("states", "results", "expected"),
    [
        ([], [], "waiting"),
        ([None], [], "waiting"),
        (["queued"], [], "running"),
        (["success", "running"], [RAN], "running"),
        (["success", None], [RAN], "running"),
        (["success", "success"], [RAN, REUSED], "done"),
        (["success", "success"], [REUSED, REUSED], "reused"),
        (["success"], [{"action": "ran", "released": False}], "refused"),
        (["success"], [{"action": "ran", "released": True}], "done"),
        (["up_for_retry"], [], "retrying"),
        (["success", "failed", "running"], [RAN], "failed"),
        (["skipped"], [], "skipped"),
        (["upstream_failed"], [], "not run"),
    ],
)
def test_a_steps_state_combines_those_of_its_tasks(
    states: list[str | None], results: list[dict[str, Any]], expected: str
) -> None:
    assert _combine(states, results) == expected


@pytest.mark.parametrize(
    ("exception", "value", "expected"),
    [
        ("DataError", "clean: 12 % is missing", "clean: 12 % is missing"),
        ("ValueError", "bad", "ValueError: bad"),
        ("AirflowTaskTimeout", "Timeout, PID: 1", "AirflowTaskTimeout: Timeout, PID: 1"),
    ],
)
def test_the_error_of_a_log_is_a_message_and_not_a_traceback(exception: str, value: str, expected: str) -> None:
    content = [
        {"event": "Running"},
        {
            "event": "Task failed with exception",
            "level": "error",
            "error_detail": [{"exc_type": exception, "exc_value": value, "frames": [{"lineno": 1}]}],
        },
        {"event": "done"},
    ]
    assert find_error(content) == expected


def test_a_killed_task_has_the_last_error_line_as_its_message() -> None:
    assert find_error([{"event": "Process terminated by signal.", "level": "error"}]) == "Process terminated by signal."


def test_a_log_gets_one_line_for_each_step_that_has_ended() -> None:
    output = io.StringIO()
    show = _line_printer(Console(file=output, width=200))
    show([StepState("clean", "running"), StepState("train")])
    show([StepState("clean", "done", rows=1200, seconds=1.25, ran=1, reused=11, message="2013-12 [new]")])
    show([StepState("clean", "done", rows=1200, seconds=1.25, ran=1, reused=11, message="2013-12 [new]")])
    assert output.getvalue().splitlines() == ["clean      done     1,200 rows, 1.2 s, 11 of 12 reused: 2013-12 [new]"]


def test_a_terminal_gets_a_table_of_all_steps() -> None:
    output = io.StringIO()
    steps = [StepState("clean", "done", rows=1200, ran=1, reused=11), StepState("train", "failed", message="no [rows]")]
    Console(file=output, width=120).print(draw_table(steps))
    assert "11 of 12" in output.getvalue()
    assert "no [rows]" in output.getvalue()


def test_the_server_is_asked_less_while_nothing_happens_and_soon_again_at_the_end() -> None:
    def look(*states: str | None) -> tuple[float, bool]:
        looks.note([TaskInstance(f"step{index}", -1, state, 1, None, "") for index, state in enumerate(states)])
        return round(looks.pause_s, 2), looks.may_be_over

    looks = Looks()
    assert [look("running", None) for _ in range(6)] == [
        *((0.5, False), (0.6, False), (0.72, False), (0.86, False), (1.0, False)),
        (1.0, True),  # five looks without a change: the run may have been given up
    ]
    assert look("success", "running") == (0.5, False)
    assert look("success", "success") == (0.1, True)
