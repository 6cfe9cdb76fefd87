"""The counters of ids, when a restore brought back rows without them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import closing

import apsw
import psycopg
import pytest

from gridhook.app import COUNTERS_MOVED, open_gridhook
from gridhook.cli.checks import Level, database
from gridhook.config import Settings
from gridhook.store import Store, open_store, sqlite_path
from gridhook.telemetry import Log
from tests.store.world import NOON, a_webhook, an_account, claim, event, finished, log, publish, state

KINDS = {"events", "deliveries", "attempts"}
FAR = 3_000_000  # ids: many blocks, and no whole number of them
KEY = "k:" + "A" * 43 + "="


def run(settings: Settings, *statements: str) -> None:
    if settings.database_url:
        with psycopg.connect(settings.database_url) as postgres:
            for statement in statements:
                postgres.execute(statement)
        return
    with closing(apsw.Connection(str(sqlite_path(settings)))) as sqlite:
        for statement in statements:
            sqlite.execute(statement)


def set_back(settings: Settings) -> None:
    """As if the tables had been restored, and the counters had begun anew."""
    if settings.database_url:
        run(settings, *(f"SELECT setval('ids_of_{kind}', 1, false)" for kind in KINDS))
    else:
        run(settings, "UPDATE counters SET next = 1 WHERE name <> 'attempts'", "DELETE FROM counters WHERE name = 'attempts'")


@pytest.fixture
async def restored(database_settings: Settings) -> Settings:
    """A database with one delivery that was attempted and one that waits, whose counters lie behind."""
    store = open_store(database_settings)
    assert await store.open() == {}
    await an_account(store)
    await a_webhook(store)
    await publish(store, event("old-1"), event("old-2"))
    (first,) = (await claim(store, 1)).claims
    assert await store.record([finished(first)]) == [True]
    await store.close()
    run(database_settings, f"UPDATE attempts SET id = id + {FAR}")
    set_back(database_settings)
    return database_settings


async def test_after_a_partial_restore_events_are_published_claimed_and_recorded_again(restored: Settings) -> None:
    store = open_store(restored)
    assert set(await store.open()) == KINDS
    await publish(store, event("new-1"), event("new-2"))
    waiting = (await claim(store)).claims
    assert sorted(one.event_id for one in waiting) == ["new-1", "new-2", "old-2"]
    assert await store.record([finished(one) for one in waiting]) == [True] * 3
    ids = [one.id for one in await log(store)]
    assert (len(ids), min(ids)) == (4, FAR + 1), "what is new comes after what was restored"
    await store.close()
    again = open_store(restored)
    assert await again.open() == {}
    await again.close()


async def test_processes_that_start_at_once_on_a_partial_restore_never_take_the_same_ids(
    restored: Settings, open_more: Callable[[], Store]
) -> None:
    stores = [open_more() for _ in range(4)]

    async def started(number: int) -> None:
        """The later ones look while the earlier ones take ids."""
        await stores[number].open()
        await publish(stores[number], *(event(f"{number}-{one}") for one in range(20)))

    await asyncio.gather(*(started(number) for number in range(4)))
    assert await state(stores[0]) == (0, 81)
    claims = (await claim(stores[1], 100)).claims
    assert await stores[2].record([finished(one) for one in claims]) == [True] * 81
    ids = {one.id for one in await log(stores[3])}
    assert (len(ids), min(ids)) == (82, FAR + 1)


async def test_the_counters_are_compared_with_the_ends_of_indexes_and_no_table_is_walked(restored: Settings) -> None:
    store = open_store(restored)
    await store.open()
    plan: list[str] = []
    with closing(store._driver.connect(read_only=True)) as connection:  # type: ignore[attr-defined] # not the store's promise
        sql = connection._queries["counters_behind"].sql
        if restored.database_url:
            connection._connection.execute("SET enable_seqscan = off")  # of so few rows, the planner would rather read all
            plan = [row[0] for row in connection._connection.execute("EXPLAIN " + sql)]
            for index in ("events_pkey", "deliveries_pkey", "attempts_pkey"):
                assert any(f"Scan Backward using {index}" in line for line in plan), plan
        else:
            plan = [row[3] for row in connection._connection.execute("EXPLAIN QUERY PLAN " + sql)]
            for kind in KINDS:
                assert any(line.startswith(f"SEARCH {kind}") for line in plan), plan
    await store.close()


async def test_doctor_finds_counters_that_lie_behind_and_leaves_them_and_the_server_moves_them_and_says_so(restored: Settings) -> None:
    settings = Settings(data_dir=restored.data_dir, database_url=restored.database_url, master_key=KEY)
    for _ in range(2):
        found = {one.check: one async for one in database(settings, None)}
        assert found["counters of ids"].level is Level.WARN
        assert all(kind in found["counters of ids"].message for kind in KINDS)
    lines = io.BytesIO()
    # Nothing of the customer's is to be sent: the webhook's host does not exist.
    run(restored, f"UPDATE webhooks SET paused_at = {NOON}")
    run(restored, "DELETE FROM webhook_credentials")  # sealed by nobody
    async with open_gridhook(settings, log=Log(lines)):
        pass
    said = [line for line in map(json.loads, lines.getvalue().splitlines()) if line["msg"] == COUNTERS_MOVED]
    assert [(line["level"], set(line["lay_behind_by"])) for line in said] == [("warning", KINDS)]
    assert "counters of ids" not in {one.check async for one in database(settings, None)}
