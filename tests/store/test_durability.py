"""What was answered is kept: killed processes, full disks, lost connections."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import apsw
import psycopg
import pytest

from gridhook.config import Settings
from gridhook.errors import Unavailable
from gridhook.model import LaneLimits
from gridhook.store import Store, open_store
from gridhook.store.promises import Published
from gridhook.store.sqlite import Sqlite
from gridhook.store.sqlstore import SqlStore
from tests.store.world import LEASE, NOON, a_webhook, claim, event, finished, log, publish, state

T = TypeVar("T")
KILLS = 3
ANSWERS_BEFORE_EACH_KILL = 200


async def until_it_works(call: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


def published_until_killed(settings: Settings) -> set[str]:
    """The ids that a publishing process was answered before it was killed in the middle of its work."""
    command = [sys.executable, "-m", "tests.store.publisher", settings.data_dir, settings.database_url]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(ANSWERS_BEFORE_EACH_KILL)]
        child.kill()
        whole, _, _cut = child.stdout.read().rpartition("\n")  # what it had said before it died, but for a line that was cut
    assert all(line.endswith("\n") for line in lines), "it must live until it is killed"
    return {*map(str.strip, lines), *whole.split()}


async def publish_until_refused(store: Store, size: int) -> list[str]:
    kept: list[str] = []
    for number in range(10_000):
        try:
            answer = await publish(store, event(f"e{number}", content="x" * size))
        except Unavailable:
            return kept
        kept.append(answer.results[0].id)
    raise AssertionError("the disk was never full")


async def test_nothing_that_was_answered_is_lost_when_the_process_is_killed(
    database_settings: Settings, open_more: Callable[[], Store]
) -> None:
    store = open_more()
    await store.open()
    await a_webhook(store)
    answered: set[str] = set()
    for _ in range(KILLS):
        answered |= await asyncio.to_thread(published_until_killed, database_settings)
    repeats = await publish(store, *(event(id) for id in sorted(answered)))
    assert [one.id for one in repeats.results if not one.duplicate] == []
    assert {one.deliveries for one in repeats.results} == {1}
    # Each was born leased to a process that is dead: due again when the lease ends, with the lost attempt in the log.
    waiting = (await store.counts("acc", "wh")).queued
    assert waiting >= len(answered)
    again = await claim(store, 100_000, now=NOON + LEASE)
    assert len(again.claims) == waiting
    assert {one.event_id for one in again.claims} >= answered
    assert {one.number for one in again.claims} == {2}
    assert len(await log(store)) == min(1000, waiting)


@contextmanager
def small_disk(path: Path) -> Iterator[Callable[[], object]]:
    """A file system of 3 MB; the value makes it bigger. Who may not mount gets a limit on the size of files instead."""
    path.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path], check=True)
        try:
            yield lambda: subprocess.run(["mount", "-o", "remount,size=100m", path], check=True)
        finally:
            subprocess.run(["umount", "-l", path], check=True)
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
        try:
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_said_loses_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as make_room:
        store = open_store(Settings(data_dir=str(tmp_path / "disk")))
        await store.open()
        await a_webhook(store)
        kept = await publish_until_refused(store, 4000)
        assert kept
        assert not store.is_alive()
        assert store.trouble()
        assert (await store.webhook("acc", "wh")).is_verified, "reading goes on"
        make_room()
        await until_it_works(lambda: publish(store, event("after")))
        assert store.is_alive()
        assert store.trouble() is None
        repeats = await publish(store, *(event(id, content="x" * 4000) for id in kept))
        assert all(one.duplicate for one in repeats.results)
        assert (await state(store))[1] == len(kept) + 1
        await store.close()


async def test_a_store_whose_disk_was_full_recovers_without_being_asked(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as make_room:
        store = open_store(Settings(data_dir=str(tmp_path / "disk")))
        await store.open()
        await publish_until_refused(store, 40_000)
        make_room()
        async with asyncio.timeout(60):
            while not store.is_alive():  # nobody announces it: a health check asks like this
                await asyncio.sleep(0.05)
        await store.close()


async def test_a_command_beside_the_server_and_the_server_wait_for_each_other(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=str(tmp_path)))
    await store.open()
    locked, go_on = threading.Event(), threading.Event()

    def command() -> None:
        connection = Sqlite(tmp_path / "gridhook.db").connect()
        connection.begin()
        connection.change("set_meta_once", key="command", value=b"was here")
        locked.set()
        go_on.wait(30)
        connection.commit()
        connection.close()

    other = asyncio.create_task(asyncio.to_thread(command))
    await asyncio.to_thread(locked.wait, 30)
    waiting = asyncio.create_task(publish(store, event("e1")))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert await store.meta("command") is None
    go_on.set()
    await other
    assert not (await waiting).results[0].duplicate
    assert await store.meta("command") == b"was here"
    await store.close()


async def test_every_commit_is_on_the_disk_before_it_is_answered(store: SqlStore) -> None:
    connection = store._driver.connect()
    raw: apsw.Connection | psycopg.Connection[tuple[object, ...]] = connection._connection  # type: ignore[attr-defined]
    if isinstance(raw, apsw.Connection):
        assert raw.execute("PRAGMA synchronous").fetchall() == [(2,)]
        assert raw.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    else:
        raw.execute("SET synchronous_commit = off")
        connection.close()
        connection = store._driver.connect()
        raw = connection._connection  # type: ignore[attr-defined]
        assert isinstance(raw, psycopg.Connection)
        assert raw.execute("SHOW synchronous_commit").fetchall() == [("on",)]
    connection.close()


# --- PostgreSQL only: what cannot happen to a file --------------------------------------------------------------


@pytest.fixture
def on_postgres(
    request: pytest.FixtureRequest, store: SqlStore, database_settings: Settings
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database_settings.database_url, autocommit=True) as connection:
        yield connection


postgres_only = pytest.mark.parametrize("database_settings", ["postgres"], indirect=True)


@postgres_only
async def test_a_lost_connection_is_said_and_comes_back_by_itself(
    store: SqlStore, on_postgres: psycopg.Connection[tuple[object, ...]]
) -> None:
    await a_webhook(store)
    await publish(store, event("before"))
    on_postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    answer = await until_it_works(lambda: publish(store, event("after")))
    assert isinstance(answer, Published)
    assert store.is_alive()
    assert (await state(store)) == (0, 2), "readers reconnect too"


@postgres_only
async def test_a_commit_whose_answer_was_lost_can_be_repeated(store: SqlStore, on_postgres: psycopg.Connection[tuple[object, ...]]) -> None:
    await a_webhook(store)
    on_postgres.execute(
        """
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();
        """
    )
    slots = 0

    def reserve(_account: str, _webhook: str, _limits: LaneLimits | None) -> bool:
        nonlocal slots
        slots += 1
        return True

    def give_back(_account: str, _webhook: str) -> None:
        nonlocal slots
        slots -= 1

    with pytest.raises(Unavailable):
        await store.publish([event("e1")], lease_ms=LEASE, now=NOON, reserve=reserve, give_back=give_back)
    assert slots == 0
    assert not store.is_alive()
    on_postgres.execute("DROP TRIGGER die ON events")
    await until_it_works(lambda: publish(store, event("e1")))
    assert await state(store) == (0, 1)


@postgres_only
async def test_the_clock_is_the_databases(store: SqlStore, on_postgres: psycopg.Connection[tuple[object, ...]]) -> None:
    ((before,),) = on_postgres.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 100").fetchall()
    now = store.clock.now()
    ((after,),) = on_postgres.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 100").fetchall()
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert before <= now <= after


@postgres_only
async def test_a_database_whose_default_is_a_stricter_isolation_makes_no_writer_give_up(
    on_postgres: psycopg.Connection[tuple[object, ...]], database_settings: Settings
) -> None:
    on_postgres.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation TO serializable', current_database()); END $$"
    )
    ours, theirs = open_store(database_settings), open_store(database_settings)
    await ours.open()
    await theirs.open()
    await a_webhook(ours)

    async def deliver(store: Store, name: str) -> None:
        for number in range(40):
            published = await publish(store, event(f"{name}{number}"), event(f"same{number}"), leased=True)
            await asyncio.gather(*(store.record([finished(one)]) for one in published.claims))
            await store.counts("acc", "wh")

    try:
        await asyncio.gather(deliver(ours, "a"), deliver(theirs, "b"), deliver(ours, "c"), deliver(theirs, "d"))
        assert (await ours.health("acc", ["wh"], now=NOON))["wh"].succeeded == 5 * 40
    finally:
        await ours.close()
        await theirs.close()
