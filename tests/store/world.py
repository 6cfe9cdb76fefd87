"""Things to store: short names for values that tests need in numbers."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from gridhook.model import (
    Account,
    Answered,
    Attempt,
    AttemptKind,
    AuthMethod,
    Claim,
    Delivered,
    Finished,
    Instant,
    LaneLimits,
    NewEvent,
    Outcome,
    Sealed,
    Verdict,
    Webhook,
)
from gridhook.store import Store
from gridhook.store.promises import Claimed, Credential, Published, Want
from gridhook.vault import key_id_of

NOON: Instant = 1_795_348_800_000
SECOND = 1000
HOUR = 3600 * SECOND
LEASE = 40 * SECOND
WINDOW = 6 * HOUR
TYPE = "ag.access_pass.issued"


def event(id: str, *, account: str = "acc", type: str = TYPE, at: Instant = NOON, content: str = "") -> NewEvent:
    payload = f'{{"id":"{id}","data":"{content}"}}'.encode()
    return NewEvent(account, id, type, at, at, at + WINDOW, payload, hashlib.sha256(payload).digest())


def hook(id: str = "wh", *, account: str = "acc", verified: bool = True, types: tuple[str, ...] = (TYPE,), at: Instant = NOON) -> Webhook:
    return Webhook(
        account, id, f"hook {id}", f"https://{id}.example.com/in", 1, AuthMethod.BEARER_TOKEN, types, at, NOON if verified else None
    )


async def an_account(store: Store, id: str = "acc") -> None:
    await store.add_account(Account(id, f"name of {id}", True, NOON))


async def a_webhook(
    store: Store, id: str = "wh", *, account: str = "acc", verified: bool = True, paused: bool = False, types: tuple[str, ...] = (TYPE,)
) -> Webhook:
    webhook = replace(hook(id, account=account, verified=verified, types=types), paused_at=NOON if paused else None)
    await store.add_webhook(webhook, Credential(f"cred_{id}", Sealed(b"\x01\x02k1" + bytes(28) + f"sealed for {id}".encode())))
    return webhook


def always(_account: str, _webhook: str, _limits: LaneLimits | None) -> bool:
    return True


def never(_account: str, _webhook: str, _limits: LaneLimits | None) -> bool:
    return False


async def publish(store: Store, *events: NewEvent, leased: bool = False, now: Instant = NOON) -> Published:
    return await store.publish(events, lease_ms=LEASE, now=now, reserve=always if leased else never)


async def claim(store: Store, limit: int = 10, *, webhook: str = "wh", account: str = "acc", now: Instant = NOON) -> Claimed:
    return await store.claim([Want(account, webhook, limit)], lease_ms=LEASE, now=now)


def answered(status: int = 200) -> Answered:
    return Answered(status, b"content-type: text/plain\r\n", b"ok")


def finished(claim: Claim, outcome: Outcome | None = None, verdict: Verdict | None = None, next_at: Instant | None = None) -> Finished:
    attempt = Attempt(
        claim.account_id,
        claim.webhook_id,
        AttemptKind.DELIVERY,
        claim.number,
        claim.started_at,
        outcome or answered(),
        delivery_id=claim.delivery_id,
        event_id=claim.event_id,
        event_type=claim.event_type,
        url=claim.url,
        credential_id=claim.credential_id,
        next_attempt_at=next_at,
    )
    return Finished(claim, attempt, verdict or Delivered())


async def log(store: Store, webhook: str | None = "wh", account: str = "acc") -> list[Attempt]:
    """All attempts, oldest first."""
    page = await store.attempts(account, webhook, before=None, limit=1000)
    return list(reversed(page.attempts))


async def state(store: Store, webhook: str = "wh", account: str = "acc") -> tuple[int, int]:
    """(held, queued) of one webhook."""
    counts = await store.counts(account, webhook)
    return counts.held, counts.queued


async def key_ids(store: Store) -> set[str]:
    """Of the master keys that anything is sealed under."""
    return {key_id_of(sealed) for _, sealed in await store.sealed()}
