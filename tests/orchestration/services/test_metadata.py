"""Airflow's database on SQLite, written by several processes at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from pipeline.orchestration.services.metadata import create_metadata_engine


def write_in_a_savepoint_while_another_writes(engine: Engine, file: Path) -> None:
    with engine.connect() as connection, connection.begin(), connection.begin_nested():
        connection.execute(text("select count(*) from runs")).scalar()
        with closing(sqlite3.connect(file, timeout=0)) as other:
            try:
                other.execute("insert into runs values (1)")
                other.commit()
            except sqlite3.OperationalError:
                other.rollback()  # the savepoint holds the lock already: the other would wait
        connection.execute(text("insert into runs values (2)"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "airflow.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("pragma journal_mode = wal")
        made.execute("create table runs (id integer)")
        made.commit()
    return file


def test_a_savepoint_waits_for_other_writers_instead_of_failing(database: Path) -> None:
    plain = create_engine(f"sqlite:///{database}")
    with pytest.raises(OperationalError, match="database is locked"):
        write_in_a_savepoint_while_another_writes(plain, database)
    plain.dispose()

    engine = create_metadata_engine(f"sqlite:///{database}", engine_args={}, connect_args={})
    write_in_a_savepoint_while_another_writes(engine, database)
    with engine.connect() as connection:
        assert 2 in connection.execute(text("select id from runs")).scalars().all()
    engine.dispose()


def test_a_savepoint_within_a_transaction_is_none_of_its_own(database: Path) -> None:
    engine = create_metadata_engine(f"sqlite:///{database}", engine_args={}, connect_args={})
    with engine.begin() as connection:
        connection.execute(text("insert into runs values (1)"))
        with connection.begin_nested():
            connection.execute(text("insert into runs values (2)"))
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from runs")).scalar() == 2
    engine.dispose()
