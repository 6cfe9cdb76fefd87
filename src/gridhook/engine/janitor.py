"""Small steps of housekeeping: lets go what is held no longer, and lets expire what was held too long."""

from __future__ import annotations

import asyncio
import contextlib

from gridhook.errors import GridhookError
from gridhook.store.promises import Store
from gridhook.telemetry import Log

STEP_ROWS = 1000  # rows per transaction: the road waits for none longer than this takes
PAUSE_SECONDS = 5.0


class Janitor:
    """A release or an expiry that a crash cut short, or that another process's commit raced, is finished here."""

    def __init__(self, *, store: Store, log: Log, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._log = log
        self._pause = pause_seconds
        self._wake = asyncio.Event()

    def hurry(self) -> None:
        """Something was just released or held: look now."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                released, expired = await self._store.settle_held(now=self._store.clock.now(), limit=STEP_ROWS)
                if expired:
                    self._log.warning("held deliveries expired before their webhook was verified", count=expired)
                if released < STEP_ROWS and expired < STEP_ROWS:
                    await self._sleep()
            except GridhookError as trouble:
                self._log.outage("housekeeping waits for the database", error=str(trouble))
                await asyncio.sleep(self._pause)

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._wake.wait()
        self._wake.clear()
