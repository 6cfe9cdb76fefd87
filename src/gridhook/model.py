"""The nouns: frozen values that every room shares. No I/O, no clock, no chance."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

Instant: TypeAlias = int
"""Milliseconds since 1970-01-01T00:00:00Z. Names end in `_at`; durations carry their unit (`_ms`, `_us`, `_seconds`)."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """Frozen and slotted like a dataclass, and built ten times as fast: the road makes a dozen of these for each delivery.

    Out of the garbage collector's sight: values hold values, never a way back. Change one with `msgspec.structs.replace`.
    """


class AuthMethod(StrEnum):
    BEARER_TOKEN = "bearer_token"
    MTLS = "mtls"


class DeliveryState(StrEnum):
    """`held`: the webhook is pending or paused. `queued`: has a `due_at`; with a live lease it is in flight."""

    HELD = "held"
    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


class FailureReason(StrEnum):
    """Why a delivery ended without being received."""

    EXHAUSTED = "exhausted"  # every attempt of the schedule was made
    EXPIRED = "expired"  # the event grew older than the retry window
    WEBHOOK_DELETED = "webhook_deleted"


class AttemptKind(StrEnum):
    DELIVERY = "delivery"
    VERIFICATION = "verification"
    TEST = "test"


class Origin(StrEnum):
    """Why a delivery exists."""

    EVENT = "event"  # the event was published
    REDELIVERY = "redelivery"  # a person asked for this one again
    RECOVERY = "recovery"  # a person asked for many again


class RecoveryState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"  # by a person, or because its webhook was deleted


class Phase(StrEnum):
    """How far a request had come when it ended."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    REQUEST = "request"
    HEADERS = "headers"
    BODY = "body"


class Reason(StrEnum):
    """Why a request brought no usable answer: a closed list, each with a sentence and a remedy in `rules/diagnosis.py`."""

    URL_REFUSED = "url_refused"  # the URL itself breaks the policy
    ADDRESS_REFUSED = "address_refused"  # it resolves to an address that we never connect to
    DNS_ERROR = "dns_error"  # NXDOMAIN, SERVFAIL, unreadable answer
    DNS_EMPTY = "dns_empty"  # the name exists but has no A or AAAA record
    DNS_TIMEOUT = "dns_timeout"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"  # no route, network unreachable
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"  # the receiver's, as in the next five
    TLS_CERTIFICATE_NOT_YET_VALID = "tls_certificate_not_yet_valid"
    TLS_CERTIFICATE_SELF_SIGNED = "tls_certificate_self_signed"
    TLS_CERTIFICATE_WRONG_NAME = "tls_certificate_wrong_name"
    TLS_CERTIFICATE_UNKNOWN_CA = "tls_certificate_unknown_ca"  # or its intermediate certificate is missing
    TLS_CERTIFICATE = "tls_certificate"  # something else is wrong with it
    TLS_PROTOCOL = "tls_protocol"  # no common version, or not TLS at all
    TLS_ALERT = "tls_alert"  # the receiver refused the handshake
    TLS_TIMEOUT = "tls_timeout"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"  # ours, by the receiver's TLS layer
    RESET_AFTER_CLIENT_CERTIFICATE = "reset_after_client_certificate"  # it was asked for, then the connection ended without a word
    TIMEOUT = "timeout"  # connected, but no complete answer in time: it may have been processed
    RESET = "reset"  # the connection ended before a complete header section
    PROTOCOL_ERROR = "protocol_error"  # the answer is not HTTP/1.1
    HEADERS_TOO_LARGE = "headers_too_large"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"  # our own key or certificate is missing or could not be decrypted: nothing was sent
    CREDENTIAL_EXPIRED = "credential_expired"  # our own certificate's time is over: nothing was sent
    WORKER_LOST = "worker_lost"  # our process died during the request: outcome unknown
    INTERRUPTED = "interrupted"  # our process was told to stop during the request
    NOT_SENT = "not_sent"  # nothing had to be sent: the host is trusted without a handshake
    INTERNAL = "internal"  # a defect of ours


class Echo(StrEnum):
    """What a verification's answer was worth."""

    MATCHED = "matched"
    TRUSTED_HOST = "trusted_host"  # webhook.site: no challenge is sent
    WRONG_STATUS = "wrong_status"
    NOT_JSON = "not_json"
    NO_CHALLENGE = "no_challenge"
    MISMATCH = "mismatch"
    SUPERSEDED = "superseded"  # a newer challenge, another URL, or the webhook is gone
    NO_ANSWER = "no_answer"  # see the attempt's reason


class Account(Value, frozen=True):
    id: str
    name: str
    enterprise: bool
    created_at: Instant


class Role(StrEnum):
    """What a person may do in an account's console."""

    VIEWER = "viewer"  # see
    ADMIN = "admin"  # see and change


class Person(Value, frozen=True):
    """Somebody who may sign in to the console. `email`: lower case, the name they sign in with."""

    id: str
    email: str
    is_operator: bool  # sees every account
    created_at: Instant
    has_password: bool = False
    signed_in_at: Instant | None = None


class Membership(Value, frozen=True):
    account_id: str
    role: Role


class LinkPurpose(StrEnum):
    """What a one-time link is for."""

    PASSWORD = "password"  # to set one
    SIGN_IN = "sign_in"  # to be signed in without one


class Link(Value, frozen=True):
    person_id: str
    purpose: LinkPurpose


class Session(Value, frozen=True):
    """A browser that is signed in. `digest`: the SHA-256 of its cookie."""

    digest: bytes
    person_id: str
    agent: str  # as the browser calls itself
    created_at: Instant
    seen_at: Instant
    expires_at: Instant
    email: str = ""
    is_operator: bool = False


class Sealed(Value, frozen=True):
    """A secret as it is stored: ciphertext with the id of its master key in front. `repr` shows neither."""

    blob: bytes

    def __repr__(self) -> str:
        return f"Sealed({len(self.blob)} bytes)"


class AccountSecret(Value, frozen=True):
    """One of an account's up to two live API secrets."""

    account_id: str
    id: str
    sealed: Sealed
    created_at: Instant


class PublisherKey(Value, frozen=True):
    """Who may publish. `account_id` None: for every account. The key itself is never stored, only its SHA-256."""

    id: str
    name: str
    account_id: str | None
    created_at: Instant


class LaneLimits(Value, frozen=True):
    """What a customer allows for one webhook, per process: requests in flight, requests started per second. None: only ours hold."""

    max_in_flight: int | None = None
    rate_per_second: float | None = None


class Webhook(Value, frozen=True):
    """What a customer registered. `url_version` rises with each change of `url`; what was proven is a version, not a name.

    `revision` rises with each edit: two people who edit the same state are told apart by it. `extras`: see `rules/extras.py`.
    """

    account_id: str
    id: str
    name: str
    url: str
    url_version: int
    auth_method: AuthMethod
    subscribed_events: tuple[str, ...]
    created_at: Instant
    verified_at: Instant | None = None
    paused_at: Instant | None = None
    revision: int = 1
    limits: LaneLimits | None = None  # None: the customer set none
    extras: Sealed | None = None

    @property
    def is_verified(self) -> bool:
        return self.verified_at is not None

    @property
    def status(self) -> str:
        return "verified" if self.is_verified else "pending"


class WebhookState(StrEnum):
    """What a person asks for in a list of webhooks. Each is in one of the first three, as its badge says; failing is beside that."""

    VERIFIED = "verified"  # and not paused
    PENDING = "pending"  # and not paused
    PAUSED = "paused"
    FAILING = "failing"  # its newest attempts failed in an unbroken row


class WebhookFilter(Value, frozen=True):
    """Which webhooks. None: any. `text`: part of the name or, with `in_url`, of the URL, capitals A to Z like small letters."""

    text: str | None = None
    state: WebhookState | None = None
    auth_method: AuthMethod | None = None
    in_url: bool = True


class Authority(Value, frozen=True):
    """A certificate authority of ours. It signs from `signs_from_at` on, some time after its publication, so that receivers know it
    by then; the newest whose time has come is the one that signs."""

    id: str
    certificate: bytes  # PEM
    fingerprint: str  # SHA-256 of the DER, hex
    created_at: Instant
    signs_from_at: Instant
    expires_at: Instant


class Certificate(Value, frozen=True):
    """A client certificate that we issued for one webhook. Its id is that of the credential that holds its key.

    Presented is the newest. The one before it is fallen back on for seven days, until `retires_at`; then its key is destroyed.
    """

    account_id: str
    webhook_id: str
    id: str
    authority_id: str
    serial: str  # hex
    fingerprint: str  # SHA-256 of the DER, hex
    chain: bytes  # PEM: leaf, then issuer
    not_before_at: Instant
    expires_at: Instant
    created_at: Instant
    accepted_at: Instant | None = None  # when the receiver first took a request with it
    replaced_at: Instant | None = None
    retires_at: Instant | None = None
    noticed_days: int | None = None  # of the last notice that it will expire


class NewEvent(Value, frozen=True):
    """An accepted event on its way to the store. `payload`: the whole CloudEvent as it will be sent, byte for byte, every time."""

    account_id: str
    id: str
    type: str
    time_at: Instant
    accepted_at: Instant
    expires_at: Instant  # time_at + the retry window
    payload: bytes
    fingerprint: bytes  # SHA-256 of what the publisher said: same id + same fingerprint is a repeat
    batch: str | None = None


class Publication(Value, frozen=True):
    """What became of one published event, after the commit."""

    id: str
    deliveries: int
    duplicate: bool = False
    conflict: bool = False  # the id is taken by an event with other content: nothing was kept


class Claim(Value, frozen=True):
    """A delivery that is ours until `lease_until`. Carries all that the attempt needs; `number` is already taken."""

    delivery_id: int
    account_id: str
    webhook_id: str
    event_id: str
    event_type: str
    number: int  # of this attempt, from 1
    lease: bytes
    lease_until: Instant
    started_at: Instant
    time_at: Instant
    expires_at: Instant
    url: str
    url_version: int
    auth_method: AuthMethod
    credential_id: str | None
    credential: Sealed | None
    payload: bytes
    extras: Sealed | None = None
    fallback_id: str | None = None  # mTLS: the certificate before this one, while it may still be presented
    fallback: Sealed | None = None
    fallback_until: Instant | None = None


class Timings(Value, frozen=True):
    """Microseconds from the start of the attempt's phases. None: the phase was not reached, or (connect, tls) a warm connection served."""

    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    total_us: int = 0


class Exchange(Value, frozen=True):
    """What is known of one request on the wire, whatever came of it."""

    timings: Timings = Timings()
    remote_address: str | None = None
    tls_version: str | None = None
    reconnects: int = 0


class Answered(Value, frozen=True):
    """A complete header section arrived in time. Headers and body are the receiver's bytes, capped, never decoded."""

    status: int
    headers: bytes = b""
    body: bytes = b""
    truncated: bool = False
    body_error: str | None = None  # the status stands even if the body then broke
    exchange: Exchange = Exchange()


class Unreachable(Value, frozen=True):
    """No complete answer. `detail` is ours, bounded, safe to show to the customer."""

    reason: Reason
    detail: str = ""
    phase: Phase = Phase.CONNECT
    exchange: Exchange = Exchange()


Outcome: TypeAlias = Answered | Unreachable


class Delivered(Value, frozen=True):
    pass


class RetryAt(Value, frozen=True):
    at: Instant


class GaveUp(Value, frozen=True):
    why: FailureReason


Verdict: TypeAlias = Delivered | RetryAt | GaveUp


class Attempt(Value, frozen=True):
    """One request and its outcome, as it stands in the log."""

    account_id: str
    webhook_id: str
    kind: AttemptKind
    number: int
    started_at: Instant
    outcome: Outcome
    delivery_id: int | None = None
    event_id: str | None = None
    event_type: str | None = None
    url: str = ""
    credential_id: str | None = None
    next_attempt_at: Instant | None = None
    echo: Echo | None = None  # verifications only
    id: int = 0  # given by the store
    origin: Origin = Origin.EVENT  # of the delivery; read from it, not stored with the attempt
    bodies_dropped: bool = False  # the answer's headers and body were dropped by retention
    note: str | None = None  # what there is to say beside the outcome; ours, safe to show


class Finished(Value, frozen=True):
    """A claim with what came of it: the store settles the delivery and writes the attempt, both or neither."""

    claim: Claim
    attempt: Attempt
    verdict: Verdict


class Delivery(Value, frozen=True):
    """One event owed to one webhook, as it is shown. In flight: queued with a lease that still runs."""

    id: int
    account_id: str
    webhook_id: str
    event_id: str
    event_type: str
    event_time_at: Instant
    state: DeliveryState
    failure_reason: FailureReason | None
    attempts: int  # made or running
    due_at: Instant | None  # queued: of the next attempt; in flight: when the lease ends
    in_flight: bool
    expires_at: Instant
    created_at: Instant
    last_result: str | None  # of the last attempt: a status such as "503", or a `Reason`
    origin: Origin = Origin.EVENT
    recovery_id: str | None = None


class StoredEvent(Value, frozen=True):
    """An event as it was kept. `payload` empty: dropped by retention."""

    account_id: str
    id: str
    type: str
    time_at: Instant
    accepted_at: Instant
    expires_at: Instant
    payload: bytes
    is_test: bool = False


class DeliveryFilter(Value, frozen=True):
    """Which deliveries. Empty or None: any. `since` and `until` are about `created_at`; since <= created_at < until."""

    states: tuple[DeliveryState, ...] = ()
    event_type: str | None = None
    event_id: str | None = None
    result: str | None = None  # `last_result`
    since: Instant | None = None
    until: Instant | None = None


class AttemptFilter(Value, frozen=True):
    """Which attempts. None: any. since <= started_at < until."""

    event_type: str | None = None
    event_id: str | None = None
    succeeded: bool | None = None  # answered 200 or 201, or not
    status: int | None = None
    status_class: int | None = None  # 2 for 2xx
    reason: Reason | None = None
    kind: AttemptKind | None = None
    since: Instant | None = None
    until: Instant | None = None


class Recovery(Value, frozen=True):
    """A person asked for many deliveries again. A row with progress: it survives restarts and can be cancelled."""

    account_id: str
    webhook_id: str
    id: str
    filter: DeliveryFilter
    rate_per_second: float
    created_at: Instant
    state: RecoveryState = RecoveryState.RUNNING
    finished_at: Instant | None = None
    total: int = 0  # deliveries that matched when it was asked for
    examined: int = 0
    requeued: int = 0
    skipped: int = 0  # waiting already, or received meanwhile
    gone: int = 0  # the event's payload was dropped by retention

    @property
    def expected(self) -> int:
        """How many are to be looked at, as far as is known: what still waited when it was asked for may have failed since."""
        return max(self.total, self.examined)


LATENCY_BOUNDS_MS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Upper bounds of the latency histogram's buckets; one more bucket takes what is slower."""


class Window(Value, frozen=True):
    """Counters of deliveries' attempts over a stretch of time (tests and handshakes are not counted)."""

    succeeded: int = 0
    failed: int = 0
    retries: int = 0  # of both, those that were not the first attempt
    latency_ms: int = 0  # sum over `succeeded` and `failed`
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_MS) + 1)


def add_up(windows: Sequence[Window]) -> Window:
    """Of stretches that do not overlap, or of several webhooks."""
    if not windows:
        return Window()
    return Window(
        sum(one.succeeded for one in windows),
        sum(one.failed for one in windows),
        sum(one.retries for one in windows),
        sum(one.latency_ms for one in windows),
        tuple(map(sum, zip(*(one.latencies for one in windows), strict=True))),
    )


class Health(Value, frozen=True):
    """How a webhook has been doing. `failing_since`: the start of the first attempt of the unbroken row of failures."""

    failing_since: Instant | None = None
    consecutive_failures: int = 0
    last_success_at: Instant | None = None
    last_failure_at: Instant | None = None
    last_result: str | None = None
    succeeded: int = 0  # since the webhook was made, whatever retention took away
    failed: int = 0
    hour: Window = Window()
    day: Window = Window()
