"""Publishing: events and the deliveries that are owed for them, for a whole group of calls at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from gridhook.model import (
    AuthMethod,
    Claim,
    Instant,
    LaneLimits,
    NewEvent,
    Publication,
    Sealed,
)
from gridhook.store.database import Connection, Row
from gridhook.store.leases import HELD, QUEUED, new_lease
from gridhook.store.promises import GiveBack, Published, Reserve
from gridhook.store.rows import NO_FALLBACK, Fallback, fallback_from, limits_from, sealed_from
from gridhook.store.writer import Operation


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


_Subscriber: TypeAlias = tuple[str, str, int, AuthMethod, bool, LaneLimits | None, Sealed | None, str | None, Sealed | None, Fallback]
"""(id, url, url_version, auth_method, may be sent to, limits, extras, credential_id, credential, what to fall back on)."""


def publish(connection: Connection, operations: Sequence[Publish]) -> list[Published]:
    """Insert the events, look up what the repeats among them were answered, then insert the deliveries of the new ones."""
    total = sum(len(operation.events) for operation in operations)
    seqs = iter(connection.ids("events", total))
    subscribers: dict[tuple[str, str], list[_Subscriber]] = {}
    limits: dict[tuple[str, str], LaneLimits | None] = {}
    now = max((operation.now for operation in operations), default=0)  # to know which credential is in use
    numbered: list[tuple[int, NewEvent]] = []
    rows: list[Row] = []
    for operation in operations:
        for event in operation.events:
            key = (event.account_id, event.type)
            found = subscribers.get(key)
            if found is None:
                found = subscribers[key] = _subscribers(connection, *key, now, limits)
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
    delivery_ids: Iterator[int],
    deliveries: list[Row],
) -> Published:
    results: list[Publication] = []
    claims: list[Claim] = []
    queued: dict[tuple[str, str], None] = {}  # lanes without a free slot: what comes after must not overtake what waits already
    now = operation.now
    lease_until = now + operation.lease_ms
    spare, operation.taken = operation.taken, []
    for _, (seq, event) in zip(operation.events, position, strict=False):
        repeat = repeats.get(seq)
        if repeat is not None:
            results.append(repeat)
            continue
        account_id, expires_at = event.account_id, event.expires_at
        found = subscribers[(account_id, event.type)]
        for webhook_id, url, url_version, auth_method, sendable, limits, extras, credential_id, sealed, fallback in found:
            delivery_id = next(delivery_ids)
            lane = (account_id, webhook_id)
            if not sendable:
                deliveries.append((delivery_id, account_id, webhook_id, seq, HELD, None, None, None, 0, expires_at, now))
            elif lane not in queued and expires_at > now and _reserved(operation, spare, lane, limits):
                lease = new_lease()
                deliveries.append((delivery_id, account_id, webhook_id, seq, QUEUED, lease_until, lease, now, 1, expires_at, now))
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
                        expires_at,
                        url,
                        url_version,
                        auth_method,
                        credential_id,
                        sealed,
                        event.payload,
                        extras,
                        *fallback,
                    )
                )
            else:
                queued[lane] = None
                deliveries.append((delivery_id, account_id, webhook_id, seq, QUEUED, now, None, None, 0, expires_at, now))
        results.append(Publication(event.id, len(found)))
    if operation.give_back is not None:
        for lane in spare:  # reserved before, not needed now: the webhook went away between two runs
            operation.give_back(*lane)
    return Published(results, claims, list(queued))


def _reserved(operation: Publish, spare: list[tuple[str, str]], lane: tuple[str, str], limits: LaneLimits | None) -> bool:
    if spare and lane in spare:
        spare.remove(lane)
    elif not operation.reserve(*lane, limits):
        return False
    operation.taken.append(lane)
    return True


def _subscribers(
    connection: Connection, account_id: str, event_type: str, now: Instant, limits: dict[tuple[str, str], LaneLimits | None]
) -> list[_Subscriber]:
    """limits: of the webhooks met before in this group, so that all its events name one object for each."""
    found: list[_Subscriber] = []
    last, rows = None, 0
    for id, url, url_version, auth_method, sendable, max_in_flight, rate, extras, credential_id, sealed, retires_at in connection.rows(
        "fan_out", account_id=account_id, event_type=event_type, now=now
    ):
        rows = rows + 1 if id == last else 1
        if rows == 1:  # the first row of a webhook carries the credential in use
            found.append(
                (
                    id,
                    url,
                    url_version,
                    AuthMethod(auth_method),
                    bool(sendable),
                    limits.setdefault((account_id, id), limits_from(max_in_flight, rate)),
                    sealed_from(extras),
                    credential_id,
                    sealed_from(sealed),
                    NO_FALLBACK,
                )
            )
        elif rows == 2 and retires_at is not None:
            found[-1] = (*found[-1][:-1], fallback_from(credential_id, sealed, retires_at))
        last = id
    return found


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
