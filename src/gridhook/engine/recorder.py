"""Brings finished attempts to the store, many in one call, and keeps at it while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gridhook.errors import Unavailable
from gridhook.model import Delivered, Finished
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


class Recorder:
    """`add` is cheap and never blocks; what was added in one turn of the event loop goes to the store together.

    While the store is unavailable the attempts wait here: their number is bounded, since nothing new is claimed meanwhile
    (`waiting`). One whose lease has run out is let go: the next claimer logs it as lost, and the receiver may see a repeat.
    """

    def __init__(self, store: Store, log: Log, metrics: Metrics, settled: Callable[[Finished, bool], None]) -> None:
        self._store = store
        self._log = log
        self._metrics = metrics
        self._settled = settled
        self._batch: list[Finished] = []
        self._scheduled = False
        self._writes: set[asyncio.Task[None]] = set()
        self.waiting = 0

    def add(self, finished: Finished) -> None:
        self.waiting += 1
        self._batch.append(finished)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        batch, self._batch = self._batch, []
        if batch:
            write = asyncio.ensure_future(self._write(batch))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)

    async def _write(self, batch: list[Finished]) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while batch:
                try:
                    settled = await self._store.record(batch)
                except Unavailable as trouble:
                    self._log.outage("attempts wait for the database", waiting=self.waiting, error=str(trouble))
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                    batch = self._still_ours(batch)
                    continue
                except Exception:
                    if len(batch) == 1:
                        raise
                    # One of them cannot be kept: each by itself, so that only that one is let go.
                    each, batch = batch, []
                    for one in each:
                        await self._write([one])
                    return
                now = self._store.clock.now()
                for finished, kept in zip(batch, settled, strict=True):
                    claim, verdict, lag_ms = finished.claim, finished.verdict, None
                    if not isinstance(verdict, Delivered):
                        self._settled(finished, kept)
                    elif claim.number == 1:
                        lag_ms = now - claim.time_at
                    self._log.attempt(finished.attempt, verdict, lag_ms, kept)
                    self._metrics.attempt(finished.attempt, verdict, lag_ms)
                return
        except Exception as defect:
            self._log.error("attempts could not be recorded; their leases will run out", count=len(batch), error=repr(defect))
        finally:
            self.waiting -= len(batch)

    def _still_ours(self, batch: list[Finished]) -> list[Finished]:
        now = self._store.clock.now()
        ours = [finished for finished in batch if finished.claim.lease_until > now]
        lost = len(batch) - len(ours)
        if lost:
            self.waiting -= lost
            self._log.error("attempts outlived their leases while the database was away", count=lost)
        return ours

    async def drain(self) -> None:
        """Wait until all that was added is written or let go. Who waits no longer leaves the writes as they are: see `waiting`."""
        while self._batch or self._writes:
            self._flush()
            await asyncio.wait(self._writes)

    async def let_go(self) -> None:
        """Of what is not written: when their leases have run out, others make these attempts again."""
        for write in self._writes:
            write.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)
