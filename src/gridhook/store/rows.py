"""Model objects to rows and back. Text columns receive only text that both databases can hold."""

from __future__ import annotations

import json
from typing import TypeAlias

from gridhook.model import (
    Account,
    AccountSecret,
    Answered,
    Attempt,
    AttemptKind,
    AuthMethod,
    Authority,
    Certificate,
    Delivery,
    DeliveryState,
    Echo,
    Exchange,
    FailureReason,
    Instant,
    LaneLimits,
    Origin,
    Outcome,
    Phase,
    PublisherKey,
    Reason,
    Sealed,
    Timings,
    Unreachable,
    Webhook,
)
from gridhook.store.database import Row

Fallback: TypeAlias = tuple[str | None, Sealed | None, Instant | None]
"""(credential id, credential, until when it may be used)."""

NO_FALLBACK: Fallback = (None, None, None)
_NO_TIMINGS = Timings()


def clean(text: str) -> str:
    """Without NUL and lone surrogates: PostgreSQL's text takes neither, and our own `detail` may quote a receiver."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def attempt_row(id: int, attempt: Attempt) -> Row:
    """In the order of `insert_attempt`."""
    outcome = attempt.outcome
    exchange = outcome.exchange
    timings = exchange.timings
    status = reason = phase = detail = body_error = None
    headers = body = b""
    truncated = 0
    if isinstance(outcome, Answered):
        status, headers, body, truncated = outcome.status, outcome.headers, outcome.body, int(outcome.truncated)
        body_error = None if outcome.body_error is None else clean(outcome.body_error)
    else:
        reason, phase, detail = outcome.reason.value, outcome.phase.value, clean(outcome.detail)
    return (
        id,
        attempt.account_id,
        attempt.webhook_id,
        str(attempt.kind),  # `.value` takes three times as long
        attempt.delivery_id,
        attempt.event_id,
        attempt.event_type,
        attempt.number,
        attempt.started_at,
        status,
        reason,
        phase,
        detail,
        timings.dns_us,
        timings.connect_us,
        timings.tls_us,
        timings.first_byte_us,
        timings.total_us,
        exchange.remote_address,
        exchange.tls_version,
        exchange.reconnects,
        truncated,
        body_error,
        attempt.url,
        attempt.credential_id,
        attempt.next_attempt_at,
        None if attempt.echo is None else attempt.echo.value,
        None if attempt.note is None else clean(attempt.note),
        headers,
        body,
    )


def attempt_from(row: Row) -> Attempt:
    """From `attempt_columns`."""
    (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail) = row[:13]
    (dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error) = row[13:23]
    (url, credential_id, next_attempt_at, echo, note, headers, body, bodies_dropped, origin) = row[23:]
    exchange = Exchange(Timings(dns_us, connect_us, tls_us, first_byte_us, total_us), remote_address, tls_version, reconnects)
    outcome: Outcome
    if status is not None:
        outcome = Answered(status, bytes(headers), bytes(body), bool(truncated), body_error, exchange)
    else:
        outcome = Unreachable(Reason(reason), detail or "", Phase(phase), exchange)
    return Attempt(
        account_id,
        webhook_id,
        AttemptKind(kind),
        number,
        started_at,
        outcome,
        delivery_id,
        event_id,
        event_type,
        url,
        credential_id,
        next_attempt_at,
        None if echo is None else Echo(echo),
        id,
        Origin.EVENT if origin is None else Origin(origin),
        bool(bodies_dropped),
        note,
    )


def delivery_from(row: Row, now: Instant) -> Delivery:
    """From `delivery_columns`."""
    (id, account_id, webhook_id, event_id, event_type, event_time_at, state, failure_reason, attempts, due_at, leased) = row[:11]
    (expires_at, created_at, last_result, origin, recovery_id) = row[11:]
    return Delivery(
        id,
        account_id,
        webhook_id,
        event_id,
        event_type,
        event_time_at,
        DeliveryState(state),
        None if failure_reason is None else FailureReason(failure_reason),
        attempts,
        due_at,
        bool(leased) and due_at > now,
        expires_at,
        created_at,
        last_result,
        Origin.EVENT if origin is None else Origin(origin),
        recovery_id,
    )


def webhook_from(row: Row) -> Webhook:
    """From the columns of `webhook`."""
    (account_id, id, name, url, url_version, auth_method, subscribed, created_at, verified_at, paused_at) = row[:10]
    (revision, max_in_flight, rate_per_second, extras) = row[10:]
    return Webhook(
        account_id,
        id,
        name,
        url,
        url_version,
        AuthMethod(auth_method),
        tuple(json.loads(subscribed)),
        created_at,
        verified_at,
        paused_at,
        revision,
        limits_from(max_in_flight, rate_per_second),
        sealed_from(extras),
    )


def authority_from(row: Row) -> Authority:
    """From the columns of `authorities`."""
    id, certificate, fingerprint, created_at, signs_from_at, expires_at = row
    return Authority(id, bytes(certificate), fingerprint, created_at, signs_from_at, expires_at)


def certificate_from(row: Row) -> Certificate:
    """From `certificate_columns`."""
    (account_id, webhook_id, id, authority_id, serial, fingerprint, chain, *instants) = row
    return Certificate(account_id, webhook_id, id, authority_id, serial, fingerprint, bytes(chain), *instants)


def fallback_from(id: str | None, sealed: bytes | None, retires_at: Instant | None) -> Fallback:
    """From the credential after the one in use; a bearer key that was replaced is none."""
    return NO_FALLBACK if retires_at is None else (id, sealed_from(sealed), retires_at)


def limits_from(max_in_flight: int | None, rate_per_second: float | None) -> LaneLimits | None:
    """None where the customer set nothing."""
    return None if max_in_flight is None and rate_per_second is None else LaneLimits(max_in_flight, rate_per_second)


def result_of(outcome: Outcome) -> str:
    """What an attempt brought, in one word: a status or a reason."""
    return str(outcome.status) if isinstance(outcome, Answered) else outcome.reason.value


def account_from(row: Row) -> Account:
    id, name, enterprise, created_at = row
    return Account(id, name, bool(enterprise), created_at)


def secret_from(row: Row) -> AccountSecret:
    account_id, id, sealed, created_at = row
    return AccountSecret(account_id, id, Sealed(bytes(sealed)), created_at)


def publisher_key_from(row: Row) -> PublisherKey:
    id, name, account_id, created_at = row
    return PublisherKey(id, name, account_id, created_at)


def sealed_from(blob: bytes | None) -> Sealed | None:
    return None if blob is None else Sealed(bytes(blob))
