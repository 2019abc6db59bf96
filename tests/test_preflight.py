"""Questions before anything is done: all are asked, and all faults told."""

from __future__ import annotations

import threading

import pytest

from pipeline.errors import DeploymentError, InputError, ModelrailError, ReleaseError, TransientError
from pipeline.preflight import ask_all


def raising(error: ModelrailError) -> object:
    def ask() -> None:
        raise error

    return ask


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([TransientError("away"), TransientError("busy")], TransientError),
        ([TransientError("away"), DeploymentError("no right")], DeploymentError),
        ([DeploymentError("no right"), InputError("no extra")], InputError),
        ([ReleaseError("no push"), TransientError("away")], ModelrailError),
    ],
)
def test_all_faults_are_told_at_once_and_are_worth_another_try_only_if_each_is(
    faults: list[ModelrailError], kind: type[ModelrailError]
) -> None:
    with pytest.raises(ModelrailError) as caught:
        ask_all([lambda: None, *map(raising, faults)])  # type: ignore[arg-type, list-item]
    assert type(caught.value) is kind
    assert str(caught.value).splitlines() == [str(each) for each in faults]


def test_one_fault_is_raised_as_it_is_and_none_raises_nothing() -> None:
    only = DeploymentError("no right")
    with pytest.raises(DeploymentError) as caught:
        ask_all([raising(only), lambda: None])  # type: ignore[list-item]
    assert caught.value is only
    ask_all([])
    ask_all([lambda: "fine"])


def test_questions_are_asked_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    ask_all([both.wait, both.wait])


def test_what_is_no_fault_of_ours_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_all([lambda: 1 // 0])
