"""Argo CD and Argo Rollouts instead of our own hands on a cluster."""
