"""One attempt: from a claim to a request, and from its outcome to a verdict. Nothing here raises, whatever a receiver does."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine.identities import Identities
from gridhook.errors import Invalid
from gridhook.limits import Remembered
from gridhook.model import (
    Attempt,
    AttemptKind,
    AuthMethod,
    Claim,
    Finished,
    Instant,
    Outcome,
    Phase,
    Reason,
    RetryAt,
    Sealed,
    Unreachable,
    Value,
    Verdict,
)
from gridhook.rules import contexts
from gridhook.rules import extras as rules
from gridhook.rules.addresses import Target
from gridhook.rules.extras import Extras
from gridhook.rules.refusals import in_words, is_certificate_refusal
from gridhook.rules.requests import delivery_headers, without_secrets
from gridhook.rules.retry import DELIVERED, is_received, judge
from gridhook.rules.signatures import signature_headers
from gridhook.store.promises import Work
from gridhook.transport.wire import Identity, Limits, Outgoing, Transport
from gridhook.vault import SealBroken, Vault

REMEMBERED = 4096  # parsed targets and opened credentials kept in memory
CERTIFIED = delivery_headers(None)  # a certificate proves who calls: no Authorization


class Fallback(Value, frozen=True):
    """The certificate before the newest, presented because that one was refused; `note` says so in the log."""

    credential_id: str
    credential: Sealed
    note: str


class Deliverer:
    def __init__(self, *, transport: Transport, vault: Vault, clock: Clock, settings: Settings) -> None:
        self._transport = transport
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._limits = Limits(connect_seconds=settings.connect_seconds, total_seconds=settings.attempt_seconds)
        self._targets: Remembered[Target] = Remembered(REMEMBERED)
        self._headers: Remembered[tuple[tuple[str, str], ...]] = Remembered(REMEMBERED)
        self._extras: Remembered[Extras] = Remembered(REMEMBERED)
        self._accepted: Remembered[bool] = Remembered(REMEMBERED)  # certificates that this process saw a receiver take
        self.identities = Identities(vault)

    def can_send(self) -> bool:
        return self._transport.is_alive()

    def attempt(self, claim: Claim, done: Callable[[Finished], None]) -> None:
        """Make the request of a claim; `done` is called once, on the event loop, with what came of it. Never raises: the caller
        has others to send, and may be answering a publisher whose event is already kept."""
        request = self._request(claim, claim.credential_id, claim.credential)
        if isinstance(request, Unreachable):
            done(self._finish(claim, request))
        elif request.identity is None:
            self._transport.submit(request, lambda outcome: done(self._finish(claim, without_secrets(outcome, request.headers))))
        else:
            self._transport.submit(request, lambda outcome: self._presented(claim, without_secrets(outcome, request.headers), done))

    def _presented(self, claim: Claim, outcome: Outcome, done: Callable[[Finished], None]) -> None:
        """The newest certificate was presented. If the receiver's TLS layer refused it, the one before it is, at once."""
        again = self.fallback(claim, outcome, self._clock.now())
        if again is None:
            done(self._finish(claim, outcome))
            return
        request = self._request(claim, again.credential_id, again.credential)
        if isinstance(request, Unreachable):
            done(self._finish(claim, outcome))
            return
        self._transport.submit(request, lambda second: done(self._finish(claim, without_secrets(second, request.headers), again)))

    def fallback(self, given: Claim | Work, outcome: Outcome, now: Instant) -> Fallback | None:
        """What to present instead, in the same attempt; None when the outcome stands.

        "After a rotation, both the old and new certificate are accepted for a 7-day grace period": AccessGrid webhook guide, mTLS. We
        present the newest one; whether the receiver knows it yet, only its TLS layer can say.
        """
        presented = given.credential_id or ""
        if is_received(outcome):
            self._accepted.put(presented, True)
            return None
        if given.fallback_id is None or given.fallback is None or given.fallback_until is None or given.fallback_until <= now:
            return None
        if not is_certificate_refusal(outcome, accepted_before=self._accepted.get(presented) is not None):
            return None
        note = f"certificate {presented} was refused ({in_words(outcome)}); {given.fallback_id}, the one before it, was presented at once"
        return Fallback(given.fallback_id, given.fallback, note)

    def _request(self, claim: Claim, credential_id: str | None, credential: Sealed | None) -> Outgoing | Unreachable:
        try:
            return self.request(
                claim.account_id,
                claim.webhook_id,
                claim.url,
                claim.auth_method,
                credential_id,
                credential,
                claim.extras,
                claim.event_id,
                claim.payload,
                claim.started_at,
            )
        except Exception as defect:
            detail = f"the request could not be built by a defect of ours ({type(defect).__name__}); nothing was sent"
            return Unreachable(Reason.INTERNAL, detail, Phase.REQUEST)

    def request(
        self,
        account_id: str,
        webhook_id: str,
        url: str,
        auth_method: AuthMethod,
        credential_id: str | None,
        credential: Sealed | None,
        extras: Sealed | None,
        event_id: str,
        payload: bytes,
        started_at: Instant,
    ) -> Outgoing | Unreachable:
        """What goes out for one attempt, whether at a delivery or a test; `Unreachable` when nothing may be sent."""
        target = self._targets.get(url)
        if target is None:
            try:
                target = self._transport.parse(url)
            except Invalid as refusal:  # the policy may have grown stricter since the webhook was made
                return Unreachable(Reason.URL_REFUSED, refusal.message, Phase.DNS)
            self._targets.put(url, target)
        identity: Identity | None = None
        if auth_method is AuthMethod.MTLS:
            found = self.identities.of(account_id, webhook_id, credential_id, credential, started_at)
            if isinstance(found, Unreachable):
                return found
            identity, headers = found, CERTIFIED
        else:
            key = f"{webhook_id}|{credential_id}"
            known = self._headers.get(key)
            if known is None:
                if credential is None or credential_id is None:
                    return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, f"webhook {webhook_id} has no Private Key", Phase.REQUEST)
                try:
                    token = self._vault.open(credential, contexts.private_key(account_id, webhook_id, credential_id))
                except SealBroken:
                    return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, "the stored Private Key could not be decrypted", Phase.REQUEST)
                known = delivery_headers(token)
                self._headers.put(key, known)
            headers = known
        if extras is not None:
            opened = self._open(account_id, webhook_id, extras)
            if opened is None:
                # Without its signature, or a header that its gateway asks for, the receiver could not know it for ours.
                detail = "the stored signing keys and static headers could not be decrypted"
                return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, detail, Phase.REQUEST)
            headers += opened.headers
            keys = [key.secret for key in opened.live_keys(started_at)]
            if keys:
                headers += signature_headers(keys, event_id, started_at // 1000, payload)
        return Outgoing(target, headers, payload, self._limits, identity)

    def _open(self, account_id: str, webhook_id: str, sealed: Sealed) -> Extras | None:
        """None when they cannot be read. Remembered with what they are bound to: copied to another webhook they must not open."""
        key = f"{account_id}|{webhook_id}|" + sealed.blob.decode("latin-1")
        opened = self._extras.get(key)
        if opened is None:
            try:
                opened = rules.from_text(self._vault.open(sealed, contexts.extras(account_id, webhook_id)))
            except (SealBroken, msgspec.DecodeError):
                return None
            self._extras.put(key, opened)
        return opened

    def _finish(self, claim: Claim, outcome: Outcome, instead: Fallback | None = None) -> Finished:
        verdict = DELIVERED if is_received(outcome) else self._judge(claim, outcome)
        return Finished(claim, _attempt(claim, outcome, verdict, instead), verdict)

    def _judge(self, claim: Claim, outcome: Outcome) -> Verdict:
        settings = self._settings
        return judge(
            outcome,
            claim.number,
            claim.expires_at,
            self._clock.now(),
            delays_seconds=settings.retry_delays_seconds,
            jitter=settings.retry_jitter,
            chance=random.random() if settings.retry_jitter else 0.0,
            honour_retry_after=settings.honour_retry_after,
        )


def _attempt(claim: Claim, outcome: Outcome, verdict: Verdict, instead: Fallback | None) -> Attempt:
    attempt = Attempt(
        claim.account_id,
        claim.webhook_id,
        AttemptKind.DELIVERY,
        claim.number,
        claim.started_at,
        outcome,
        claim.delivery_id,
        claim.event_id,
        claim.event_type,
        claim.url,
        claim.credential_id,
        verdict.at if isinstance(verdict, RetryAt) else None,
    )
    return attempt if instead is None else replace(attempt, credential_id=instead.credential_id, note=instead.note)
