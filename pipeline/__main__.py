"""``python -m pipeline``: the same as ``modelrail``."""

from pipeline.cli import main

main()
