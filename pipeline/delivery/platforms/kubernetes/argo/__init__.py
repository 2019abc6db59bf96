"""Argo CD and Argo Rollouts, which change the cluster in place of Modelrail."""
