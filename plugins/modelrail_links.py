"""Airflow's navigation gets a link to MLflow, where the runs of the models are."""

from __future__ import annotations

import os

from airflow.plugins_manager import AirflowPlugin

from pipeline.orchestration.mlflow_links import link_experiments

_MLFLOW = os.environ.get("MODELRAIL_MLFLOW_URL")


class ModelrailLinks(AirflowPlugin):
    """The link to MLflow, where its address is known (``MODELRAIL_MLFLOW_URL``)."""

    name = "modelrail_links"
    # without a url_route it opens in a tab of its own: MLflow does not let itself be framed
    external_views = [{"name": "MLflow", "href": link_experiments(_MLFLOW), "destination": "nav"}] if _MLFLOW else []
