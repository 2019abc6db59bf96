"""Large files: what stands in Git for them (Git LFS and DVC pointers), and where their content is.

What fetches them (`fetching`) is imported only where there is something to fetch.
"""

from pipeline.storage.large_files.finding import find_partitions
from pipeline.storage.large_files.layout import Layout
from pipeline.storage.large_files.pointers import LargeFile

__all__ = ["LargeFile", "Layout", "find_partitions"]
