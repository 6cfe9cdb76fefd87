"""The connections that only read, while the database restarts, goes away, or takes too long."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest

from gridhook.config import Settings
from gridhook.errors import Unavailable
from gridhook.store import open_store
from gridhook.store.database import Connection
from gridhook.store.readers import READERS
from gridhook.store.sqlstore import SqlStore
from tests.store.world import a_webhook, an_account


@pytest.fixture
async def on_postgres(postgres_url: str) -> SqlStore:
    store = open_store(Settings(data_dir="unused", database_url=postgres_url))
    assert isinstance(store, SqlStore)
    await store.open()
    await an_account(store)
    await a_webhook(store)
    return store


async def test_a_reading_that_takes_too_long_is_not_made_a_second_time_and_the_next_one_goes_on(on_postgres: SqlStore) -> None:
    made = 0

    def slow(connection: Connection) -> None:
        nonlocal made
        made += 1
        connection._connection.execute("SET statement_timeout = '50ms'")  # type: ignore[attr-defined] # of PostgreSQL
        connection._connection.execute("SELECT pg_sleep(60)")  # type: ignore[attr-defined] # of PostgreSQL

    with pytest.raises(Unavailable):
        await on_postgres._readers.run(slow)
    assert made == 1
    assert (await on_postgres.webhook("acc", "wh")).id == "wh"
    await on_postgres.close()


async def test_nobody_notices_that_idle_connections_were_ended(on_postgres: SqlStore, postgres_url: str) -> None:
    both = threading.Barrier(READERS)
    await asyncio.gather(*(on_postgres._readers.run(lambda connection: both.wait(30)) for _ in range(READERS)))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'gridhook'"
        ).fetchall()
    assert len(ended) > READERS  # they, and the writer
    found = await asyncio.gather(*(on_postgres.webhook("acc", "wh") for _ in range(20)))
    assert {one.id for one in found} == {"wh"}
    await on_postgres.close()
