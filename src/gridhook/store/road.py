"""The hot writes after publishing: record, claim, release. Each takes a whole group at once, in as few statements as can be."""

from __future__ import annotations

from collections.abc import Sequence

from gridhook.model import (
    Attempt,
    AttemptKind,
    AuthMethod,
    Claim,
    Delivered,
    FailureReason,
    Finished,
    GaveUp,
    Instant,
    LaneLimits,
    Phase,
    Reason,
    RetryAt,
    Unreachable,
)
from gridhook.store.database import Connection, Row
from gridhook.store.leases import DELIVERED, FAILED, HELD, QUEUED, new_lease
from gridhook.store.promises import Claimed, Lane, Want
from gridhook.store.proof import accept_certificates
from gridhook.store.rows import NO_FALLBACK, attempt_row, fallback_from, limits_from, result_of, sealed_from
from gridhook.store.writer import Operation


class Record(Operation):
    __slots__ = ("finished",)
    rank = 0

    def __init__(self, finished: Sequence[Finished]) -> None:
        super().__init__(len(finished))
        self.finished = finished


def record(connection: Connection, operations: Sequence[Record]) -> tuple[list[list[bool]], list[Attempt]]:
    """Settle what is still ours; write the attempts of those, and of those only. The attempts come back, to be counted."""
    states: dict[tuple[str, str], tuple[bool, bool]] = {}
    settled: set[tuple[int, bytes]] = set()
    waiting = {(one.claim.delivery_id, one.claim.lease): one for operation in operations for one in operation.finished}
    while waiting:
        # One statement per delivery at a time: `settle` tells ids, and two workers may finish the same delivery in one group.
        batch = {key[0]: key for key in reversed(waiting)}
        rows = [_settled(connection, waiting.pop(key), states) for key in batch.values()]
        settled.update(batch[id] for id in connection.settle(rows))

    ids = connection.ids("attempts", len(settled))
    kept: list[Attempt] = []
    presented: list[Attempt] = []
    answers: list[list[bool]] = []
    for operation in operations:
        answer: list[bool] = []
        for one in operation.finished:
            key = (one.claim.delivery_id, one.claim.lease)
            ours = key in settled
            if ours:
                settled.discard(key)  # the same claim twice in one group is settled once
                kept.append(one.attempt)
                if one.claim.auth_method is AuthMethod.MTLS:
                    presented.append(one.attempt)
            answer.append(ours)
        answers.append(answer)
    if kept:
        connection.many("insert_attempt", [attempt_row(id, attempt) for id, attempt in zip(ids, kept, strict=True)])
    if presented:
        accept_certificates(connection, presented)
    return answers, kept


def _settled(connection: Connection, finished: Finished, states: dict[tuple[str, str], tuple[bool, bool]]) -> Row:
    """In the order of `settle`."""
    claim, verdict = finished.claim, finished.verdict
    number = claim.number
    outcome = finished.attempt.outcome
    if isinstance(outcome, Unreachable) and outcome.reason is Reason.INTERRUPTED:
        number -= 1  # our own stop must not use up the receiver's attempts
    ours = (number, claim.delivery_id, claim.lease, result_of(outcome))
    if isinstance(verdict, Delivered):
        return (DELIVERED, None, None, *ours)
    if isinstance(verdict, GaveUp):
        return (FAILED, verdict.why.value, None, *ours)
    lane = (claim.account_id, claim.webhook_id)
    if lane not in states:
        ((deleted, sendable),) = connection.rows("webhook_fate", account_id=lane[0], webhook_id=lane[1])
        states[lane] = (bool(deleted), bool(sendable))
    deleted, sendable = states[lane]
    if deleted:
        return (FAILED, FailureReason.WEBHOOK_DELETED.value, None, *ours)
    if not sendable:
        return (HELD, None, None, *ours)
    assert isinstance(verdict, RetryAt)
    return (QUEUED, None, verdict.at, *ours)


# --- claim and release ------------------------------------------------------------------------------------------


EXPIRED_AT_ONCE = 1_000  # rows that one claim looks at beyond its slots, to clear a lane of what expired in it


class Claiming(Operation):
    __slots__ = ("lease_ms", "now", "wants")
    rank = 3

    def __init__(self, wants: Sequence[Want], lease_ms: int, now: Instant) -> None:
        super().__init__(sum(want.limit for want in wants))
        self.wants = wants
        self.lease_ms = lease_ms
        self.now = now


def claim(connection: Connection, operation: Claiming, max_attempts: int) -> Claimed:
    """Lane by lane: take what is due, log what was lost, set aside what may not be sent."""
    now = operation.now
    claims: list[Claim] = []
    leases: list[Row] = []
    aside: list[Row] = []
    lost: list[Attempt] = []
    limits: dict[str, LaneLimits | None] = {}
    stale: list[Want] = []
    for want in operation.wants:
        lane = {"account_id": want.account_id, "webhook_id": want.webhook_id}
        due = connection.due(want.account_id, want.webhook_id, now, want.limit)
        if not due:
            continue
        webhook, *others = connection.rows("webhook_for_work", now=now, **lane)
        (url, url_version, url_changed_at, auth_method, deleted, sendable, max_in_flight, rate, extras) = webhook[:9]
        (credential_id, sealed, credential_at) = webhook[9:12]
        fallback_id, fallback, fallback_until = fallback_from(others[0][9], others[0][10], others[0][12]) if others else NO_FALLBACK
        credential, extras = sealed_from(sealed), sealed_from(extras)
        auth_method = AuthMethod(auth_method)
        limits[want.webhook_id] = limits_from(max_in_flight, rate)
        had = len(claims)
        for id, lease, lease_started_at, attempts, expires_at, event_id, event_type, time_at, payload in due:
            if lease is not None:
                lost.append(
                    Attempt(
                        want.account_id,
                        want.webhook_id,
                        AttemptKind.DELIVERY,
                        attempts,
                        lease_started_at,
                        Unreachable(Reason.WORKER_LOST, phase=Phase.REQUEST),
                        delivery_id=id,
                        event_id=event_id,
                        event_type=event_type,
                        # What the lost worker used, as far as it can be known: nothing if it was changed since.
                        url=url if url_changed_at is None or url_changed_at < lease_started_at else "",
                        credential_id=credential_id if credential_at is not None and credential_at <= lease_started_at else None,
                    )
                )
            result = None if lease is None else Reason.WORKER_LOST.value
            why = _refusal(bool(deleted), expires_at <= now, attempts >= max_attempts)
            if why is not None:
                aside.append((FAILED, why.value, id, result))
            elif not sendable:
                aside.append((HELD, None, id, result))
            else:
                token = new_lease()
                leases.append((now + operation.lease_ms, token, now, attempts + 1, id, result))
                claims.append(
                    Claim(
                        id,
                        want.account_id,
                        want.webhook_id,
                        event_id,
                        event_type,
                        attempts + 1,
                        token,
                        now + operation.lease_ms,
                        now,
                        time_at,
                        expires_at,
                        url,
                        url_version,
                        auth_method,
                        credential_id,
                        credential,
                        bytes(payload),
                        extras,
                        fallback_id,
                        fallback,
                        fallback_until,
                    )
                )
        if len(claims) == had and due[0][4] <= now:
            stale.append(want)
    if lost:
        connection.many(
            "insert_attempt", [attempt_row(id, one) for id, one in zip(connection.ids("attempts", len(lost)), lost, strict=True)]
        )
    if aside:
        connection.many("set_aside", aside)
    if leases:
        connection.many("lease", leases)
    for want in stale:
        # A failing lane has one slot, for its oldest row: at one each, rows could expire faster than claims clear them away.
        limit = max(1, EXPIRED_AT_ONCE // len(stale))
        connection.change("fail_expired", account_id=want.account_id, webhook_id=want.webhook_id, now=now, limit=limit)
    return Claimed(claims, _still_queued(connection, operation.wants), limits)


def _refusal(deleted: bool, expired: bool, exhausted: bool) -> FailureReason | None:
    if deleted:
        return FailureReason.WEBHOOK_DELETED
    if expired:
        return FailureReason.EXPIRED
    return FailureReason.EXHAUSTED if exhausted else None


def _still_queued(connection: Connection, wants: Sequence[Want]) -> list[Lane]:
    lanes: list[Lane] = []
    for account_id, webhook_id in dict.fromkeys((want.account_id, want.webhook_id) for want in wants):
        for (due_at,) in connection.rows("next_due", account_id=account_id, webhook_id=webhook_id):
            lanes.append(Lane(account_id, webhook_id, due_at))
    return lanes


class Release(Operation):
    __slots__ = ("claims", "now")
    rank = 1

    def __init__(self, claims: Sequence[Claim], now: Instant) -> None:
        super().__init__(len(claims))
        self.claims = claims
        self.now = now


def release(connection: Connection, operations: Sequence[Release]) -> list[None]:
    rows = [(operation.now, one.delivery_id, one.lease) for operation in operations for one in operation.claims]
    if rows:
        connection.many("release", rows)
    return [None] * len(operations)
