"""Statements, plans and migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import apsw
import psycopg
import pytest

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.model import DeliveryState, FailureReason
from gridhook.store import Store, migrations, open_store
from gridhook.store.postgres import PostgresConnection
from gridhook.store.queries import Dialect, load, parse
from gridhook.store.sqlite import SqliteConnection
from gridhook.store.sqlstore import SqlStore
from tests.store.world import NOON, a_webhook, an_account, event, publish

# statement -> (parameters, the index that it must use)
PLANS: dict[str, tuple[dict[str, object], str]] = {
    "due": ({"account_id": "acc", "webhook_id": "w1", "now": NOON, "limit": 10}, "deliveries_queue"),
    "next_due": ({"account_id": "acc", "webhook_id": "w1"}, "deliveries_queue"),
    "lanes": ({"account_id": "", "webhook_id": "", "limit": 10}, "deliveries_queue"),
    "hold_queued": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_queue"),
    "fail_queued": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_queue"),
    "count_queued": ({"account_id": "acc", "webhook_id": "w1"}, "deliveries_queue"),
    "held_lanes": ({}, "deliveries_held"),
    "release_held": ({"account_id": "acc", "webhook_id": "w1", "now": NOON, "limit": 10}, "deliveries_held"),
    "fail_held": ({"account_id": "acc", "webhook_id": "w1", "limit": 10}, "deliveries_held"),
    "count_held": ({"account_id": "acc", "webhook_id": "w1"}, "deliveries_held"),
    "expire_held": ({"now": NOON, "limit": 10}, "deliveries_held_expiry"),
    "known_event": ({"account_id": "acc", "id": "e1"}, "events_id"),
    "attempts_of_webhook_before": (
        {"account_id": "acc", "webhook_id": "w1", "started_at": NOON, "id": 5, "limit": 10},
        "attempts_by_webhook",
    ),
    "attempts_of_webhook_after": (
        {"account_id": "acc", "webhook_id": "w1", "started_at": NOON, "id": 5, "limit": 10},
        "attempts_by_webhook",
    ),
    "attempts_of_account_before": ({"account_id": "acc", "started_at": NOON, "id": 5, "limit": 10}, "attempts_by_account"),
    "attempts_of_account_after": ({"account_id": "acc", "started_at": NOON, "id": 5, "limit": 10}, "attempts_by_account"),
    "webhook_page": ({"account_id": "acc", "limit": 10, "offset": 0}, "webhooks_newest"),
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
}


def crowd(connection: apsw.Connection | psycopg.Connection[tuple[object, ...]], blob: str) -> None:
    for table, columns in ROWS.items():
        count = LANES * 10 if table.startswith("webhooks") else LANES * 10 + BIG_LANE
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
    values = ", ".join(f"'{params[key]}'" for key in query.names)
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
        assert f"INDEX {index} " in plan or f" using {index} " in plan or f" on {index} " in plan, f"{name}\n{plan}"
        for line in plan.splitlines():
            assert "Seq Scan on" not in line, f"{name}\n{plan}"
            # Walking a partial index in its order, to stop at the first row, is a probe too.
            assert (
                not line.startswith("SCAN")
                or f"INDEX {index}" in line
                or line in ("SCAN lane", "SCAN judged", "SCAN first", "SCAN CONSTANT ROW")
            ), f"{name}\n{plan}"
        if {"account_id", "webhook_id"} <= PLANS[name][0].keys():
            inside = ("Index Cond", f"INDEX {index} (account_id=? AND webhook_id")
            entered = [line for line in plan.splitlines() if "account_id" in line and "webhook_id" in line]
            assert any(word in line for line in entered for word in inside), f"{name}: the index must be entered at the lane\n{plan}"


def test_every_index_names_the_queries_that_need_it_and_they_exist() -> None:
    for dialect in ("sqlite", "postgres"):
        names = set(load(dialect))
        (schema,) = [migration.sql for migration in migrations.migrations(dialect)]
        lines = schema.splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX")):
                comment = lines[number - 1]
                assert comment.startswith("-- for: "), line
                wanted = comment.removeprefix("-- for: ").split(".")[0].split("(")[0]
                assert {name.strip() for name in wanted.split(",")} <= names, comment


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_databases_allow_exactly_the_states_and_reasons_that_exist(dialect: Dialect) -> None:
    (schema,) = [migration.sql for migration in migrations.migrations(dialect)]

    def check(column: str, values: list[str]) -> bool:
        return f"CHECK ({column} IN ({', '.join(repr(value) for value in values)}))" in schema

    assert check("state", [state.value for state in DeliveryState])
    assert check("failure_reason", [reason.value for reason in FailureReason])


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
