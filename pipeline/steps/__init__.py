"""The steps, each a package of plain functions over frames and settings.

Nothing here knows the store, Git, MLflow or a plan, and no step imports another.
"""
