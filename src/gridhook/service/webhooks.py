"""The verbs on a customer's webhooks: register, prove, edit, pause, rotate, try, delete. Nothing is half done."""

from __future__ import annotations

import asyncio
import secrets as chance
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.errors import Conflict, Invalid, Stale, TooMany, Unavailable
from gridhook.limits import Budget
from gridhook.model import AuthMethod, Certificate, Health, Instant, LaneLimits, Sealed, Value, Webhook
from gridhook.rules import catalogue, contexts, ids, signatures, static_headers
from gridhook.rules import extras as extras_rules
from gridhook.rules.addresses import Target
from gridhook.rules.certificates import state_of
from gridhook.rules.extras import Extras, SigningKey
from gridhook.rules.inspection import Inspection
from gridhook.rules.refusals import may_have_been_presented
from gridhook.service.authorities import Authorities
from gridhook.service.certificates import Shown
from gridhook.service.inputs import ENTROPY_BYTES, SECRET_BYTES, Issued, checked_limits, checked_name
from gridhook.store.promises import ALL, AttemptDetail, Credential, CredentialInfo, Store, WebhookCounts, WebhookEdit
from gridhook.transport.wire import Transport
from gridhook.vault import SealBroken, Vault

LONGEST_KEY_DELAY_MS = 7 * 86_400_000  # how far ahead a Private Key may be scheduled
LONGEST_OVERLAP_SECONDS = 7 * 86_400  # how long a replaced signing key may go on signing
DEFAULT_OVERLAP_SECONDS = 86_400
MOST_SIGNING_KEYS = 3  # that sign side by side: each makes every request longer
EDIT_TRIES = 10  # of an edit that must read first, when other processes edit the same webhook; here they wait for each other
PAST_MS = 60_000  # how far back an activation may lie: clocks differ


@dataclass(frozen=True, slots=True)
class Created:
    """A new webhook, or one that proves itself in another way now. `private_key` is shown here and never again."""

    webhook: Webhook
    private_key: str | None = field(repr=False)
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A webhook as it stands in a list."""

    webhook: Webhook
    held: int
    held_until: Instant | None
    health: Health
    certificate: Certificate | None = None  # the one that is presented


@dataclass(frozen=True, slots=True)
class Detail:
    """All that can be shown of one webhook: nothing secret. `headers`: names only; their values are masked by not being here.

    `certificates`: also those of a time before it got a Private Key. `last_used`: of them, the one of the newest attempt, while the
    webhook presents certificates.
    """

    webhook: Webhook
    counts: WebhookCounts
    health: Health
    keys: list[CredentialInfo]
    key_in_use: str | None
    headers: tuple[str, ...]
    signing_keys: tuple[SigningKey, ...] = field(repr=False)
    certificates: tuple[Shown, ...] = ()
    last_used: str | None = None


class Changes(Value, frozen=True):
    """What a person wants changed; UNSET stays. `headers`: a merge patch (RFC 7396): null removes one, None at the top removes all."""

    name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    subscribed_events: Sequence[str] | UnsetType = UNSET
    max_in_flight: int | UnsetType | None = UNSET
    rate_per_second: float | UnsetType | None = UNSET
    headers: Mapping[str, object] | UnsetType | None = UNSET


class Webhooks:
    def __init__(
        self, *, store: Store, engine: Engine, transport: Transport, vault: Vault, authorities: Authorities, settings: Settings
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._engine = engine
        self._transport = transport
        self._vault = vault
        self._settings = settings
        self._clock: Clock = store.clock
        self._verify_budget = Budget(settings.verify_per_minute, 60.0)
        self._new_url_budget = Budget(settings.new_urls_per_minute, 60.0)
        self._check_budget = Budget(settings.checks_per_minute, 60.0)
        self._test_budget = Budget(settings.tests_per_minute, 60.0)
        self._last_verify: dict[str, float] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._checks = f"at most {settings.checks_per_minute} checks and refusals of URLs a minute"

    # --- register, prove, delete --------------------------------------------------------------------------------

    async def create(
        self,
        account_id: str,
        *,
        name: str,
        url: str,
        subscribed_events: Sequence[str],
        auth_method: AuthMethod = AuthMethod.BEARER_TOKEN,
        max_in_flight: int | None = None,
        rate_per_second: float | None = None,
        headers: Mapping[str, object] | None = None,
        webhook_id: str | None = None,
    ) -> Created:
        """Register a webhook: pending, with a fresh Private Key; its handshake starts at once and runs by itself.

        webhook_id: of `ids.webhook_id`, for a caller who may ask twice for the same one: the second time is a `Conflict`.
        Raises `Invalid` naming the field: the URL must parse, resolve, and resolve to public addresses only.
        """
        name = checked_name(name)
        events = self._checked_events(subscribed_events)
        limits = checked_limits(max_in_flight, rate_per_second)
        extras = Extras(headers=tuple(static_headers.check_headers(headers or {}).items()))
        await self._check_url(account_id, url, auth_method)
        webhook_id = webhook_id or ids.webhook_id(chance.token_bytes(ENTROPY_BYTES))
        webhook = Webhook(
            account_id=account_id,
            id=webhook_id,
            name=name,
            url=url,
            url_version=1,
            auth_method=auth_method,
            subscribed_events=events,
            created_at=self._clock.now(),
            limits=limits,
            extras=self._sealed(account_id, webhook_id, extras),
        )
        credential, private_key, certificate = await self._new_proof(account_id, webhook_id, auth_method)
        await self._store.add_webhook(webhook, credential, certificate, most=self._settings.max_webhooks)
        self._start_handshake(account_id, webhook_id)
        return Created(webhook, private_key, certificate)

    async def verify(self, account_id: str, webhook_id: str) -> bool:
        """Ask for a fresh handshake. True: already verified, nothing is sent. False: a handshake runs now, by itself.

        Raises `NotFound`; `TooMany` when handshakes are asked for faster than the limits allow.
        """
        webhook = await self._store.webhook(account_id, webhook_id)
        if webhook.is_verified:
            return True
        now = time.monotonic()
        wait = self._last_verify.get(webhook_id, -1e9) + self._settings.verify_interval_seconds - now
        if wait > 0:
            raise TooMany(f"a handshake of this webhook was asked for a moment ago; try again in {int(wait) + 1} s", int(wait) + 1)
        _spend(self._verify_budget, account_id, f"at most {self._settings.verify_per_minute} handshakes a minute")
        if len(self._last_verify) > 10_000:
            self._last_verify.clear()
        self._last_verify[webhook_id] = now
        self._engine.start_verification(account_id, webhook_id)
        return False

    async def delete(self, account_id: str, webhook_id: str, *, revision: int | None = None) -> None:
        """Raises `NotFound`, also the second time; `Stale`. What is queued for it is cancelled. revision: what the caller has seen."""
        await self._store.delete_webhook(account_id, webhook_id, revision=revision, now=self._clock.now())

    # --- look ---------------------------------------------------------------------------------------------------

    async def listed(self, account_id: str, webhooks: Sequence[Webhook], *, most: int = ALL, windows: bool = True) -> list[Listed]:
        """Each with what is held for it and how it has been doing. most: what is counted no further. windows: with its last hour and
        day, too."""
        wanted = [webhook.id for webhook in webhooks]
        held = await self._store.held(account_id, wanted, most=most)
        health = await self._store.health(account_id, wanted, now=self._clock.now() if windows else None)
        proving = [webhook.id for webhook in webhooks if webhook.auth_method is AuthMethod.MTLS]
        presented = await self._store.presented_certificates(account_id, proving) if proving else {}
        found = []
        for one in webhooks:
            count, until = held.get(one.id, (0, None))
            found.append(Listed(one, count, until, health.get(one.id, Health()), presented.get(one.id)))
        return found

    async def detail(self, account_id: str, webhook_id: str, *, most: int = ALL) -> Detail:
        """Raises `NotFound`. most: what waits is counted no further."""
        now = self._clock.now()
        webhook = await self._store.webhook(account_id, webhook_id)
        counts = await self._store.counts(account_id, webhook_id, most=most)
        health = await self._store.health(account_id, [webhook_id], now=now)
        keys = await self._store.credentials(account_id, webhook_id)
        extras = self._opened(webhook)
        in_use = next((key.id for key in keys if key.activates_at <= now), None)
        names = tuple(name for name, _ in extras.headers)
        certificates = tuple(Shown(one, state_of(one, now)) for one in await self._store.certificates(account_id, webhook_id))
        last_used = None
        if webhook.auth_method is AuthMethod.MTLS:
            newest = (await self._store.attempts(account_id, webhook_id, limit=1)).attempts
            known = {one.certificate.id for one in certificates}
            presented = (one.credential_id for one in newest if may_have_been_presented(one.outcome))
            last_used = next((id for id in presented if id in known), None)
        return Detail(
            webhook,
            counts,
            health.get(webhook_id, Health()),
            keys,
            in_use,
            names,
            extras.live_keys(now),
            certificates,
            last_used,
        )

    # --- edit, pause, resume ------------------------------------------------------------------------------------

    async def edit(self, account_id: str, webhook_id: str, changes: Changes, *, revision: int | None = None) -> Webhook:
        """All of the changes or none. revision: what the caller has seen; `Stale` when it is not the current one any more.

        Another URL makes the webhook pending again: its deliveries are held, numbers kept, and a handshake with the new URL starts.
        Raises `Invalid` naming the field, `NotFound`.
        """
        async with self._turn(webhook_id):
            return await self._edit(account_id, webhook_id, changes, revision)

    async def _edit(self, account_id: str, webhook_id: str, changes: Changes, revision: int | None) -> Webhook:
        name = changes.name if isinstance(changes.name, UnsetType) else checked_name(changes.name)
        events = changes.subscribed_events
        if not isinstance(events, UnsetType):
            events = self._checked_events(events)
        for _ in range(EDIT_TRIES):
            before = await self._store.webhook(account_id, webhook_id)
            if revision is not None and before.revision != revision:
                raise _stale(before)
            # What is so already is no change: it must not look like one to others who edit.
            edit = WebhookEdit(
                name=UNSET if name == before.name else name,
                url=UNSET if changes.url == before.url else changes.url,
                subscribed_events=UNSET if events == before.subscribed_events else events,
            )
            if isinstance(edit.url, str):
                await self._check_url(account_id, edit.url, before.auth_method)
            if (limits := _merged_limits(before, changes)) != before.limits:
                edit = replace(edit, limits=limits)
            if not isinstance(changes.headers, UnsetType):
                extras = self._opened(before)
                kept = {} if changes.headers is None else static_headers.merge_headers(dict(extras.headers), changes.headers)
                if (headers := tuple(kept.items())) != extras.headers:
                    edit = replace(edit, extras=self._sealed(account_id, webhook_id, replace(extras, headers=headers)))
            if edit == WebhookEdit():
                return before
            try:
                return await self._edited(before, edit)
            except Stale:
                if revision is not None:
                    raise
        raise Unavailable("other changes of this webhook come without end; send yours again")

    async def change_url(self, account_id: str, webhook_id: str, url: str) -> Webhook:
        """Point a webhook elsewhere, or have the same URL proven anew: pending again, deliveries held, a handshake starts."""
        before = await self._store.webhook(account_id, webhook_id)
        await self._check_url(account_id, url, before.auth_method)
        webhook = await self._store.change_url(account_id, webhook_id, url, now=self._clock.now())
        self._start_handshake(account_id, webhook_id)
        return webhook

    async def pause(self, account_id: str, webhook_id: str) -> Webhook:
        """Deliveries are held from now on, each until its event is too old. Twice is once. Raises `NotFound`."""
        async with self._turn(webhook_id):
            return await self._store.pause_webhook(account_id, webhook_id, now=self._clock.now())

    async def resume(self, account_id: str, webhook_id: str) -> Webhook:
        """What was held goes out oldest first, slowly at first. Twice is once. Raises `NotFound`."""
        if (await self._store.webhook(account_id, webhook_id)).paused_at is None:
            return await self._store.resume_webhook(account_id, webhook_id, now=self._clock.now())
        self._engine.resuming(webhook_id)
        webhook = await self._store.resume_webhook(account_id, webhook_id, now=self._clock.now())
        self._engine.resumed(account_id, webhook_id)
        return webhook

    async def _edited(self, before: Webhook, edit: WebhookEdit) -> Webhook:
        webhook = await self._store.edit_webhook(before.account_id, before.id, edit, revision=before.revision, now=self._clock.now())
        self._engine.edited(webhook)
        if webhook.url_version != before.url_version:
            self._start_handshake(before.account_id, before.id)
        return webhook

    async def switch_auth(self, account_id: str, webhook_id: str, method: AuthMethod, *, revision: int | None = None) -> Created:
        """Prove who calls in another way: with a fresh Private Key or certificate, at once; the old one is forgotten.

        It stays verified: what was proven is who owns the URL. Raises `Invalid`, `NotFound`, `Stale`; `Conflict` when it is so already.
        """
        async with self._turn(webhook_id):
            for _ in range(EDIT_TRIES):
                before = await self._store.webhook(account_id, webhook_id)
                if revision is not None and before.revision != revision:
                    raise _stale(before)
                if method is before.auth_method:
                    raise Conflict(f"this webhook uses {method.value} already")
                self._check_scheme(self._transport.parse(before.url), method, "auth_method")
                credential, private_key, certificate = await self._new_proof(account_id, webhook_id, method)
                try:
                    webhook = await self._store.switch_auth(
                        account_id, webhook_id, method, credential, certificate, revision=before.revision, now=self._clock.now()
                    )
                except Stale:
                    if revision is not None:
                        raise
                else:
                    return Created(webhook, private_key, certificate)
        raise Unavailable("other changes of this webhook come without end; send yours again")

    # --- keys ---------------------------------------------------------------------------------------------------

    async def rotate_key(self, account_id: str, webhook_id: str, *, activates_at: Instant | None = None) -> Issued:
        """A new Private Key, shown once; in use at once, or from `activates_at` on, so that the receiver can learn to accept both first.

        Raises `Invalid("activates_at")` for more than 7 days ahead, `Conflict` while another key waits for its time, or for a webhook that
        uses none.
        """
        now = self._clock.now()
        at = now if activates_at is None else activates_at
        if at < now - PAST_MS:
            raise Invalid("activates_at", "lies in the past; leave it out to use the key at once")
        if at > now + LONGEST_KEY_DELAY_MS:
            raise Invalid("activates_at", "lies more than 7 days ahead; choose an earlier time, or leave it out to use the key at once")
        webhook = await self._store.webhook(account_id, webhook_id)
        if webhook.auth_method is not AuthMethod.BEARER_TOKEN:
            raise Conflict("this webhook presents a certificate; it has no Private Key to rotate")
        credential, text = self._new_key(account_id, webhook_id)
        await self._store.add_credential(account_id, webhook_id, credential, activates_at=max(at, now), now=now)
        return Issued(credential.id, text, max(at, now))

    async def cancel_key(self, account_id: str, webhook_id: str, key_id: str) -> None:
        """Take back a Private Key that is not in use yet. Raises `NotFound`, `Conflict` when it is in use."""
        await self._store.cancel_credential(account_id, webhook_id, key_id, now=self._clock.now())

    async def rotate_signing_key(self, account_id: str, webhook_id: str, *, overlap_seconds: int = DEFAULT_OVERLAP_SECONDS) -> Issued:
        """A new Standard Webhooks key, shown once; from the first one on deliveries are signed. The one before signs along for
        `overlap_seconds`, so that the receiver can change over in its own time. Raises `Invalid("overlap_seconds")`, `NotFound`."""
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            raise Invalid("overlap_seconds", f"must lie between 0 and {LONGEST_OVERLAP_SECONDS} (7 days)")
        now = self._clock.now()
        key = SigningKey(ids.signing_key_id(chance.token_bytes(ENTROPY_BYTES)), signatures.new_key(chance.token_bytes(SECRET_BYTES)), now)

        def rotated(extras: Extras) -> Extras:
            until = now + overlap_seconds * 1000
            # None longer than was asked for now: without an overlap, as after a leak, no older key signs any more.
            old = (replace(one, expires_at=min(until, one.expires_at or until)) for one in extras.live_keys(now))
            return replace(extras, signing_keys=(key, *(one for one in old if (one.expires_at or 0) > now))[:MOST_SIGNING_KEYS])

        await self._edit_extras(account_id, webhook_id, rotated)
        return Issued(key.id, key.secret, now)

    async def stop_signing(self, account_id: str, webhook_id: str) -> Webhook:
        """Deliveries carry no signature any more; its keys are forgotten. Raises `NotFound`."""
        return await self._edit_extras(account_id, webhook_id, lambda extras: replace(extras, signing_keys=()))

    async def _edit_extras(self, account_id: str, webhook_id: str, change: Callable[[Extras], Extras]) -> Webhook:
        async with self._turn(webhook_id):
            for _ in range(EDIT_TRIES):
                before = await self._store.webhook(account_id, webhook_id)
                extras = self._opened(before)
                changed = change(extras)
                if changed == extras:
                    return before
                try:
                    return await self._edited(before, WebhookEdit(extras=self._sealed(account_id, webhook_id, changed)))
                except Stale:
                    continue
        raise Unavailable("other changes of this webhook come without end; send yours again")

    def _turn(self, webhook_id: str) -> asyncio.Lock:
        """Edits of one webhook wait for each other, so that they do not contradict each other for nothing."""
        lock = self._turns.get(webhook_id)
        if lock is None:
            lock = self._turns[webhook_id] = asyncio.Lock()
        return lock

    # --- try ----------------------------------------------------------------------------------------------------

    async def send_test(self, account_id: str, webhook_id: str, type: str) -> AttemptDetail:
        """Send one synthetic event of this type now, once, and tell what came of it.

        Raises `NotFound`; `Invalid("type")`; `Conflict` for a webhook that is not verified; `TooMany`.
        """
        catalogue.event_type(type, field="type")
        webhook = await self._store.webhook(account_id, webhook_id)
        if not webhook.is_verified:
            raise Conflict("this webhook is pending: nothing is sent to a URL that has not been proven; complete the verification first")
        _spend(self._test_budget, account_id, f"at most {self._settings.tests_per_minute} test sends a minute")
        attempt = await self._engine.send_test(account_id, webhook_id, type)
        return await self._store.attempt(account_id, attempt.id)

    async def check(self, account_id: str, url: str) -> Inspection:
        """What the guard thinks of a URL at this moment; nothing is sent to it. Show it with `rules.inspection.shown`.

        Raises `TooMany`: each check may ask DNS, and who could check without end could walk the names that our DNS servers know.
        """
        _spend(self._check_budget, account_id, self._checks)
        return await self._transport.explain(url)

    # --- pieces -------------------------------------------------------------------------------------------------

    def _checked_events(self, names: object) -> tuple[str, ...]:
        events = catalogue.check_subscribed(names)
        if len(events) > self._settings.max_subscribed_events:
            raise Invalid("subscribed_events", f"at most {self._settings.max_subscribed_events} entries")
        return events

    async def _new_proof(self, account_id: str, webhook_id: str, method: AuthMethod) -> tuple[Credential, str | None, Certificate | None]:
        """What is sealed, and what is shown once: a Private Key's text, or a certificate."""
        if method is AuthMethod.MTLS:
            certificate, credential = await self._authorities.issue(account_id, webhook_id)
            return credential, None, certificate
        credential, text = self._new_key(account_id, webhook_id)
        return credential, text, None

    def _check_scheme(self, target: Target, method: AuthMethod, at: str) -> None:
        if method is AuthMethod.MTLS and target.scheme != "https":
            remedy = "must be https for mtls: a certificate is presented over TLS only"
            raise Invalid(at, remedy if at == "url" else "mtls needs an https URL; change the URL first")

    async def _check_url(self, account_id: str, url: str, method: AuthMethod) -> None:
        target = self._transport.parse(url)
        self._check_scheme(target, method, "url")
        refused = await self._transport.vet(target)
        if refused is not None:
            # A refusal tells as much as a check, so it costs as much.
            _spend(self._check_budget, account_id, self._checks)
            raise Invalid("url", f"{refused.detail or refused.reason.value} ({refused.reason.value})")

    def _start_handshake(self, account_id: str, webhook_id: str) -> None:
        """The handshake that a new URL is owed: at once, or as soon as the account's budget of handshakes allows."""
        self._engine.start_verification(account_id, webhook_id, wait=lambda: self._new_url_budget.take(account_id, time.monotonic()))

    def _new_key(self, account_id: str, webhook_id: str) -> tuple[Credential, str]:
        text = ids.secret_text(chance.token_bytes(SECRET_BYTES))
        key_id = ids.credential_id(chance.token_bytes(ENTROPY_BYTES))
        return Credential(key_id, self._vault.seal(text, contexts.private_key(account_id, webhook_id, key_id))), text

    def _sealed(self, account_id: str, webhook_id: str, extras: Extras) -> Sealed | None:
        if extras.is_empty:
            return None
        return self._vault.seal(extras_rules.to_text(extras), contexts.extras(account_id, webhook_id))

    def _opened(self, webhook: Webhook) -> Extras:
        if webhook.extras is None:
            return Extras()
        try:
            return extras_rules.from_text(self._vault.open(webhook.extras, contexts.extras(webhook.account_id, webhook.id)))
        except SealBroken:
            # To go on would drop headers and keys that the customer set: an operator must look first.
            raise Unavailable("the stored headers and signing keys of this webhook could not be decrypted") from None


def _merged_limits(before: Webhook, changes: Changes) -> LaneLimits | None:
    had = before.limits or LaneLimits()
    in_flight, rate = changes.max_in_flight, changes.rate_per_second
    return checked_limits(
        had.max_in_flight if isinstance(in_flight, UnsetType) else in_flight,
        had.rate_per_second if isinstance(rate, UnsetType) else rate,
    )


def _spend(budget: Budget, account_id: str, limit: str) -> None:
    wait = budget.take(account_id, time.monotonic())
    if wait > 0:
        raise TooMany(f"{limit}; try again in {int(wait) + 1} s", int(wait) + 1)


def _stale(webhook: Webhook) -> Stale:
    return Stale(f"webhook {webhook.id} was changed meanwhile (it is at revision {webhook.revision}): read it again, then decide")
