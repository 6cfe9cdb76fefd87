"""The verbs on a webhook's client certificates: show, issue the next, take it back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gridhook.clock import Clock
from gridhook.errors import Conflict, NotFound, TooMany, Unavailable
from gridhook.limits import Budget
from gridhook.model import AuthMethod, Certificate
from gridhook.rules.certificates import CertificateState, state_of
from gridhook.service.authorities import Authorities
from gridhook.store.promises import Store

ISSUED_PER_MINUTE = 10  # of one account, when people ask: what is shown of a certificate is kept for ever


@dataclass(frozen=True, slots=True)
class Shown:
    certificate: Certificate
    state: CertificateState


class Certificates:
    def __init__(self, *, store: Store, authorities: Authorities) -> None:
        self._store = store
        self._authorities = authorities
        self._clock: Clock = store.clock
        self._budget = Budget(ISSUED_PER_MINUTE, 60.0)

    async def listed(self, account_id: str, webhook_id: str) -> list[Shown]:
        """Newest first, those whose key is destroyed among them. Raises `NotFound`."""
        now = self._clock.now()
        return [Shown(one, state_of(one, now)) for one in await self._store.certificates(account_id, webhook_id)]

    async def one(self, account_id: str, webhook_id: str, certificate_id: str) -> Shown:
        """Raises `NotFound`."""
        for found in await self.listed(account_id, webhook_id):
            if found.certificate.id == certificate_id:
                return found
        raise NotFound(f"no certificate {certificate_id}")

    async def presented(self, account_id: str, webhook_id: str) -> Certificate | None:
        """The one that requests carry. Raises `NotFound`."""
        return next((one for one in await self._store.certificates(account_id, webhook_id) if one.replaced_at is None), None)

    async def rotate(self, account_id: str, webhook_id: str, *, replacing: str | None = None, keep_fallback: bool = True) -> Certificate:
        """The next certificate, presented from now on; for seven days the one before is fallen back on when the receiver refuses it.

        replacing: only if this is the one presented; `Conflict` otherwise. keep_fallback: else the one before is gone at once.
        Raises `NotFound`; `Conflict` for a webhook with a Private Key; `TooMany` when somebody asks for one after the other.
        """
        webhook = await self._store.webhook(account_id, webhook_id)
        if webhook.auth_method is not AuthMethod.MTLS:
            raise Conflict("this webhook proves itself with a Private Key; change its auth_method to mtls to have a certificate issued")
        wait = self._budget.take(account_id, time.monotonic()) if replacing is None else 0.0
        if wait > 0:
            raise TooMany(f"at most {ISSUED_PER_MINUTE} certificates a minute; try again in {int(wait) + 1} s", int(wait) + 1)
        certificate, credential = await self._authorities.issue(account_id, webhook_id)
        listed = await self._store.add_certificate(
            certificate, credential.sealed, replacing=replacing, keep_fallback=keep_fallback, now=self._clock.now()
        )
        return listed[0]

    async def renew(self, certificate: Certificate) -> Certificate:
        """Issue the next in the place of this one. Raises `Conflict` when that was done already, `Unavailable` when nothing is gained."""
        signs = (await self._authorities.current(self._clock.now())).authority
        if signs.expires_at <= certificate.expires_at:
            # Else each look would replace a certificate by one that ends as soon, and take its predecessor from the receiver.
            raise Unavailable(f"authority {signs.id} ends no later than the certificate; roll over to another with `gridhook ca roll`")
        return await self.rotate(certificate.account_id, certificate.webhook_id, replacing=certificate.id)

    async def cancel(self, account_id: str, webhook_id: str, certificate_id: str) -> Certificate:
        """Take back a rotation that the receiver has not accepted; what is presented again. Raises `NotFound`, `Conflict`."""
        return await self._store.cancel_certificate(account_id, webhook_id, certificate_id, now=self._clock.now())
