"""The verbs that send again what was sent, or was not: one delivery, or many at once."""

from __future__ import annotations

import secrets as chance

from msgspec.structs import replace

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.errors import Invalid
from gridhook.model import DeliveryFilter, DeliveryState, Recovery
from gridhook.rules import ids
from gridhook.service.inputs import ENTROPY_BYTES
from gridhook.store.promises import Redelivered, Store

RECOVERABLE = (DeliveryState.FAILED, DeliveryState.DELIVERED)


class Redelivery:
    def __init__(self, *, store: Store, engine: Engine, settings: Settings) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._clock: Clock = store.clock

    async def redeliver(self, account_id: str, webhook_id: str, delivery_id: int) -> Redelivered:
        """Once more, with the same event id, on a schedule of its own; or, when it is queued still, now instead of later.

        Raises `NotFound`; `Conflict` saying what stands in the way.
        """
        window_ms = self._settings.retry_window_seconds * 1000
        redelivered = await self._store.redeliver(account_id, webhook_id, delivery_id, now=self._clock.now(), window_ms=window_ms)
        self._engine.announce([(account_id, webhook_id)])
        return redelivered

    async def recover(self, account_id: str, webhook_id: str, wanted: DeliveryFilter, *, rate_per_second: float | None = None) -> Recovery:
        """Once more for all that match; failed ones, unless `wanted.states` says otherwise. Runs by itself, at most as fast as
        GRIDHOOK_RECOVERY_PER_SECOND.

        Raises `NotFound`; `Invalid` naming the field; `Conflict` for a webhook that is pending or paused, or that recovers already.
        """
        recovery = await self._store.add_recovery(self._wanted(account_id, webhook_id, wanted, rate_per_second))
        self._engine.recover()
        return recovery

    async def foretell(self, account_id: str, webhook_id: str, wanted: DeliveryFilter, *, rate_per_second: float | None = None) -> Recovery:
        """The recovery that `recover` would start now, with its `total`; nothing is started. Raises `Invalid` as `recover`."""
        recovery = self._wanted(account_id, webhook_id, wanted, rate_per_second)
        return replace(recovery, total=await self._store.foretell(recovery))

    async def cancel(self, account_id: str, webhook_id: str, recovery_id: str) -> Recovery:
        """What was queued already goes on. Twice is once. Raises `NotFound`."""
        return await self._store.cancel_recovery(account_id, webhook_id, recovery_id, now=self._clock.now())

    def _wanted(self, account_id: str, webhook_id: str, wanted: DeliveryFilter, rate_per_second: float | None) -> Recovery:
        now = self._clock.now()
        most = self._settings.recovery_per_second
        rate = most if rate_per_second is None else rate_per_second
        if not 0.1 <= rate <= most:
            raise Invalid("rate_per_second", f"must lie between 0.1 and {most:g}")
        states = wanted.states or (DeliveryState.FAILED,)
        if any(state not in RECOVERABLE for state in states):
            raise Invalid("states", "must be failed or delivered: what is held or queued goes out by itself")
        if wanted.since is not None and wanted.since > now:
            raise Invalid("since", "lies in the future")
        if wanted.since is not None and wanted.until is not None and wanted.until <= wanted.since:
            raise Invalid("until", "must lie after since")
        recovery_id = ids.recovery_id(chance.token_bytes(ENTROPY_BYTES))
        return Recovery(account_id, webhook_id, recovery_id, replace(wanted, states=states), rate, now)
