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
    Phase,
    Reason,
    RetryAt,
    Unreachable,
)
from gridhook.store.database import Connection, Row
from gridhook.store.leases import DELIVERED, FAILED, HELD, QUEUED, new_lease
from gridhook.store.promises import Claimed, Lane, Want
from gridhook.store.rows import attempt_row, sealed_from
from gridhook.store.writer import Operation


class Record(Operation):
    __slots__ = ("finished",)
    rank = 0

    def __init__(self, finished: Sequence[Finished]) -> None:
        super().__init__(len(finished))
        self.finished = finished


def record(connection: Connection, operations: Sequence[Record]) -> list[list[bool]]:
    """Settle what is still ours; write the attempts of those, and of those only."""
    states: dict[tuple[str, str], tuple[bool, bool]] = {}
    settled: set[tuple[int, bytes]] = set()
    waiting = {(one.claim.delivery_id, one.claim.lease): one for operation in operations for one in operation.finished}
    while waiting:
        # One statement per delivery at a time: `settle` tells ids, and two workers may finish the same delivery in one group.
        batch = {key[0]: key for key in reversed(waiting)}
        rows = [_settled(connection, waiting.pop(key), states) for key in batch.values()]
        settled.update(batch[id] for id in connection.settle(rows))

    ids = iter(connection.ids("attempts", len(settled)))
    attempts: list[Row] = []
    answers: list[list[bool]] = []
    for operation in operations:
        answer: list[bool] = []
        for one in operation.finished:
            key = (one.claim.delivery_id, one.claim.lease)
            ours = key in settled
            if ours:
                settled.discard(key)  # the same claim twice in one group is settled once
                attempts.append(attempt_row(next(ids), one.attempt))
            answer.append(ours)
        answers.append(answer)
    if attempts:
        connection.many("insert_attempt", attempts)
    return answers


def _settled(connection: Connection, finished: Finished, states: dict[tuple[str, str], tuple[bool, bool]]) -> Row:
    """In the order of `settle`."""
    claim, verdict = finished.claim, finished.verdict
    number = claim.number
    outcome = finished.attempt.outcome
    if isinstance(outcome, Unreachable) and outcome.reason is Reason.INTERRUPTED:
        number -= 1  # our own stop must not use up the receiver's attempts
    if isinstance(verdict, Delivered):
        return (DELIVERED, None, None, number, claim.delivery_id, claim.lease)
    if isinstance(verdict, GaveUp):
        return (FAILED, verdict.why.value, None, number, claim.delivery_id, claim.lease)
    lane = (claim.account_id, claim.webhook_id)
    if lane not in states:
        ((*_, deleted, sendable, _id, _sealed, _created_at),) = connection.rows("webhook_for_work", account_id=lane[0], webhook_id=lane[1])
        states[lane] = (bool(deleted), bool(sendable))
    deleted, sendable = states[lane]
    if deleted:
        return (FAILED, FailureReason.WEBHOOK_DELETED.value, None, number, claim.delivery_id, claim.lease)
    if not sendable:
        return (HELD, None, None, number, claim.delivery_id, claim.lease)
    assert isinstance(verdict, RetryAt)
    return (QUEUED, None, verdict.at, number, claim.delivery_id, claim.lease)


# --- claim and release ------------------------------------------------------------------------------------------


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
    for want in operation.wants:
        lane = {"account_id": want.account_id, "webhook_id": want.webhook_id}
        due = connection.due(want.account_id, want.webhook_id, now, want.limit)
        if not due:
            continue
        ((url, url_version, url_changed_at, auth_method, deleted, sendable, credential_id, sealed, credential_at),) = connection.rows(
            "webhook_for_work", **lane
        )
        credential = sealed_from(sealed)
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
            why = _refusal(bool(deleted), expires_at <= now, attempts >= max_attempts)
            if why is not None:
                aside.append((FAILED, why.value, id))
            elif not sendable:
                aside.append((HELD, None, id))
            else:
                token = new_lease()
                leases.append((now + operation.lease_ms, token, now, attempts + 1, id))
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
                        AuthMethod(auth_method),
                        credential_id,
                        credential,
                        bytes(payload),
                    )
                )
    if lost:
        connection.many(
            "insert_attempt", [attempt_row(id, one) for id, one in zip(connection.ids("attempts", len(lost)), lost, strict=True)]
        )
    if aside:
        connection.many("set_aside", aside)
    if leases:
        connection.many("lease", leases)
    return Claimed(claims, _still_queued(connection, operation.wants))


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
