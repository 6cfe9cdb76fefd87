"""Retention: forgets what has been kept long enough, in steps so small that the road does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import time

from gridhook.config import Settings
from gridhook.errors import GridhookError
from gridhook.store.promises import Pruned, Retention, Store
from gridhook.telemetry import Log, Metrics

STEP_ROWS = 500  # of each kind per transaction
PAUSE_SECONDS = 60.0  # between two passes
LEAST_REST_SECONDS = 0.02  # between two steps of a pass


class Pruner:
    """After each step it leaves the database to others for at least as long as the step took. Several processes may do this side
    by side: what one took, the others do not find."""

    def __init__(self, *, store: Store, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._wake = asyncio.Event()

    def hurry(self) -> None:
        """Look now."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                await self._once()
            except GridhookError as trouble:
                self._log.outage("forgetting waits for the database", error=str(trouble))
            except Exception as defect:  # too much kept for a while is better than a road that ends with us
                self._log.error("what is old cannot be forgotten by a defect of ours", error=repr(defect))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def _once(self) -> None:
        """One pass, until nothing is left that is old enough."""
        total = Pruned(0, 0, 0, 0, more=True)
        retention = self._retention()
        try:
            while total.more:
                began = time.monotonic()
                step = await self._store.prune(retention, limit=STEP_ROWS)
                self._metrics.pruned(events=step.events, deliveries=step.deliveries, attempts=step.attempts, bodies=step.bodies)
                total = _sum(total, step)
                await asyncio.sleep(max(LEAST_REST_SECONDS, time.monotonic() - began))
        finally:
            if total.events or total.deliveries or total.attempts or total.bodies:
                self._log.info(
                    "forgot what was kept long enough",
                    events=total.events,
                    deliveries=total.deliveries,
                    attempts=total.attempts,
                    bodies=total.bodies,
                )

    def _retention(self) -> Retention:
        now, settings = self._store.clock.now(), self._settings
        return Retention(
            events_before=now - _ms(settings.keep_events_days),
            attempts_before=now - _ms(settings.keep_attempts_days),
            bodies_before=now - _ms(settings.keep_bodies_days),
        )


def _ms(days: float) -> int:
    return int(days * 86_400_000)


def _sum(a: Pruned, b: Pruned) -> Pruned:
    return Pruned(a.events + b.events, a.deliveries + b.deliveries, a.attempts + b.attempts, a.bodies + b.bodies, b.more)
