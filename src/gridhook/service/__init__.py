"""The verbs that change something. API, CLI and console call these; each has its refusals (`errors.py`), nothing is half done."""

from __future__ import annotations

import hashlib
import re
import secrets as chance
import time
from collections.abc import Iterable

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.engine.terms import terms_from
from gridhook.errors import Forbidden, GridhookError, Invalid, NotFound, TooMany, Unauthenticated, Unavailable
from gridhook.limits import Budget, TimedCache
from gridhook.model import Account, AccountSecret, NewEvent, Publication, PublisherKey
from gridhook.rules import cloudevents, contexts, ids
from gridhook.rules.cloudevents import Draft
from gridhook.service.authorities import Authorities
from gridhook.service.certificates import Certificates
from gridhook.service.door import Door
from gridhook.service.inputs import SECRET_BYTES, Issued, checked_name
from gridhook.service.people import People
from gridhook.service.redelivery import Redelivery
from gridhook.service.webhooks import Webhooks
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics
from gridhook.transport.wire import Transport
from gridhook.vault import SealBroken, Vault

KEY_CACHE_SECONDS = 5.0  # how long a revoked key may still be taken by another process
ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


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
        self.authorities = Authorities(store=store, vault=vault, settings=settings, log=log)
        self.certificates = Certificates(store=store, authorities=self.authorities)
        self.webhooks = Webhooks(
            store=store, engine=engine, transport=transport, vault=vault, authorities=self.authorities, settings=settings
        )
        engine.warden.renew = self.certificates.renew
        self.people = People(store=store, vault=vault, settings=settings)
        self.door = Door(store=store, vault=vault, settings=settings, people=self.people)
        self.redelivery = Redelivery(store=store, engine=engine, settings=settings)
        # A bucket of two seconds' worth: a page of a console makes several calls at once.
        self._api_budget = Budget(2 * settings.api_per_second, 2.0) if settings.api_per_second else None
        self._publish_budget = Budget(2 * settings.publish_per_second, 2.0) if settings.publish_per_second else None
        self._terms = terms_from(settings)
        self._lease_ms = settings.lease_ms
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
        self, account_id: str, drafts: Iterable[Draft | GridhookError], *, request_id: str | None = None
    ) -> list[Publication | GridhookError]:
        """Accept what is good: one answer per element, in order, after the commit. What it answers with a `Publication` without
        `conflict` is never lost. Raises `NotFound` for an unknown account, `TooMany`, and `Unavailable` when nothing can be kept now."""
        if self._known_accounts.get(account_id) is None:  # asked here, so that a known one costs no coroutine
            await self.account(account_id)
        if self.store.backlog() > self.settings.max_waiting_events:
            raise Unavailable("more events wait for the disk than this process may hold; send again shortly", retry_after=1)
        now = self.clock.now()
        judged = [draft if isinstance(draft, GridhookError) else self._accept(account_id, draft, now) for draft in drafts]
        events = [one for one in judged if isinstance(one, NewEvent)]
        self._spend_events(account_id, len(events))
        if not events:
            return [one for one in judged if isinstance(one, GridhookError)]
        engine = self.engine
        published = await self.store.publish(events, lease_ms=self._lease_ms, now=now, reserve=engine.reserve, give_back=engine.give_back)
        engine.take(published.claims)
        engine.announce(published.queued)
        for event, result in zip(events, published.results, strict=True):
            self.log.event_accepted(event, result, request_id)
            self.metrics.accepted(result)
        results = iter(published.results)
        return [next(results) if isinstance(one, NewEvent) else one for one in judged]

    def _spend_events(self, account_id: str, count: int) -> None:
        """Raises `TooMany`."""
        wait = 0.0 if self._publish_budget is None else self._publish_budget.take(account_id, time.monotonic(), count)
        if wait > 0:
            limit = f"this account may publish {self.settings.publish_per_second} events a second"
            raise TooMany(f"{limit}; nothing was kept, send again in {int(wait) + 1} s", int(wait) + 1)

    def _accept(self, account_id: str, draft: Draft, now: int) -> NewEvent | GridhookError:
        try:
            new_id = ids.uuid7(now, chance.token_bytes(10)) if draft.id is None else draft.id
            return cloudevents.accept(draft, account_id, new_id, now, self._terms)
        except GridhookError as refusal:
            return refusal

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
        account = Account(account_id, checked_name(name), enterprise, self.clock.now())
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
            found = [text for row in rows if (text := self._opened(account_id, row)) is not None]
            # Unknown accounts too, so that the time of an answer does not tell them from known ones.
            self._secrets.put(account_id, found)
        return found

    def _opened(self, account_id: str, secret: AccountSecret) -> str | None:
        """None for a damaged one: the account's other secret shall go on working."""
        try:
            return self.vault.open(secret.sealed, contexts.account_secret(account_id, secret.id))
        except SealBroken as error:
            self.log.error("an API secret cannot be used: issue another", account=account_id, secret_id=secret.id, error=str(error))
            return None

    async def create_publisher_key(self, name: str, account_id: str | None = None) -> Issued:
        """A key to publish with, for one account or (None) for all. Shown once, stored as its SHA-256."""
        if account_id is not None:
            await self.store.account(account_id)
        issued = Issued(ids.publisher_key_id(chance.token_bytes(16)), "ghp_" + ids.secret_text(chance.token_bytes(SECRET_BYTES)))
        key = PublisherKey(issued.id, checked_name(name), account_id, self.clock.now())
        await self.store.add_publisher_key(key, hashlib.sha256(issued.text.encode()).digest())
        return issued

    async def revoke_publisher_key(self, key_id: str) -> None:
        await self.store.revoke_publisher_key(key_id, now=self.clock.now())
        self._publishers.clear()

    def spend_call(self, account_id: str) -> None:
        """One console API call of this account. Raises `TooMany`."""
        wait = 0.0 if self._api_budget is None else self._api_budget.take(account_id, time.monotonic())
        if wait > 0:
            limit = f"at most {self.settings.api_per_second} calls a second"
            raise TooMany(f"{limit}; try again in {int(wait) + 1} s", int(wait) + 1)

    async def require_enterprise(self, account_id: str) -> None:
        """Raises `Forbidden` for an account without webhooks in its plan, `Unauthenticated` for one that is gone."""
        try:
            account = await self.account(account_id)
        except NotFound:
            raise Unauthenticated("X-ACCT-ID and X-PAYLOAD-SIG do not match") from None
        if not account.enterprise:
            raise Forbidden("webhooks are part of the Enterprise plan; contact us to have them enabled for this account")


def _checked_account_id(account_id: str) -> str:
    if not ACCOUNT_ID.fullmatch(account_id):
        raise Invalid("id", "must be 1 to 64 of the letters, digits, dash and underscore")
    return account_id
