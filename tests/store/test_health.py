"""The counters agree with the log, whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gridhook.model import (
    LATENCY_BOUNDS_MS,
    Answered,
    Attempt,
    Exchange,
    Finished,
    Health,
    Instant,
    Outcome,
    Reason,
    RetryAt,
    Timings,
    Unreachable,
    Window,
)
from gridhook.store import Store
from gridhook.store.health import OURS, ended_at
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, SECOND, a_webhook, claim, event, finished, log, publish

MINUTE = 60 * SECOND
DAY = 24 * HOUR
AGAIN = RetryAt(NOON)


def took(ms: float, status: int | None = 200, reason: Reason = Reason.TIMEOUT) -> Outcome:
    exchange = Exchange(Timings(total_us=int(ms * 1000)))
    return Unreachable(reason, exchange=exchange) if status is None else Answered(status, exchange=exchange)


def succeeded(attempt: Attempt) -> bool:
    return isinstance(attempt.outcome, Answered) and attempt.outcome.status in (200, 201)


def window(attempts: list[Attempt]) -> Window:
    """What the counters must say of these attempts, one by one and by plain arithmetic."""
    buckets = [0] * 11
    for one in attempts:
        ms = one.outcome.exchange.timings.total_us / 1000
        buckets[sum(ms > bound for bound in LATENCY_BOUNDS_MS)] += 1
    return Window(
        sum(succeeded(one) for one in attempts),
        sum(not succeeded(one) for one in attempts),
        sum(one.number > 1 for one in attempts),
        sum(round(one.outcome.exchange.timings.total_us / 1000) for one in attempts),
        tuple(buckets),
    )


async def deliver(store: Store, *outcomes: Outcome, at: Instant = NOON, webhook: str = "wh") -> list[Attempt]:
    """One event for each outcome, its attempts recorded in one group and started at `at`."""
    await publish(store, *(event(f"{webhook}-{at}-{n}", type=webhook) for n in range(len(outcomes))), now=at)
    claims = (await claim(store, len(outcomes), webhook=webhook, now=at)).claims
    done = [finished(one, outcome, None if outcome == took(1) else AGAIN) for one, outcome in zip(claims, outcomes, strict=True)]
    assert all(await store.record(done))
    return [one.attempt for one in done]


async def health(store: Store, now: Instant = NOON, webhook: str = "wh") -> Health:
    return (await store.health("acc", [webhook], now=now))[webhook]


@pytest.fixture
async def hooked(store: SqlStore) -> SqlStore:
    for id in ("wh", "other"):
        await a_webhook(store, id, types=(id,))
    return store


async def test_of_a_webhook_that_was_never_sent_to_nothing_is_said(hooked: SqlStore) -> None:
    assert await hooked.health("acc", ["wh", "other"], now=NOON) == {"wh": Health(), "other": Health()}
    assert await hooked.minutes("acc", None, since=0) == []
    assert await hooked.health("acc", [], now=NOON) == {}


async def test_a_webhook_is_failing_since_the_start_of_the_first_failure_after_its_last_success(hooked: SqlStore) -> None:
    await deliver(hooked, took(5))
    await deliver(hooked, took(10_000, None), at=NOON + MINUTE)
    await deliver(hooked, took(20, 503), took(30, 500), at=NOON + 2 * MINUTE)
    found = await health(hooked, NOON + 2 * MINUTE)
    assert (found.failing_since, found.consecutive_failures, found.last_result) == (NOON + MINUTE, 3, "500")
    assert (found.last_success_at, found.last_failure_at) == (NOON + 5, NOON + 2 * MINUTE + 30)
    assert (found.succeeded, found.failed) == (1, 3)
    assert found.day != Window()
    assert (await hooked.health("acc", ["wh", "other"], now=None)) == {"wh": replace(found, hour=Window(), day=Window()), "other": Health()}
    await deliver(hooked, took(7, 201), at=NOON + 3 * MINUTE)
    found = await health(hooked, NOON + 3 * MINUTE)
    assert (found.failing_since, found.consecutive_failures, found.last_result) == (None, 0, "201")
    assert found.last_failure_at == NOON + 2 * MINUTE + 30


async def test_within_a_group_attempts_count_in_the_order_in_which_they_ended(hooked: SqlStore) -> None:
    await deliver(hooked, took(900, 500), took(100, 500), took(500, 200), took(800, None, Reason.RESET))
    found = await health(hooked)
    assert (found.failing_since, found.consecutive_failures, found.last_result) == (NOON, 2, "500")
    assert (found.last_success_at, found.last_failure_at) == (NOON + 500, NOON + 900)


async def test_our_own_stops_and_crashes_are_not_the_receivers_failures(hooked: SqlStore) -> None:
    await deliver(hooked, took(1, None, Reason.INTERRUPTED))
    await publish(hooked, event("lost", type="wh"), leased=True)
    assert len((await claim(hooked, now=NOON + LEASE)).claims) == 2
    assert len(await log(hooked)) == 2
    assert await health(hooked, NOON + LEASE) == Health()


async def test_a_late_finisher_is_not_counted(hooked: SqlStore) -> None:
    (late,) = (await publish(hooked, event("e1", type="wh"), leased=True)).claims
    await claim(hooked, now=NOON + LEASE)
    assert await hooked.record([finished(late)]) == [False]
    assert await health(hooked) == Health()


async def test_latency_is_counted_up_to_each_bound_and_beyond_the_last(hooked: SqlStore) -> None:
    await deliver(hooked, took(0), took(10), took(10.001), took(2500), took(10_000), took(10_001), took(60_000))
    hour = (await health(hooked, NOON + MINUTE)).hour
    assert hour.latencies == (2, 1, 0, 0, 0, 0, 0, 1, 0, 1, 2)
    assert hour.latency_ms == 0 + 10 + 10 + 2500 + 10_000 + 10_001 + 60_000


async def test_an_hour_and_a_day_are_sixty_and_1440_minutes_with_the_running_one(hooked: SqlStore) -> None:
    now = NOON + 59 * SECOND
    for minutes_ago, status in ((0, 200), (59, 500), (60, 500), (1439, 200), (1440, 500)):
        await deliver(hooked, took(1, status), at=NOON - minutes_ago * MINUTE)
    found = await health(hooked, now)
    assert (found.hour.succeeded, found.hour.failed) == (1, 1)
    assert (found.day.succeeded, found.day.failed) == (2, 2)
    assert (found.succeeded, found.failed) == (2, 3)
    assert [at for at, _ in await hooked.minutes("acc", "wh", since=NOON - 60 * MINUTE)] == [
        NOON - 60 * MINUTE,
        NOON - 59 * MINUTE,
        NOON,
    ]


async def test_hours_add_minutes_up_from_the_instant_that_is_asked_about(hooked: SqlStore) -> None:
    since = NOON - 24 * HOUR + MINUTE
    await deliver(hooked, took(1), took(1, 500))
    for minutes_ago, status in ((59, 200), (60, 500), (1439, 200), (1440, 200)):
        await deliver(hooked, took(1, status), at=NOON - minutes_ago * MINUTE)
    await deliver(hooked, took(1), webhook="other")
    hours = await hooked.hours("acc", ["wh", "other", "none"], since=since)
    assert hours == {"wh": [(since, 1, 0), (since + 22 * HOUR, 0, 1), (since + 23 * HOUR, 2, 1)], "other": [(since + 23 * HOUR, 1, 0)]}
    day = (await health(hooked)).day
    assert (day.succeeded, day.failed) == (sum(one[1] for one in hours["wh"]), sum(one[2] for one in hours["wh"]))
    assert await hooked.hours("rival", ["wh"], since=since) == {}


async def test_an_accounts_minutes_are_those_of_all_its_webhooks_together_deleted_ones_included(hooked: SqlStore) -> None:
    await deliver(hooked, took(5), took(7, 500))
    await deliver(hooked, took(5), webhook="other")
    await hooked.delete_webhook("acc", "other", now=NOON)
    await a_webhook(hooked, "theirs", account="rival")
    together = Window(2, 1, 0, 17, (3, *[0] * 10))
    assert await hooked.minutes("acc", None, since=NOON - DAY) == [(NOON, together)]
    assert await hooked.minutes("rival", None, since=NOON - DAY) == []
    assert await hooked.minutes("rival", "wh", since=NOON - DAY) == []
    assert (await hooked.health("rival", ["wh"], now=NOON))["wh"] == Health()


@pytest.mark.parametrize("seed", range(3))
async def test_counters_agree_with_the_log_after_any_history(hooked: SqlStore, open_more: Callable[[], Store], seed: int) -> None:
    chance = random.Random(seed)
    other = open_more()
    await other.open()
    model = {id: Health() for id in ("wh", "other")}
    now = NOON
    for step in range(40):
        now += chance.choice((0, SECOND, 30 * SECOND, LEASE, 20 * MINUTE, 5 * HOUR))
        for id in model:
            await publish(hooked, *(event(f"{id}-{step}-{n}", type=id, at=now) for n in range(chance.randrange(3))), now=now)
        store = chance.choice((hooked, other))
        done: list[Finished] = []
        for id in model:
            for one in (await claim(store, chance.choice((1, 5, 50)), webhook=id, now=now)).claims:
                if chance.random() < 0.1:
                    continue  # its worker dies
                kind = (chance.choice((200, 201, 404, 503, None)), chance.choice((Reason.TIMEOUT, Reason.RESET, Reason.INTERRUPTED)))
                outcome = took(chance.choice((0, 1, 9.6, 10, 26, 1000, 61_000)), *kind)
                attempt = replace(finished(one, outcome).attempt, started_at=now)
                done.append(finished(one, outcome, None if succeeded(attempt) else RetryAt(now)))
        settled = await store.record(done)
        for attempt in sorted((one.attempt for one, kept in zip(done, settled, strict=True) if kept), key=ended_at):
            model[attempt.webhook_id] = told(model[attempt.webhook_id], attempt)
    for id in model:
        counted = [one for one in await log(hooked, id) if not isinstance(one.outcome, Unreachable) or one.outcome.reason not in OURS]
        first_minute = now - now % MINUTE - 59 * MINUTE, now - now % MINUTE - 1439 * MINUTE
        hour, day = (window([one for one in counted if ended_at(one) >= first]) for first in first_minute)
        found = await health(hooked, now, id)
        assert found == replace(model[id], hour=hour, day=day)
        assert (found.succeeded, found.failed) == (window(counted).succeeded, window(counted).failed)
        minutes = await hooked.minutes("acc", id, since=0)
        assert minutes == [
            (at, window([one for one in counted if ended_at(one) // MINUTE == at // MINUTE]))
            for at in sorted({ended_at(one) // MINUTE * MINUTE for one in counted})
        ]


def told(health: Health, attempt: Attempt) -> Health:
    """The counters after one attempt more."""
    at = ended_at(attempt)
    match attempt.outcome:
        case Answered(status=status):
            result = str(status)
        case Unreachable(reason=reason) if reason not in OURS:
            result = reason.value
        case _:
            return health
    if succeeded(attempt):
        last = max(at, health.last_success_at or 0)
        return replace(
            health, failing_since=None, consecutive_failures=0, last_success_at=last, last_result=result, succeeded=health.succeeded + 1
        )
    return replace(
        health,
        failing_since=health.failing_since if health.consecutive_failures else attempt.started_at,
        consecutive_failures=health.consecutive_failures + 1,
        last_failure_at=max(at, health.last_failure_at or 0),
        last_result=result,
        failed=health.failed + 1,
    )


async def test_processes_that_count_for_the_same_webhooks_at_once_lose_nothing(hooked: SqlStore, open_more: Callable[[], Store]) -> None:
    other = open_more()
    await other.open()
    pair: tuple[Store, ...] = (hooked, other)
    groups: list[tuple[Store, list[Finished]]] = []
    for number in range(30):
        claims = (await publish(hooked, event(f"a{number}", type="wh"), event(f"b{number}", type="other"), leased=True)).claims
        done = [finished(one, took(5, 200 if number % 2 else 500), None if number % 2 else AGAIN) for one in claims]
        groups.append((pair[number % 2], done if number % 3 else done[::-1]))  # not in the same order everywhere
    answers = await asyncio.gather(*(store.record(done) for store, done in groups))
    assert answers == [[True, True]] * 30
    for id in ("wh", "other"):
        found = await health(hooked, NOON, id)
        assert (found.succeeded, found.failed, found.hour.succeeded, found.hour.failed) == (15, 15, 15, 15)
