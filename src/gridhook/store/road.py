"""The hot writes: publish, record, claim, release. Each takes a whole group at once, in as few statements as can be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TypeAlias

from gridhook.model import (
    Attempt,
    AttemptKind,
    AuthMethod,
    Claim,
    Delivered,
    DeliveryState,
    FailureReason,
    Finished,
    GaveUp,
    Instant,
    NewEvent,
    Phase,
    Publication,
    Reason,
    RetryAt,
    Sealed,
    Unreachable,
)
from gridhook.store.database import Connection, Row
from gridhook.store.promises import Claimed, GiveBack, Lane, Published, Reserve, Want
from gridhook.store.rows import attempt_row
from gridhook.store.writer import Operation

HELD, QUEUED, DELIVERED, FAILED = (state.value for state in DeliveryState)

_process = os.urandom(8)
_counter = count(1)


def new_lease() -> bytes:
    """Eight random bytes of this process and eight that count: unique without asking, and it tells whose it is."""
    return _process + next(_counter).to_bytes(8, "big")


# --- publish ----------------------------------------------------------------------------------------------------


class Publish(Operation):
    __slots__ = ("events", "give_back", "lease_ms", "now", "reserve", "taken")
    rank = 2

    def __init__(self, events: Sequence[NewEvent], lease_ms: int, now: Instant, reserve: Reserve, give_back: GiveBack | None) -> None:
        super().__init__(len(events))
        self.events = events
        self.lease_ms = lease_ms
        self.now = now
        self.reserve = reserve
        self.give_back = give_back
        self.taken: list[tuple[str, str]] = []  # slots reserved in a run that was rolled back: the next run uses them first

    def refuse(self) -> None:
        if self.give_back is not None:
            for lane in self.taken:
                self.give_back(*lane)
        self.taken = []


_Subscriber: TypeAlias = tuple[str, str, int, AuthMethod, bool, str | None, Sealed | None]


def publish(connection: Connection, operations: Sequence[Publish]) -> list[Published]:
    """Insert the events, look up what the repeats among them were answered, then insert the deliveries of the new ones."""
    total = sum(len(operation.events) for operation in operations)
    seqs = iter(connection.ids("events", total))
    subscribers: dict[tuple[str, str], list[_Subscriber]] = {}
    numbered: list[tuple[int, NewEvent]] = []
    rows: list[Row] = []
    for operation in operations:
        for event in operation.events:
            key = (event.account_id, event.type)
            found = subscribers.get(key)
            if found is None:
                found = subscribers[key] = _subscribers(connection, *key)
            seq = next(seqs)
            numbered.append((seq, event))
            rows.append(
                (
                    seq,
                    event.account_id,
                    event.id,
                    event.type,
                    event.time_at,
                    event.accepted_at,
                    event.expires_at,
                    len(found),
                    event.fingerprint,
                    event.batch,
                    event.payload,
                )
            )
    repeats: dict[int, Publication] = {}
    if rows and connection.many("insert_event", rows) != len(rows):
        repeats = _repeats(connection, numbered)

    delivery_ids = iter(connection.ids("deliveries", sum(row[7] for row in rows)))
    deliveries: list[Row] = []
    answers: list[Published] = []
    position = iter(numbered)
    for operation in operations:
        answers.append(_fan_out(operation, position, subscribers, repeats, delivery_ids, deliveries))
    if deliveries:
        connection.many("insert_delivery", deliveries)
    return answers


def _fan_out(
    operation: Publish,
    position: Iterable[tuple[int, NewEvent]],
    subscribers: dict[tuple[str, str], list[_Subscriber]],
    repeats: dict[int, Publication],
    delivery_ids: Iterable[int],
    deliveries: list[Row],
) -> Published:
    results: list[Publication] = []
    claims: list[Claim] = []
    queued: dict[tuple[str, str], None] = {}
    now = operation.now
    lease_until = now + operation.lease_ms
    spare, operation.taken = operation.taken, []
    next_id = iter(delivery_ids)
    for _, (seq, event) in zip(operation.events, position, strict=False):
        repeat = repeats.get(seq)
        if repeat is not None:
            results.append(repeat)
            continue
        account_id = event.account_id
        found = subscribers[(account_id, event.type)]
        for webhook_id, url, url_version, auth_method, sendable, credential_id, sealed in found:
            delivery_id = next(next_id)
            common = (delivery_id, account_id, webhook_id, seq)
            lane = (account_id, webhook_id)
            if not sendable:
                deliveries.append((*common, HELD, None, None, None, 0, event.expires_at, now))
            elif event.expires_at > now and _reserved(operation, spare, lane):
                lease = new_lease()
                deliveries.append((*common, QUEUED, lease_until, lease, now, 1, event.expires_at, now))
                claims.append(
                    Claim(
                        delivery_id,
                        account_id,
                        webhook_id,
                        event.id,
                        event.type,
                        1,
                        lease,
                        lease_until,
                        now,
                        event.time_at,
                        event.expires_at,
                        url,
                        url_version,
                        auth_method,
                        credential_id,
                        sealed,
                        event.payload,
                    )
                )
            else:
                queued[lane] = None
                deliveries.append((*common, QUEUED, now, None, None, 0, event.expires_at, now))
        results.append(Publication(event.id, len(found)))
    if operation.give_back is not None:
        for lane in spare:  # reserved before, not needed now: the webhook went away between two runs
            operation.give_back(*lane)
    return Published(results, claims, list(queued))


def _reserved(operation: Publish, spare: list[tuple[str, str]], lane: tuple[str, str]) -> bool:
    if spare and lane in spare:
        spare.remove(lane)
    elif not operation.reserve(*lane):
        return False
    operation.taken.append(lane)
    return True


def _subscribers(connection: Connection, account_id: str, event_type: str) -> list[_Subscriber]:
    found: list[_Subscriber] = []
    last = None
    for id, url, url_version, auth_method, sendable, credential_id, sealed in connection.rows(
        "fan_out", account_id=account_id, event_type=event_type
    ):
        if id != last:  # the first row of a webhook carries its newest credential
            found.append(
                (
                    id,
                    url,
                    url_version,
                    AuthMethod(auth_method),
                    bool(sendable),
                    credential_id,
                    _sealed(sealed),
                )
            )
        last = id
    return found


def _sealed(blob: bytes | None) -> Sealed | None:
    return None if blob is None else Sealed(bytes(blob))


def _repeats(connection: Connection, numbered: Sequence[tuple[int, NewEvent]]) -> dict[int, Publication]:
    repeats: dict[int, Publication] = {}
    for seq, event in numbered:
        ((kept_seq, fingerprint, deliveries),) = connection.rows("known_event", account_id=event.account_id, id=event.id)
        if kept_seq == seq:
            continue
        if bytes(fingerprint) == event.fingerprint:
            repeats[seq] = Publication(event.id, deliveries, duplicate=True)
        else:
            repeats[seq] = Publication(event.id, 0, conflict=True)
    return repeats


# --- record -----------------------------------------------------------------------------------------------------


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
        credential = _sealed(sealed)
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
