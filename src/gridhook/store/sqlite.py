"""SQLite through apsw: one writing connection, WAL, and a commit that is on the disk before it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
import msgspec

from gridhook.errors import GridhookError, Misconfigured
from gridhook.store.database import Fault, Row
from gridhook.store.migrations import Migration, bring_up
from gridhook.store.queries import Query, load

BUSY_MS = 5_000  # how long a write waits for another process (a command beside the server) to finish its own
ID_BLOCK = 10_000
# apsw's cache is a ring: what was not used among the last so many statements is prepared anew. Of 200, singles threw out one in twenty.
STATEMENTS = 512  # the most that it takes
# Rows of a repeated statement: few enough lengths to keep all prepared. The longest text must stay below the 16 KiB that apsw's cache
# takes, and from some 200 rows on SQLite's planner turns `settle` round: it would scan all deliveries.
ROWS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

_read = msgspec.json.Decoder().decode

# The caches are in KiB. A larger one makes the writer slower: when a b-tree page was split since the last commit, SQLite goes through its
# whole cache at the commit (`balance_nonroot` renumbers by way of the page at 1 GiB, so the cache takes itself to be longer than the
# file and looks for pages to drop). With 32 MB that was a sixteenth of the writer's CPU, and pushed the rest out of the processor's.
# What is not in it the system keeps in memory, for all connections. Much smaller, and draining reads the same pages again and again.
_PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -8000;
PRAGMA temp_store = MEMORY;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
"""


# Each reader's own: a page of the console reads tens of thousands of rows, and what it leaves behind stays.
READERS_CACHE = "PRAGMA cache_size = -8000"


# SQLite counts its memory under one lock, at each of the dozens of allocations of a row; nobody asks for the sum.
apsw.shutdown()
apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, 0)
apsw.initialize()


class SqliteConnection:
    """One connection. Statements are prepared once and kept by apsw's cache."""

    def __init__(self, connection: apsw.Connection, queries: Mapping[str, Query]) -> None:
        self._connection = connection
        self._queries = queries
        self._cursor = connection.cursor()
        self._repeated: dict[str, list[tuple[int, str]]] = {}
        self._blocks: dict[str, tuple[int, int]] = {}  # kind -> next id, end of block
        self._fresh_blocks: set[str] = set()  # taken in the open transaction: not ours if it is rolled back

    def begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")
        self._fresh_blocks.clear()

    def rollback(self) -> None:
        for kind in self._fresh_blocks:
            self._blocks.pop(kind, None)
        self._fresh_blocks.clear()
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error:
            self._connection.close(True)  # SQLite rolls back what a closed connection left

    def rows(self, name: str, /, **params: Any) -> list[Row]:
        query = self._queries[name]
        return self._cursor.execute(query.sql, [params[key] for key in query.names]).fetchall()

    def change(self, name: str, /, **params: Any) -> int:
        query = self._queries[name]
        before = self._connection.total_changes()
        self._cursor.execute(query.sql, [params[key] for key in query.names])
        return self._connection.total_changes() - before

    def many(self, name: str, rows: Sequence[Row]) -> int:
        before = self._connection.total_changes()
        self._batch(name, rows)
        return self._connection.total_changes() - before

    def settle(self, rows: Sequence[Row]) -> set[int]:
        ours: set[int] = set()
        for (ids,) in self._batch("still_leased", [(row[4], row[5]) for row in rows]):
            ours.update(_read(ids))
        self._batch("settle", [row for row in rows if row[4] in ours])
        return ours

    def due(self, account_id: str, webhook_id: str, now: int, limit: int) -> list[Row]:
        ((found, payloads),) = self.rows("due", account_id=account_id, webhook_id=webhook_id, now=now, limit=limit)
        rows: list[Row] = []
        end = 0
        for id, lease, started_at, attempts, expires_at, event_id, type, time_at, length in _read(found):
            start, end = end, end + length
            rows.append(
                (
                    id,
                    bytes.fromhex(lease) if lease else None,
                    started_at,
                    attempts,
                    expires_at,
                    event_id,
                    type,
                    time_at,
                    payloads[start:end],
                )
            )
        return rows

    def _batch(self, name: str, rows: Sequence[Row]) -> list[Row]:
        """Runs the statement for all rows in one step if it can: apsw lets go of Python's lock for each step, and under load a step
        costs a turn at it. A row at a time, a busy event loop brought the writer to a standstill. Filled up with empty rows, which
        do nothing, so that a few lengths of the statement do for all."""
        found: list[Row] = []
        repeated = self._repeated.get(name)
        if repeated is None:
            repeated = self._repeated[name] = _repeat(self._queries[name])
        nothing = [None] * len(self._queries[name].names)
        for start in range(0, len(rows), ROWS[-1]):
            some = rows[start : start + ROWS[-1]]
            size, sql = next(one for one in repeated if one[0] >= len(some))
            found.extend(self._cursor.execute(sql, list(chain.from_iterable(some)) + nothing * (size - len(some))))
        return found

    def ids(self, kind: str, count: int) -> list[int]:
        start, end = self._blocks.get(kind, (0, 0))
        if start + count > end:
            size = max(count, ID_BLOCK)
            ((start,),) = self.rows("alloc", size=size, name=kind)
            end = start + size
            self._fresh_blocks.add(kind)
        self._blocks[kind] = (start + count, end)
        return list(range(start, start + count))

    def close(self) -> None:
        self._connection.close(True)

    def sever(self) -> None:
        """Nothing: see `can_freeze`."""


def _repeat(query: Query) -> list[tuple[int, str]]:
    """By number of rows: `... VALUES (?1, ?2) ...` with the parenthesis repeated; its parameters must be all that the statement has,
    in order. A row that begins with NULL must do nothing: none is inserted, and nothing joins with it."""
    row = ", ".join(f"?{number}" for number in range(1, len(query.names) + 1))
    before, found, after = " ".join(query.sql.split()).partition(f"VALUES ({row})")
    if not found or "?" in before + after:
        raise ValueError(f"{query.name} cannot be run for many rows: its parameters must stand in one VALUES list, in order")
    # A statement that may fail half-way has SQLite copy each page before it is changed, to undo that statement alone: 13 KB per
    # delivery. We never go on after a failure, so the whole transaction may be undone instead.
    before = before.replace("INSERT INTO", "INSERT OR ROLLBACK INTO", 1)
    after = after.replace("UPDATE deliveries SET", "UPDATE OR ROLLBACK deliveries SET", 1)
    if before.startswith("INSERT"):
        before, after = f"{before}SELECT * FROM (", f") WHERE column1 IS NOT NULL{after}"
    anonymous = f"({', '.join('?' * len(query.names))})"
    return [(size, f"{before}VALUES {', '.join([anonymous] * size)}{after}") for size in ROWS]


class Sqlite:
    """One database file."""

    can_freeze = False  # it is this process; who waits for the disk waits in a call that nobody can recall

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queries = load("sqlite")

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        """The file must exist: a file that vanished under a running server is not replaced by an empty one."""
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        connection = self._opened(flags)
        if read_only:
            connection.execute(READERS_CACHE)
        return SqliteConnection(connection, self._queries)

    def _opened(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, statementcachesize=STATEMENTS)
        try:
            connection.set_busy_timeout(BUSY_MS)
            # Plans depend on the statement alone. Else the planner compares parameters with the conditions of partial indexes, and a
            # statement is prepared anew at each run with another value: in single publishes a sixth of the writer's work.
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            _repeat_while_busy(lambda: connection.execute(_PRAGMAS).fetchall())
        except BaseException:
            connection.close(True)
            raise
        return connection

    def is_frozen(self) -> bool:
        return False

    def prepare(self, *, migrate: bool) -> None:
        """Make the file if it is missing, and bring its schema up. Raises `Misconfigured`."""
        try:
            self._prepare(migrate)
        except (apsw.Error, OSError) as error:
            raise Misconfigured(f"the database {self.path} cannot be used: {error}") from None

    def _prepare(self, migrate: bool) -> None:
        if not self.path.exists():
            if not migrate:
                raise Misconfigured(f"the database {self.path} does not exist: run `gridhook migrate`, or `gridhook serve`, which makes it")
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
        connection = self._opened(apsw.SQLITE_OPEN_READWRITE)
        try:
            # The lock is taken before the version is read, so two processes that start at once do not both apply a step.
            with _Immediate(connection):
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"
                )
            bring_up("sqlite", self._version(connection), migrate, lambda step: self._apply(connection, step))
        finally:
            connection.close(True)

    @staticmethod
    def _version(connection: apsw.Connection) -> int:
        ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchall()
        assert isinstance(version, int)
        return version

    def _apply(self, connection: apsw.Connection, step: Migration) -> None:
        with _Immediate(connection):
            if self._version(connection) >= step.number:
                return  # another process was faster
            connection.execute(step.sql).fetchall()
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?)", (step.number, time.time_ns() // 1_000_000))

    def fault(self, error: BaseException) -> Fault:
        if isinstance(error, apsw.FullError | apsw.BusyError | apsw.LockedError | apsw.ReadOnlyError):
            return Fault.FULL
        if isinstance(error, apsw.ConstraintError):
            unique = (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY)
            return Fault.TAKEN if getattr(error, "extendedresult", 0) in unique else Fault.REFUSED
        if isinstance(error, apsw.TooBigError | apsw.MismatchError | apsw.RangeError | UnicodeError | OverflowError):
            return Fault.REFUSED
        if isinstance(error, apsw.SQLError | apsw.MisuseError | apsw.BindingsError) or not isinstance(error, apsw.Error | OSError):
            return Fault.DEFECT
        if isinstance(error, GridhookError):
            return Fault.DEFECT
        return Fault.GONE

    def idle(self, connection: object) -> None:
        pass

    def close(self) -> None:
        pass


def _repeat_while_busy(step: Callable[[], object]) -> None:
    """For what SQLite refuses at once, without waiting its turn: to turn a new file to WAL while another process does so, too."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            step()
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class _Immediate:
    """A write transaction that waits its turn."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
