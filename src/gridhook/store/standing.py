"""How accounts stand: what fails, what waits, what ends soon. Made of probes and bounded counts: a million rows cost it nothing."""

from __future__ import annotations

from gridhook.model import FailureReason, Instant, Window, add_up
from gridhook.store.database import Connection
from gridhook.store.health import minutes, window_from
from gridhook.store.promises import MOST_COUNTED, Expiring, Failing, LastUndelivered, Load, Standing, Subscriber, Waiting

MOST_ACCOUNTS = 10_000  # with a queue: more are not told apart from those without


def standing(connection: Connection, account_id: str, expiring_before: Instant, limit: int) -> Standing:
    which = {"account_id": account_id}
    ((webhooks,),) = connection.rows("webhook_total", **which)
    failing = [Failing(*row) for row in connection.rows("failing", limit=limit, **which)]
    total = len(failing)
    if total == limit:
        ((total,),) = connection.rows("count_failing", **which)
    waiting = [Waiting(*row) for row in connection.rows("waiting_webhooks", **which)]
    holding = [one for one in waiting if one.held_until is not None]
    oldest = min(holding, key=lambda one: one.held_until or 0, default=None)
    held = 0
    if oldest is not None:
        ((held,),) = connection.rows("count_some_held", webhook_id=oldest.webhook_id, most=MOST_COUNTED + 1, **which)
    expiring = [Expiring(*row) for row in connection.rows("expiring_of_account", before=expiring_before, limit=limit, **which)]
    undelivered = [
        LastUndelivered(webhook_id, name, id, created_at, FailureReason(reason), last_result, bool(redelivered), event_id, event_type)
        for webhook_id, name, id, created_at, reason, last_result, redelivered, event_id, event_type in connection.rows(
            "last_undelivered", limit=limit, **which
        )
    ]
    return Standing(webhooks, failing, total, waiting, oldest, held, expiring, undelivered)


def subscribers(connection: Connection, account_id: str, event_type: str, limit: int) -> list[Subscriber]:
    return [Subscriber(*row) for row in connection.rows("subscribers", account_id=account_id, event_type=event_type, limit=limit)]


def troubled(connection: Connection) -> tuple[dict[str, int], set[str]]:
    failing: dict[str, int] = dict(connection.rows("failing_by_account"))
    return failing, {id for (id,) in connection.rows("accounts_queued", limit=MOST_ACCOUNTS)}


def load(connection: Connection, account_id: str, since: Instant) -> Load:
    which = {"account_id": account_id}
    ((webhooks,),) = connection.rows("webhook_total", **which)
    ((failing,),) = connection.rows("count_failing", **which)
    ((queued, due_at),) = connection.rows("queued_of_account", most=MOST_COUNTED + 1, **which)
    ((held, held_until),) = connection.rows("held_of_account", most=MOST_COUNTED + 1, **which)
    hour = add_up([window for _, window in minutes(connection, account_id, None, since)])
    return Load(webhooks, failing, queued, due_at, held, held_until, hour)


def recent(connection: Connection, since: Instant, most: int) -> list[tuple[str, str, str, str, Window]]:
    rows = connection.rows("minutes_by_webhook", since=since, most=most)
    return [(row[0], row[1], row[2], row[3], window_from(row[6:])) for row in rows]
