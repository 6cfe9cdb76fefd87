"""Client certificates that end: their customers are told in time, the next one is issued, old keys are destroyed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from gridhook.config import Settings
from gridhook.engine.dispatcher import Dispatcher
from gridhook.engine.terms import terms_from
from gridhook.errors import Conflict, GridhookError, NotFound
from gridhook.model import Certificate, Instant, Webhook
from gridhook.rules import certificates as rules
from gridhook.rules import cloudevents
from gridhook.rules.instants import rfc3339
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics

TYPE = "ag.webhook.cert_expiring"
LOOK_SECONDS = 60.0
PAGE = 200
RETIRED_AT_ONCE = 500

Renew: TypeAlias = Callable[[Certificate], Awaitable[object]]
"""Issues the next certificate in this one's place. May raise `Conflict` when another process was faster."""


class Warden:
    """Looks once a minute, in every process. What it does is bound to rows, so that two of them, a restart or a clock that jumps neither
    repeat nor leave out anything."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self.renew: Renew | None = None  # given by the service: issuing needs our authority
        # Beyond it there is neither a notice nor a renewal. One more, because the store looks before it.
        self._horizon_ms = max(rules.NOTICE_DAYS[0], settings.renew_days_before) * rules.DAY_MS + 1

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except GridhookError as trouble:
                self._log.outage("certificates wait for the database", error=str(trouble))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """One round: notices that are due, renewals, keys whose seven days are over."""
        now = self._store.clock.now()
        retired = await self._store.retire_certificates(now=now, limit=RETIRED_AT_ONCE)
        if retired:
            self._log.info("keys of replaced certificates were destroyed", count=retired)
        after: tuple[Instant, str] | None = None
        while True:
            page = await self._store.expiring_certificates(before=now + self._horizon_ms, after=after, limit=PAGE)
            for certificate in page:
                await self._tend(certificate, now)
            if len(page) < PAGE:
                return
            after = (page[-1].expires_at, page[-1].id)

    async def _tend(self, certificate: Certificate, now: Instant) -> None:
        try:
            due = rules.notices_due(certificate, now)
            if due:
                webhook = await self._store.webhook(certificate.account_id, certificate.webhook_id)
                for days in due:
                    await self._tell(certificate, webhook, days, now)
        except NotFound:
            return  # deleted meanwhile
        if rules.is_renewal_due(certificate, now, self._settings.renew_days_before):
            await self._renew(certificate)

    async def _renew(self, certificate: Certificate) -> None:
        if self.renew is None:
            return
        told = {"account": certificate.account_id, "webhook": certificate.webhook_id, "certificate": certificate.id}
        try:
            await self.renew(certificate)
        except (NotFound, Conflict):
            return  # deleted, switched or renewed meanwhile
        except GridhookError as trouble:
            # An authority that cannot sign must not keep the others' notices from being told.
            self._log.error("a certificate could not be renewed", error=str(trouble), **told)
            return
        self._log.info("certificate renewed", **told)

    async def _tell(self, certificate: Certificate, webhook: Webhook, days: int, now: Instant) -> None:
        """Publish the notice, then note that it was: after a crash in between it is published again, under the same id, which is no second
        event."""
        data = {
            "webhook_id": webhook.id,
            "webhook_name": webhook.name,
            "cert_expires_at": rfc3339(certificate.expires_at),
            "days_until_expiration": rules.days_left(certificate, now),
        }
        event = cloudevents.accept(
            cloudevents.Draft(TYPE, data), certificate.account_id, _event_id(certificate, days), now, terms_from(self._settings)
        )
        published = await self._store.publish(
            [event],
            lease_ms=self._settings.lease_ms,
            now=self._store.clock.now(),
            reserve=self._dispatcher.reserve,
            give_back=self._dispatcher.give_back,
        )
        self._dispatcher.take(published.claims)
        self._dispatcher.announce(published.queued)
        (result,) = published.results
        self._log.event_accepted(event, result)
        self._metrics.accepted(result)
        await self._store.note_notice(certificate, days)


def _event_id(certificate: Certificate, days: int) -> str:
    """The same for the same notice, whoever publishes it and however often."""
    digest = hashlib.sha256(msgspec.json.encode([certificate.account_id, certificate.id, days])).hexdigest()
    return f"cert-expiring-{days}-{digest[:32]}"
