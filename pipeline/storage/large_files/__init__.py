"""Large files: what stands in Git for them (Git LFS and DVC pointers), and where their content is."""

from pipeline.storage.large_files.fetching import list_folder, read_large
from pipeline.storage.large_files.finding import find_partitions
from pipeline.storage.large_files.layout import Layout
from pipeline.storage.large_files.pointers import LargeFile

__all__ = ["LargeFile", "Layout", "find_partitions", "list_folder", "read_large"]
