"""What shares a transaction shares nothing else: one caller's defect costs no other an answer, nor an attempt."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue

import pytest

from gridhook.engine.recorder import Recorder
from gridhook.errors import Unavailable
from gridhook.model import RetryAt
from gridhook.store.sqlstore import SqlStore
from gridhook.telemetry import Log, Metrics
from tests.store.world import LEASE, NOON, a_webhook, always, answered, event, finished, publish

GENEROUS = 30.0


async def test_what_is_committed_is_not_made_again_because_nobody_could_count_it(
    store: SqlStore, capfd: pytest.CaptureFixture[str]
) -> None:
    await a_webhook(store)

    def tell(_count: int) -> None:
        raise RuntimeError("the metrics broke")

    store.on_commit(tell)
    published = await publish(store, event("e1"), leased=True)
    assert (published.results[0].duplicate, len(published.claims)) == (False, 1)
    assert "the metrics broke" in capfd.readouterr().err


async def test_a_hand_back_that_fails_leaves_nobody_without_an_answer(store: SqlStore) -> None:
    await a_webhook(store)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(str(context["exception"])))

    def defect(_account: str, _webhook: str) -> None:
        raise RuntimeError("nothing is handed back")

    gone = asyncio.ensure_future(store.publish([event("e1")], lease_ms=LEASE, now=NOON, reserve=always, give_back=defect))
    other = asyncio.ensure_future(publish(store, event("e2")))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await asyncio.wait_for(other, GENEROUS)).results[0].id == "e2"
    await asyncio.wait([gone])
    assert complaints == ["nothing is handed back"]


async def test_an_attempt_that_cannot_be_stored_costs_its_neighbours_nothing(store: SqlStore, quiet_log: Log) -> None:
    await a_webhook(store)
    bad, good = (await publish(store, event("e1"), event("e2"), leased=True)).claims
    kept: list[tuple[str, bool]] = []
    recorder = Recorder(store, quiet_log, Metrics(), lambda one, ours: kept.append((one.claim.event_id, ours)))
    recorder.add(finished(bad, answered(503), RetryAt(2**70)))
    recorder.add(finished(good, answered(503), RetryAt(NOON)))
    await recorder.drain()
    assert kept == [("e2", True)]
    assert recorder.waiting == 0


async def test_a_write_that_comes_at_the_very_moment_of_the_end_is_turned_away_and_not_left_waiting(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store._writer

    class Late(SimpleQueue):  # type: ignore[type-arg]
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            if item is not None:
                monkeypatch.undo()
                writer.stop()
                writer._queue.put(item)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "_queue", Late())
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(publish(store, event("e1")), GENEROUS)
