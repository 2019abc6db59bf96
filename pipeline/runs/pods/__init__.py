"""Pods of a run: a step's, and the workers' of one training."""
