"""What is finished while the database is away."""

from __future__ import annotations

import asyncio
import io
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gridhook.config import Settings
from gridhook.engine.recorder import Recorder
from gridhook.store import open_store
from gridhook.telemetry import Log, Metrics
from tests.store.world import a_webhook, an_account, claim, event, finished, publish, state

HANG_GUARD_SECONDS = 30


async def test_whoever_stops_waiting_for_the_database_is_told_how_much_is_not_written_and_takes_nothing_from_it(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=str(tmp_path)))
    await store.open()
    await an_account(store)
    await a_webhook(store)
    now = store.clock.now()
    await publish(store, event("a", at=now), event("b", at=now), now=now)
    (first, second) = (await claim(store, now=now)).claims
    log = io.BytesIO()
    recorder = Recorder(store, Log(log), Metrics(), lambda _finished, _kept: None)
    with closing(apsw.Connection(str(tmp_path / "gridhook.db"))) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        recorder.add(finished(first))
        recorder.add(finished(second))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(recorder.drain(), 0.5)
        assert recorder.waiting == 2
        assert await state(store) == (0, 2)
        somebody.execute("ROLLBACK")
    await asyncio.wait_for(recorder.drain(), HANG_GUARD_SECONDS)
    assert recorder.waiting == 0
    assert await state(store) == (0, 0)
    await store.close()


async def test_what_is_let_go_is_not_written_any_more(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=str(tmp_path)))
    await store.open()
    recorder = Recorder(store, Log(io.BytesIO()), Metrics(), lambda _finished, _kept: None)
    await an_account(store)
    await a_webhook(store)
    now = store.clock.now()
    await publish(store, event("a", at=now), now=now)
    (only,) = (await claim(store, now=now)).claims
    with closing(apsw.Connection(str(tmp_path / "gridhook.db"))) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        recorder.add(finished(only))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(recorder.drain(), 0.5)
        await asyncio.wait_for(recorder.let_go(), HANG_GUARD_SECONDS)
        assert recorder.waiting == 0
        somebody.execute("ROLLBACK")
    await asyncio.wait_for(recorder.drain(), HANG_GUARD_SECONDS)
    await store.close()
