"""What the store promises, whichever database keeps it. `tests/store/` holds each sentence as a test, run on both.

Writes are grouped: calls that wait at the same time share one transaction, and each is answered after its commit.
One failing call does not fail its neighbours. Every call may raise `Unavailable` (nothing was kept).
Every instant that matters comes in as an argument; on PostgreSQL it is the database's time (`store.clock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gridhook.clock import Clock
from gridhook.model import (
    Account,
    AccountSecret,
    Attempt,
    Claim,
    Finished,
    Instant,
    NewEvent,
    Publication,
    PublisherKey,
    Sealed,
    Webhook,
)

Reserve: TypeAlias = Callable[[str, str], bool]
"""(account_id, webhook_id) -> True when a slot was taken for a born-leased delivery.
Called on the writer's thread, inside the transaction."""

GiveBack: TypeAlias = Callable[[str, str], None]
"""(account_id, webhook_id): a slot that `reserve` took is free again, because the delivery it was for was not kept or has no taker.
Called on the writer's thread, or on the caller's loop when the caller was cancelled."""


@dataclass(frozen=True, slots=True)
class Published:
    """The answer to one publish call: a result per event, in order, and the claims that were born leased to us."""

    results: list[Publication]
    claims: list[Claim]
    queued: list[tuple[str, str]]  # (account_id, webhook_id) of lanes that now hold due rows nobody has claimed


@dataclass(frozen=True, slots=True)
class Want:
    """How many due deliveries of one lane we have free slots for."""

    account_id: str
    webhook_id: str
    limit: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane with queued rows, and when its first is due (a leased row counts as due when its lease ends)."""

    account_id: str
    webhook_id: str
    due_at: Instant


@dataclass(frozen=True, slots=True)
class Claimed:
    claims: list[Claim]
    lanes: list[Lane]  # the lanes asked about that still hold queued rows, with their next due_at


@dataclass(frozen=True, slots=True)
class Credential:
    """A sealed bearer key and its id."""

    id: str
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class Challenge:
    """A handshake about to be made: valid for this webhook, this url_version, and only while it is the newest."""

    account_id: str
    webhook_id: str
    id: str
    url: str
    url_version: int


@dataclass(frozen=True, slots=True)
class WebhookPage:
    webhooks: list[Webhook]
    total: int


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """Newest first. `next`: pass as `before` to go on, None at the end."""

    attempts: list[Attempt]
    next: tuple[Instant, int] | None


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """What waits for one webhook."""

    held: int
    queued: int
    oldest_expires_at: Instant | None


class Store(Protocol):
    clock: Clock

    # --- life ---------------------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Connect, refuse a schema that is newer than us or not migrated (`Misconfigured`), start the writer."""
        ...

    async def close(self) -> None:
        """Finish what waits, then close. Safe to call twice."""
        ...

    def is_alive(self) -> bool:
        """The writer runs and its last transaction did not find the database gone."""
        ...

    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, in the database's own words: for the log and for operators, not for callers."""
        ...

    def backlog(self) -> int:
        """Writes that wait for the writer, to be bounded by those who add to them."""
        ...

    def on_commit(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called on the writer's thread with the number of writes that each transaction carried."""
        ...

    # --- the road -----------------------------------------------------------------------------------------------
    async def publish(
        self, events: Sequence[NewEvent], *, lease_ms: int, now: Instant, reserve: Reserve, give_back: GiveBack | None = None
    ) -> Published:
        """Insert each event and one delivery per subscribed webhook, in one transaction; answer after its commit.

        A delivery is born leased (attempt 1 taken, `due_at = now + lease_ms`) when its webhook is verified, not paused and
        `reserve` says yes; else queued (due now), or held when the webhook is pending or paused. A repeat of (account, id)
        inserts nothing and is answered like the first time; with another fingerprint it is a conflict.
        When the transaction fails, or the caller is cancelled before its answer, every reserved slot goes back through
        `give_back`, and deliveries that were born leased are released.
        """
        ...

    async def record(self, finished: Sequence[Finished]) -> list[bool]:
        """Settle each claim and write its attempt, both or neither.

        False, and nothing changed, when the lease has passed to another worker. A delivery whose webhook lost its
        verification (or was paused) meanwhile goes to held instead of queued; one whose webhook was deleted, to failed.
        An attempt that ended `interrupted` gives its number back: the next attempt takes the same number.
        """
        ...

    async def claim(self, wants: Sequence[Want], *, lease_ms: int, now: Instant) -> Claimed:
        """Take up to `limit` due deliveries of each lane: number taken, lease set, in one commit.

        A row whose old lease ran out first has the lost attempt logged (`worker_lost`). A row past `expires_at`, or that has
        used up `max_attempts`, is failed instead; one of a webhook that is not verified or is paused goes to held;
        one of a deleted webhook is failed.
        """
        ...

    async def release(self, claims: Sequence[Claim], *, now: Instant) -> None:
        """Hand claims back unsent: due now, number given back, no attempt written. A lost lease changes nothing."""
        ...

    async def lanes(self, *, now: Instant, limit: int, after: tuple[str, str] | None = None) -> list[Lane]:
        """Lanes with queued rows in (account_id, webhook_id) order, from `after` on. One index probe per lane, never per row."""
        ...

    async def settle_held(self, *, now: Instant, limit: int) -> tuple[int, int]:
        """Housekeeping in one small step: (released, expired). Held rows of webhooks that are verified and not paused become
        queued; held rows past `expires_at` become failed(expired); held rows of deleted webhooks failed. At most `limit` rows each."""
        ...

    async def reclaim(self, *, now: Instant) -> int:
        """End every lease that still runs: what it held is due now, and its lost attempt is logged by the claim. How many. Only
        for a process that knows that no other works on this database, at its start: then it need not wait for leases to run out."""
        ...

    async def unproven(self, *, limit: int) -> list[tuple[str, str]]:
        """(account_id, webhook_id) of webhooks whose handshake is owed: asked for and never settled, because its process died."""
        ...

    # --- webhooks -----------------------------------------------------------------------------------------------
    async def add_webhook(self, webhook: Webhook, credential: Credential | None) -> None: ...

    async def webhook(self, account_id: str, webhook_id: str) -> Webhook:
        """Raises `NotFound` for another account's or a deleted one."""
        ...

    async def webhooks(self, account_id: str, *, offset: int, limit: int) -> WebhookPage:
        """Newest first (created_at, then id, descending)."""
        ...

    async def delete_webhook(self, account_id: str, webhook_id: str, *, now: Instant) -> None:
        """Marks it deleted and cancels its held and queued deliveries (failed, webhook_deleted). `NotFound` the second time."""
        ...

    async def change_url(self, account_id: str, webhook_id: str, url: str, *, now: Instant) -> Webhook:
        """Sets the URL, raises url_version, clears verified_at, voids the outstanding challenge, holds queued deliveries."""
        ...

    async def issue_challenge(self, account_id: str, webhook_id: str, challenge_id: str, *, now: Instant) -> Challenge:
        """Makes this the webhook's only valid challenge."""
        ...

    async def settle_challenge(self, challenge: Challenge, attempt: Attempt | None, *, matched: bool, now: Instant) -> bool:
        """Writes the verification's attempt, so that the handshake is owed no longer, and, if matched and still current for the
        current URL, verifies the webhook and makes its held deliveries due. True when the webhook became verified by this call.
        When matched but no longer current, the attempt is written with echo `superseded`."""
        ...

    async def counts(self, account_id: str, webhook_id: str) -> WebhookCounts: ...

    # --- the log ------------------------------------------------------------------------------------------------
    async def attempts(
        self,
        account_id: str,
        webhook_id: str | None,
        *,
        before: tuple[Instant, int] | None,
        after: tuple[Instant, int] | None = None,
        limit: int,
    ) -> AttemptPage:
        """Newest first below `before`; with `after`, the ones above it, oldest first (for following). None webhook: the whole account."""
        ...

    # --- accounts and keys --------------------------------------------------------------------------------------
    async def add_account(self, account: Account) -> None:
        """Raises `Conflict` when the id is taken."""
        ...

    async def account(self, account_id: str) -> Account: ...
    async def accounts(self) -> list[Account]: ...
    async def set_enterprise(self, account_id: str, enterprise: bool) -> None: ...

    async def add_secret(self, secret: AccountSecret) -> None:
        """Raises `Conflict` when two live secrets exist already."""
        ...

    async def secrets(self, account_id: str) -> list[AccountSecret]:
        """Live secrets, oldest first; empty for an unknown account."""
        ...

    async def revoke_secret(self, account_id: str, secret_id: str, *, now: Instant) -> None:
        """Raises `NotFound`; `Conflict` when it is the only live one."""
        ...

    async def add_publisher_key(self, key: PublisherKey, digest: bytes) -> None: ...
    async def publisher_keys(self) -> list[PublisherKey]: ...
    async def publisher_key(self, digest: bytes) -> PublisherKey | None: ...
    async def revoke_publisher_key(self, key_id: str, *, now: Instant) -> None: ...

    # --- the installation itself --------------------------------------------------------------------------------
    async def meta(self, key: str) -> bytes | None: ...
    async def set_meta_once(self, key: str, value: bytes) -> bytes:
        """Sets it unless it is set; returns the value that stands."""
        ...

    # --- sealed values, for key rotation ------------------------------------------------------------------------
    async def sealed_key_ids(self) -> set[str]:
        """Ids of the master keys that any stored secret is sealed under: the process refuses to start without them."""
        ...

    async def reseal(self, limit: int, reseal: Callable[[str, Sealed], Sealed | None]) -> int:
        """Offers up to `limit` sealed values with their associated-data text; stores what `reseal` returns. Rows changed."""
        ...
