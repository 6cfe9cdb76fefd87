"""A database that was stopped, not ended, keeps its connections and answers nothing on them, for as long as it likes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from gridhook.store.database import Connection, Driver

STALL_SECONDS = 10.0  # who has waited so long makes us ask: the database may only be slow, for which it has limits of its own
LOOK_SECONDS = 1.0


def has_stalled(since: float) -> bool:
    """since: on the monotonic clock."""
    return time.monotonic() - since > STALL_SECONDS


class Waiting(Protocol):
    """Who uses connections."""

    def waiting(self) -> Sequence[tuple[Connection, float]]:
        """The connections on which an answer is awaited at this moment, and since when (monotonic). From any thread."""
        ...


class Watch:
    """Has those who wait for a frozen database hear that it is gone. A thread of its own: all others may be waiting."""

    def __init__(self, driver: Driver, *users: Waiting) -> None:
        self._driver = driver
        self._users = users
        self._ended = threading.Event()

    def start(self) -> None:
        if self._driver.can_freeze:
            threading.Thread(target=self._run, name="gridhook-watch", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(min(LOOK_SECONDS, STALL_SECONDS / 2)):
            late = self._late()
            if late and self._driver.is_frozen():
                for connection in late & self._late():  # it took some seconds to ask
                    connection.sever()

    def _late(self) -> set[Connection]:
        return {connection for user in self._users for connection, since in user.waiting() if has_stalled(since)}
