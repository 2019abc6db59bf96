"""Processes of the server: start, workers, signals, a unit of systemd."""
