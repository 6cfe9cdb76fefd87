"""Pages of a log that is written to between the statements of one and the same page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from gridhook.config import Settings
from gridhook.model import AttemptFilter, DeliveryFilter, DeliveryState
from gridhook.store import history, open_store
from gridhook.store.database import Connection, Driver, Row
from gridhook.store.sqlstore import SqlStore
from tests.store.past import Raw, a_past
from tests.store.world import HOUR, NOON

PAST = 60_000  # attempts, of 12,000 deliveries: more than two stretches of either
LATE = 100  # rows that come while a page is made


class Interrupted:
    """A real connection; before its second statement something happens, once."""

    def __init__(self, connection: Connection, meanwhile: Callable[[], object]) -> None:
        self._connection = connection
        self._made = 0
        self._meanwhile = meanwhile

    def rows(self, name: str, /, **params: Any) -> list[Row]:
        self._made += 1
        if self._made == 2:
            self._meanwhile()
        return self._connection.rows(name, **params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
async def driver(database_settings: Settings) -> Driver:
    """Of a database with a past."""
    store = open_store(database_settings)
    assert isinstance(store, SqlStore)
    await store.open()
    await store.close()
    with closing(store._driver.connect()) as connection:
        a_past(connection._connection, PAST)  # type: ignore[attr-defined] # of either driver
    return store._driver


def late(raw: Raw) -> None:
    """Attempts and deliveries on top of the log, in one commit: copies of the first ones."""
    raw.execute("BEGIN")
    for table, at in (("attempts", "started_at"), ("deliveries", "created_at")):
        raw.execute(
            f"INSERT INTO {table} (id, {at}, {COLUMNS[table]}) "
            f"SELECT id + 1000000, {at} + {9 * HOUR}, {COLUMNS[table]} FROM {table} WHERE id <= {10 * LATE}"
        )
    raw.execute("COMMIT")


COLUMNS = {
    "attempts": "account_id, webhook_id, kind, delivery_id, event_id, event_type, number, status, reason, phase, total_us, reconnects, "
    "truncated, url, headers, body",
    "deliveries": "account_id, webhook_id, event_seq, state, failure_reason, attempts, expires_at, last_result",
}
Turn = Callable[[Connection, "history.Key | None"], "tuple[list[int], history.Key | None]"]


def turns() -> Iterator[tuple[str, Turn]]:
    def attempts(connection: Connection, place: history.Key | None) -> tuple[list[int], history.Key | None]:
        page = history.attempts(connection, "acc", None, place, None, AttemptFilter(status=503), 100)
        return [one.id for one in page.attempts], page.next

    def deliveries(connection: Connection, place: history.Key | None) -> tuple[list[int], history.Key | None]:
        wanted = DeliveryFilter(states=(DeliveryState.FAILED, DeliveryState.HELD))
        page = history.deliveries(connection, "acc", "big", place, None, wanted, 1000, NOON)
        return [one.id for one in page.deliveries], page.next

    yield "attempts", attempts
    yield "deliveries", deliveries


@pytest.mark.parametrize("log", ["attempts", "deliveries"])
def test_what_comes_while_a_page_is_made_pushes_nothing_out_of_it(driver: Driver, log: str) -> None:
    turn = dict(turns())[log]
    with closing(driver.connect()) as connection:

        def walk(first: Connection) -> list[int]:
            found, place = turn(first, None)
            while place is not None:
                more, place = turn(connection, place)
                found += more
            return found

        before = walk(connection)
        assert len(before) > 100
        raw = connection._connection  # type: ignore[attr-defined] # of either driver
        found = walk(Interrupted(connection, lambda: late(raw)))
    assert [id for id in found if id <= PAST] == before
