"""What Modelrail's pages in Airflow's UI show: models, one model, one run. Nothing here imports Airflow.

``plugins/modelrail_pages.py`` asks for these pages and tells what Airflow knows of its runs; the rest they read from
Git (specs, releases, stages) and from the store.
"""
