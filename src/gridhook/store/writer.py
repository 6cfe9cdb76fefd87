"""The one thread that writes. Whatever waits shares a transaction; everyone is answered after its commit, never before."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from gridhook.errors import Conflict, GridhookError, Invalid, Unavailable
from gridhook.store.database import Connection, Driver, Fault
from gridhook.store.frozen import has_stalled

BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # between two looks at a database that was found gone
IDLE_SECONDS = 10.0  # how long the writer sleeps at most before it does its upkeep
RETRIES_OF_VICTIMS = 5


class Operation:
    """One caller's write, waiting for the writer. `weight`: how many rows it stands for, roughly."""

    __slots__ = ("future", "loop", "unheard", "weight")
    rank = 0  # operations of one group run in this order

    def __init__(self, weight: int = 1) -> None:
        self.weight = weight
        self.unheard: Callable[[Any], None] | None = None  # given the result, on the loop, when the caller was cancelled meanwhile
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def refuse(self) -> None:
        """Nothing of it was kept: undo what was taken outside the database."""


class Work(Protocol):
    """How operations become statements. Results in the order of `operations`; an exception among them fails that one only
    and promises that it wrote nothing."""

    def __call__(self, connection: Connection, operations: Sequence[Operation]) -> Sequence[object]: ...


class Writer:
    """Owns the writing connection. Thread-safe to submit to; answers on each caller's own loop."""

    def __init__(self, driver: Driver, work: Work, most: int) -> None:
        self._driver = driver
        self._work = work
        self._most = most
        self._queue: SimpleQueue[Operation | None] = SimpleQueue()
        self._waiting = 0
        self._done = 0
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None  # when the transaction began that runs now, or what else asks the database
        self._closing = False
        self._serving = False  # the thread runs; asked at each submit, where to ask the thread itself costs a microsecond
        self._down: str | None = None
        self._failures = 0
        self._next_look = 0.0
        self.tell: Callable[[int], None] | None = None  # told the weight of each group that was committed

    def start(self) -> None:
        self._connection = self._driver.connect()
        self._serving = True
        self._thread = threading.Thread(target=self._run, name="gridhook-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits, then end. Blocks."""
        self._closing = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self._abandon()

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self.trouble() is None

    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, in the database's own words; for the operator, not for callers."""
        since = self._busy_since
        if self._down is None and since is not None and has_stalled(since):
            return f"it has not answered for {int(time.monotonic() - since)} seconds"
        return self._down

    def waiting(self) -> list[tuple[Connection, float]]:
        """See `frozen.Waiting`."""
        connection, since = self._connection, self._busy_since
        return [] if connection is None or since is None else [(connection, since)]

    def backlog(self) -> int:
        return max(0, self._waiting - self._done)

    def submit(self, operation: Operation) -> asyncio.Future[Any]:
        if self._closing or not self._serving:
            raise Unavailable("the store is closed")
        self._waiting += operation.weight  # only event loops add, only the writer takes away: no lock needed for a count this rough
        self._queue.put(operation)
        if not self._serving:  # it ended between our look and our put
            self._turn_away()
        return operation.future

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve_all()
        finally:
            self._serving = False
            self._turn_away()

    def _turn_away(self) -> None:
        """Answer what was put on the queue behind its end."""
        with suppress(Empty):
            while True:
                operation = self._queue.get_nowait()
                if operation is not None:
                    self._answer([operation], [Unavailable("the store is closed")])

    def _serve_all(self) -> None:
        last = False
        while not last:
            group, last = self._gather()
            self._busy_since = time.monotonic()
            try:
                if group:
                    self._serve(group)
                elif self._down is not None:
                    self._look()
                if self._connection is not None and self._down is None:
                    self._driver.idle(self._connection)
            except Exception as error:  # whatever it was, the thread must go on: without it nothing is accepted any more
                self._fail(error)
            self._busy_since = None
            self._done += sum(operation.weight for operation in group)

    def _gather(self) -> tuple[list[Operation], bool]:
        try:
            wait = IDLE_SECONDS if self._down is None else max(0.01, self._next_look - time.monotonic())
            first = self._queue.get(timeout=wait)
        except Empty:
            return [], False
        if first is None:
            return [], True
        group, weight = [first], first.weight
        while weight < self._most:
            try:
                operation = self._queue.get_nowait()
            except Empty:
                break
            if operation is None:
                return group, True
            group.append(operation)
            weight += operation.weight
        return group, False

    def _serve(self, group: list[Operation]) -> None:
        group.sort(key=lambda operation: operation.rank)
        if self._down is not None and not self._look():
            self._answer(group, [self._unavailable()] * len(group))
            return
        try:
            results = self._transaction(group)
        except Exception as error:
            fault = self._driver.fault(error)
            if fault in (Fault.GONE, Fault.FULL):
                self._fail(error)
                results = [self._unavailable()] * len(group)
            else:
                # One of them is poison: each on its own, so that only that one fails.
                results = [self._alone(operation) for operation in group]
        else:
            self._count(group)
        self._answer(group, results)

    def _count(self, group: Sequence[Operation]) -> None:
        if self.tell is not None:
            try:
                self.tell(sum(operation.weight for operation in group))
            except Exception:  # what is committed must not be made again because nobody could count it
                traceback.print_exc()

    def _transaction(self, group: Sequence[Operation]) -> Sequence[object]:
        connection = self._connection
        assert connection is not None
        self._busy_since = time.monotonic()
        try:
            connection.begin()
            results = self._work(connection, group)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        return results

    def _alone(self, operation: Operation) -> object:
        if self._down is not None:
            return self._unavailable()
        for _ in range(RETRIES_OF_VICTIMS):
            try:
                return self._transaction([operation])[0]
            except Exception as error:
                fault = self._driver.fault(error)
                if fault is Fault.AGAIN:
                    continue
                if fault in (Fault.GONE, Fault.FULL):
                    self._fail(error)
                    return self._unavailable()
                if isinstance(error, GridhookError):
                    return error
                return _translated(fault, error)
        return Unavailable("the database is too busy to write this")

    def _answer(self, group: Sequence[Operation], results: Sequence[object]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Operation, object]]] = {}
        for operation, result in zip(group, results, strict=True):
            if isinstance(result, BaseException):
                try:
                    operation.refuse()
                except Exception:  # the others wait for their answers
                    traceback.print_exc()
            by_loop.setdefault(operation.loop, []).append((operation, result))
        for loop, answers in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, answers)
            except RuntimeError:
                continue  # that loop is closed: nobody waits there any more

    # --- gone, and back -----------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        self._down = f"{type(error).__name__}: {error}"
        self._next_look = time.monotonic() + BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        if self._driver.fault(error) is not Fault.FULL:
            self._abandon()

    def _look(self) -> bool:
        """Is the database back? Asked at most once per back-off; a real write, because a full disk still answers reads."""
        if time.monotonic() < self._next_look:
            return False
        try:
            if self._connection is None:
                self._connection = self._driver.connect()
            self._connection.begin()
            self._connection.change("probe", value=str(time.time_ns()).encode())
            self._connection.commit()
        except Exception as error:
            if self._connection is not None:
                self._connection.rollback()
            self._fail(error)
            return False
        self._down = None
        self._failures = 0
        return True

    def _abandon(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unavailable(self) -> Unavailable:
        return Unavailable("the database cannot be written now", retry_after=2)  # why is the operator's business: see `trouble`


def _settle(answers: list[tuple[Operation, object]]) -> None:
    for operation, result in answers:
        future = operation.future
        if future.done():  # its caller was cancelled
            if operation.unheard is not None and not isinstance(result, BaseException):
                try:
                    operation.unheard(result)
                except Exception as error:  # the others wait for their answers
                    operation.loop.call_exception_handler({"message": "a hand-back failed", "exception": error})
        elif isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _translated(fault: Fault, error: Exception) -> Exception:
    """Without the database's own text, which may quote other rows or say where it runs."""
    if fault is Fault.TAKEN:
        return Conflict("it exists already")
    if fault is Fault.REFUSED:
        return Invalid("", "the database cannot store this")
    return error
