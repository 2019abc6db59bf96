"""What stands around Airflow: its services on this machine, data commits that start runs, texts of DAGs.

It never imports Airflow; DAGs and plugins import this.
"""
