"""The console over a long past: a thousand webhooks, a million attempts; how long each page takes, and how much it weighs."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import random
import re
import statistics
import time
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

from gridhook.app import offline
from gridhook.bench.harness import EVENT_TYPE, Rig, rig
from gridhook.bench.result import Progress, Result
from gridhook.model import LinkPurpose, Membership, Role
from gridhook.rules.catalogue import event_type
from gridhook.store.postgres import Postgres
from gridhook.store.sqlite import Sqlite

WEBHOOKS, ATTEMPTS = 1000, 1_000_000
ASKED = 100  # times, each page
DAY_MS, MINUTE_MS = 86_400_000, 60_000
_SERIES = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"
_ASSET = re.compile(rb'/console/static/[^"]+')


def pages(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """Each page is asked for 100 times, in an order drawn by chance. CPU: of the whole server, in the same process as the pages."""
    result = Result("pages")
    with rig(directory, database_url) as made:
        first = made.add_webhook()
        made.wait_verified(first)
        empty_mb = made.server.sample() / 2**20
        made.server.stop()
        progress("a million attempts", 0.0)
        now = int(time.time() * 1000)
        _fill(made, database_url, first, now)
        cookie = asyncio.run(_signed_in(made))
        made.start_server()
        before_mb = made.server.sample() / 2**20
        base = f"/console/a/{made.account}"
        asked = {
            "overview": base,
            "webhooks": f"{base}/webhooks",
            "webhook": f"{base}/webhooks/{first}",
            "webhook_attempts": f"{base}/webhooks/{first}/attempts",
            "deliveries": f"{base}/webhooks/{first}/deliveries",
            "settings": f"{base}/webhooks/{first}/settings",
            "new": f"{base}/webhooks/new",
            "attempts": f"{base}/attempts",
            "event": f"{base}/events/e77",
            "catalogue": f"{base}/catalogue",
            "type": f"{base}/catalogue/{EVENT_TYPE}",
            "operate": "/console/operate",
            "accounts": "/console/accounts",
            "me": "/console/me",
        }
        took: dict[str, list[float]] = {name: [] for name in asked}
        order = [name for name in asked for _ in range(ASKED)]
        random.Random(5).shuffle(order)
        with closing(http.client.HTTPConnection("127.0.0.1", made.server_port, timeout=60)) as connection:
            bytes_of = {name: _weight(connection, path, cookie) for name, path in asked.items()}
            missing = [name for name, weight in bytes_of.items() if weight is None]
            order = [name for name in order if name not in missing]
            cpu = made.server.cpu_seconds()
            for number, name in enumerate(order):
                began = time.perf_counter()
                _ask(connection, asked[name], cookie)
                took[name].append((time.perf_counter() - began) * 1000)
                if number % 20 == 0:
                    made.server.sample()
                    progress("asking", number / len(order))
            cpu = made.server.cpu_seconds() - cpu
            # By page: the clock of a process ticks in hundredths, so a hundred requests in a row.
            for name in asked:
                if name not in missing:
                    spent = made.server.cpu_seconds()
                    for _ in range(ASKED // 2):
                        _ask(connection, asked[name], cookie)
                    result.figures[f"{name}_cpu_ms"] = (made.server.cpu_seconds() - spent) / (ASKED // 2) * 1000
        for name, times in took.items():
            if times:
                result.figures[f"{name}_p50_ms"] = statistics.median(times)
                result.figures[f"{name}_p95_ms"] = sorted(times)[int(len(times) * 0.95)]
                result.figures[f"{name}_kb"] = (bytes_of[name] or 0) / 1000
        result.figures |= {
            "slowest_p95_ms": max(sorted(times)[int(len(times) * 0.95)] for times in took.values() if times),
            "heaviest_kb": max(weight or 0 for weight in bytes_of.values()) / 1000,
            "cpu_ms_per_page": cpu / len(order) * 1000,
            "pages_missing": len(missing),
            "server_mb_empty": empty_mb,
            "server_mb_before_pages": before_mb,
            "server_mb_after_pages": made.server.sample() / 2**20,
            "server_peak_mb": made.server.peak_rss / 2**20,
        }
    return result


def _ask(connection: http.client.HTTPConnection, path: str, cookie: str) -> tuple[int, bytes]:
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, body


def _weight(connection: http.client.HTTPConnection, path: str, cookie: str) -> int | None:
    """Bytes of a page as it is sent, and of all that it loads, compressed as it is sent. None: there is no such page."""
    status, body = _ask(connection, path, cookie)
    if status != 200:
        return None
    folder = files("gridhook").joinpath("web", "static", "console")
    assets = {one.decode().rpartition("/")[2].partition("?")[0] for one in _ASSET.findall(body)}
    return len(body) + sum(len(gzip.compress(folder.joinpath(name).read_bytes())) for name in assets)


async def _signed_in(made: Rig) -> str:
    async with offline(made.settings) as service:
        person = await service.people.add("bench@example.com", operator=True, membership=Membership(made.account, Role.ADMIN))
        token = await service.people.new_link(person, LinkPurpose.SIGN_IN, seconds=600)
        person = await service.people.use_link(token, LinkPurpose.SIGN_IN)
        return f"gridhook={await service.people.open(person.id, 'gridhook bench')}"


def _fill(made: Rig, database_url: str, webhook: str, now: int) -> None:
    """A past of a day and a half, by the database itself: half of all attempts are of one webhook."""
    if database_url:
        with closing(Postgres(database_url).connect()) as connection:
            raw: Any = connection._connection
            raw.execute("SET statement_timeout = 0")
            _write(raw, made.account, webhook, now, "'\\x7b7d'::bytea")
            raw.execute("COMMIT")
            raw.execute("ANALYZE")
        return
    with closing(Sqlite(Path(made.settings.data_dir) / "gridhook.db").connect()) as local:
        _write(local._connection, made.account, webhook, now, "x'7b7d'")
        local._connection.execute("COMMIT")


def _write(raw: Any, account: str, webhook: str, now: int, blob: str) -> None:
    deliveries = ATTEMPTS * 4 // 5  # each fifth is tried twice
    start = now - 3 * DAY_MS // 2
    hook = f"CASE WHEN {{n}} % 2 = 0 THEN '{webhook}' ELSE 'wh_' || ({{n}} / 2 % {WEBHOOKS - 1}) END"
    types = json.dumps([EVENT_TYPE])
    payload = "'" + json.dumps(event_type(EVENT_TYPE).example).replace("'", "''") + "'"
    payload = f"CAST({payload} AS BLOB)" if blob.startswith("x") else f"convert_to({payload}, 'UTF8')"
    at = f"{start} + n * {3 * DAY_MS // 2 // deliveries}"
    state = "CASE WHEN n % 100 = 3 THEN 'failed' WHEN n % 1000 = 5 THEN 'held' WHEN n % 500 = 8 THEN 'queued' ELSE 'delivered' END"
    rows = {
        "webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at)": (
            WEBHOOKS - 1,
            f"'{account}', 'wh_' || (n - 1), 'Webhook ' || n, 'http://127.0.' || (n % 200) || '.1:1/in', 1, 'bearer_token', '{types}', "
            f"{start} + n, CASE WHEN n % 20 <> 0 THEN {start} + n END, CASE WHEN n % 30 = 0 THEN {now} END",
        ),
        "subscriptions (account_id, event_type, webhook_id)": (WEBHOOKS - 1, f"'{account}', '{EVENT_TYPE}', 'wh_' || (n - 1)"),
        "events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, payload)": (
            deliveries,
            f"n + 100, '{account}', 'e' || n, '{EVENT_TYPE}', {at}, {at}, {at} + 21600000, 1, {blob}, {payload}",
        ),
        "deliveries (id, account_id, webhook_id, event_seq, state, failure_reason, due_at, attempts, expires_at, created_at, "
        "last_result)": (
            deliveries,
            f"n + 100, '{account}', {hook.format(n='n')}, n + 100, {state}, CASE WHEN {state} = 'failed' THEN 'exhausted' END, "
            f"CASE WHEN {state} = 'queued' THEN {now} + {DAY_MS} END, 1, {now} + {DAY_MS}, {at}, "
            f"CASE WHEN {state} = 'delivered' THEN '200' ELSE '503' END",
        ),
        "attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, "
        "total_us, first_byte_us, reconnects, truncated, url, headers, body)": (
            ATTEMPTS,
            f"n + 100, '{account}', {hook.format(n='(n * 4 / 5 + 1)')}, 'delivery', n * 4 / 5 + 101, "
            f"'e' || (n * 4 / 5 + 1), '{EVENT_TYPE}', 1 + n % 5 / 4, {start} + n * {3 * DAY_MS // 2 // ATTEMPTS}, "
            f"CASE n % 100 WHEN 5 THEN 503 WHEN 6 THEN NULL ELSE 200 END, "
            f"CASE WHEN n % 100 = 6 THEN 'timeout' END, CASE WHEN n % 100 = 6 THEN 'headers' END, 8000 + n % 97 * 1000, 7000, 0, 0, "
            f"'https://x.example.com/in', {blob}, {blob}",
        ),
        # Each webhook was sent to in each minute of the day.
        "webhook_minutes (account_id, webhook_id, minute_at, succeeded, failed, retries, latency_ms, l0, l1, l2, l3, l4, l5, l6, l7, l8, "
        "l9, l10)": (
            WEBHOOKS * 1440,
            f"'{account}', CASE WHEN n % {WEBHOOKS} = 0 THEN '{webhook}' ELSE 'wh_' || (n % {WEBHOOKS} - 1) END, "
            f"{now - now % MINUTE_MS} - n / {WEBHOOKS} * {MINUTE_MS}, 9, n % 2, n % 3, 400, 3, 3, 3, n % 2, 0, 0, 0, 0, 0, 0, 0",
        ),
        "account_minutes (account_id, minute_at, shard, succeeded, failed, retries, latency_ms, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, "
        "l10)": (
            2 * 1440,  # of two processes
            f"'{account}', {now - now % MINUTE_MS} - n / 2 * {MINUTE_MS}, n % 2, 4500, 250, 500, 200000, "
            f"1500, 1500, 1500, 250, 0, 0, 0, 0, 0, 0, 0",
        ),
        "webhook_health (account_id, webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result, "
        "succeeded, failed)": (
            WEBHOOKS - 1,
            f"'{account}', 'wh_' || (n - 1), CASE WHEN n % 50 = 0 THEN {now} - n * 1000 END, n % 7, "
            f"{now} - 60000, {now} - 5000, '503', 1000, 10",
        ),
    }
    raw.execute("BEGIN")
    for table, (count, columns) in rows.items():
        raw.execute(f"INSERT INTO {table} {_SERIES.format(count=count)} SELECT {columns} FROM n WHERE n > 0 ON CONFLICT DO NOTHING")
