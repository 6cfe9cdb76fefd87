"""What the store promises, whichever database keeps it. `tests/store/` holds each sentence as a test, run on both.

Writes are grouped: calls that wait at the same time share one transaction, and each is answered after its commit.
One failing call does not fail its neighbours. Every call may raise `Unavailable` (nothing was kept).
Every instant that matters comes in as an argument; on PostgreSQL it is the database's time (`store.clock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from msgspec import UNSET, UnsetType

from gridhook.clock import Clock
from gridhook.model import (
    Account,
    AccountSecret,
    Attempt,
    AttemptFilter,
    AuthMethod,
    Authority,
    Certificate,
    Claim,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    FailureReason,
    Finished,
    Health,
    Instant,
    LaneLimits,
    Link,
    Membership,
    NewEvent,
    Person,
    Publication,
    PublisherKey,
    Recovery,
    Role,
    Sealed,
    Session,
    StoredEvent,
    Value,
    Webhook,
    WebhookFilter,
    Window,
)

ANY_ATTEMPT = AttemptFilter()
ANY_DELIVERY = DeliveryFilter()
ANY_WEBHOOK = WebhookFilter()

Reserve: TypeAlias = Callable[[str, str, LaneLimits | None], bool]
"""(account_id, webhook_id, the webhook's own limits) -> True when a slot was taken for a born-leased delivery.
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
    limits: dict[str, LaneLimits | None] = field(default_factory=dict)  # by webhook_id: of every lane that a row was found in


@dataclass(frozen=True, slots=True)
class Credential:
    """A sealed bearer key, or a sealed certificate with its key, and its id."""

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
class AccountPage:
    accounts: list[Account]
    total: int


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """Newest first (following with `after`: oldest first). A page may hold fewer than asked for, or none, and yet have a `next`:
    one call looks at a bounded stretch of the log, so that a rare match in a long history costs many small calls, never a long one."""

    attempts: list[Attempt]
    next: tuple[Instant, int] | None  # pass again in the same direction to go on; None at the end


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Newest first by (created_at, id); with `after`, oldest first. As `AttemptPage`."""

    deliveries: list[Delivery]
    next: tuple[Instant, int] | None


@dataclass(frozen=True, slots=True)
class AttemptDetail:
    """One attempt with what was sent. `payload` None: dropped by retention, or (handshakes) never kept."""

    attempt: Attempt
    payload: bytes | None
    webhook: Webhook | None  # as it is now; None: deleted


@dataclass(frozen=True, slots=True)
class EventDetail:
    event: StoredEvent
    deliveries: list[Delivery]  # by webhook, then by age


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Deliveries of one webhook that did not arrive (yet), and why."""

    state: DeliveryState  # held, queued (tried at least once, or waiting) or failed
    failure_reason: FailureReason | None
    last_result: str | None  # what the last attempt brought; None: none was made
    count: int
    oldest_created_at: Instant
    oldest_expires_at: Instant | None  # of held and queued ones


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """What waits for one webhook."""

    held: int
    queued: int
    oldest_expires_at: Instant | None
    held_until: Instant | None = None  # when the oldest held one expires


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """A bearer key as it may be shown. In use is the newest whose `activates_at` has come."""

    id: str
    created_at: Instant
    activates_at: Instant


@dataclass(frozen=True, slots=True)
class Work:
    """All that a request to a webhook needs now. The fallback: see `Claim`."""

    webhook: Webhook
    credential_id: str | None
    credential: Sealed | None
    fallback_id: str | None = None
    fallback: Sealed | None = None
    fallback_until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Redelivered:
    """`delivery`: the new one; with `brought_forward`, the queued one itself, which is due now."""

    delivery: Delivery
    brought_forward: bool


@dataclass(frozen=True, slots=True)
class Retention:
    """Instants before which things may go. Bodies: payloads of events and answers of attempts, whose rows stay until their own turn."""

    events_before: Instant
    attempts_before: Instant
    bodies_before: Instant


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step took away. `more`: another step has work at once."""

    events: int
    deliveries: int
    attempts: int
    bodies: int
    more: bool


@dataclass(frozen=True, slots=True)
class Failing:
    """A webhook whose attempts fail in an unbroken row."""

    webhook_id: str
    name: str
    failing_since: Instant
    consecutive_failures: int
    last_failure_at: Instant | None
    last_result: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A webhook that is sent nothing now, because it is paused or pending. `held_until`: when the first held delivery expires."""

    webhook_id: str
    name: str
    created_at: Instant
    paused_at: Instant | None
    verified_at: Instant | None
    held_until: Instant | None


@dataclass(frozen=True, slots=True)
class Expiring:
    """A webhook whose certificate ends soon, or has."""

    webhook_id: str
    name: str
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class LastUndelivered:
    """A webhook's newest delivery that failed. The event is None when retention took it."""

    webhook_id: str
    name: str
    delivery_id: int
    created_at: Instant
    failure_reason: FailureReason
    last_result: str | None
    redelivered: bool
    event_id: str | None
    event_type: str | None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A webhook that wants a type of event."""

    webhook_id: str
    name: str
    verified_at: Instant | None
    paused_at: Instant | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account's webhooks stand: what needs looking at. `failing`, `expiring` and `undelivered`: the first few."""

    webhooks: int
    failing: list[Failing]
    failing_total: int
    waiting: list[Waiting]  # newest first
    oldest_held: Waiting | None
    held: int  # for that one, at most `MOST_COUNTED` + 1
    expiring: list[Expiring]
    undelivered: list[LastUndelivered]


MOST_UNDELIVERED = 100_000  # rows of one state
ALL = 2**62  # rows
MOST_COUNTED = 10_000  # rows: beyond that a page says "more than"


@dataclass(frozen=True, slots=True)
class Load:
    """What waits in an account; counts go up to `MOST_COUNTED` + 1, and the instants are of what was counted."""

    webhooks: int
    failing: int
    queued: int
    due_at: Instant | None  # of the first queued one
    held: int
    held_until: Instant | None
    hour: Window


class WebhookEdit(Value, frozen=True):
    """What is to change; UNSET stays as it is."""

    name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    subscribed_events: tuple[str, ...] | UnsetType = UNSET
    limits: LaneLimits | UnsetType | None = UNSET
    extras: Sealed | UnsetType | None = UNSET


class Store(Protocol):
    clock: Clock

    # --- life ---------------------------------------------------------------------------------------------------
    async def open(self) -> dict[str, int]:
        """Connect, refuse a schema that is newer than us or not migrated (`Misconfigured`), start the writer.

        Before that, the counters of ids (of `events`, `deliveries`, `attempts`) that lie behind their rows, as after a partial
        restore, are moved past them: else every claim or publish would fail. Returned is which, and by how many ids each lay behind.
        """
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
    async def add_webhook(
        self, webhook: Webhook, credential: Credential | None, certificate: Certificate | None = None, *, most: int | None = None
    ) -> None:
        """With its first key or certificate, in one transaction. most: webhooks that the account may have (`Conflict`), also when many
        are registered at once. certificate: of a webhook that presents one; the credential of the
        same id holds it together with its key. Raises `Conflict` when the id is taken."""
        ...

    async def webhook(self, account_id: str, webhook_id: str) -> Webhook:
        """Raises `NotFound` for another account's or a deleted one."""
        ...

    async def webhooks_by_ids(self, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Webhook]:
        """By id; another account's and deleted ones are left out."""
        ...

    async def webhooks(self, account_id: str, *, offset: int, limit: int, filter: WebhookFilter = ANY_WEBHOOK) -> WebhookPage:
        """Newest first (created_at, then id, descending). `total`: how many match."""
        ...

    async def is_proving(self, account_id: str, webhook_id: str) -> bool:
        """Whether a handshake of it runs, or is owed. False for one that is verified or gone."""
        ...

    async def delete_webhook(self, account_id: str, webhook_id: str, *, revision: int | None = None, now: Instant) -> None:
        """Marks it deleted and cancels its held and queued deliveries (failed, webhook_deleted). `NotFound` the second time; `Stale`
        when `revision` is given and is not the webhook's any more."""
        ...

    async def edit_webhook(
        self, account_id: str, webhook_id: str, edit: WebhookEdit, *, revision: int | None = None, now: Instant
    ) -> Webhook:
        """All of the edit in one transaction, and `revision` one higher. Raises `Stale` when `revision` is given and is not the
        webhook's any more, `NotFound`; nothing is changed then.

        Another URL raises url_version, clears verified_at, voids the outstanding challenge (a new handshake is owed) and holds
        queued deliveries, attempt numbers kept; the same URL changes nothing of that. Other subscriptions hold for events
        published after the commit.
        """
        ...

    async def change_url(self, account_id: str, webhook_id: str, url: str, *, now: Instant) -> Webhook:
        """`edit_webhook` with a URL alone; also when it is the same text: then too what was proven falls."""
        ...

    async def pause_webhook(self, account_id: str, webhook_id: str, *, now: Instant) -> Webhook:
        """Holds what is queued and what will be published; requests in flight end. Pausing twice changes nothing."""
        ...

    async def resume_webhook(self, account_id: str, webhook_id: str, *, now: Instant) -> Webhook:
        """Makes held deliveries due, oldest first, if the webhook is verified. Resuming twice changes nothing."""
        ...

    async def work(self, account_id: str, webhook_id: str, *, now: Instant) -> Work:
        """Raises `NotFound`."""
        ...

    # --- bearer keys --------------------------------------------------------------------------------------------
    async def add_credential(
        self, account_id: str, webhook_id: str, credential: Credential, *, activates_at: Instant, now: Instant
    ) -> None:
        """Another bearer key, in use from `activates_at` on (from now, when that is past). Raises `NotFound`; `Conflict` while a key that
        is not in use yet waits.
        Keys that it replaces are forgotten when no request can need them any more."""
        ...

    async def credentials(self, account_id: str, webhook_id: str) -> list[CredentialInfo]:
        """By `activates_at`, newest first; those replaced may be among them for a while. Raises `NotFound`."""
        ...

    async def cancel_credential(self, account_id: str, webhook_id: str, credential_id: str, *, now: Instant) -> None:
        """Raises `NotFound`; `Conflict` when the key is in use already (or was)."""
        ...

    async def issue_challenge(self, account_id: str, webhook_id: str, challenge_id: str, *, now: Instant) -> Challenge:
        """Makes this the webhook's only valid challenge."""
        ...

    async def settle_challenge(self, challenge: Challenge, attempt: Attempt | None, *, matched: bool, now: Instant) -> bool:
        """Writes the verification's attempt, so that the handshake is owed no longer, and, if matched and still current for the
        current URL, verifies the webhook and makes its held deliveries due. True when the webhook became verified by this call.
        When matched but no longer current, the attempt is written with echo `superseded`."""
        ...

    async def counts(self, account_id: str, webhook_id: str, *, most: int = ALL) -> WebhookCounts:
        """Neither count goes further than `most`; the instants are of what was counted."""
        ...

    async def held(self, account_id: str, webhook_ids: Sequence[str], *, most: int = ALL) -> dict[str, tuple[int, Instant]]:
        """(how many are held, at most so many; when the oldest expires) of those webhooks that have any."""
        ...

    # --- certificates -------------------------------------------------------------------------------------------
    async def add_authority(self, authority: Authority, key: Sealed, *, first: bool = False) -> Authority:
        """With `first`, only if there is none yet: then the one that stands is returned, so that two processes agree on one."""
        ...

    async def authorities(self) -> list[Authority]:
        """Newest first, expired ones left out."""
        ...

    async def authority_key(self, authority_id: str) -> Sealed:
        """Raises `NotFound`."""
        ...

    async def certificate_in_use(self, authority_id: str, *, now: Instant) -> str | None:
        """The id of one that this authority issued and that is presented or fallen back on. None: it can be removed, unless it signs."""
        ...

    async def remove_authority(self, authority_id: str, *, now: Instant) -> None:
        """Raises `NotFound`; `Conflict` while it signs, or while a certificate that it issued is presented or fallen back on."""
        ...

    async def add_certificate(
        self, certificate: Certificate, key: Sealed, *, replacing: str | None = None, keep_fallback: bool = True, now: Instant
    ) -> list[Certificate]:
        """The webhook's next certificate, presented from now on; with `replacing`, only if that one is presented (`Conflict`).

        The one before it becomes the fallback for seven days. When the one
        before was never accepted and there is a fallback still, that one stays the fallback and the one in between is gone.
        Without `keep_fallback` nothing is fallen back on from now on, and the keys of all others are destroyed.
        """
        ...

    async def certificates(self, account_id: str, webhook_id: str) -> list[Certificate]:
        """Newest first, those whose key is destroyed among them; the first is the one presented."""
        ...

    async def presented_certificates(self, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Certificate]:
        """By webhook_id; those that present none are left out."""
        ...

    async def cancel_certificate(self, account_id: str, webhook_id: str, certificate_id: str, *, now: Instant) -> Certificate:
        """Take back a rotation: the fallback is presented again. Raises `NotFound`; `Conflict` when the receiver has accepted the
        new one, or when there is no fallback."""
        ...

    async def retire_fallback(self, account_id: str, webhook_id: str, certificate_id: str, *, now: Instant) -> bool:
        """This certificate is not fallen back on any more, and its key is destroyed. False: it was not. Raises `NotFound`."""
        ...

    async def retire_certificates(self, *, now: Instant, limit: int) -> int:
        """Destroys the keys of certificates whose `retires_at` has come. How many."""
        ...

    async def note_notice(self, certificate: Certificate, days: int) -> None:
        """The notice that this certificate expires in `days` was published."""
        ...

    async def expiring_certificates(self, *, before: Instant, after: tuple[Instant, str] | None = None, limit: int) -> list[Certificate]:
        """Presented certificates of webhooks that are not deleted, with `expires_at` before that, in (expires_at, id) order."""
        ...

    async def switch_auth(
        self,
        account_id: str,
        webhook_id: str,
        method: AuthMethod,
        credential: Credential,
        certificate: Certificate | None,
        *,
        revision: int,
        now: Instant,
    ) -> Webhook:
        """Another way of proving who calls, with its first credential; those of the old way are forgotten. Raises `Stale`, `NotFound`."""
        ...

    # --- health -------------------------------------------------------------------------------------------------
    async def health(self, account_id: str, webhook_ids: Sequence[str], *, now: Instant | None) -> dict[str, Health]:
        """From counters kept by `record`, in one transaction with the attempts: cost does not grow with the history. One for each id
        that is asked about. A success ends the row of failures when it is committed, should another have ended a moment later.

        now: when its hour and its day end. None: both are left out, which spares adding up the minutes of a day.
        """
        ...

    async def minutes(self, account_id: str, webhook_id: str | None, *, since: Instant) -> list[tuple[Instant, Window]]:
        """The same counters minute by minute, oldest first, empty minutes left out. None webhook: the whole account's together."""
        ...

    async def hours(self, account_id: str, webhook_ids: Sequence[str], *, since: Instant) -> dict[str, list[tuple[Instant, int, int]]]:
        """The same counters of several webhooks, added up hour by hour from `since` (the start of a minute) on: (start, succeeded,
        failed), oldest first, empty hours left out, and webhooks that have none."""
        ...

    async def standing(self, account_id: str, *, expiring_before: Instant, limit: int) -> Standing:
        """What needs looking at in an account. Cost: some probes for each webhook, none for each delivery or attempt."""
        ...

    async def subscribers(self, account_id: str, event_type: str, *, limit: int) -> list[Subscriber]:
        """Newest first."""
        ...

    async def troubled(self) -> tuple[dict[str, int], set[str]]:
        """(failing webhooks by account, accounts that anything is queued for), of those that have any."""
        ...

    async def load(self, account_id: str, *, since: Instant) -> Load:
        """What waits in an account, and what its webhooks' attempts brought since then."""
        ...

    async def recent(self, *, since: Instant, most: int) -> list[tuple[str, str, str, str, Window]]:
        """(account_id, webhook_id, name, url, counters since then) of all accounts' webhooks that were sent to; of at most so many of
        the newest minutes' rows."""
        ...

    async def pulse(self, account_id: str, webhook_id: str | None, *, now: Instant) -> tuple[int | None, ...]:
        """Another value than before when attempts ended or something was edited meanwhile; a few probes, whatever the history.
        Empty for a webhook that is gone. None webhook: the whole account."""
        ...

    # --- the log ------------------------------------------------------------------------------------------------
    async def attempts(
        self,
        account_id: str,
        webhook_id: str | None,
        *,
        before: tuple[Instant, int] | None = None,
        after: tuple[Instant, int] | None = None,
        filter: AttemptFilter = ANY_ATTEMPT,
        limit: int,
    ) -> AttemptPage:
        """Newest first below `before`; with `after`, the ones above it, oldest first. None webhook: the whole account."""
        ...

    async def attempt(self, account_id: str, attempt_id: int) -> AttemptDetail:
        """Raises `NotFound`."""
        ...

    async def add_attempt(self, attempt: Attempt, event: NewEvent | None = None) -> int:
        """Writes a test's attempt and, with it, the event that was sent (kept as a test, owed to nobody). The attempt's id.
        Raises `Conflict` when the event's id is taken."""
        ...

    async def deliveries(
        self,
        account_id: str,
        webhook_id: str,
        *,
        before: tuple[Instant, int] | None = None,
        after: tuple[Instant, int] | None = None,
        filter: DeliveryFilter = ANY_DELIVERY,
        limit: int,
        now: Instant,
    ) -> DeliveryPage:
        """Newest first below `before` (created_at, id); with `after`, the ones above it, oldest first."""
        ...

    async def delivery(self, account_id: str, webhook_id: str, delivery_id: int, *, now: Instant) -> Delivery:
        """Raises `NotFound`."""
        ...

    async def event(self, account_id: str, event_id: str, *, now: Instant) -> EventDetail:
        """Raises `NotFound`."""
        ...

    async def undelivered(self, account_id: str, webhook_id: str, *, most: int = MOST_UNDELIVERED) -> list[Undelivered]:
        """What did not arrive, by reason, most first. A failed one that was redelivered counts as what became of the newer one.

        Of each state at most `most` are looked at, of failed ones the newest: beyond that
        a count says "at least".
        """
        ...

    # --- redelivery ---------------------------------------------------------------------------------------------
    async def redeliver(self, account_id: str, webhook_id: str, delivery_id: int, *, now: Instant, window_ms: int) -> Redelivered:
        """A new delivery of the same event to the same webhook, due now, with a schedule and a window (`now + window_ms`) of its own;
        the old one stays as it is. One that is queued and not in flight is brought forward instead: due now, number kept.

        Raises `NotFound`; `Conflict` when the webhook is pending or paused, when an attempt is running, when another delivery of this event
        waits for this webhook already, or when the event's payload was dropped by retention.
        """
        ...

    async def add_recovery(self, recovery: Recovery) -> Recovery:
        """With `total` counted, among at most a million deliveries from `since` on. Raises `NotFound`; `Conflict` when the webhook is
        pending or paused, or while another recovery of it runs."""
        ...

    async def foretell(self, recovery: Recovery) -> int:
        """The `total` that `add_recovery` would count now; nothing is changed."""
        ...

    async def recovery(self, account_id: str, webhook_id: str, recovery_id: str) -> Recovery: ...

    async def recoveries(self, account_id: str, webhook_id: str, *, limit: int) -> list[Recovery]:
        """Newest first."""
        ...

    async def cancel_recovery(self, account_id: str, webhook_id: str, recovery_id: str, *, now: Instant) -> Recovery:
        """What it queued already goes on. Cancelling one that ended changes nothing."""
        ...

    async def running_recoveries(self, *, now: Instant, limit: int) -> list[tuple[str, str, str]]:
        """(account_id, webhook_id, id) of those whose next step is due."""
        ...

    async def recover(self, account_id: str, webhook_id: str, recovery_id: str, *, now: Instant, step_ms: int, window_ms: int) -> Recovery:
        """One step, in one transaction: as many deliveries as its rate allows in `step_ms`, then it rests that long, whatever process asks.

        Nothing while its webhook is paused or pending; cancelled when it is deleted; done at the last delivery that existed when it was
        asked for. A delivery is requeued as by `redeliver`, skipped when another of the same event waits or (for failed ones) arrived.
        """
        ...

    # --- retention ----------------------------------------------------------------------------------------------
    async def prune(self, retention: Retention, *, limit: int) -> Pruned:
        """One small step of forgetting, oldest first, at most `limit` rows of each kind. An event goes after its deliveries; nothing
        that is held or queued goes. Counters stay, except minutes older than eight days."""
        ...

    # --- accounts and keys --------------------------------------------------------------------------------------
    async def add_account(self, account: Account) -> None:
        """Raises `Conflict` when the id is taken."""
        ...

    async def account(self, account_id: str) -> Account: ...
    async def accounts(self) -> list[Account]: ...
    async def accounts_found(self, text: str | None, person_id: str | None, *, offset: int, limit: int) -> AccountPage:
        """By name. text: in name or id; None: any. person_id: whose member they must have; None: anybody's. `total`: how many match."""
        ...

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

    # --- people -------------------------------------------------------------------------------------------------
    async def add_person(self, person: Person) -> None:
        """Raises `Conflict` when the address is known."""
        ...

    async def person(self, *, id: str = "", email: str = "") -> Person:
        """Raises `NotFound`."""
        ...

    async def password(self, email: str) -> tuple[Person, str | None]:
        """With the hash of their password, None before there is one. Raises `NotFound`."""
        ...

    async def people(self) -> list[Person]: ...
    async def members(self, account_id: str) -> list[tuple[Person, Role]]: ...
    async def memberships(self, person_id: str) -> list[Membership]: ...
    async def set_operator(self, person_id: str, is_operator: bool) -> None: ...

    async def set_password(self, person_id: str, password: str, *, but: bytes = b"") -> None:
        """Ends their sessions, but for the one with that digest, and voids their links."""
        ...

    async def rehash(self, person_id: str, *, before: str, password: str) -> None:
        """The same password, hashed anew; sessions and links stay. Changes nothing when `before` is no longer what is kept."""
        ...

    async def remove_person(self, person_id: str) -> None:
        """With memberships, links and sessions."""
        ...

    async def add_membership(self, person_id: str, membership: Membership, *, now: Instant) -> None:
        """Of one who is a member already, the role is changed. Raises `NotFound`."""
        ...

    async def remove_membership(self, person_id: str, account_id: str) -> None: ...

    async def add_link(self, digest: bytes, link: Link, *, now: Instant, expires_at: Instant) -> None:
        """The person's earlier links are void."""
        ...

    async def link(self, digest: bytes, *, now: Instant) -> Link:
        """Raises `NotFound` when it was used or its time is over."""
        ...

    async def use_link(self, digest: bytes, *, now: Instant) -> Link:
        """As `link`; works once."""
        ...

    async def add_session(self, session: Session, *, now: Instant) -> None: ...

    async def session(self, digest: bytes, *, now: Instant, seen_after: Instant) -> tuple[Session, list[Membership]]:
        """Raises `NotFound` when it is over, or was not seen since."""
        ...

    async def sessions(self, person_id: str, *, now: Instant, seen_after: Instant) -> list[Session]:
        """Newest first."""
        ...

    async def touch_session(self, digest: bytes, *, now: Instant) -> None: ...
    async def end_session(self, person_id: str, digest: bytes) -> None: ...

    async def end_sessions(self, person_id: str, *, but: bytes = b"") -> int:
        """How many ended."""
        ...

    async def set_flash(self, digest: bytes, path: str, flash: Sealed) -> None:
        """What the page at `path` is to show this session once; in the place of what waited there before."""
        ...

    async def take_flash(self, digest: bytes, path: str) -> Sealed | None:
        """Gives it to one caller only."""
        ...

    # --- the installation itself --------------------------------------------------------------------------------
    async def meta(self, key: str) -> bytes | None: ...
    async def set_meta_once(self, key: str, value: bytes) -> bytes:
        """Sets it unless it is set; returns the value that stands."""
        ...

    # --- sealed values, for key rotation ------------------------------------------------------------------------
    async def sealed(self) -> list[tuple[str, Sealed]]:
        """Every stored secret with the text that it is bound to, which names its row (`rules.contexts`)."""
        ...

    async def reseal(self, limit: int, reseal: Callable[[str, Sealed], Sealed | None]) -> int:
        """Offers up to `limit` sealed values with their associated-data text; stores what `reseal` returns. Rows changed."""
        ...
