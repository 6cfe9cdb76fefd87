"""Statements, plans and migrations."""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.model import LATENCY_BOUNDS_MS, AttemptKind, DeliveryState, FailureReason, Health, Origin, RecoveryState
from gridhook.store import Store, migrations, open_store, sqlite_path
from gridhook.store.postgres import PostgresConnection
from gridhook.store.promises import CredentialInfo
from gridhook.store.queries import Dialect, load, parse
from gridhook.store.sqlite import Sqlite, SqliteConnection
from gridhook.store.sqlstore import SqlStore
from tests.store.world import NOON, a_webhook, an_account, claim, event, finished, hook, log, publish, state

FILTERS = dict.fromkeys(("event_type", "event_id", "kind", "status", "status_class", "reason", "succeeded"))
ANY_WEBHOOK = dict.fromkeys(("text", "url_text", "auth_method", "state", "failing"))
A_PAGE: dict[str, object] = {"at": NOON, "id": 5, "end_at": 0, "end_id": 0, "limit": 10, "most": 10, **FILTERS}
A_STRETCH: dict[str, object] = {"at": NOON, "id": 5, "end_at": 0, "end_id": 0, "scan": 10}

# statement -> (parameters, the index that it must use)
PLANS: dict[str, tuple[dict[str, object], str]] = {
    "due": ({"account_id": "acc", "webhook_id": "w1", "now": NOON, "limit": 10}, "deliveries_queue"),
    "next_due": ({"account_id": "acc", "webhook_id": "w1"}, "deliveries_queue"),
    "lanes": ({"account_id": "", "webhook_id": "", "limit": 10}, "deliveries_queue"),
    "hold_queued": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_queue"),
    "fail_queued": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_queue"),
    "count_queued": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_queue"),
    "held_lanes": ({}, "deliveries_held"),
    "release_held": ({"account_id": "acc", "webhook_id": "w1", "now": NOON, "limit": 10}, "deliveries_held"),
    "fail_held": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_held"),
    "count_held": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_held"),
    "expire_held": ({"now": NOON, "limit": 10}, "deliveries_held_expiry"),
    "known_event": ({"account_id": "acc", "id": "e1"}, "events_id"),
    **{
        f"attempts_{log}_{way}": ({"account_id": "acc", **where, **A_PAGE}, f"attempts_by_{log}")
        for log, where in (("webhook", {"webhook_id": "w1"}), ("account", {}))
        for way in ("before", "after")
    },
    **{
        f"attempts_{log}_edge_{way}": ({"account_id": "acc", "webhook_id": "w1", "kind": "test", **A_STRETCH}, index)
        for log, index in (("webhook", "attempts_by_webhook"), ("failed", "attempts_failed"), ("other", "attempts_not_deliveries"))
        for way in ("before", "after")
    },
    **{
        f"deliveries_{log}_edge_{way}": ({"account_id": "acc", "webhook_id": "w1", **A_STRETCH}, index)
        for log, index in (("log", "deliveries_log"), ("failed", "deliveries_failed"))
        for way in ("before", "after")
    },
    "undelivered_failed": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_failed"),
    "undelivered_held": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_held"),
    "undelivered_queued": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_queue"),
    "webhook_page": ({"account_id": "acc", "limit": 10, "offset": 0, **ANY_WEBHOOK}, "webhooks_newest"),
    "webhooks_by_ids": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]'}, "webhooks_pkey"),
    "hours": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]', "since": NOON}, "webhook_minutes_pkey"),
    "held": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]', "most": 10}, "deliveries_held"),
    "fan_out": ({"account_id": "acc", "event_type": "t1", "now": NOON}, "subscriptions_pkey"),
    "webhook_for_work": ({"account_id": "acc", "webhook_id": "w1", "now": NOON}, "webhook_credentials_pkey"),
    "webhook_fate": ({"account_id": "acc", "webhook_id": "w1"}, "webhooks_pkey"),
    "work": ({"account_id": "acc", "webhook_id": "w1", "now": NOON}, "webhook_credentials_pkey"),
    "forget_replaced": ({"now": NOON}, "webhook_credentials_replaced"),
    "retired_certificates": ({"now": NOON, "limit": 10}, "webhook_credentials_retiring"),
    "certificates": ({"account_id": "acc", "webhook_id": "w1"}, "webhook_certificates_pkey"),
    "presented_certificates": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]'}, "webhook_certificates_pkey"),
    "expiring_certificates": ({"before": NOON, "after_at": 0, "after_id": "", "limit": 10}, "webhook_certificates_expiry"),
    "health": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]'}, "webhook_health_pkey"),
    "windows": ({"account_id": "acc", "webhook_ids": '["w1", "w2"]', "since": NOON}, "webhook_minutes_pkey"),
    "minutes_of_webhook": ({"account_id": "acc", "webhook_id": "w1", "since": NOON}, "webhook_minutes_pkey"),
    "minutes_of_account": ({"account_id": "acc", "since": NOON}, "account_minutes_pkey"),
    "failing": ({"account_id": "acc", "limit": 10}, "webhook_health_failing"),
    "waiting_webhooks": ({"account_id": "acc"}, "deliveries_held"),
    "count_some_held": ({"account_id": "acc", "webhook_id": "w1", "most": 10}, "deliveries_held"),
    "last_undelivered": ({"account_id": "acc", "limit": 5}, "deliveries_failed"),
    "queued_of_account": ({"account_id": "acc", "most": 10}, "deliveries_queue"),
    "held_of_account": ({"account_id": "acc", "most": 10}, "deliveries_held"),
    "accounts_queued": ({"limit": 10}, "deliveries_queue"),
}


LANES, BIG_LANE = 300, 20_000

# A crowd of lanes, one of them with most rows; every third lane is held.
CROWD = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
INSERT INTO {table} SELECT {columns} FROM n
"""
LANE = f"'w' || CASE WHEN n > {LANES * 10} THEN 1 ELSE n % {LANES} END"
HELD = f"(n <= {LANES * 10} AND n % {LANES} % 3 = 0)"
ROWS = {
    "events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, payload)": (
        f"n, 'acc', 'e' || n, 't', {NOON}, {NOON}, {NOON}, 1, {{blob}}, {{blob}}"
    ),
    "deliveries (id, account_id, webhook_id, event_seq, state, due_at, attempts, expires_at, created_at)": (
        f"n, 'acc', {LANE}, n, CASE WHEN {HELD} THEN 'held' ELSE 'queued' END, CASE WHEN {HELD} THEN NULL ELSE {NOON} + n END, 0, "
        f"{NOON} + n, {NOON}"
    ),
    "attempts (id, account_id, webhook_id, kind, number, started_at, status, total_us, reconnects, truncated, url, headers, body)": (
        f"n, 'acc', {LANE}, 'delivery', 1, {NOON} + n, 200, 1, 0, 0, 'u', {{blob}}, {{blob}}"
    ),
    "webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at)": (
        f"CASE WHEN n < {LANES} THEN 'acc' ELSE 'other' || n % 50 END, 'w' || n, 'n', 'u', 1, 'bearer_token', '[]', {NOON} + n"
    ),
    "webhook_credentials (account_id, webhook_id, id, sealed, created_at, activates_at, forget_at, retires_at)": (
        f"'acc', {LANE}, 'c' || n, {{blob}}, n, n, CASE WHEN n % 100 = 0 THEN {NOON} + n END, CASE WHEN n % 100 = 1 THEN {NOON} + n END"
    ),
    "webhook_certificates (account_id, webhook_id, id, authority_id, serial, fingerprint, chain, not_before_at, expires_at, created_at, "
    "replaced_at)": f"'acc', {LANE}, 'c' || n, 'ca', 's', 'f', {{blob}}, n, {NOON} + n, n, CASE WHEN n % 10 > 0 THEN n END",
    "subscriptions (account_id, event_type, webhook_id)": "'acc', 't' || n % 50, 'w' || n",
    "webhook_health (account_id, webhook_id, consecutive_failures, succeeded, failed)": (
        "CASE WHEN n < 300 THEN 'acc' ELSE 'other' || n % 50 END, 'w' || n, 0, 0, 0"
    ),
    "webhook_minutes (account_id, webhook_id, minute_at, succeeded, failed, retries, latency_ms, "
    "l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)": f"'acc', {LANE}, {NOON} + n * 60000, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
    "account_minutes (account_id, minute_at, shard, succeeded, failed, retries, latency_ms, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)": (
        f"'acc' || (n % 50), {NOON} + n / 50 * 60000, n % 3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0"
    ),
}


def crowd(connection: apsw.Connection | psycopg.Connection[tuple[object, ...]], blob: str) -> None:
    for table, columns in ROWS.items():
        count = LANES * 10 if table.startswith(("webhooks", "webhook_health", "subscriptions")) else LANES * 10 + BIG_LANE
        connection.execute(CROWD.format(count=count, table=table, columns=columns.format(blob=blob)))
    connection.execute("ANALYZE")


def plan_on_sqlite(connection: apsw.Connection, name: str, params: dict[str, object]) -> str:
    query = load("sqlite")[name]
    rows = connection.execute("EXPLAIN QUERY PLAN " + query.sql, [params[key] for key in query.names]).fetchall()
    return "\n".join(str(row[3]) for row in rows)


def plan_on_postgres(connection: psycopg.Connection[tuple[object, ...]], name: str, params: dict[str, object]) -> str:
    """The plan that is kept for a prepared statement, made without knowing the parameters: the worst that can be in use."""
    query = load("postgres")[name]
    sql = query.sql
    for number, key in enumerate(query.names, 1):
        sql = sql.replace(f"%({key})s", f"${number}")
    values = ", ".join("NULL" if params[key] is None else f"'{params[key]}'" for key in query.names)
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.execute(f"PREPARE {name} AS {sql}")
    rows = connection.execute(f"EXPLAIN EXECUTE {name}" + (f"({values})" if values else "")).fetchall()
    return "\n".join(str(row[0]) for row in rows)


async def test_a_lanes_million_rows_cost_another_lane_nothing(store: SqlStore) -> None:
    """Shown by plan: each hot statement enters its index at the lane, and no statement walks a table."""
    connection = store._driver.connect()
    if isinstance(connection, SqliteConnection):
        sqlite = connection._connection
        crowd(sqlite, "x'00'")
        plans = {name: plan_on_sqlite(sqlite, name, params) for name, (params, _) in PLANS.items()}
    else:
        assert isinstance(connection, PostgresConnection)
        postgres = connection._connection
        crowd(postgres, "'\\x00'::bytea")
        plans = {name: plan_on_postgres(postgres, name, params) for name, (params, _) in PLANS.items()}
    connection.close()
    for name, plan in plans.items():
        index = PLANS[name][1]
        used = f"INDEX {index} " if not index.endswith("_pkey") else "PRIMARY KEY "  # on SQLite, which has no name for it
        assert used in plan or f" using {index} " in plan or f" on {index} " in plan, f"{name}\n{plan}"
        for line in plan.splitlines():
            assert "Seq Scan on" not in line, f"{name}\n{plan}"
            # Walking a partial index in its order, to stop at the first row, is a probe too.
            assert (
                not line.startswith("SCAN")
                or f"INDEX {index}" in line
                or line.startswith("SCAN json_each ")
                or line in ("SCAN lane", "SCAN judged", "SCAN first", "SCAN stretch", "SCAN newest", "SCAN CONSTANT ROW")
            ), f"{name}\n{plan}"
        if {"account_id", "webhook_id"} <= PLANS[name][0].keys():
            second = "id" if index == "webhooks_pkey" else "webhook_id"
            inside = ("Index Cond", f"{used}(account_id=? AND {second}")
            entered = [line for line in plan.splitlines() if "account_id" in line and second in line]
            assert any(word in line for line in entered for word in inside), f"{name}: the index must be entered at the lane\n{plan}"


def test_certificates_that_end_soon_are_found_without_a_walk_past_all_of_an_accounts_chains(tmp_path: Path) -> None:
    """On SQLite, where the chains lie in the primary key's own pages. PostgreSQL may take what ends soon of all accounts as well."""
    driver = Sqlite(tmp_path / "gridhook.db")
    driver.prepare(migrate=True)
    with closing(driver.connect()) as connection:
        crowd(connection._connection, "x'00'")
        plan = plan_on_sqlite(connection._connection, "expiring_of_account", {"account_id": "acc", "before": NOON, "limit": 10})
    assert "INDEX webhook_certificates_account_expiry (account_id=? AND expires_at<?)" in plan


def test_every_index_names_the_queries_that_need_it_and_they_exist() -> None:
    for dialect in ("sqlite", "postgres"):
        names = set(load(dialect))
        schema = "".join(migration.sql for migration in migrations.migrations(dialect))
        lines = [line for line in schema.splitlines() if not line.startswith("DROP INDEX")]
        for number, line in enumerate(lines):
            if line.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX")):
                comment = lines[number - 1]
                assert comment.startswith("-- for: "), line
                wanted = comment.removeprefix("-- for: ").split(".")[0].split("(")[0]
                assert {name.strip() for name in wanted.split(",")} <= names, comment


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_databases_allow_exactly_the_states_and_reasons_that_exist(dialect: Dialect) -> None:
    schema = "".join(migration.sql for migration in migrations.migrations(dialect))

    def check(column: str, values: list[str]) -> bool:
        return f"CHECK ({column} IN ({', '.join(repr(value) for value in values)}))" in schema

    assert check("state", [state.value for state in DeliveryState])
    assert check("failure_reason", [reason.value for reason in FailureReason])
    assert check("kind", [kind.value for kind in AttemptKind])
    assert check("state", [state.value for state in RecoveryState])
    assert check("origin", [origin.value for origin in Origin if origin is not Origin.EVENT])
    assert f"how many took up to {', '.join(map(str, LATENCY_BOUNDS_MS))} ms, and longer" in schema


def test_every_statement_says_what_it_is_for() -> None:
    for file in ("queries.sql", "queries.postgres.sql"):
        text = (Path(migrations.__file__).parent / file).read_text()
        for section in text.split("-- name: ")[1:]:
            name, comment = section.splitlines()[:2]
            assert comment.startswith("-- "), f"{file}: {name}"
            assert len(comment) > 4, f"{file}: {name}"


def test_parameters_are_found_but_casts_literals_and_comments_are_not() -> None:
    text = "-- name: x\n-- what: for\nSELECT ':no', :b::text, :a, :b, '100%' -- :neither\nFROM t"
    (sqlite,), (postgres,) = parse(text, "sqlite").values(), parse(text, "postgres").values()
    assert sqlite.names == postgres.names == ("b", "a")
    assert sqlite.sql.startswith("SELECT ':no', ?1::text, ?2, ?1,")
    assert postgres.sql.startswith("SELECT ':no', %(b)s::text, %(a)s, %(b)s,")


async def test_opening_twice_migrates_once_and_processes_that_start_at_once_do_not_collide(
    database_settings: Settings, open_more: Callable[[], Store]
) -> None:
    stores = [open_more() for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await an_account(stores[0])
    assert [await store.account("acc") for store in stores] == [await stores[0].account("acc")] * 4


def test_processes_that_make_one_new_file_at_the_same_moment_wait_for_each_other(tmp_path: Path) -> None:
    """Two that turn a new file to WAL are in each other's way, and SQLite refuses one at once. Some rounds: it is a matter of luck."""
    for number in range(25):
        start = threading.Barrier(8)

        def prepare(path: Path = tmp_path / str(number) / "gridhook.db", start: threading.Barrier = start) -> None:
            start.wait()
            Sqlite(path).prepare(migrate=True)

        with ThreadPoolExecutor(8) as pool:
            for one in [pool.submit(prepare) for _ in range(8)]:
                one.result()


# A webhook as the first schema kept it: verified, with a key, two deliveries (one retried, one waiting) and their attempts.
FIRST = """
INSERT INTO accounts (id, name, enterprise, created_at) VALUES ('acc', 'name', 1, 1);
INSERT INTO webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at)
  VALUES ('acc', 'wh', 'hook wh', 'https://wh.example.com/in', 1, 'bearer_token', '["ag.access_pass.issued"]', {now}, {now});
INSERT INTO webhook_credentials (account_id, webhook_id, id, sealed, created_at) VALUES ('acc', 'wh', 'cred_wh', {blob}, {now});
INSERT INTO subscriptions (account_id, event_type, webhook_id) VALUES ('acc', 'ag.access_pass.issued', 'wh');
INSERT INTO events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, payload) VALUES
  (9001, 'acc', 'e1', 'ag.access_pass.issued', {now}, {now}, {now} + 21600000, 1, {blob}, {blob}),
  (9002, 'acc', 'e2', 'ag.access_pass.issued', {now}, {now}, {now} + 21600000, 1, {blob}, {blob});
INSERT INTO deliveries (id, account_id, webhook_id, event_seq, state, due_at, attempts, expires_at, created_at) VALUES
  (9001, 'acc', 'wh', 9001, 'queued', {now}, 3, {now} + 21600000, {now}),
  (9002, 'acc', 'wh', 9002, 'held', NULL, 0, {now} + 21600000, {now});
INSERT INTO attempts (id, account_id, webhook_id, kind, delivery_id, number, started_at, status, reason, phase, total_us, reconnects,
  truncated, url, headers, body) VALUES
  (9001, 'acc', 'wh', 'delivery', 9, 1, {now} - 9000, 200, NULL, NULL, 7000, 0, 0, 'u', {blob}, {blob}),
  (9002, 'acc', 'wh', 'delivery', 9001, 1, {now} - 5000, NULL, 'timeout', 'connect', 1000000, 0, 0, 'u', {blob}, {blob}),
  (9003, 'acc', 'wh', 'delivery', 9001, 2, {now} - 3000, 503, NULL, NULL, 9000, 0, 0, 'u', {blob}, {blob}),
  (9004, 'acc', 'wh', 'delivery', 9001, 3, {now} - 1000, NULL, 'interrupted', 'body', 9000, 0, 0, 'u', {blob}, {blob}),
  (9005, 'acc', 'wh', 'verification', NULL, 1, {now}, 404, NULL, NULL, 9000, 0, 0, 'u', {blob}, {blob});
"""


async def test_what_the_first_version_kept_is_kept_and_its_health_is_known_from_its_log(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations.migrations
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda dialect: every(dialect)[:1])
        first = open_store(database_settings)
        await first.open()
    await first.close()
    if database_settings.database_url:
        with psycopg.connect(database_settings.database_url) as postgres:
            postgres.execute(FIRST.format(now=NOON, blob="'\\x0102'::bytea"))
    else:
        sqlite = apsw.Connection(str(sqlite_path(database_settings)))
        sqlite.execute(FIRST.format(now=NOON, blob="x'0102'"))
        sqlite.close()
    with pytest.raises(Misconfigured, match="run `gridhook migrate`"):
        await open_store(database_settings, migrate=False).open()
    store = open_store(database_settings)
    await store.open()
    assert await store.webhook("acc", "wh") == hook()
    assert await store.credentials("acc", "wh") == [CredentialInfo("cred_wh", NOON, NOON)]
    assert await state(store) == (1, 1)
    assert [one.id for one in await log(store)] == [9001, 9002, 9003, 9004, 9005]
    assert (await store.health("acc", ["wh"], now=NOON))["wh"] == Health(NOON - 5000, 2, NOON - 9000 + 7, NOON - 3000 + 9, "503", 1, 2)
    (due,) = (await claim(store)).claims
    assert (due.number, due.payload, due.credential_id, due.extras) == (4, b"\x01\x02", "cred_wh", None)
    await store.settle_held(now=NOON, limit=10)
    (held,) = (await claim(store)).claims
    assert await store.record([finished(due), finished(held)]) == [True, True]
    assert (await store.health("acc", ["wh"], now=NOON))["wh"].succeeded == 3
    await store.close()


async def test_a_database_that_was_never_migrated_is_refused_when_migrating_is_not_asked_for(database_settings: Settings) -> None:
    store = open_store(database_settings, migrate=False)
    with pytest.raises(Misconfigured, match="migrate"):
        await store.open()
    await store.close()


async def test_a_schema_newer_than_this_version_is_refused(store: SqlStore, database_settings: Settings) -> None:
    connection = store._driver.connect()
    raw: apsw.Connection | psycopg.Connection[tuple[object, ...]] = connection._connection  # type: ignore[attr-defined]
    raw.execute("INSERT INTO schema_migrations VALUES (999, 0)")
    connection.close()
    newer = open_store(database_settings)
    with pytest.raises(Misconfigured, match="version 999"):
        await newer.open()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://x/y", "sqlite"),
        ("sqlite:relative", "sqlite:///path"),
        ("sqlite:///", "sqlite:///path"),
        ("postgresql://nobody@127.0.0.1:1/none", "GRIDHOOK_DATABASE_URL"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_at_the_start(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        await open_store(Settings(data_dir=str(tmp_path), database_url=url)).open()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush@[::1/db",
        "postgresql://u:hu/sh@host/db",
        "postgresql://u:hu@sh@host/db",
        "postgresql://u:12/hush@host/db",
        "postgresql://u:hu%zzsh@host/db",
        "postgresql://u:hu sh@host/db",
        "postgresql://u:hush@host:99999/db",
        "postgresql://u:hush@host:1x/db",
        "postgresql://u:hush@host/db?password2=hush",
    ],
)
async def test_a_url_that_cannot_be_read_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match=r"GRIDHOOK_DATABASE_URL cannot be read; .*@ is %40") as refused:
        await open_store(Settings(data_dir=str(tmp_path), database_url=url)).open()
    assert not any(piece in str(refused.value) for piece in ("hu", "sh@", "12/"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hu%40%2Fsh@127.0.0.1:1/db",
        "postgresql://u@127.0.0.1:1,127.0.0.1:2/db",
        "postgresql:///db?host=/nowhere,@nothing&port=1,",
    ],
)
async def test_a_url_that_can_be_read_is_tried(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match=r"GRIDHOOK_DATABASE_URL: .*(?i:connection)"):
        await open_store(Settings(data_dir=str(tmp_path), database_url=url)).open()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gridhook.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Misconfigured, match=r"gridhook\.db"):
        await open_store(Settings(data_dir=str(tmp_path))).open()


async def test_the_database_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=str(tmp_path / "data")))
    await store.open()
    await a_webhook(store)
    await publish(store, event("e1"))
    for file in (tmp_path / "data").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    await store.close()


async def test_who_may_not_create_tables_can_run_on_a_schema_that_is_current(postgres_url: str, tmp_path: Path) -> None:
    await open_store(Settings(data_dir=str(tmp_path), database_url=postgres_url)).open()
    role = f"r{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
            connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
            theirs = Settings(data_dir=str(tmp_path), database_url=re.sub("//[^@/]*@", f"//{role}@", postgres_url))
            store = open_store(theirs)
            await store.open()
            assert await store.accounts() == []
            await store.close()
            connection.execute("DELETE FROM schema_migrations")
            with pytest.raises(Misconfigured, match=rf"permission denied .*; the role {role} must own the tables"):
                await open_store(theirs).open()
        finally:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


async def test_who_only_looks_makes_nothing_in_an_empty_database(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="run `gridhook migrate`"):
        await open_store(Settings(data_dir=str(tmp_path), database_url=postgres_url), migrate=False).open()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [(0,)]


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres_server: str, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            base, question, query = postgres_server.partition("?")
            url = f"{base.rsplit('/', 1)[0]}/{name}{question}{query}"
            with pytest.raises(Misconfigured, match=r"encoding is LATIN1.*ENCODING 'UTF8'"):
                await open_store(Settings(data_dir=str(tmp_path), database_url=url)).open()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
