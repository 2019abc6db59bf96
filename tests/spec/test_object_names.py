"""Names on platforms: plain ones stay what they are, and no two pairs of model and environment share one."""

from __future__ import annotations

import re
from itertools import product

import pytest

from pipeline.spec.object_names import application_name, folder_of, former_application_name, name_of, unit_name

MODELS = ("shop", "price-shop", "flight-delay", "flight_delay", "flight-delay-", "flight--delay", "flight_-delay",
          "a-b", "a", "b", "prod-a", "x" * 60, "x" * 61, "x" * 40, "x" * 41,
          "flight-delay-prod", "default-a")  # fmt: skip
ENVIRONMENTS = (None, "default", "prod", "Prod", "g", "g-price", "g_price", "a", "a-b", "prod-", "e" * 50, "e" * 51)


@pytest.mark.parametrize(
    ("model", "name"),
    [("flight-delay", "flight-delay"), ("LinearRegression", "linearregression"), ("x" * 40, "x" * 40)],
)
def test_a_name_that_need_not_be_folded_or_cut_stays(model: str, name: str) -> None:
    assert name_of(model) == name
    assert folder_of(model, "prod") == f"prod/{name}"
    assert folder_of(model, None) == f"default/{name}"
    assert application_name(model, "prod") == former_application_name(model, "prod") == f"prod-{name}"


def test_no_two_models_have_one_name() -> None:
    assert len({name_of(each) for each in MODELS}) == len(MODELS)


@pytest.mark.parametrize("name", [folder_of, application_name, unit_name])
def test_no_two_pairs_of_model_and_environment_have_one_name(name: object) -> None:
    pairs = list(product(MODELS, ENVIRONMENTS))
    assert callable(name)
    assert len({name(*each) for each in pairs}) == len(pairs)


def test_every_name_is_one_that_kubernetes_takes_with_a_track_behind_it() -> None:
    for model in MODELS:
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name_of(model)), model
        assert len(f"{name_of(model)}-baseline") <= 63, model
    for model, environment in product(MODELS, ENVIRONMENTS):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", application_name(model, environment))


@pytest.mark.parametrize(
    ("model", "environment", "name"),
    [
        ("flight-delay", "prod", "modelrail-flight-delay-prod"),
        ("Line_1", "prod", "modelrail-Line_1-prod"),
        ("line", None, "modelrail-line"),
        ("flight-delay", None, "modelrail-flight-delay--"),
        ("line", "eu-prod", "modelrail-line-eu-prod--"),
    ],
)
def test_a_unit_has_a_digest_only_where_its_dashes_do_not_tell_model_from_environment(
    model: str, environment: str | None, name: str
) -> None:
    found = unit_name(model, environment)
    assert found == name if not name.endswith("--") else re.fullmatch(f"{name}[0-9a-f]{{8}}", found)
