"""Clean: rows and texts of one partition are repaired or removed, before anything is computed."""

from pipeline.cleaning.partition import Cleaned, clean

__all__ = ["Cleaned", "clean"]
