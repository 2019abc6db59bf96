"""Read: the bytes of a data file become a canonical frame and a quarantine."""

from pipeline.reading.line import LINE_FILE, LINE_PARTITION, line_example
from pipeline.reading.partition import Reading, merge_columns, read

__all__ = ["LINE_FILE", "LINE_PARTITION", "Reading", "line_example", "merge_columns", "read"]
