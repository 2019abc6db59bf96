"""The texts example: 23,703 tweets and sentences of reviews and editorials, each rated by twenty people.

They are the ground truth of C.J. Hutto and E.E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
of Social Media Text" (ICWSM-14), which the source distribution of ``vaderSentiment`` carries.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ModelrailError
from pipeline.storage.packages import Package, read_package
from pipeline.ui.examples.repository import Commit, is_complete, write_example
from pipeline.ui.examples.tables import write_csv

PACKAGE = Package(
    "vaderSentiment", "3.3.2", "source", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
)
SOURCES: Mapping[str, str] = {
    "tweets": "tweets",
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
}
"""Partition → the beginning of its file's name."""


def make_texts(folder: Path) -> Path:
    """Make the repository of rated texts: ``texts/tweets.csv`` …, each in a commit of its own."""
    folder = folder.absolute()
    if not is_complete("texts", folder, len(SOURCES)):
        (archive,) = read_package("example texts", PACKAGE, "/hutto_ICWSM_2014.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            commits = [_commit(opened, place, *each) for place, each in enumerate(SOURCES.items(), start=1)]
        write_example(folder, commits)
    return folder


def _commit(opened: tarfile.TarFile, place: int, source: str, name: str) -> Commit:
    """Make a partition: who wrote it, its number there, the mean of the ratings (-4 to 4), and the text."""
    file = opened.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
    if file is None:
        raise ModelrailError(f"example texts: found no file for {source}; expected {name}_GroundTruth.txt")
    lines = (line.split("\t") for line in file.read().decode().split("\r\n") if line)
    content = write_csv(["source", "id", "rating", "text"], ([source, *line] for line in lines))
    return Commit(f"Add the texts of {source}", datetime(2014, place, 1, tzinfo=UTC), {f"texts/{source}.csv": content})
