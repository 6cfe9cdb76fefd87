"""A few connections that only read, each on a thread of its own pool: a slow page never delays a write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from gridhook.errors import Unavailable
from gridhook.store.database import Connection, Driver, Fault

READERS = 2

P = ParamSpec("P")
T = TypeVar("T")


class Readers:
    """Threads are started at first use; each opens its connection when it first reads, and again after it was found gone."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="gridhook-reader")
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._waiting: dict[Connection, float] = {}

    async def run(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises `Unavailable` when the database is gone, or cancels what takes it too long."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._read(read, *args, **kwargs))
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("the store is closed") from None
            raise

    def waiting(self) -> list[tuple[Connection, float]]:
        """See `frozen.Waiting`."""
        return list(self._waiting.items())

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _read(self, read: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in (1, 2):
            connection = None
            try:
                connection = self._connection()
                self._waiting[connection] = time.monotonic()
                return read(connection, *args, **kwargs)
            except Exception as error:
                fault = self._driver.fault(error)
                if fault not in (Fault.GONE, Fault.FULL):
                    raise
                self._drop()
                # A connection that idled through a restart of the database fails once; a second failure is the database's. What took
                # too long once would take as long again, and others wait for this thread.
                if attempt == 2 or fault is Fault.FULL:
                    raise Unavailable("the database cannot be read now", retry_after=2) from error
            finally:
                if connection is not None:
                    self._waiting.pop(connection, None)
        raise AssertionError

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._driver.connect(read_only=True)
            self._connections.append(connection)
        return connection

    def _drop(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._connections.remove(connection)
            connection.close()
