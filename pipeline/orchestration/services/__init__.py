"""Airflow and MLflow's UI on this machine: started together, stopped together, on loopback only.

Airflow runs as its separate parts (API server, scheduler, DAG processor) rather than by ``airflow standalone``: that
is ready in half the time and opens no log server to the network. A triggerer is added where a spec watches its data.
"""

from pipeline.orchestration.services.following import Failure, Outcome, StepState, follow
from pipeline.orchestration.services.process_records import Login, Service, Services
from pipeline.orchestration.services.rest_client import Airflow
from pipeline.orchestration.services.services import down, find_dead, running, up
from pipeline.orchestration.services.starting import wait_for_mlflow

__all__ = [
    "Airflow",
    "Failure",
    "Login",
    "Outcome",
    "Service",
    "Services",
    "StepState",
    "down",
    "find_dead",
    "follow",
    "running",
    "up",
    "wait_for_mlflow",
]
