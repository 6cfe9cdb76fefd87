"""How webhooks have been doing: counters kept beside the log, in its transaction, and read without it.

Within one transaction attempts are counted in the order in which they ended; between transactions, in the order of their commits. So
where many requests of one webhook run at once, a success that was committed after a failure ends the row of failures, even if it
ended some milliseconds earlier. Totals and minutes do not depend on any order.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import add

from msgspec.structs import replace

from gridhook.model import LATENCY_BOUNDS_MS, Answered, Attempt, Health, Instant, Outcome, Reason, Window
from gridhook.rules.retry import RECEIVED
from gridhook.store.database import Connection, Row
from gridhook.store.leases import shard
from gridhook.store.rows import result_of

MINUTE_MS = 60_000
HOUR_MINUTES, DAY_MINUTES = 60, 1440
PULSE_MS = 120_000  # the stretch of counters that is looked at to tell whether anything was counted
OURS = (Reason.INTERRUPTED, Reason.WORKER_LOST)  # ended by ourselves: they say nothing about the receiver

_BOUNDS_US = tuple(bound * 1000 for bound in LATENCY_BOUNDS_MS)
_BEFORE_BUCKETS = 4  # succeeded, failed, retries, latency_ms
_BLANK = [0] * (_BEFORE_BUCKETS + len(_BOUNDS_US) + 1)


class _Tally:
    """What one group of attempts says of one webhook."""

    __slots__ = ("failed", "failing_since", "failures_in_a_row", "last_failure_at", "last_outcome", "last_success_at", "succeeded")

    def __init__(self) -> None:
        self.failing_since: Instant | None = None
        self.failures_in_a_row = 0  # since the group's last success
        self.last_success_at: Instant | None = None
        self.last_failure_at: Instant | None = None
        self.last_outcome: Outcome | None = None
        self.succeeded = 0
        self.failed = 0

    def row(self) -> Row:
        return (
            self.failing_since,
            self.failures_in_a_row,
            self.last_success_at,
            self.last_failure_at,
            "" if self.last_outcome is None else result_of(self.last_outcome),
            self.succeeded,
            self.failed,
        )


def ended_at(attempt: Attempt) -> Instant:
    return attempt.started_at + attempt.outcome.exchange.timings.total_us // 1000


def count(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Add attempts of deliveries to the counters: one row for each webhook, for each of its minutes, and for each of its account's."""
    tallies: dict[tuple[str, str], _Tally] = {}
    minutes: dict[tuple[str, str, Instant], list[int]] = {}
    for attempt in sorted(attempts, key=ended_at):
        outcome = attempt.outcome
        if isinstance(outcome, Answered):
            received = outcome.status in RECEIVED
        elif outcome.reason in OURS:
            continue
        else:
            received = False
        lane = (attempt.account_id, attempt.webhook_id)
        tally = tallies.get(lane)
        if tally is None:
            tally = tallies[lane] = _Tally()
        took_us = outcome.exchange.timings.total_us
        at = attempt.started_at + took_us // 1000
        minute = (*lane, at - at % MINUTE_MS)
        counters = minutes.get(minute)
        if counters is None:
            counters = minutes[minute] = _BLANK.copy()
        if received:
            tally.succeeded += 1
            tally.last_success_at = at
            tally.failures_in_a_row = 0
            tally.failing_since = None
            counters[0] += 1
        else:
            tally.failed += 1
            tally.last_failure_at = at
            if not tally.failures_in_a_row:
                tally.failing_since = attempt.started_at
            tally.failures_in_a_row += 1
            counters[1] += 1
        tally.last_outcome = outcome
        if attempt.number > 1:
            counters[2] += 1
        counters[3] += (took_us + 500) // 1000
        counters[_BEFORE_BUCKETS + bisect_left(_BOUNDS_US, took_us)] += 1
    if tallies:
        connection.many("count_attempts", [(*lane, *tally.row()) for lane, tally in tallies.items()])
        connection.many("count_minutes", [(*minute, *counters) for minute, counters in minutes.items()])
        connection.many("count_account_minutes", _of_accounts(minutes))


def _of_accounts(minutes: Mapping[tuple[str, str, Instant], Sequence[int]]) -> list[Row]:
    ours = shard()
    found: dict[tuple[str, Instant], Sequence[int]] = {}
    for (account_id, _, at), counters in minutes.items():
        before = found.get((account_id, at))
        found[account_id, at] = counters if before is None else tuple(map(add, before, counters))
    return [(account_id, at, ours, *counters) for (account_id, at), counters in found.items()]


# --- reading ----------------------------------------------------------------------------------------------------


def health(connection: Connection, account_id: str, webhook_ids: Sequence[str], now: Instant | None) -> dict[str, Health]:
    """One for each id that was asked about; of the same shape for those with nothing counted. now None: without hour and day."""
    which = {"account_id": account_id, "webhook_ids": json.dumps(list(webhook_ids))}
    found = {id: Health() for id in webhook_ids}
    for id, *row in connection.rows("health", **which):
        found[id] = Health(*row)
    if now is None:
        return found
    this_minute = now - now % MINUTE_MS
    for name, count in (("hour", HOUR_MINUTES), ("day", DAY_MINUTES)):
        since = this_minute - (count - 1) * MINUTE_MS
        for id, *row in connection.rows("windows", since=since, **which):
            found[id] = replace(found[id], **{name: window_from(row)})
    return found


def minutes(connection: Connection, account_id: str, webhook_id: str | None, since: Instant) -> list[tuple[Instant, Window]]:
    if webhook_id is None:
        rows = connection.rows("minutes_of_account", account_id=account_id, since=since)
    else:
        rows = connection.rows("minutes_of_webhook", account_id=account_id, webhook_id=webhook_id, since=since)
    return [(row[0], window_from(row[1:])) for row in rows]


def hours(connection: Connection, account_id: str, webhook_ids: Sequence[str], since: Instant) -> dict[str, list[tuple[Instant, int, int]]]:
    found: dict[str, list[tuple[Instant, int, int]]] = {}
    which = {"account_id": account_id, "webhook_ids": json.dumps(list(webhook_ids))}
    for id, hour, succeeded, failed in connection.rows("hours", since=since, **which):
        found.setdefault(id, []).append((since + hour * HOUR_MINUTES * MINUTE_MS, succeeded, failed))
    return found


def window_from(row: Sequence[int]) -> Window:
    succeeded, failed, retries, latency_ms, *latencies = row
    return Window(succeeded, failed, retries, latency_ms, tuple(latencies))


def pulse(connection: Connection, account_id: str, webhook_id: str | None, now: Instant) -> tuple[int | None, ...]:
    if webhook_id is None:
        return tuple(connection.rows("pulse_of_account", account_id=account_id, since=now - PULSE_MS)[0])
    rows = connection.rows("pulse_of_webhook", account_id=account_id, webhook_id=webhook_id)
    return tuple(rows[0]) if rows else ()
