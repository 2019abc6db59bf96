"""Read: the bytes of a data file become a canonical frame and a quarantine."""

from pipeline.steps.clean.reading.partition import Reading, read

__all__ = ["Reading", "read"]
