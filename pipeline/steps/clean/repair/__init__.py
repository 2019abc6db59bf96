"""Clean: rows and texts of one partition are repaired or removed, before anything is computed."""

from pipeline.steps.clean.repair.pack import clean_each
from pipeline.steps.clean.repair.partition import Cleaned, clean

__all__ = ["Cleaned", "clean", "clean_each"]
