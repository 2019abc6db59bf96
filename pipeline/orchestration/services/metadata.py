"""The engine of Airflow's database on SQLite, where several processes write at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

WAIT_S = 30
"""How long a write waits for others; Python's own five seconds are short on a busy machine."""


def create_metadata_engine(address: str, *, engine_args: Mapping[str, Any], connect_args: Mapping[str, Any]) -> Engine:
    """Make Airflow's engine, as its own function of this name does, whose savepoints wait for other writers.

    Python's driver lets a savepoint begin a transaction that only reads. When Airflow then writes in it (it does so for
    every run of a backfill), and another process has written since, SQLite refuses at once, without waiting: "database
    is locked". So a savepoint that stands first begins a transaction that writes, for which SQLite does wait.
    """
    engine = create_engine(address, connect_args={"timeout": WAIT_S, **connect_args}, **engine_args)
    event.listen(engine, "savepoint", _begin_writing)
    return engine


def _begin_writing(connection: Connection, _name: str) -> None:
    if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
