"""A PostgreSQL that was stopped rather than ended: its connections stand, new ones are taken, and nothing is ever answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from gridhook.config import Settings
from gridhook.errors import Unavailable
from gridhook.store import frozen, open_store, postgres
from gridhook.store.sqlstore import SqlStore
from tests.store.world import a_webhook, event, publish

GENEROUS = 60.0


@dataclass
class Frost:
    """Stands before a PostgreSQL. While it is frozen it takes connections and bytes, and passes none of them on."""

    url: str
    port: int = 0
    pumps: set[asyncio.Task[None]] = field(default_factory=set)
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.thawed.wait()
        told = conninfo_to_dict(self.url)
        host, port = str(told["host"]), int(told.get("port") or 5432)
        if host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there = await asyncio.open_connection(host, port)
        for source, target in ((reader, there[1]), (there[0], writer)):
            pump = asyncio.create_task(self.pump(source, target))
            self.pumps.add(pump)
            pump.add_done_callback(self.pumps.discard)

    async def pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.thawed.wait()
                target.write(data)
        except OSError:
            pass
        finally:
            target.close()


@pytest.fixture
async def frost(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Frost]:
    monkeypatch.setattr(frozen, "STALL_SECONDS", 0.2)
    monkeypatch.setitem(postgres._CONNECT, "connect_timeout", 2)
    made = Frost(postgres_url)
    made.thawed.set()
    server = await asyncio.start_server(made.met, "127.0.0.1")
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for pump in made.pumps:
        pump.cancel()
    await asyncio.gather(*made.pumps, return_exceptions=True)


@pytest.fixture
async def store(frost: Frost, tmp_path: Path) -> AsyncIterator[SqlStore]:
    told = conninfo_to_dict(frost.url)
    who = f"{told.get('user') or 'postgres'}:{told.get('password') or ''}"
    behind = f"postgresql://{who}@127.0.0.1:{frost.port}/{told['dbname']}?sslmode=disable&gssencmode=disable"
    opened = open_store(Settings(data_dir=str(tmp_path), database_url=behind))
    assert isinstance(opened, SqlStore)
    await opened.open()
    yield opened
    await opened.close()


async def test_a_frozen_database_refuses_what_waits_for_it_and_is_used_again_when_it_thaws(frost: Frost, store: SqlStore) -> None:
    webhook = await a_webhook(store)
    await publish(store, event("e1"))
    assert await store.webhook(webhook.account_id, webhook.id) is not None
    frost.thawed.clear()
    written = asyncio.ensure_future(publish(store, event("e2")))
    read = asyncio.ensure_future(store.webhook(webhook.account_id, webhook.id))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(written, GENEROUS)
    assert not store.is_alive()
    assert store.trouble()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(publish(store, event("e3")), GENEROUS)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(read, GENEROUS)
    frost.thawed.set()
    for number in range(1, 4):  # whatever was kept of them, none is lost
        while True:
            try:
                kept = await publish(store, event(f"e{number}"))
                break
            except Unavailable:
                await asyncio.sleep(0.05)
        assert kept.results[0].duplicate or number > 1
    assert store.is_alive()
    assert store.trouble() is None


async def test_a_server_whose_database_is_frozen_can_be_stopped(frost: Frost, store: SqlStore) -> None:
    await a_webhook(store)
    frost.thawed.clear()
    waits = asyncio.ensure_future(publish(store, event("e1")))
    await asyncio.sleep(0)
    await asyncio.wait_for(store.close(), GENEROUS)
    with pytest.raises(Unavailable):
        await waits
    frost.thawed.set()
