"""Modelrail: from a Git commit to a model in production."""
