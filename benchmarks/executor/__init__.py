"""Airflow under its KubernetesExecutor: a run to its end, and faults in the middle of it."""
