"""A store per test, on both databases: SQLite in a file, PostgreSQL in a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gridhook.config import Settings
from gridhook.store import Store, open_store
from gridhook.store.sqlstore import SqlStore


@pytest.fixture(params=["sqlite", "postgres"])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh, empty database."""
    if request.param == "sqlite":
        yield Settings(data_dir=str(tmp_path))
        return
    yield Settings(data_dir=str(tmp_path), database_url=request.getfixturevalue("postgres_url"))


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
