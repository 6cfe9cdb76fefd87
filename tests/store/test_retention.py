"""Forgetting: in small steps, in the right order, and never what is still owed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gridhook.config import Settings
from gridhook.errors import Conflict, NotFound, Unavailable
from gridhook.model import (
    Answered,
    Attempt,
    AttemptFilter,
    AttemptKind,
    Claim,
    DeliveryFilter,
    DeliveryState,
    FailureReason,
    GaveUp,
    Instant,
    Recovery,
    RetryAt,
)
from gridhook.store import Store, open_store
from gridhook.store.postgres import PostgresConnection
from gridhook.store.promises import Pruned, Redelivered, Retention
from gridhook.store.retention import BLOCK, LOOKED_AT, YOUNG_BLOCKS, Drops, Sweep
from gridhook.store.sqlite import SqliteConnection
from gridhook.store.sqlstore import SqlStore
from gridhook.testing import FakeClock
from tests.store.test_long_past import Steps
from tests.store.world import HOUR, LEASE, NOON, SECOND, WINDOW, a_webhook, an_account, answered, claim, event, finished, log, publish

DAY = 24 * HOUR
NEVER = 0


def keep(*, events: Instant = NEVER, attempts: Instant = NEVER, bodies: Instant = NEVER) -> Retention:
    return Retention(events_before=events, attempts_before=attempts, bodies_before=bodies)


async def prune(store: Store, retention: Retention, *, limit: int = 100) -> Pruned:
    """Step by step until nothing is left to do."""
    total = Pruned(0, 0, 0, 0, more=True)
    for _ in range(1000):
        one = await store.prune(retention, limit=limit)
        assert max(one.deliveries, one.attempts) <= limit
        assert one.events <= limit
        assert one.bodies <= 2 * limit
        total = Pruned(
            total.events + one.events, total.deliveries + one.deliveries, total.attempts + one.attempts, total.bodies + one.bodies, one.more
        )
        if not one.more:
            return total
    raise AssertionError("it never ends")


async def settled(store: Store, id: str, *, at: Instant, failed: bool = False) -> int:
    (ours,) = (await publish(store, event(id, at=at), leased=True, now=at)).claims
    await store.record([finished(ours, answered(503), GaveUp(FailureReason.EXHAUSTED)) if failed else finished(ours)])
    return ours.delivery_id


@pytest.fixture
async def ready(store: SqlStore) -> SqlStore:
    await an_account(store)
    await a_webhook(store)
    return store


async def test_events_go_with_their_deliveries_and_attempts_in_their_own_time(ready: Store) -> None:
    for n in range(10):
        await settled(ready, f"e{n}", at=NOON + n * DAY)
    assert await prune(ready, keep(events=NOON + 4 * DAY, attempts=NOON + 6 * DAY)) == Pruned(4, 4, 6, 0, more=False)
    left = await ready.deliveries("acc", "wh", limit=99, now=NOON)
    assert [one.event_id for one in left.deliveries] == ["e9", "e8", "e7", "e6", "e5", "e4"]
    log = await ready.attempts("acc", "wh", limit=99)
    assert [one.event_id for one in log.attempts] == ["e9", "e8", "e7", "e6"]
    with pytest.raises(NotFound):
        await ready.event("acc", "e3", now=NOON)
    assert await prune(ready, keep(events=NOON + 4 * DAY, attempts=NOON + 6 * DAY)) == Pruned(0, 0, 0, 0, more=False)


async def test_attempts_that_outlive_their_event_are_still_found_by_its_id(ready: Store) -> None:
    for n in range(3):
        await settled(ready, f"e{n}", at=NOON)
    await prune(ready, keep(events=NOON + DAY))
    (found,) = (await ready.attempts("acc", "wh", filter=AttemptFilter(event_id="e1"), limit=9)).attempts
    detail = await ready.attempt("acc", found.id)
    assert (detail.attempt.event_id, detail.payload) == ("e1", None)


async def test_attempts_that_outlive_their_delivery_are_still_found_by_their_event_though_a_redelivery_keeps_it(ready: Store) -> None:
    first = await settled(ready, "e1", at=NOON, failed=True)
    await ready.redeliver("acc", "wh", first, now=NOON + 3 * DAY, window_ms=HOUR)
    (again,) = (await claim(ready, now=NOON + 3 * DAY)).claims
    await ready.record([finished(again)])
    await prune(ready, keep(events=NOON + 2 * DAY))
    for webhook in ("wh", None):
        page = await ready.attempts("acc", webhook, filter=AttemptFilter(event_id="e1"), limit=9)
        assert [one.delivery_id for one in page.attempts] == [again.delivery_id, first]


async def test_events_that_were_owed_to_nobody_and_tests_go_too(ready: Store) -> None:
    await publish(ready, event("unwanted", type="ag.something.else"))
    test = Attempt("acc", "wh", AttemptKind.TEST, 1, NOON, answered(), event_id="test", event_type="t")
    await ready.add_attempt(test, event("test"))
    assert await prune(ready, keep(events=NOON + DAY)) == Pruned(2, 0, 0, 0, more=False)
    for id in ("unwanted", "test"):
        with pytest.raises(NotFound):
            await ready.event("acc", id, now=NOON)


async def test_an_event_waits_for_its_last_delivery(ready: Store) -> None:
    old = await settled(ready, "e1", at=NOON, failed=True)
    await ready.redeliver("acc", "wh", old, now=NOON + 5 * DAY, window_ms=WINDOW)
    (ours,) = (await claim(ready, now=NOON + 5 * DAY)).claims
    await ready.record([finished(ours)])
    assert await prune(ready, keep(events=NOON + 3 * DAY)) == Pruned(0, 1, 0, 0, more=False)
    assert [one.id for one in (await ready.event("acc", "e1", now=NOON)).deliveries] == [ours.delivery_id]
    assert await prune(ready, keep(events=NOON + 6 * DAY)) == Pruned(1, 1, 0, 0, more=False)


async def test_bodies_are_dropped_before_their_rows_and_the_rows_say_so(ready: Store) -> None:
    for n in range(6):
        await settled(ready, f"e{n}", at=NOON + n * DAY)
    assert await prune(ready, keep(bodies=NOON + 4 * DAY), limit=3) == Pruned(0, 0, 0, 8, more=False)
    for n in range(6):
        (attempt,) = (await ready.attempts("acc", "wh", filter=AttemptFilter(event_id=f"e{n}"), limit=9)).attempts
        detail = await ready.attempt("acc", attempt.id)
        outcome = detail.attempt.outcome
        assert isinstance(outcome, Answered)
        dropped = n < 4
        assert (detail.payload is None, detail.attempt.bodies_dropped) == (dropped, dropped)
        assert (outcome.status, outcome.headers == b"", outcome.body == b"") == (200, dropped, dropped)
        assert ((await ready.event("acc", f"e{n}", now=NOON)).event.payload == b"") == dropped
    assert await prune(ready, keep(bodies=NOON + 5 * DAY)) == Pruned(0, 0, 0, 2, more=False)


async def test_what_is_held_queued_or_in_flight_keeps_its_row_and_its_payload_however_old(ready: Store) -> None:
    await a_webhook(ready, "held", paused=True)
    (flying,) = (await publish(ready, event("flying"), leased=True)).claims
    await publish(ready, event("waiting"))
    everything = keep(events=NOON + 99 * DAY, attempts=NOON + 99 * DAY, bodies=NOON + 99 * DAY)
    only_bodies = keep(bodies=NOON + 99 * DAY)
    for retention in (only_bodies, everything):
        assert await prune(ready, retention) == Pruned(0, 0, 0, 0, more=False)
    assert await ready.record([finished(flying)]) == [True]
    (waiting,) = (await claim(ready)).claims
    assert waiting.payload == event("waiting").payload
    await ready.resume_webhook("acc", "held", now=NOON)
    assert {one.payload for one in (await claim(ready, webhook="held")).claims} == {event("flying").payload, event("waiting").payload}


async def test_who_redelivers_while_another_process_forgets_gets_it_whole_or_is_refused(
    ready: Store, open_more: Callable[[], Store]
) -> None:
    second = open_more()
    await second.open()
    kept = 0
    for n in range(30):
        failed = await settled(ready, f"e{n}", at=NOON + n, failed=True)
        retention = keep(bodies=NOON + DAY) if n % 2 else keep(events=NOON + DAY)
        answer, _ = await asyncio.gather(
            ready.redeliver("acc", "wh", failed, now=NOON + 2 * DAY, window_ms=WINDOW), prune(second, retention), return_exceptions=True
        )
        if isinstance(answer, Redelivered):
            kept += 1
            (ours,) = (await claim(ready, now=NOON + 2 * DAY)).claims
            assert (ours.delivery_id, ours.payload) == (answer.delivery.id, event(f"e{n}").payload)
            await ready.record([finished(ours)])
        else:
            assert isinstance(answer, Conflict | NotFound)
    assert kept  # it is not always too late


async def test_a_repeat_of_a_forgotten_event_is_a_new_event(ready: Store) -> None:
    await settled(ready, "e1", at=NOON)
    assert (await publish(ready, event("e1"))).results[0].duplicate
    await prune(ready, keep(events=NOON + DAY))
    assert not (await publish(ready, event("e1"), now=NOON + DAY)).results[0].duplicate


async def test_counters_stay_except_minutes_older_than_eight_days(database_settings: Settings) -> None:
    clock = FakeClock(NOON)
    store = open_store(database_settings, clock=clock)
    await store.open()
    await an_account(store)
    await a_webhook(store)
    for n in range(4):
        await settled(store, f"e{n}", at=NOON + n * SECOND * 60)
    assert await store.minutes("acc", "wh", since=0) != []
    before = await store.minutes("acc", "wh", since=0)
    clock.advance(ms=8 * DAY - 60 * SECOND)
    await prune(store, keep(events=NOON + DAY, attempts=NOON + DAY))
    assert await store.minutes("acc", "wh", since=0) == before
    clock.advance(ms=HOUR)
    await prune(store, keep(events=NOON + DAY, attempts=NOON + DAY))
    assert await store.minutes("acc", "wh", since=0) == []
    assert (await store.health("acc", ["wh"], now=clock.now()))["wh"].succeeded == 4
    await store.close()


async def test_reports_of_old_recoveries_go_running_ones_stay(ready: Store) -> None:
    await settled(ready, "e1", at=NOON, failed=True)
    for id in ("old", "young"):
        at = NOON + (1 if id == "old" else 3) * DAY
        await ready.add_recovery(Recovery("acc", "wh", id, DeliveryFilter(event_id="none"), 1.0, at))
        await ready.recover("acc", "wh", id, now=at, step_ms=SECOND, window_ms=WINDOW)
    await ready.add_recovery(Recovery("acc", "wh", "running", DeliveryFilter(states=(DeliveryState.FAILED,)), 1.0, NOON))
    await prune(ready, keep(events=NOON + 2 * DAY))
    assert {one.id for one in await ready.recoveries("acc", "wh", limit=9)} == {"young", "running"}


# --- how far it looks -------------------------------------------------------------------------------------------


def rows_of_attempts(store: SqlStore, *blocks: tuple[int, int, Instant]) -> None:
    """Attempts with ids from `first` to `last`, all of one instant: what processes with blocks of ids of their own leave."""
    connection = store._driver.connect()
    assert isinstance(connection, SqliteConnection | PostgresConnection)
    blob = "x'00'" if isinstance(connection, SqliteConnection) else "'\\x00'::bytea"
    with closing(connection):
        for first, last, at in blocks:
            connection._connection.execute(
                f"WITH RECURSIVE n (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {last}) "
                "INSERT INTO attempts (id, account_id, webhook_id, kind, number, started_at, status, total_us, reconnects, truncated, url, "
                f"headers, body) SELECT n, 'acc', 'wh', 'delivery', 1, {at}, 200, 1, 0, 0, 'u', {blob}, {blob} FROM n"
            )


async def test_young_rows_of_a_slow_process_do_not_stand_in_the_way_of_old_ones(ready: SqlStore) -> None:
    """Ids are handed out in blocks: one that is used slowly holds young rows under small ids for weeks."""
    rows_of_attempts(
        ready,
        (BLOCK + 1, BLOCK + 300, NOON + 9 * DAY),
        (5 * BLOCK + 1, 5 * BLOCK + 250, NOON),
        (5 * BLOCK + 300, 5 * BLOCK + 310, NOON + 9 * DAY),
    )
    rows_of_attempts(ready, *((n * BLOCK + 7, n * BLOCK + 7, NOON + 9 * DAY) for n in range(6, 20)), (21 * BLOCK, 21 * BLOCK, NOON))
    assert (await prune(ready, keep(bodies=NOON + DAY))).bodies == 251
    assert (await prune(ready, keep(attempts=NOON + DAY))).attempts == 251
    assert (await prune(ready, keep(bodies=NOON + 10 * DAY))).bodies == 300 + 11 + 14


async def test_what_became_old_under_a_place_already_passed_is_found_the_next_time(ready: SqlStore) -> None:
    rows_of_attempts(ready, (1, 20, NOON), (BLOCK + 1, BLOCK + 20, NOON + DAY))
    assert (await prune(ready, keep(bodies=NOON + 1))).bodies == 20
    rows_of_attempts(ready, (21, 30, NOON + DAY), (BLOCK + 21, BLOCK + 30, NOON + 2 * DAY))
    assert (await prune(ready, keep(bodies=NOON + DAY + 1))).bodies == 30
    assert (await prune(ready, keep(attempts=NOON + DAY + 1))).attempts == 50
    assert (await prune(ready, keep(attempts=NOON + 9 * DAY))).attempts == 10


async def test_what_a_process_writes_late_under_early_ids_is_found_too(ready: SqlStore) -> None:
    """It took its block of ids, then its transaction failed, or was slow: another's block was seen first."""
    rows_of_attempts(ready, (3 * BLOCK + 1, 3 * BLOCK + 20, NOON))
    assert (await prune(ready, keep(bodies=NOON + 1))).bodies == 20
    rows_of_attempts(ready, (1, 5, NOON), (2 * BLOCK + 1, 2 * BLOCK + 10, NOON))
    assert (await prune(ready, keep(bodies=NOON + 1))).bodies == 15
    rows_of_attempts(ready, (2 * BLOCK + 11, 2 * BLOCK + 12, NOON), (BLOCK + 1, BLOCK + 3, NOON))
    assert (await prune(ready, keep(bodies=NOON + 1))).bodies == 5


async def test_rows_that_stay_are_not_looked_at_again_and_again(tmp_path: Path) -> None:
    """Counted in steps of SQLite: emptying 20,000 rows looks at each once, and a look when nothing is to be done looks at none of them."""
    store = open_store(Settings(data_dir=str(tmp_path)))
    assert isinstance(store, SqlStore)
    await store.open()
    rows_of_attempts(store, (1, 20_000, NOON), (2 * BLOCK + 1, 2 * BLOCK + 50, NOON + DAY))
    connection = store._driver.connect()
    assert isinstance(connection, SqliteConnection)
    steps, drops = Steps(connection), Drops("ages_of_answers")
    found: list[int] = []
    more = True
    while more:
        rows, more = drops.look(connection, NOON + 1, 100)
        found += [row[0] for row in rows]
    assert found == list(range(1, 20_001))
    per_row = steps.made / 20_000
    idle = steps.of(lambda db: drops.look(db, NOON + 1, 100))
    assert idle < 100 * per_row
    again = Drops("ages_of_answers")  # after a restart: everything once, by the stretch
    assert steps.of(lambda db: again.look(db, NOON + 1, 100)) <= (LOOKED_AT + 200) * per_row
    sweep = Sweep("ages_of_attempts")
    assert steps.of(lambda db: sweep.look(db, NOON, 100)) < (YOUNG_BLOCKS + 200) * per_row  # all is young
    connection.close()
    await store.close()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_was_accepted_and_is_undecided_can_be_claimed_with_its_payload_however_much_is_forgotten(
    database_settings: Settings, open_more: Callable[[], Store], seed: int
) -> None:
    """All that is older than this very instant is forgotten at every step, while events are published, sent, retried, held, sent again."""
    chance = random.Random(seed)
    clock = FakeClock(NOON)
    store = open_store(replace(database_settings, retry_delays_seconds=(1,) * 1000), clock=clock)  # so that none is used up
    other = open_more()
    await store.open()
    await other.open()
    await an_account(store)
    await a_webhook(store)
    undecided: dict[str, bytes] = {}
    decided: list[tuple[str, int]] = []
    flying: list[Claim] = []
    forgot = Pruned(0, 0, 0, 0, more=False)

    async def some_events() -> None:
        events = [event(f"e{clock.now()}-{n}", at=clock.now(), content="x" * n) for n in range(chance.randint(1, 20))]
        undecided.update((one.id, one.payload) for one in events)
        flying.extend((await publish(store, *events, leased=chance.random() < 0.5, now=clock.now())).claims)

    async def some_claims() -> None:
        flying.extend((await claim(store, chance.randint(1, 20), now=clock.now())).claims)

    async def some_outcomes() -> None:
        chance.shuffle(flying)
        ending, flying[:] = flying[:10], flying[10:]
        ends = [chance.choice(("delivered", "failed", "again")) for _ in ending]
        settled_now = await store.record(
            [
                finished(one)
                if end == "delivered"
                else finished(one, answered(503), GaveUp(FailureReason.EXHAUSTED) if end == "failed" else RetryAt(clock.now() + SECOND))
                for one, end in zip(ending, ends, strict=True)
            ]
        )
        for one, end, ours in zip(ending, ends, settled_now, strict=True):
            if ours and end != "again":
                undecided.pop(one.event_id)
                decided.append((one.event_id, one.delivery_id))

    async def a_redelivery() -> None:
        if decided:
            id, delivery_id = decided.pop(chance.randrange(len(decided)))
            try:
                await store.redeliver("acc", "wh", delivery_id, now=clock.now(), window_ms=WINDOW)
            except (NotFound, Conflict):
                return  # forgotten already, paused, or its payload is gone
            undecided[id] = await payload_of(id)

    async def payload_of(id: str) -> bytes:
        return (await store.event("acc", id, now=clock.now())).event.payload

    async def a_pause() -> None:
        await store.pause_webhook("acc", "wh", now=clock.now())
        flying.clear()

    async def a_resumption() -> None:
        await store.resume_webhook("acc", "wh", now=clock.now())

    async def forgetting() -> None:
        nonlocal forgot
        before = clock.now() + 1
        rows = chance.choice(
            (keep(bodies=before), keep(events=before, attempts=before), keep(events=before, attempts=before, bodies=before))
        )
        for one in (store, other):
            step = await one.prune(rows, limit=chance.randint(1, 30))
            forgot = Pruned(forgot.events + step.events, forgot.deliveries, forgot.attempts, forgot.bodies + step.bodies, more=False)

    for _ in range(250):
        act = chance.choice(
            (
                some_events,
                some_claims,
                some_claims,
                some_outcomes,
                some_outcomes,
                a_redelivery,
                a_pause,
                a_resumption,
                forgetting,
                forgetting,
            )
        )
        await act()
        clock.advance(ms=chance.randint(1, 5 * SECOND))
    assert forgot.events > 50
    assert forgot.bodies > 5

    await a_resumption()
    clock.advance(ms=LEASE + 60 * SECOND)
    await prune(store, keep(events=clock.now(), attempts=clock.now(), bodies=clock.now()))
    found: dict[str, bytes] = {}
    while claims := (await claim(store, 100, now=clock.now())).claims:
        found.update((one.event_id, one.payload) for one in claims)
    assert found == undecided
    await store.close()


async def test_what_could_not_be_forgotten_while_the_database_was_away_is_forgotten_when_it_is_back(
    ready: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled(ready, "e1", at=NOON)
    with monkeypatch.context() as away:

        def refuse(_operation: object) -> None:
            raise Unavailable("away")

        away.setattr(ready._writer, "submit", refuse)
        with pytest.raises(Unavailable):
            await ready.prune(keep(bodies=NOON + DAY), limit=10)
    await prune(ready, keep(bodies=NOON + DAY))
    (one,) = await log(ready)
    assert one.bodies_dropped
