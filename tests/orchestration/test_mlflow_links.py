from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from pipeline.home import CHECKOUT
from pipeline.orchestration.mlflow_links import link_experiments, link_run

HOME = "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"


def test_mlflow_is_opened_on_model_training() -> None:
    assert link_experiments("http://127.0.0.1:5000") == HOME
    run = "http://127.0.0.1:5000/#/experiments/1/runs/f00?workflowType=machine_learning"
    assert link_run("http://127.0.0.1:5000", "1", "f00") == run


@pytest.mark.parametrize(("address", "shown"), [("http://127.0.0.1:5000", [HOME]), (None, [])])
def test_airflows_navigation_leads_to_model_training(
    address: str | None, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELRAIL_MLFLOW_URL", raising=False)
    if address:
        monkeypatch.setenv("MODELRAIL_MLFLOW_URL", address)
    views: list[dict[str, Any]] = load_plugin().external_views
    assert [each["href"] for each in views] == shown


def load_plugin() -> Any:
    """Load the plugin anew, as Airflow does: it reads the environment as it is imported."""
    file = CHECKOUT / "plugins" / "modelrail_links.py"
    found = importlib.util.spec_from_file_location("modelrail_links_anew", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.ModelrailLinks
