"""A test send: one synthetic event, sent at once to a verified webhook exactly as a delivery would be, and tried once."""

from __future__ import annotations

import asyncio
import secrets as chance
from collections import Counter

from msgspec.structs import replace

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine.delivery import Deliverer
from gridhook.errors import Conflict, TooMany
from gridhook.model import Attempt, AttemptKind, NewEvent, Outcome, Sealed, Unreachable
from gridhook.rules import ids
from gridhook.rules.catalogue import event_type
from gridhook.rules.cloudevents import synthetic_event
from gridhook.rules.requests import without_secrets
from gridhook.rules.samples import sample
from gridhook.store.promises import Store, Work
from gridhook.telemetry import Log, Metrics
from gridhook.transport.wire import Transport

AT_ONCE_PER_ACCOUNT = 4


class TestSends:
    def __init__(self, *, store: Store, deliverer: Deliverer, transport: Transport, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._store = store
        self._clock: Clock = store.clock
        self._deliverer = deliverer
        self._transport = transport
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._in_flight: Counter[str] = Counter()
        self._running: set[asyncio.Task[Attempt]] = set()

    async def send(self, account_id: str, webhook_id: str, type: str) -> Attempt:
        """Send an event of this type, with data made up from its schema; the attempt, as it stands in the log.

        Paused webhooks may be tested, pending ones not: nothing goes to a URL that has not been proven. Raises `NotFound`,
        `Invalid("type")`, `Conflict`, and `TooMany` while four tests of the account run.
        """
        event_type(type, field="type")
        if self._in_flight[account_id] >= AT_ONCE_PER_ACCOUNT:
            raise TooMany(f"{AT_ONCE_PER_ACCOUNT} tests of this account are running; wait for one of them to end", 1)
        self._in_flight[account_id] += 1
        # By itself: the request is made and recorded to its end even if whoever asked for it goes away.
        task = asyncio.ensure_future(self._send(account_id, webhook_id, type))
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(account_id, done))
        return await asyncio.shield(task)

    def _ended(self, account_id: str, task: asyncio.Task[Attempt]) -> None:
        self._running.discard(task)
        self._in_flight[account_id] -= 1
        if not self._in_flight[account_id]:
            del self._in_flight[account_id]
        if not task.cancelled():
            task.exception()  # told to whoever waits; if nobody does, it is not a complaint of the event loop either

    async def _send(self, account_id: str, webhook_id: str, type: str) -> Attempt:
        now = self._clock.now()
        work = await self._store.work(account_id, webhook_id, now=now)
        if not work.webhook.is_verified:
            raise Conflict("this webhook is pending: nothing is sent to a URL that has not been proven; complete the verification first")
        event = synthetic_event(
            type,
            # One seed, one story: the pass that is issued in one test is suspended in the next.
            sample(type, seed=account_id, now=now),
            account_id=account_id,
            id=ids.uuid7(now, chance.token_bytes(ids.UUID_BYTES)),
            now=now,
            base_url=self._settings.base_url,
        )
        outcome = await self._exchange(work, event, work.credential_id, work.credential)
        instead = None if work.fallback_id is None else self._deliverer.fallback(work, outcome, self._clock.now())
        if instead is not None:
            outcome = await self._exchange(work, event, instead.credential_id, instead.credential)
        attempt = _attempt(work, event, outcome)
        if instead is not None:
            attempt = replace(attempt, credential_id=instead.credential_id, note=instead.note)
        attempt = replace(attempt, id=await self._store.add_attempt(attempt, event))
        self._log.attempt(attempt)
        self._metrics.attempt(attempt, None)
        return attempt

    async def _exchange(self, work: Work, event: NewEvent, credential_id: str | None, credential: Sealed | None) -> Outcome:
        webhook = work.webhook
        request = self._deliverer.request(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            url=webhook.url,
            auth_method=webhook.auth_method,
            credential_id=credential_id,
            credential=credential,
            extras=webhook.extras,
            event_id=event.id,
            payload=event.payload,
            started_at=event.time_at,
        )
        if isinstance(request, Unreachable):
            return request
        return without_secrets(await self._transport.send(request), request.headers)

    async def close(self, seconds: float) -> None:
        """Wait for what runs to be recorded. To be called when the transport has ended its requests."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def _attempt(work: Work, event: NewEvent, outcome: Outcome) -> Attempt:
    return Attempt(
        account_id=work.webhook.account_id,
        webhook_id=work.webhook.id,
        kind=AttemptKind.TEST,
        number=1,
        started_at=event.time_at,
        outcome=outcome,
        event_id=event.id,
        event_type=event.type,
        url=work.webhook.url,
        credential_id=work.credential_id,
    )
