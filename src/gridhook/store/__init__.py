"""What is remembered: accounts, webhooks, events, deliveries, attempts, in SQLite or PostgreSQL. `promises.Store` says how it behaves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gridhook.clock import Clock, SystemClock
from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.store.promises import Store
from gridhook.store.sqlite import Sqlite
from gridhook.store.sqlstore import SqlStore

DATABASE_FILE = "gridhook.db"

__all__ = ["Store", "open_store", "sqlite_path"]


def open_store(settings: Settings, *, migrate: bool = True, clock: Clock | None = None) -> Store:
    """The store that the settings name, not yet opened: `await store.open()` connects.

    migrate: bring the schema up at open, and counters of ids that lie behind; False: `open` refuses a schema that is not current, and
        leaves counters as they are.
    clock: for tests; default this machine's clock (SQLite) or one that follows the database's (PostgreSQL).

    Raises `Misconfigured` when GRIDHOOK_DATABASE_URL is neither sqlite nor postgresql.
    """
    max_attempts = len(settings.retry_delays_seconds) + 1
    url = settings.database_url
    if url.startswith(("postgresql://", "postgres://")):
        # Not at the top: with the embedded default nothing of PostgreSQL is loaded.
        from gridhook.store.postgres import DatabaseClock, Postgres

        postgres = Postgres(url)
        prepare = partial(postgres.prepare, migrate=migrate)
        follows = DatabaseClock(postgres) if clock is None else clock
        return SqlStore(
            postgres,
            follows,
            max_attempts=max_attempts,
            group_commit_events=settings.group_commit_events,
            prepare=prepare,
            mend=migrate,
        )
    sqlite = Sqlite(sqlite_path(settings))
    prepare = partial(sqlite.prepare, migrate=migrate)
    return SqlStore(
        sqlite,
        clock or SystemClock(),
        max_attempts=max_attempts,
        group_commit_events=settings.group_commit_events,
        prepare=prepare,
        mend=migrate,
    )


def sqlite_path(settings: Settings) -> Path:
    """The embedded database's file. Raises `Misconfigured` when GRIDHOOK_DATABASE_URL is neither sqlite nor postgresql."""
    url = settings.database_url
    if not url:
        return settings.data_path / DATABASE_FILE
    scheme, _, path = url.partition("://")
    if scheme != "sqlite" or not path.startswith("/") or path == "/":
        raise Misconfigured("GRIDHOOK_DATABASE_URL must be empty, sqlite:///path or postgresql://user:password@host/name")
    # sqlite:///x is x below the working directory, sqlite:////x is /x, as everywhere else.
    return Path(path[1:])
