"""Read: the bytes of a data file, or of several, become a canonical frame and a quarantine."""

from pipeline.steps.clean.reading.pack import PackReading, Source, read_pack
from pipeline.steps.clean.reading.partition import Reading, read

__all__ = ["PackReading", "Reading", "Source", "read", "read_pack"]
