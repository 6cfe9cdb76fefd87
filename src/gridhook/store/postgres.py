"""PostgreSQL through psycopg: a batch is a handful of round trips, and a commit is answered when it is durable."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import conninfo, errors

from gridhook.clock import SystemClock
from gridhook.errors import Misconfigured
from gridhook.model import Instant
from gridhook.store.database import Fault, Row
from gridhook.store.migrations import Migration, bring_up
from gridhook.store.queries import Query, load

ID_BLOCK = 10_000  # the sequences' increment
CLOCK_SECONDS = 30  # how old a measured offset may be
MIGRATION_LOCK = 0x67726964  # any number that nobody else takes: "grid"

_CONNECT = {
    "application_name": "gridhook",
    "connect_timeout": 5,
    # A peer that vanished without a word must not hold the writer for the kernel's default of a quarter of an hour.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# The statements are written for READ COMMITTED: above it a count that two processes share fails and is made again and again, and who
# waited for a lock sees what was before it. A database or a role may have another default.
_ISOLATION = "SET default_transaction_isolation = 'read committed'"
# synchronous_commit may be stronger (remote_apply) where the operator wants it; it may not be off: what is answered is durable.
_WRITER = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '10s'; SET statement_timeout = '60s';
"""
_READER = "SET default_transaction_read_only = on; SET statement_timeout = '30s';"


class PostgresConnection:
    """One connection, in autocommit between transactions. The statements are written for READ COMMITTED."""

    def __init__(self, connection: psycopg.Connection[Row], queries: Mapping[str, Query]) -> None:
        self._connection = connection
        self._queries = queries
        self._blocks: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        answer = self._connection.execute("COMMIT").statusmessage
        if answer != "COMMIT":  # a transaction that had failed is rolled back by COMMIT, without an error
            raise errors.InFailedSqlTransaction(f"COMMIT was answered {answer}")

    def rollback(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    def rows(self, name: str, /, **params: Any) -> list[Row]:
        return self._execute(name, params).fetchall()

    def change(self, name: str, /, **params: Any) -> int:
        return self._execute(name, params).rowcount

    def many(self, name: str, rows: Sequence[Row]) -> int:
        sql = self._queries[name].sql
        if not sql.startswith("COPY "):
            return self._batch(name, rows).rowcount
        with self._connection.cursor() as cursor:
            with cursor.copy(sql) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount

    def settle(self, rows: Sequence[Row]) -> set[int]:
        return {id for (id,) in self._batch("settle", rows).fetchall()}

    def due(self, account_id: str, webhook_id: str, now: int, limit: int) -> list[Row]:
        return self.rows("due", account_id=account_id, webhook_id=webhook_id, now=now, limit=limit)

    def ids(self, kind: str, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            start, end = self._blocks.get(kind, (0, 0))
            if start == end:
                ((start,),) = self.rows("alloc", size=ID_BLOCK, name=kind)
                end = start + ID_BLOCK
            taken = min(count - len(found), end - start)
            found.extend(range(start, start + taken))
            self._blocks[kind] = (start + taken, end)
        return found

    def close(self) -> None:
        self._connection.close()

    def sever(self) -> None:
        # The socket, below libpq: whoever waits on it wakes up and finds its end.
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)

    def _execute(self, name: str, params: Mapping[str, Any]) -> psycopg.Cursor[Row]:
        return self._connection.execute(self._queries[name].sql, params, prepare=True)

    def _batch(self, name: str, rows: Sequence[Row]) -> psycopg.Cursor[Row]:
        columns = [list(column) for column in zip(*rows, strict=True)]
        return self._execute(name, dict(zip(self._queries[name].names, columns, strict=True)))


class Postgres:
    """One database."""

    can_freeze = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._queries = load("postgres")
        self.clock_offset_ms: float | None = None  # database time minus this process's monotonic clock
        self._measured = 0.0

    def connect(self, *, read_only: bool = False) -> PostgresConnection:
        connection = self._connected()
        try:
            connection.execute(_READER if read_only else _WRITER)
        except BaseException:
            connection.close()
            raise
        return PostgresConnection(connection, self._queries)

    def _connected(self) -> psycopg.Connection[Row]:
        connection = psycopg.connect(self._url, autocommit=True, **_CONNECT)  # type: ignore[arg-type] # its keywords are libpq's, typed one by one
        try:
            connection.execute(_ISOLATION)
        except BaseException:
            connection.close()
            raise
        return connection

    def is_frozen(self) -> bool:
        try:
            psycopg.connect(self._url, autocommit=True, **_CONNECT).close()  # type: ignore[arg-type] # its keywords are libpq's, typed one by one
        except errors.ConnectionTimeout:
            return True
        except (psycopg.Error, OSError):
            pass  # it says no, or is gone: whoever waits for it hears of that without us
        return False

    def prepare(self, *, migrate: bool) -> None:
        """Bring the schema up and measure the clock. Raises `Misconfigured`."""
        _check_url(self._url)
        try:
            connection = self._connected()
        except psycopg.Error as error:
            raise Misconfigured(f"GRIDHOOK_DATABASE_URL: {error}") from None
        try:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise Misconfigured(
                    f"the database's encoding is {encoding}, which cannot hold every name and payload: create it with "
                    "ENCODING 'UTF8' TEMPLATE template0"
                )
            if migrate:
                self._make_register(connection)
            bring_up("postgres", self._version(connection), migrate, lambda step: self._apply(connection, step))
            self.measure(PostgresConnection(connection, self._queries))
        except errors.InsufficientPrivilege as error:
            # Of the message the first line alone: the others show the statement.
            said = str(error).partition("\n")[0]
            remedy = f"the role {connection.info.user} must own the tables; to migrate it needs CREATE on the schema, too"
            raise Misconfigured(f"the database cannot be used: {said}; {remedy}") from None
        except psycopg.Error as error:
            raise Misconfigured(f"the database cannot be used: {error}") from None
        finally:
            connection.close()

    @staticmethod
    def _has_register(connection: psycopg.Connection[Row]) -> bool:
        ((found,),) = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchall()
        return bool(found)

    def _make_register(self, connection: psycopg.Connection[Row]) -> None:
        """Of the migrations. Where it is there nothing is asked that takes the right to create."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            if not self._has_register(connection):
                connection.execute("CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")

    def _version(self, connection: psycopg.Connection[Row]) -> int:
        if not self._has_register(connection):
            return 0
        ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchall()
        return int(version)

    def _apply(self, connection: psycopg.Connection[Row], step: Migration) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            if self._version(connection) >= step.number:
                return  # another process was faster
            connection.execute(step.sql)
            connection.execute("INSERT INTO schema_migrations VALUES (%s, %s)", (step.number, time.time_ns() // 1_000_000))

    def measure(self, connection: PostgresConnection) -> None:
        """What time the database has, against our monotonic clock; half the round trip is taken to be its way back."""
        before = time.monotonic()
        ((now,),) = connection.rows("database_now")
        after = time.monotonic()
        self.clock_offset_ms = now - (before + after) / 2 * 1000
        self._measured = after

    def idle(self, connection: object) -> None:
        assert isinstance(connection, PostgresConnection)
        if time.monotonic() - self._measured >= CLOCK_SECONDS:
            self.measure(connection)

    def fault(self, error: BaseException) -> Fault:
        match error:
            case errors.DeadlockDetected() | errors.SerializationFailure():
                return Fault.AGAIN
            case errors.DiskFull() | errors.OutOfMemory() | errors.LockNotAvailable() | errors.QueryCanceled():
                return Fault.FULL
            case errors.UniqueViolation():
                return Fault.TAKEN
            case errors.InFailedSqlTransaction():
                return Fault.DEFECT
            case psycopg.DataError() | psycopg.IntegrityError() | UnicodeError():
                return Fault.REFUSED
            case psycopg.OperationalError() | psycopg.InterfaceError() | errors.ReadOnlySqlTransaction() | OSError():
                return Fault.GONE
            case _:
                return Fault.DEFECT

    def close(self) -> None:
        pass


def _check_url(url: str) -> None:
    """Raises `Misconfigured` in words of our own: libpq's quote the URL, password and all, and a character that should have been
    encoded makes it take a piece of the password for the host or the port."""
    try:
        found = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        found = {"port": "unreadable"}
    ports = str(found.get("port") or "").split(",")
    names = [*str(found.get("host") or "").split(","), str(found.get("dbname") or "")]
    # A host that begins with "@" is a socket without a file.
    if any("@" in name[1:] for name in names) or not all(port == "" or (port.isdecimal() and int(port) <= 65_535) for port in ports):
        raise Misconfigured(
            "GRIDHOOK_DATABASE_URL cannot be read; write postgresql://user:password@host:port/name, and in user and password all but "
            "letters, digits and -._~ percent-encoded: @ is %40, / is %2F, % is %25"
        )


class DatabaseClock:
    """The database's time, without asking it each time: an offset, measured now and then, on our monotonic clock."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    def now(self) -> Instant:
        offset = self._database.clock_offset_ms
        return SystemClock().now() if offset is None else int(offset + time.monotonic() * 1000)
