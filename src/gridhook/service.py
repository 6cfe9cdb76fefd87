"""The verbs that change something. API, CLI and console call these; each has its refusals (`errors.py`), nothing is half done."""

from __future__ import annotations

import hashlib
import re
import secrets as chance
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.errors import Conflict, Forbidden, GridhookError, Invalid, NotFound, TooMany, Unauthenticated, Unavailable
from gridhook.limits import Budget, TimedCache
from gridhook.model import Account, AccountSecret, AuthMethod, NewEvent, Publication, PublisherKey, Webhook
from gridhook.rules import catalogue, cloudevents, contexts, ids
from gridhook.rules.cloudevents import Draft
from gridhook.store.promises import Credential, Published, Store
from gridhook.telemetry import Log, Metrics
from gridhook.transport.wire import Transport
from gridhook.vault import Vault

KEY_CACHE_SECONDS = 5.0  # how long a revoked key may still be taken by another process
MAX_NAME = 120
ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Created:
    """A new webhook. `private_key` is shown here and never again."""

    webhook: Webhook
    private_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new secret or key: its id, and the text that is shown once."""

    id: str
    text: str = field(repr=False)


class Service:
    def __init__(
        self, *, store: Store, engine: Engine, transport: Transport, vault: Vault, settings: Settings, log: Log, metrics: Metrics
    ) -> None:
        self.store = store
        self.engine = engine
        self.transport = transport
        self.vault = vault
        self.settings = settings
        self.log = log
        self.metrics = metrics
        self.clock: Clock = store.clock
        self._verify_budget = Budget(settings.verify_per_minute, 60.0)
        self._new_url_budget = Budget(settings.new_urls_per_minute, 60.0)
        self._last_verify: dict[str, float] = {}
        self._publishers: TimedCache[PublisherKey | None] = TimedCache(KEY_CACHE_SECONDS)
        self._secrets: TimedCache[list[str]] = TimedCache(KEY_CACHE_SECONDS)
        self._known_accounts: TimedCache[Account] = TimedCache(KEY_CACHE_SECONDS)

    # --- publishing ---------------------------------------------------------------------------------------------

    async def publisher(self, key: str, account_id: str) -> PublisherKey:
        """Who holds this publisher key. Raises `Unauthenticated`; `Forbidden` when the key is another account's."""
        digest = hashlib.sha256(key.encode()).digest()
        found = self._publishers.get(digest.hex())
        if found is None:
            found = await self.store.publisher_key(digest)
            if found is None:
                raise Unauthenticated("this publisher key is unknown or revoked; make one with `gridhook publishers add NAME`")
            self._publishers.put(digest.hex(), found)
        if found.account_id is not None and found.account_id != account_id:
            raise Forbidden(f"publisher key {found.id} may publish for account {found.account_id} only")
        return found

    async def publish(
        self, account_id: str, drafts: Sequence[Draft | GridhookError], *, request_id: str | None = None
    ) -> list[Publication | GridhookError]:
        """Accept what is good: one answer per element, in order, after the commit. What it answers with a `Publication` without
        `conflict` is never lost. Raises `NotFound` for an unknown account and `Unavailable` when nothing can be kept now."""
        await self.account(account_id)
        if self.store.backlog() > self.settings.max_waiting_events:
            raise Unavailable("more events wait for the disk than this process may hold; send again shortly", retry_after=1)
        now = self.clock.now()
        answers: list[Publication | GridhookError] = []
        events: list[NewEvent] = []
        places: list[int] = []
        for draft in drafts:
            accepted = draft if isinstance(draft, GridhookError) else self._accept(account_id, draft, now)
            if isinstance(accepted, NewEvent):
                places.append(len(answers))
                events.append(accepted)
                answers.append(Publication(accepted.id, 0))
            else:
                answers.append(accepted)
        if events:
            published = await self._commit(events, request_id)
            for place, result in zip(places, published.results, strict=True):
                answers[place] = result
        return answers

    def _accept(self, account_id: str, draft: Draft, now: int) -> NewEvent | GridhookError:
        try:
            return cloudevents.accept(
                draft,
                account_id=account_id,
                new_id=ids.uuid7(now, chance.token_bytes(10)) if draft.id is None else draft.id,
                now=now,
                window_ms=self.settings.retry_window_seconds * 1000,
                skew_ms=self.settings.clock_skew_seconds * 1000,
                source=self.settings.source,
                base_url=self.settings.base_url,
                max_bytes=self.settings.max_event_bytes,
            )
        except GridhookError as refusal:
            return refusal

    async def _commit(self, events: list[NewEvent], request_id: str | None) -> Published:
        engine = self.engine
        published = await self.store.publish(
            events, lease_ms=self.settings.lease_ms, now=self.clock.now(), reserve=engine.reserve, give_back=engine.give_back
        )
        self.engine.take(published.claims)
        self.engine.announce(published.queued)
        for event, result in zip(events, published.results, strict=True):
            self.log.event_accepted(event, result, request_id=request_id)
            self.metrics.accepted(result)
        return published

    # --- accounts and keys --------------------------------------------------------------------------------------

    async def account(self, account_id: str) -> Account:
        """Raises `NotFound`."""
        found = self._known_accounts.get(account_id)
        if found is None:
            found = await self.store.account(account_id)
            self._known_accounts.put(account_id, found)
        return found

    async def create_account(self, name: str, *, account_id: str | None = None, enterprise: bool = True) -> tuple[Account, Issued]:
        """A new account with its first API secret. Raises `Invalid`, `Conflict`."""
        account_id = ids.account_id(chance.token_bytes(16)) if account_id is None else _checked_account_id(account_id)
        account = Account(account_id, _checked_name(name), enterprise, self.clock.now())
        await self.store.add_account(account)
        return account, await self.add_secret(account_id)

    async def add_secret(self, account_id: str) -> Issued:
        """One more API secret; both stay valid until one is revoked. Raises `NotFound`, `Conflict` when there are two."""
        await self.store.account(account_id)
        issued = Issued(ids.secret_id(chance.token_bytes(16)), ids.secret_text(chance.token_bytes(SECRET_BYTES)))
        sealed = self.vault.seal(issued.text, contexts.account_secret(account_id, issued.id))
        await self.store.add_secret(AccountSecret(account_id, issued.id, sealed, self.clock.now()))
        self._secrets.forget(account_id)
        return issued

    async def revoke_secret(self, account_id: str, secret_id: str) -> None:
        await self.store.revoke_secret(account_id, secret_id, now=self.clock.now())
        self._secrets.forget(account_id)

    async def set_enterprise(self, account_id: str, enterprise: bool) -> None:
        await self.store.set_enterprise(account_id, enterprise)
        self._known_accounts.forget(account_id)

    async def api_secrets(self, account_id: str) -> list[str]:
        """The account's live API secrets in clear, to check a signature with; empty for an unknown account."""
        found = self._secrets.get(account_id)
        if found is None:
            rows = await self.store.secrets(account_id)
            found = [self.vault.open(row.sealed, contexts.account_secret(account_id, row.id)) for row in rows]
            # Unknown accounts too, so that the time of an answer does not tell them from known ones.
            self._secrets.put(account_id, found)
        return found

    async def create_publisher_key(self, name: str, account_id: str | None = None) -> Issued:
        """A key to publish with, for one account or (None) for all. Shown once, stored as its SHA-256."""
        if account_id is not None:
            await self.store.account(account_id)
        issued = Issued(ids.publisher_key_id(chance.token_bytes(16)), "ghp_" + ids.secret_text(chance.token_bytes(SECRET_BYTES)))
        key = PublisherKey(issued.id, _checked_name(name), account_id, self.clock.now())
        await self.store.add_publisher_key(key, hashlib.sha256(issued.text.encode()).digest())
        return issued

    async def revoke_publisher_key(self, key_id: str) -> None:
        await self.store.revoke_publisher_key(key_id, now=self.clock.now())
        self._publishers.clear()

    # --- webhooks -----------------------------------------------------------------------------------------------

    async def create_webhook(
        self, account_id: str, *, name: str, url: str, subscribed_events: Sequence[str], auth_method: AuthMethod = AuthMethod.BEARER_TOKEN
    ) -> Created:
        """Register a webhook: pending, with a fresh Private Key; its handshake starts at once and runs by itself.

        Raises `Invalid` naming the field (name, url, subscribed_events, auth_method): the URL must parse, resolve, and
        resolve to public addresses only.
        """
        if auth_method is AuthMethod.MTLS:
            raise Invalid("auth_method", "mtls is not available yet; use bearer_token")
        name = _checked_name(name)
        events = catalogue.check_subscribed(subscribed_events)
        if len(events) > self.settings.max_subscribed_events:
            raise Invalid("subscribed_events", f"at most {self.settings.max_subscribed_events} entries")
        await self._check_url(url)
        page = await self.store.webhooks(account_id, offset=0, limit=1)
        if page.total >= self.settings.max_webhooks:
            raise Conflict(f"this account has {page.total} webhooks, the most it may have; delete one first")
        webhook = Webhook(
            account_id=account_id,
            id=ids.webhook_id(chance.token_bytes(16)),
            name=name,
            url=url,
            url_version=1,
            auth_method=auth_method,
            subscribed_events=events,
            created_at=self.clock.now(),
        )
        private_key = ids.secret_text(chance.token_bytes(SECRET_BYTES))
        key_id = ids.credential_id(chance.token_bytes(16))
        sealed = self.vault.seal(private_key, contexts.private_key(account_id, webhook.id, key_id))
        await self.store.add_webhook(webhook, Credential(key_id, sealed))
        self._start_handshake(account_id, webhook.id)
        return Created(webhook, private_key)

    async def verify(self, account_id: str, webhook_id: str) -> bool:
        """Ask for a fresh handshake. True: already verified, nothing is sent. False: a handshake runs now, by itself.

        Raises `NotFound`; `TooMany` when handshakes are asked for faster than the limits allow.
        """
        webhook = await self.store.webhook(account_id, webhook_id)
        if webhook.is_verified:
            return True
        now = time.monotonic()
        wait = self._last_verify.get(webhook_id, -1e9) + self.settings.verify_interval_seconds - now
        if wait > 0:
            raise TooMany(f"a handshake of this webhook was asked for a moment ago; try again in {int(wait) + 1} s", int(wait) + 1)
        wait = self._verify_budget.take(account_id, now)
        if wait > 0:
            raise TooMany(f"at most {self.settings.verify_per_minute} handshakes a minute; try again in {int(wait) + 1} s", int(wait) + 1)
        if len(self._last_verify) > 10_000:
            self._last_verify.clear()
        self._last_verify[webhook_id] = now
        self.engine.start_verification(account_id, webhook_id)
        return False

    async def change_url(self, account_id: str, webhook_id: str, url: str) -> Webhook:
        """Point a webhook elsewhere: pending again, deliveries held, a handshake with the new URL starts."""
        await self._check_url(url)
        webhook = await self.store.change_url(account_id, webhook_id, url, now=self.clock.now())
        self._start_handshake(account_id, webhook_id)
        return webhook

    async def delete_webhook(self, account_id: str, webhook_id: str) -> None:
        """Raises `NotFound`, also the second time. What is queued for it is cancelled."""
        await self.store.delete_webhook(account_id, webhook_id, now=self.clock.now())

    def _start_handshake(self, account_id: str, webhook_id: str) -> None:
        """The handshake that a new URL is owed: at once, or as soon as the account's budget of handshakes allows."""
        self.engine.start_verification(account_id, webhook_id, wait=lambda: self._new_url_budget.take(account_id, time.monotonic()))

    async def _check_url(self, url: str) -> None:
        target = self.transport.parse(url)
        refused = await self.transport.vet(target)
        if refused is not None:
            raise Invalid("url", f"{refused.detail or refused.reason.value} ({refused.reason.value})")

    async def require_enterprise(self, account_id: str) -> None:
        """Raises `Forbidden` for an account without webhooks in its plan, `Unauthenticated` for one that is gone."""
        try:
            account = await self.account(account_id)
        except NotFound:
            raise Unauthenticated("X-ACCT-ID and X-PAYLOAD-SIG do not match") from None
        if not account.enterprise:
            raise Forbidden("webhooks are part of the Enterprise plan; contact us to have them enabled for this account")


def _checked_name(name: str) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not text:
        raise Invalid("name", "is required: a label that people recognise, for example Production badge sync")
    if len(text) > MAX_NAME:
        raise Invalid("name", f"has {len(text)} characters; at most {MAX_NAME}")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Invalid("name", "must not contain control characters")
    return text


def _checked_account_id(account_id: str) -> str:
    if not ACCOUNT_ID.fullmatch(account_id):
        raise Invalid("id", "must be 1 to 64 of the letters, digits, dash and underscore")
    return account_id
