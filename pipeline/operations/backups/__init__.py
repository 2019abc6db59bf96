"""Backup and restore of everything that is not in Git: the store, MLflow, Airflow, releases, what is live."""
