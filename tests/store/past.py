"""A long past, made by the database itself: attempts by the million, of two webhooks, with rare things at known places."""

from __future__ import annotations

import apsw
import psycopg

from tests.store.world import HOUR, NOON

Raw = apsw.Connection | psycopg.Connection[tuple[object, ...]]

PER_DELIVERY = 5  # attempts
STEP_MS = 200  # between two attempts
WAITING = 300  # of the newest deliveries so many are queued, and as many before them held

_SERIES = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"


def a_past(raw: Raw, attempts: int) -> None:
    """`attempts` of account acc: nine tenths of webhook big, one tenth of webhook small.

    Of 100 attempts one is answered 503 and one times out; of 5,000 one is a test and one a handshake. Of 100 deliveries one failed.
    Of 1,000 events one is of type rare. Attempt n belongs to delivery and event (n + 4) / 5, number 1 to 5.
    """
    blob = "x'00'" if isinstance(raw, apsw.Connection) else "'\\x00'::bytea"
    deliveries = attempts // PER_DELIVERY
    state = (
        f"CASE WHEN n % 100 = 3 THEN 'failed' WHEN n > {deliveries - WAITING} THEN 'queued' "
        f"WHEN n > {deliveries - 2 * WAITING} THEN 'held' ELSE 'delivered' END"
    )
    at = f"{NOON} + n * {STEP_MS * PER_DELIVERY}"
    d = f"((n + {PER_DELIVERY - 1}) / {PER_DELIVERY})"
    rows = {
        "events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, payload)": (
            deliveries,
            f"n, 'acc', 'e' || n, CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 't' END, {at}, {at}, {at} + {6 * HOUR}, 1, {blob}, {blob}",
        ),
        "deliveries (id, account_id, webhook_id, event_seq, state, failure_reason, due_at, attempts, expires_at, created_at, "
        "last_result)": (
            deliveries,
            f"n, 'acc', CASE WHEN n % 10 = 0 THEN 'small' ELSE 'big' END, n, {state}, "
            f"CASE WHEN {state} = 'failed' THEN 'exhausted' END, CASE WHEN {state} = 'queued' THEN {at} END, {PER_DELIVERY}, "
            f"{at} + {6 * HOUR}, {at}, CASE WHEN {state} = 'delivered' THEN '200' ELSE '503' END",
        ),
        "attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, "
        "total_us, reconnects, truncated, url, headers, body)": (
            attempts,
            f"n, 'acc', CASE WHEN {d} % 10 = 0 THEN 'small' ELSE 'big' END, "
            "CASE n % 5000 WHEN 7 THEN 'test' WHEN 8 THEN 'verification' ELSE 'delivery' END, "
            f"CASE WHEN n % 5000 NOT IN (7, 8) THEN {d} END, CASE WHEN n % 5000 <> 8 THEN 'e' || {d} END, "
            f"CASE WHEN {d} % 1000 = 0 THEN 'rare' ELSE 't' END, (n + {PER_DELIVERY - 1}) % {PER_DELIVERY} + 1, {NOON} + n * {STEP_MS}, "
            "CASE n % 100 WHEN 5 THEN 503 WHEN 6 THEN NULL ELSE 200 END, CASE WHEN n % 100 = 6 THEN 'timeout' END, "
            f"CASE WHEN n % 100 = 6 THEN 'headers' END, 1000, 0, 0, 'https://x.example.com/in', {blob}, {blob}",
        ),
    }
    raw.execute("BEGIN")
    for table, (count, columns) in rows.items():
        raw.execute(f"INSERT INTO {table} {_SERIES.format(count=count)} SELECT {columns} FROM n")
    raw.execute("COMMIT")
