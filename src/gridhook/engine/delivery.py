"""One attempt: from a claim to a request, and from its outcome to a verdict. Nothing here raises, whatever a receiver does."""

from __future__ import annotations

import random
from collections.abc import Callable

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.errors import Invalid
from gridhook.limits import Remembered
from gridhook.model import Attempt, AttemptKind, AuthMethod, Claim, Finished, Outcome, Phase, Reason, Unreachable, Verdict
from gridhook.rules import contexts
from gridhook.rules.addresses import Target
from gridhook.rules.requests import delivery_headers
from gridhook.rules.retry import judge
from gridhook.transport.wire import Limits, Outgoing, Transport
from gridhook.vault import SealBroken, Vault

REMEMBERED = 4096  # parsed targets and opened credentials kept in memory


class Deliverer:
    def __init__(self, *, transport: Transport, vault: Vault, clock: Clock, settings: Settings) -> None:
        self._transport = transport
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._limits = Limits(connect_seconds=settings.connect_seconds, total_seconds=settings.attempt_seconds)
        self._targets: Remembered[Target] = Remembered(REMEMBERED)
        self._headers: Remembered[tuple[tuple[str, str], ...]] = Remembered(REMEMBERED)

    def can_send(self) -> bool:
        return self._transport.is_alive()

    def attempt(self, claim: Claim, done: Callable[[Finished], None]) -> None:
        """Make the request of a claim; `done` is called once, on the event loop, with what came of it. Never raises: the caller
        has others to send, and may be answering a publisher whose event is already kept."""
        try:
            request = self._request(claim)
        except Exception as defect:
            detail = f"the request could not be built by a defect of ours ({type(defect).__name__}); nothing was sent"
            request = Unreachable(Reason.INTERNAL, detail, Phase.REQUEST)
        if isinstance(request, Unreachable):
            done(self._finish(claim, request))
        else:
            self._transport.submit(request, lambda outcome: done(self._finish(claim, outcome)))

    def _request(self, claim: Claim) -> Outgoing | Unreachable:
        target = self._targets.get(claim.url)
        if target is None:
            try:
                target = self._transport.parse(claim.url)
            except Invalid as refusal:  # the policy may have grown stricter since the webhook was made
                return Unreachable(Reason.URL_REFUSED, refusal.message, Phase.DNS)
            self._targets.put(claim.url, target)
        key = f"{claim.webhook_id}|{claim.credential_id}"
        headers = self._headers.get(key)
        if headers is None:
            if claim.auth_method is not AuthMethod.BEARER_TOKEN or claim.credential is None or claim.credential_id is None:
                return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, f"webhook {claim.webhook_id} has no usable credential", Phase.REQUEST)
            try:
                token = self._vault.open(claim.credential, contexts.private_key(claim.account_id, claim.webhook_id, claim.credential_id))
            except SealBroken:
                return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, "the stored Private Key could not be decrypted", Phase.REQUEST)
            headers = delivery_headers(token)
            self._headers.put(key, headers)
        return Outgoing(target=target, headers=headers, body=claim.payload, limits=self._limits)

    def _finish(self, claim: Claim, outcome: Outcome) -> Finished:
        settings = self._settings
        verdict = judge(
            outcome,
            claim.number,
            claim.expires_at,
            self._clock.now(),
            delays_seconds=settings.retry_delays_seconds,
            jitter=settings.retry_jitter,
            chance=random.random() if settings.retry_jitter else 0.0,
            honour_retry_after=settings.honour_retry_after,
        )
        return Finished(claim, _attempt(claim, outcome, verdict), verdict)


def _attempt(claim: Claim, outcome: Outcome, verdict: Verdict) -> Attempt:
    return Attempt(
        account_id=claim.account_id,
        webhook_id=claim.webhook_id,
        kind=AttemptKind.DELIVERY,
        number=claim.number,
        started_at=claim.started_at,
        outcome=outcome,
        delivery_id=claim.delivery_id,
        event_id=claim.event_id,
        event_type=claim.event_type,
        url=claim.url,
        credential_id=claim.credential_id,
        next_attempt_at=getattr(verdict, "at", None),
    )
