"""A million attempts cost a page nothing: shown by plans on both databases, and by counting SQLite's own steps."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from gridhook.config import Settings
from gridhook.model import AttemptFilter, AttemptKind, DeliveryFilter, DeliveryState, Reason
from gridhook.store import history, open_store, promises
from gridhook.store.postgres import Postgres
from gridhook.store.sqlite import Sqlite, SqliteConnection
from tests.store.past import a_past
from tests.store.test_schema import plan_on_postgres, plan_on_sqlite
from tests.store.world import HOUR, NOON

MILLION = 1_000_000
MOST_STEPS = 300_000  # of SQLite's virtual machine for one page, in the worst case: a stretch of 5,000 rows without a match; some ms

pytestmark = pytest.mark.timeout(300)  # making a million rows takes 20 seconds where nothing else runs

PAGE: dict[str, object] = {
    **dict.fromkeys(("event_type", "status", "status_class", "reason", "succeeded", "result")),
    "account_id": "acc",
    "webhook_id": "big",
    "event_id": "e1001",
    "kind": "test",
    "states": "failed,held",
    "at": NOON + HOUR,
    "id": 5,
    "end_at": NOON,
    "end_id": 0,
    "limit": 51,
    "most": 5000,
    "scan": 4999,
}
SWEEP: dict[str, object] = {"after": 500, "end": 2**62, "limit": 500, "ids": "[1, 2, 3]", "nothing": "", "before": NOON}

# statement -> (parameters, the indexes that it must use, may it sort: a few rows that are not its page)
PLANS: dict[str, tuple[dict[str, object], tuple[str, ...], bool]] = {
    **{
        f"attempts_{log}{edge}_{way}": (PAGE, (index,), False)
        for log, index in (
            ("webhook", "attempts_by_webhook"),
            ("account", "attempts_by_account"),
            ("failed", "attempts_failed"),
            ("other", "attempts_not_deliveries"),
        )
        for edge in ("", "_edge")
        for way in ("before", "after")
    },
    **{
        f"deliveries_{log}{edge}": (PAGE, (index,), False)
        for log, index in (("log", "deliveries_log"), ("failed", "deliveries_failed"))
        for edge in ("_before", "_after", "_edge_before", "_edge_after", "_count")
    },
    **{
        f"attempts_of_event_{way}": (PAGE, ("events_id", "deliveries_by_event", "attempts_by_delivery", "attempts_of_tests"), True)
        for way in ("before", "after")
    },
    **{f"deliveries_of_event_{way}": (PAGE, ("events_id", "deliveries_by_event"), True) for way in ("before", "after")},
    **{f"deliveries_waiting_{way}": (PAGE, ("deliveries_queue", "deliveries_held"), True) for way in ("before", "after")},
    "waiting": (PAGE, ("deliveries_queue", "deliveries_held"), False),
    "whole_event": ({"account_id": "acc", "id": "e1001"}, ("events_id", "deliveries_by_event"), False),
    "undelivered_failed": (PAGE, ("deliveries_failed",), True),
    "undelivered_held": (PAGE, ("deliveries_held",), True),
    "undelivered_queued": (PAGE, ("deliveries_queue",), True),
    "deliveries_by_event": ({"seq": 77}, ("deliveries_by_event",), True),
    "mark_redelivered": ({"ids": "[1, 2, 3]", "webhook_id": "big"}, ("deliveries_by_event",), False),
    "twins": ({"ids": "[1, 2, 3]", "webhook_id": "big"}, ("deliveries_by_event",), False),
    **{
        name: (SWEEP, indexes, False)
        for name, indexes in (
            ("attempts_by_ids", ("attempts_pkey", "deliveries_pkey")),
            ("deliveries_by_ids", ("deliveries_pkey", "events_pkey")),
            ("ages_of_attempts", ("attempts_pkey",)),
            ("ages_of_answers", ("attempts_pkey",)),
            ("ages_of_deliveries", ("deliveries_pkey",)),
            ("ages_of_events", ("events_pkey", "deliveries_by_event")),
            ("ages_of_payloads", ("events_pkey", "deliveries_by_event")),
            ("prune_attempts", ("attempts_pkey",)),
            ("prune_deliveries", ("deliveries_pkey",)),
            ("prune_events", ("events_pkey", "deliveries_by_event")),
            ("drop_payloads", ("events_pkey", "deliveries_by_event")),
            ("drop_answers", ("attempts_pkey",)),
        )
    },
}
HARMLESS = ("SCAN stretch", "SCAN d", "SCAN queued", "SCAN held", "SCAN newest", "SCAN first", "SCAN CONSTANT ROW", "SCAN json_each")


@pytest.fixture(scope="module")
def a_million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _sqlite(tmp_path_factory.mktemp("million"), MILLION)


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _sqlite(tmp_path_factory.mktemp("few"), 10_000)


def _sqlite(directory: Path, attempts: int) -> Path:
    database = Sqlite(directory / "gridhook.db")
    database.prepare(migrate=True)
    with closing(database.connect()) as connection:
        a_past(connection._connection, attempts)
    return database.path


@pytest.fixture(scope="module")
def a_million_in_postgres(postgres_server: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    base, question, query = postgres_server.partition("?")
    url = f"{base.rsplit('/', 1)[0]}/{name}{question}{query}"
    database = Postgres(url)
    database.prepare(migrate=True)
    with closing(database.connect()) as made:
        made._connection.execute("SET statement_timeout = 0")
        a_past(made._connection, MILLION)
        made._connection.execute("ANALYZE")
    yield url
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _uses(plan: str, index: str) -> bool:
    return f"INDEX {index} " in plan or f" using {index} " in plan or (index.endswith("_pkey") and "INTEGER PRIMARY KEY" in plan)


@pytest.mark.parametrize("is_analysed", [False, True])
def test_with_a_million_attempts_each_statement_of_the_log_enters_its_index_on_sqlite(a_million: Path, is_analysed: bool) -> None:
    """Whether or not somebody ran ANALYZE: gridhook itself never does."""
    with closing(apsw.Connection(str(a_million))) as raw:
        raw.execute("ANALYZE" if is_analysed else "SELECT 1")
        for name, (params, indexes, may_sort) in PLANS.items():
            plan = plan_on_sqlite(raw, name, params)
            assert all(_uses(plan, index) for index in indexes), f"{name}\n{plan}"
            for line in plan.splitlines():
                assert not line.startswith("SCAN ") or line.startswith(HARMLESS), f"{name}\n{plan}"
                assert may_sort or "TEMP B-TREE" not in line, f"{name}\n{plan}"
        raw.execute("DROP TABLE IF EXISTS sqlite_stat1")


def test_with_a_million_attempts_each_statement_of_the_log_enters_its_index_on_postgres(a_million_in_postgres: str) -> None:
    with psycopg.connect(a_million_in_postgres, autocommit=True) as raw:
        for name, (params, indexes, may_sort) in PLANS.items():
            plan = plan_on_postgres(raw, name, params)
            # Where few are held, it takes the smaller of the two indexes that hold nothing but them.
            assert all(_uses(plan, index) or (index == "deliveries_held" and _uses(plan, "deliveries_held_expiry")) for index in indexes), (
                f"{name}\n{plan}"
            )
            for line in plan.splitlines():
                assert "Seq Scan on" not in line, f"{name}\n{plan}"
                assert may_sort or "Sort" not in line, f"{name}\n{plan}"


ATTEMPTS = [
    AttemptFilter(),
    AttemptFilter(succeeded=False),
    AttemptFilter(succeeded=True),
    AttemptFilter(status=503),
    AttemptFilter(status=404),  # there is none
    AttemptFilter(status_class=5),
    AttemptFilter(reason=Reason.TIMEOUT),
    AttemptFilter(kind=AttemptKind.TEST),
    AttemptFilter(kind=AttemptKind.VERIFICATION, status=404),
    AttemptFilter(event_id="e1001"),
    AttemptFilter(event_id="never published"),
    AttemptFilter(event_type="rare"),
    AttemptFilter(event_type="never heard of"),
    AttemptFilter(event_type="rare", since=NOON + HOUR // 4, until=NOON + HOUR // 2),
]
DELIVERIES = [
    DeliveryFilter(),
    *(DeliveryFilter(states=(state,)) for state in DeliveryState),
    DeliveryFilter(states=(DeliveryState.HELD, DeliveryState.QUEUED)),
    DeliveryFilter(states=(DeliveryState.FAILED,), event_type="rare"),
    DeliveryFilter(states=(DeliveryState.FAILED,), result="404"),
    DeliveryFilter(event_type="rare"),
    DeliveryFilter(event_id="e1001"),
    DeliveryFilter(result="404"),
    DeliveryFilter(since=NOON + HOUR // 4, until=NOON + HOUR // 2),
]


class Steps:
    """Counts what SQLite does for a call, and how much of it was walking a whole table."""

    def __init__(self, connection: SqliteConnection) -> None:
        self.connection = connection
        self.made = self.scanned = 0
        connection._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count)

    def _count(self, event: dict[str, object]) -> None:
        status = event["stmt_status"]
        assert isinstance(status, dict)
        self.made += status["SQLITE_STMTSTATUS_VM_STEP"]
        self.scanned += status["SQLITE_STMTSTATUS_FULLSCAN_STEP"]

    def of(self, call: Callable[[SqliteConnection], object]) -> int:
        self.made = 0
        call(self.connection)
        return self.made


def _calls() -> Iterator[tuple[str, Callable[[SqliteConnection], object]]]:
    middle = (NOON + HOUR // 3, 0)
    for before, after in ((None, None), (middle, None), (None, middle)):
        for wanted in ATTEMPTS:
            for webhook in ("big", None):
                yield (
                    f"{webhook} {wanted} {before} {after}",
                    lambda db, w=wanted, h=webhook, b=before, a=after: history.attempts(db, "acc", h, b, a, w, 50),  # type: ignore[misc]
                )
        for seek in DELIVERIES:
            yield (
                f"{seek} {before} {after}",
                lambda db, w=seek, b=before, a=after: history.deliveries(db, "acc", "big", b, a, w, 50, NOON),  # type: ignore[misc]
            )
    yield "attempt", lambda db: history.attempt(db, "acc", 5001)
    yield "delivery", lambda db: history.delivery(db, "acc", "big", 1001, NOON)
    yield "event", lambda db: history.event(db, "acc", "e1001", NOON)


def test_a_page_of_a_million_attempts_takes_no_more_steps_than_one_of_ten_thousand(a_million: Path, ten_thousand: Path) -> None:
    """Where a stretch of 5,000 rows is looked at, a small log may hold fewer: then the bound is what counts."""
    with closing(Sqlite(ten_thousand).connect(read_only=True)) as small, closing(Sqlite(a_million).connect(read_only=True)) as big:
        few, many = Steps(small), Steps(big)
        same = 0
        for name, call in _calls():
            little, much = few.of(call), many.of(call)
            assert much <= MOST_STEPS, f"{name}: {much} steps"
            same += much <= little * 1.05
        assert few.scanned == many.scanned == 0
        assert same >= len(list(_calls())) // 2
        plain = AttemptFilter()
        assert few.of(lambda db: history.attempts(db, "acc", "big", None, None, plain, 50)) == many.of(
            lambda db: history.attempts(db, "acc", "big", None, None, plain, 50)
        )


async def test_what_is_rare_in_a_long_log_is_all_found_in_many_small_calls(a_million: Path, a_million_in_postgres: str) -> None:
    for settings in (Settings(data_dir=str(a_million.parent)), Settings(data_dir="unused", database_url=a_million_in_postgres)):
        store = open_store(settings)
        await store.open()
        found: list[int] = []
        calls, place = 0, None
        while calls == 0 or place is not None:
            page = await store.attempts("acc", "small", before=place, filter=AttemptFilter(event_type="rare"), limit=500)
            found += [one.id for one in page.attempts]
            place, calls = page.next, calls + 1
        await store.close()
        assert found == [n for n in range(MILLION, 0, -1) if (n + 4) // 5 % 1000 == 0]
        assert calls <= MILLION // 10 // history.SCAN + 2


def test_counting_what_did_not_arrive_stops_at_a_hundred_thousand(a_million: Path, tmp_path: Path) -> None:
    with closing(Sqlite(a_million).connect()) as connection:
        raw = connection._connection
        raw.execute("BEGIN")
        raw.execute("UPDATE deliveries SET state = 'failed', failure_reason = 'exhausted', due_at = NULL WHERE webhook_id = 'big'")
        (group, *_) = groups = history.undelivered(connection, "acc", "big", promises.MOST_UNDELIVERED)
        raw.execute("ROLLBACK")
        assert sum(one.count for one in groups) == promises.MOST_UNDELIVERED
        assert (group.state, group.last_result) == (DeliveryState.FAILED, "200")
