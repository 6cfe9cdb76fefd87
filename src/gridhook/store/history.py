"""What was tried and what was owed, page by page. Every call reads a bounded stretch, however long the history is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec.structs import replace

from gridhook.errors import NotFound
from gridhook.model import AttemptFilter, AttemptKind, Delivery, DeliveryFilter, DeliveryState, FailureReason, Instant, StoredEvent
from gridhook.store.database import Connection, Row
from gridhook.store.promises import ANY_ATTEMPT, ANY_DELIVERY, AttemptDetail, AttemptPage, DeliveryPage, EventDetail, Undelivered
from gridhook.store.rows import attempt_from, clean, delivery_from, webhook_from

Key: TypeAlias = tuple[Instant, int]
"""(when, id): the place of a row in its log."""

SCAN = 5_000  # rows of an index that one call looks at, when the index alone does not answer the filter
BIGGEST = 2**62  # beyond every instant and id
FIRST: Key = (-BIGGEST, 0)
LAST: Key = (BIGGEST, BIGGEST)
GOOD = (200, 201)
WAITING = {DeliveryState.HELD, DeliveryState.QUEUED}

Way: TypeAlias = Literal["before", "after"]


def attempts(
    connection: Connection,
    account_id: str,
    webhook_id: str | None,
    before: Key | None,
    after: Key | None,
    filter: AttemptFilter,
    limit: int,
) -> AttemptPage:
    log, rest = _attempts_log(connection, account_id, webhook_id, filter)
    params = {
        "account_id": account_id,
        "webhook_id": webhook_id,
        "event_type": _text(filter.event_type),
        "event_id": _text(filter.event_id),
        "kind": None if filter.kind is None else filter.kind.value,
        "status": filter.status,
        "status_class": filter.status_class,
        "reason": None if filter.reason is None else filter.reason.value,
        "succeeded": None if filter.succeeded is None else int(filter.succeeded),
    }
    way, start, end = _bounds(before, after, filter.since, filter.until)
    keys, next = page(connection, f"attempts_{log}", params, way, start, end, limit, is_bounded=rest == ANY_ATTEMPT)
    found = {row[0]: row for row in _by_ids(connection, "attempts_by_ids", keys)}
    return AttemptPage([attempt_from(found[id]) for _, id in keys if id in found], next)


def _attempts_log(connection: Connection, account_id: str, webhook_id: str | None, filter: AttemptFilter) -> tuple[str, AttemptFilter]:
    """Which index answers most of the filter, and what is left for each row to answer."""
    rest = replace(filter, since=None, until=None)
    if filter.event_id is not None and _is_whole(connection, account_id, filter.event_id):
        return "of_event", ANY_ATTEMPT  # few rows: no bound needed
    if webhook_id is None:
        return "account", rest
    if filter.kind is not None and filter.kind is not AttemptKind.DELIVERY:
        return "other", replace(rest, kind=None)
    failed = (
        filter.succeeded is False
        or filter.reason is not None
        or (filter.status is not None and filter.status not in GOOD)
        or (filter.status_class is not None and filter.status_class != GOOD[0] // 100)
    )
    if failed:
        return "failed", replace(rest, succeeded=None if filter.succeeded is False else filter.succeeded)
    return "webhook", rest


def deliveries(
    connection: Connection,
    account_id: str,
    webhook_id: str,
    before: Key | None,
    after: Key | None,
    filter: DeliveryFilter,
    limit: int,
    now: Instant,
) -> DeliveryPage:
    log, rest = deliveries_log(connection, account_id, webhook_id, filter)
    if log is None:
        return DeliveryPage([], None)
    way, start, end = _bounds(before, after, filter.since, filter.until)
    params = delivery_params(account_id, webhook_id, filter)
    keys, next = page(connection, f"deliveries_{log}", params, way, start, end, limit, is_bounded=rest == ANY_DELIVERY)
    found = {row[0]: row for row in _by_ids(connection, "deliveries_by_ids", keys)}
    return DeliveryPage([delivery_from(found[id], now) for _, id in keys if id in found], next)


def delivery_params(account_id: str, webhook_id: str, filter: DeliveryFilter) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "webhook_id": webhook_id,
        "event_type": _text(filter.event_type),
        "event_id": _text(filter.event_id),
        "states": ",".join(state.value for state in filter.states),
        "result": _text(filter.result),
    }


def deliveries_log(connection: Connection, account_id: str, webhook_id: str, filter: DeliveryFilter) -> tuple[str | None, DeliveryFilter]:
    """Which index answers most of the filter, and what is left for each row to answer. None: nothing can match."""
    rest = replace(filter, since=None, until=None)
    states = set(filter.states)
    if filter.event_id is not None:
        # A delivery never outlives its event.
        return ("of_event" if _is_known(connection, account_id, filter.event_id) else None), ANY_DELIVERY
    if states == {DeliveryState.FAILED}:
        return "failed", replace(rest, states=())
    if states and states <= WAITING:
        ((count,),) = connection.rows("waiting", account_id=account_id, webhook_id=webhook_id, most=SCAN)
        if count < SCAN:
            return "waiting", ANY_DELIVERY
    return "log", rest


def page(
    connection: Connection, log: str, params: Mapping[str, Any], way: Way, start: Key, end: Key, limit: int, *, is_bounded: bool
) -> tuple[list[Key], Key | None]:
    """Up to `limit` keys from `start` (exclusive) to `end`, and where to go on.

    is_bounded: `limit` alone bounds the work. Else a stretch of SCAN rows is looked at; its end is found first, so that rows that
    come or go meanwhile move nothing: there is room for as many again, or those that come would push the last ones out.
    """
    if limit < 1:
        return [], None
    params = {**params, "at": start[0], "id": start[1], "most": max(2 * SCAN, limit + 1)}
    edge: Key | None = None
    if not is_bounded:
        for at, id in connection.rows(f"{log}_edge_{way}", **params, end_at=end[0], end_id=end[1], scan=SCAN - 1):
            edge = end = (at, id)
    rows = connection.rows(f"{log}_{way}", **params, end_at=end[0], end_id=end[1], limit=limit + 1)
    keys: list[Key] = [(at, id) for at, id in rows]
    # One more than asked for tells whether there is a next page.
    return (keys[:limit], keys[limit - 1]) if len(keys) > limit else (keys, edge)


def _bounds(before: Key | None, after: Key | None, since: Instant | None, until: Instant | None) -> tuple[Way, Key, Key]:
    """Ids start at 1, so (since, 0) lies right before the first row of that instant."""
    lowest = FIRST if since is None else (bounded(since), 0)
    highest = LAST if until is None else (bounded(until), 0)
    if after is not None:
        return "after", max(lowest, (bounded(after[0]), bounded(after[1]))), highest
    return "before", highest if before is None else min(highest, (bounded(before[0]), bounded(before[1]))), lowest


def attempt(connection: Connection, account_id: str, attempt_id: int) -> AttemptDetail:
    rows = connection.rows("attempt", account_id=account_id, id=bounded(attempt_id))
    if not rows:
        raise NotFound(f"no attempt {attempt_id}")
    found = attempt_from(rows[0])
    payload = None
    if found.event_id is not None:
        for (kept,) in connection.rows("payload_of", account_id=account_id, id=found.event_id):
            payload = bytes(kept) or None
    webhooks = connection.rows("webhook", account_id=account_id, webhook_id=found.webhook_id)
    return AttemptDetail(found, payload, webhook_from(webhooks[0]) if webhooks else None)


def delivery(connection: Connection, account_id: str, webhook_id: str, delivery_id: int, now: Instant) -> Delivery:
    rows = connection.rows("delivery", account_id=account_id, webhook_id=webhook_id, id=bounded(delivery_id))
    if not rows:
        raise NotFound(f"no delivery {delivery_id}")
    return delivery_from(rows[0], now)


def event(connection: Connection, account_id: str, event_id: str, now: Instant) -> EventDetail:
    rows = connection.rows("event", account_id=account_id, id=clean(event_id))
    if not rows:
        raise NotFound(f"no event {event_id}")
    seq, account_id, id, type, time_at, accepted_at, expires_at, payload, is_test = rows[0]
    owed = [delivery_from(row, now) for row in connection.rows("deliveries_by_event", seq=seq)]
    return EventDetail(StoredEvent(account_id, id, type, time_at, accepted_at, expires_at, bytes(payload), bool(is_test)), owed)


def undelivered(connection: Connection, account_id: str, webhook_id: str, most: int) -> list[Undelivered]:
    lane = {"account_id": account_id, "webhook_id": webhook_id, "most": most}
    found = [
        Undelivered(DeliveryState.FAILED, FailureReason(why), result, count, oldest, None)
        for why, result, count, oldest in connection.rows("undelivered_failed", **lane)
    ]
    for state in (DeliveryState.HELD, DeliveryState.QUEUED):
        for result, count, oldest, expires_at in connection.rows(f"undelivered_{state.value}", **lane):
            found.append(Undelivered(state, None, result, count, oldest, expires_at))
    return sorted(found, key=lambda one: (-one.count, one.state, one.failure_reason or "", one.last_result or ""))


def _is_whole(connection: Connection, account_id: str, event_id: str) -> bool:
    """Whether an event and all deliveries that it was published to are kept: by way of these its attempts are found."""
    return any(row[0] for row in connection.rows("whole_event", account_id=account_id, id=clean(event_id)))


def _is_known(connection: Connection, account_id: str, event_id: str) -> bool:
    return bool(connection.rows("known_event", account_id=account_id, id=clean(event_id)))


def _by_ids(connection: Connection, name: str, keys: Sequence[Key]) -> list[Row]:
    return connection.rows(name, ids=json.dumps([id for _, id in keys])) if keys else []


def _text(text: str | None) -> str | None:
    return None if text is None else clean(text)


def bounded(number: int) -> int:
    """Within what a database's integers hold."""
    return max(-BIGGEST, min(number, BIGGEST))
