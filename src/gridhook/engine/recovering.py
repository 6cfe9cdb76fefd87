"""Recoveries: what a person asked to have sent again, queued step by step, each step a transaction of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time

from gridhook.config import Settings
from gridhook.engine.dispatcher import Dispatcher
from gridhook.errors import GridhookError, NotFound
from gridhook.model import Recovery, RecoveryState
from gridhook.store.promises import Store
from gridhook.telemetry import Log

STEP_MS = 1000
LOOK_SECONDS = 1.0  # between two looks while none runs
STEP_LOOK_SECONDS = 0.1  # while one runs: its next step is made soon after it is due
AT_ONCE = 16  # steps made side by side
PAUSE_SECONDS = 1.0  # after trouble with the database
ASIDE_SECONDS = 60.0  # how long a recovery is left alone that met a defect
SEEN_SECONDS = 10.0  # a recovery whose steps we did not make for so long is no longer ours to count


class Recoverer:
    """Any process makes the next step of any recovery: where it stands is in its row, so it survives all of them."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, settings: Settings, log: Log) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._window_ms = settings.retry_window_seconds * 1000
        self._log = log
        self._wake = asyncio.Event()
        self._set_aside: dict[str, float] = {}  # recovery id -> when it is tried again, monotonic
        self._seen: dict[str, float] = {}  # recovery id -> when we last made a step of it, monotonic

    @property
    def running(self) -> int:
        """Recoveries that this process makes steps of."""
        return len(self._seen)

    def hurry(self) -> None:
        """One was just asked for: look now."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                due = await self._store.running_recoveries(now=self._store.clock.now(), limit=AT_ONCE + len(self._set_aside))
                due = [one for one in due if time.monotonic() >= self._set_aside.get(one[2], 0.0)]
                results = await asyncio.gather(*(self._step(*one) for one in due), return_exceptions=True)
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
                self._forget()
                if len(due) < AT_ONCE:
                    await self._sleep(STEP_LOOK_SECONDS if self._seen else LOOK_SECONDS)
            except GridhookError as trouble:
                self._log.outage("recoveries wait for the database", error=str(trouble))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _step(self, account_id: str, webhook_id: str, recovery_id: str) -> None:
        try:
            recovery = await self._store.recover(
                account_id, webhook_id, recovery_id, now=self._store.clock.now(), step_ms=STEP_MS, window_ms=self._window_ms
            )
        except NotFound:
            self._seen.pop(recovery_id, None)
            return
        except GridhookError:
            raise
        except Exception as defect:
            # One that cannot be read must stop neither the others nor, by ending this process again and again, the road.
            self._set_aside[recovery_id] = time.monotonic() + ASIDE_SECONDS
            self._log.error("a recovery cannot go on by a defect of ours", webhook=webhook_id, recovery=recovery_id, error=repr(defect))
            return
        if recovery.state is RecoveryState.RUNNING:
            if recovery_id not in self._seen:
                self._tell("recovery runs", recovery)
            self._seen[recovery_id] = time.monotonic()
        else:
            self._seen.pop(recovery_id, None)
            self._tell("recovery ended", recovery)
        if recovery.requeued:
            self._dispatcher.announce([(account_id, webhook_id)])

    def _tell(self, msg: str, recovery: Recovery) -> None:
        self._log.info(
            msg,
            account=recovery.account_id,
            webhook=recovery.webhook_id,
            recovery=recovery.id,
            state=recovery.state,
            total=recovery.total,
            examined=recovery.examined,
            requeued=recovery.requeued,
            skipped=recovery.skipped,
            gone=recovery.gone,
        )

    def _forget(self) -> None:
        """Those that were cancelled, or that another process steps."""
        now = time.monotonic()
        self._seen = {id: at for id, at in self._seen.items() if at >= now - SEEN_SECONDS}
        self._set_aside = {id: at for id, at in self._set_aside.items() if at > now}

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
