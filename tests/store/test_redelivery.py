"""Once more: one delivery, or many at a rate, without sending anything twice that waits or has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gridhook.errors import Conflict, NotFound
from gridhook.model import (
    Claim,
    Delivered,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    FailureReason,
    GaveUp,
    Instant,
    Origin,
    Recovery,
    RecoveryState,
    RetryAt,
)
from gridhook.store import Store
from gridhook.store.promises import Retention
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, SECOND, WINDOW, a_webhook, an_account, answered, claim, event, finished, publish, state

FAILED = DeliveryFilter(states=(DeliveryState.FAILED,))
LATER = NOON + HOUR


async def a_failure(store: Store, id: str = "e1", *, at: Instant = NOON) -> int:
    """The id of a delivery that used up its attempts."""
    (ours,) = (await publish(store, event(id, at=at), leased=True, now=at)).claims
    await store.record([finished(ours, answered(503), GaveUp(FailureReason.EXHAUSTED))])
    return ours.delivery_id


async def failures(store: Store, count: int, *, at: Instant = NOON) -> list[int]:
    return [await a_failure(store, f"f{n}", at=at + n) for n in range(count)]


async def redeliver(store: Store, delivery_id: int, *, now: Instant = LATER, webhook: str = "wh") -> Delivery:
    return (await store.redeliver("acc", webhook, delivery_id, now=now, window_ms=WINDOW)).delivery


async def ask(
    store: Store, id: str = "r1", *, filter: DeliveryFilter = FAILED, rate: float = 1000.0, now: Instant = LATER, webhook: str = "wh"
) -> Recovery:
    return await store.add_recovery(Recovery("acc", webhook, id, filter, rate, now))


async def step(store: Store, id: str = "r1", *, now: Instant, webhook: str = "wh") -> Recovery:
    return await store.recover("acc", webhook, id, now=now, step_ms=SECOND, window_ms=WINDOW)


async def run(store: Store, id: str = "r1", *, now: Instant = LATER) -> Recovery:
    """All its steps, each when it is due."""
    while True:
        found = await step(store, id, now=now)
        if found.state is not RecoveryState.RUNNING:
            return found
        now += SECOND


async def queued(store: Store, *, now: Instant = LATER) -> list[Delivery]:
    page = await store.deliveries("acc", "wh", filter=DeliveryFilter(states=(DeliveryState.QUEUED,)), limit=1000, now=now)
    return page.deliveries[::-1]


@pytest.fixture
async def ready(store: SqlStore) -> SqlStore:
    await an_account(store)
    await a_webhook(store)
    return store


# --- one --------------------------------------------------------------------------------------------------------


async def test_a_failed_delivery_is_sent_again_with_the_same_event_and_a_schedule_and_a_window_of_its_own(ready: Store) -> None:
    old = await a_failure(ready)
    before = await ready.delivery("acc", "wh", old, now=LATER)
    new = await redeliver(ready, old)
    assert new.id != old
    assert (new.event_id, new.state, new.due_at, new.attempts, new.expires_at, new.created_at, new.origin) == (
        "e1",
        DeliveryState.QUEUED,
        LATER,
        0,
        LATER + WINDOW,
        LATER,
        Origin.REDELIVERY,
    )
    assert await ready.delivery("acc", "wh", old, now=LATER) == before
    (ours,) = (await claim(ready, now=LATER)).claims
    assert (ours.delivery_id, ours.number, ours.payload, ours.expires_at) == (new.id, 1, event("e1").payload, LATER + WINDOW)
    assert await ready.record([finished(ours)]) == [True]


async def test_a_delivery_that_arrived_can_be_sent_again_too(ready: Store) -> None:
    (ours,) = (await publish(ready, event("e1"), leased=True)).claims
    await ready.record([finished(ours)])
    assert (await redeliver(ready, ours.delivery_id)).state is DeliveryState.QUEUED


async def test_a_delivery_that_waits_for_its_next_attempt_is_brought_forward_with_its_number(ready: Store) -> None:
    (ours,) = (await publish(ready, event("e1"), leased=True)).claims
    await ready.record([finished(ours, answered(503), RetryAt(NOON + 5 * HOUR))])
    answer = await ready.redeliver("acc", "wh", ours.delivery_id, now=LATER, window_ms=WINDOW)
    assert (answer.brought_forward, answer.delivery.id, answer.delivery.due_at) == (True, ours.delivery_id, LATER)
    assert answer.delivery.expires_at == NOON + WINDOW
    (again,) = (await claim(ready, now=LATER)).claims
    assert (again.delivery_id, again.number) == (ours.delivery_id, 2)


async def test_one_that_is_due_already_keeps_its_place(ready: Store) -> None:
    await publish(ready, event("e1"))
    (waiting,) = await queued(ready)
    assert (await redeliver(ready, waiting.id)).due_at == NOON


async def test_one_whose_window_ended_while_it_waited_fails_and_is_sent_again_in_a_new_window(ready: Store) -> None:
    await publish(ready, event("e1"))
    (waiting,) = await queued(ready)
    new = await redeliver(ready, waiting.id, now=NOON + WINDOW)
    assert (new.id != waiting.id, new.expires_at) == (True, NOON + 2 * WINDOW)
    old = await ready.delivery("acc", "wh", waiting.id, now=NOON + WINDOW)
    assert (old.state, old.failure_reason) == (DeliveryState.FAILED, FailureReason.EXPIRED)


async def test_no_second_request_while_one_is_under_way(ready: Store) -> None:
    (ours,) = (await publish(ready, event("e1"), leased=True)).claims
    with pytest.raises(Conflict, match="is running; wait for its outcome"):
        await redeliver(ready, ours.delivery_id, now=NOON + LEASE - 1)
    # Its worker is gone: it is due, and the claim logs the lost attempt.
    assert (await redeliver(ready, ours.delivery_id, now=NOON + LEASE)).due_at == NOON + LEASE
    (again,) = (await claim(ready, now=NOON + LEASE)).claims
    assert again.number == 2


async def test_nothing_is_redelivered_to_a_webhook_that_may_not_be_sent_to(ready: Store) -> None:
    failed = await a_failure(ready)
    await ready.pause_webhook("acc", "wh", now=NOON)
    with pytest.raises(Conflict, match="paused; resume it first"):
        await redeliver(ready, failed)
    await ready.resume_webhook("acc", "wh", now=NOON)
    await ready.change_url("acc", "wh", "https://new.example.com/in", now=NOON)
    with pytest.raises(Conflict, match="pending: nothing is sent before its URL is verified"):
        await redeliver(ready, failed)
    await ready.delete_webhook("acc", "wh", now=NOON)
    with pytest.raises(NotFound):
        await redeliver(ready, failed)
    assert await state(ready) == (0, 0)


async def test_not_to_another_webhook_nor_for_another_account(ready: Store) -> None:
    failed = await a_failure(ready)
    await an_account(ready, "stranger")
    await a_webhook(ready, "wh", account="stranger")
    await a_webhook(ready, "wh2")
    for account, webhook in (("stranger", "wh"), ("acc", "wh2"), ("acc", "none")):
        with pytest.raises(NotFound):
            await ready.redeliver(account, webhook, failed, now=LATER, window_ms=WINDOW)


async def test_a_second_one_is_refused_while_the_first_waits_and_allowed_when_it_ended(ready: Store) -> None:
    failed = await a_failure(ready)
    first = await redeliver(ready, failed)
    with pytest.raises(Conflict, match=f"delivery {first.id} of the same event waits"):
        await redeliver(ready, failed)
    (ours,) = (await claim(ready, now=LATER)).claims
    await ready.record([finished(ours, answered(503), GaveUp(FailureReason.EXHAUSTED))])
    second = await redeliver(ready, failed, now=LATER + SECOND)
    assert second.id not in (failed, first.id)
    await ready.pause_webhook("acc", "wh", now=LATER)
    await ready.resume_webhook("acc", "wh", now=LATER)
    with pytest.raises(Conflict, match="waits"):
        await redeliver(ready, failed)


async def test_an_event_whose_payload_was_dropped_cannot_be_sent_again_and_the_refusal_names_the_setting(ready: Store) -> None:
    failed = await a_failure(ready)
    await ready.prune(Retention(events_before=0, attempts_before=0, bodies_before=LATER), limit=100)
    with pytest.raises(Conflict, match="GRIDHOOK_KEEP_BODIES_DAYS"):
        await redeliver(ready, failed)


async def test_two_people_who_ask_at_the_same_moment_on_two_processes_get_one(ready: Store, open_more: Callable[[], Store]) -> None:
    second = open_more()
    await second.open()
    for n in range(10):
        failed = await a_failure(ready, f"e{n}")
        answers = await asyncio.gather(redeliver(ready, failed), redeliver(second, failed), return_exceptions=True)
        assert sorted(type(one).__name__ for one in answers) == ["Conflict", "Delivery"]
    assert await state(ready) == (0, 10)


# --- many -------------------------------------------------------------------------------------------------------


async def test_a_recovery_sends_all_that_match_again_oldest_first_at_its_rate_and_says_what_it_did(ready: Store) -> None:
    await failures(ready, 25)
    (arrived,) = (await publish(ready, event("arrived"), leased=True)).claims
    await ready.record([finished(arrived)])
    asked = await ask(ready, rate=10.0)
    assert (asked.total, asked.state, asked.filter) == (25, RecoveryState.RUNNING, FAILED)
    requeued: list[int] = []
    for n in range(3):
        now = LATER + n * SECOND
        assert await ready.running_recoveries(now=now - 1, limit=5) == []
        assert await ready.running_recoveries(now=now, limit=5) == [("acc", "wh", "r1")]
        requeued.append((await step(ready, now=now)).requeued)
        assert (await step(ready, now=now + SECOND - 1)).requeued == requeued[-1]  # it rests, whoever asks
    assert requeued == [10, 20, 25]
    done = await ready.recovery("acc", "wh", "r1")
    assert (done.state, done.examined, done.requeued, done.skipped, done.gone) == (RecoveryState.DONE, 25, 25, 0, 0)
    assert done.finished_at == LATER + 2 * SECOND
    waiting = await queued(ready)
    assert [(one.event_id, one.origin, one.recovery_id, one.attempts) for one in waiting] == [
        (f"f{n}", Origin.RECOVERY, "r1", 0) for n in range(25)
    ]
    assert {one.expires_at - one.created_at for one in waiting} == {WINDOW}
    assert await ready.running_recoveries(now=LATER + HOUR, limit=5) == []
    assert await step(ready, now=LATER + HOUR) == done  # nothing more


async def test_a_slow_rate_holds_over_the_steps(ready: Store) -> None:
    await failures(ready, 3)
    await ask(ready, rate=0.5)
    counts = [(await step(ready, now=LATER + n * SECOND)).requeued for n in range(5)]
    assert counts == [1, 1, 2, 2, 3]


async def test_a_recovery_sends_nothing_twice(ready: Store) -> None:
    """Not what waits, not what arrived meanwhile, and an event that failed twice only once."""
    ids = await failures(ready, 5)
    await redeliver(ready, ids[0])  # f0 waits
    for id, verdict in ((ids[1], Delivered()), (ids[2], GaveUp(FailureReason.EXHAUSTED))):  # f1 arrived, f2 failed once more
        await redeliver(ready, id)
        (ours,) = [one for one in (await claim(ready, now=LATER)).claims if one.event_id != "f0"]
        await ready.record([finished(ours, answered(200 if verdict == Delivered() else 503), verdict)])
    asked = await ask(ready, now=LATER + 2 * LEASE)
    assert asked.total == 6
    done = await run(ready, now=LATER + 2 * LEASE)
    assert (done.examined, done.requeued, done.skipped, done.gone) == (6, 3, 3, 0)
    again = [one.event_id for one in await queued(ready) if one.origin is Origin.RECOVERY]
    assert again == ["f2", "f3", "f4"]


async def test_one_event_that_failed_twice_is_sent_once_even_if_it_fails_again_between_the_steps(ready: Store) -> None:
    async def fail_next(now: Instant) -> None:
        (ours,) = (await claim(ready, now=now)).claims
        assert ours.event_id == "f0"
        await ready.record([finished(ours, answered(503), GaveUp(FailureReason.EXHAUSTED))])

    (first, _) = await failures(ready, 2)
    await redeliver(ready, first)
    await fail_next(LATER)  # now f0, f1 and f0 again are to be walked
    await ask(ready, rate=1.0, now=LATER + SECOND)
    assert (await step(ready, now=LATER + SECOND)).requeued == 1
    await fail_next(LATER + SECOND)
    done = await run(ready, now=LATER + 2 * SECOND)
    assert (done.examined, done.requeued, done.skipped) == (3, 2, 1)
    assert [one.event_id for one in await queued(ready)] == ["f1"]


async def test_everything_since_a_time_is_everything_that_was_made_between_since_and_until(ready: Store) -> None:
    for n in range(6):
        (ours,) = (await publish(ready, event(f"e{n}", at=NOON + n), leased=True, now=NOON + n)).claims
        await ready.record([finished(ours, answered(200 if n % 2 else 503), Delivered() if n % 2 else GaveUp(FailureReason.EXHAUSTED))])
    both = (DeliveryState.FAILED, DeliveryState.DELIVERED)
    assert (await ask(ready, filter=DeliveryFilter(states=both, since=NOON + 1, until=NOON + 5))).total == 4
    assert (await run(ready)).requeued == 4
    assert [one.event_id for one in await queued(ready)] == ["e1", "e2", "e3", "e4"]


async def test_other_filters_hold_for_recoveries_too(ready: Store) -> None:
    await failures(ready, 3)
    for id, filter, total in (
        ("r1", DeliveryFilter(states=(DeliveryState.FAILED,), event_id="f1"), 1),
        ("r2", DeliveryFilter(states=(DeliveryState.FAILED,), result="503", event_type="no such"), 0),
        ("r3", DeliveryFilter(states=(DeliveryState.FAILED,), event_id="no such"), 0),
        ("r4", DeliveryFilter(states=(DeliveryState.FAILED,), result="503"), 3),
    ):
        asked = await ask(ready, id, filter=filter)
        assert asked.total == total
        done = await run(ready, id)
        assert (done.state, done.examined) == (RecoveryState.DONE, total)
    assert sorted(one.event_id for one in await queued(ready)) == ["f0", "f1", "f2"]
    assert [one.id for one in await ready.recoveries("acc", "wh", limit=3)] == ["r4", "r3", "r2"]


async def test_what_has_lost_its_payload_is_reported_as_gone(ready: Store) -> None:
    await failures(ready, 4)
    await ready.prune(Retention(events_before=0, attempts_before=0, bodies_before=NOON + 3), limit=100)
    await ask(ready)
    done = await run(ready)
    assert (done.examined, done.requeued, done.gone) == (4, 1, 3)


async def test_a_recovery_goes_on_after_a_restart_where_it_stood(ready: SqlStore, open_more: Callable[[], Store]) -> None:
    await failures(ready, 9)
    await ask(ready, rate=4.0)
    await step(ready, now=LATER)
    await ready.close()
    restarted = open_more()
    await restarted.open()
    assert await restarted.running_recoveries(now=LATER + SECOND, limit=5) == [("acc", "wh", "r1")]
    done = await run(restarted, now=LATER + SECOND)
    assert (done.requeued, done.skipped) == (9, 0)
    assert [one.event_id for one in await queued(restarted)] == [f"f{n}" for n in range(9)]


async def test_two_processes_that_make_the_same_step_make_it_once(ready: Store, open_more: Callable[[], Store]) -> None:
    second = open_more()
    await second.open()
    await failures(ready, 40)
    await ask(ready, rate=10.0)
    for n in range(4):
        now = LATER + n * SECOND
        both = await asyncio.gather(*(step(store, now=now) for store in (ready, second) for _ in range(3)))
        assert {one.requeued for one in both} == {10 * (n + 1)}
    done = await step(ready, now=LATER + 4 * SECOND)
    assert (done.state, done.requeued, done.skipped) == (RecoveryState.DONE, 40, 0)
    assert await state(ready) == (0, 40)


async def test_a_cancelled_recovery_stops_and_what_it_queued_goes_on(ready: Store) -> None:
    await failures(ready, 9)
    await ask(ready, rate=4.0)
    await step(ready, now=LATER)
    cancelled = await ready.cancel_recovery("acc", "wh", "r1", now=LATER + 1)
    assert (cancelled.state, cancelled.finished_at, cancelled.requeued) == (RecoveryState.CANCELLED, LATER + 1, 4)
    assert await step(ready, now=LATER + SECOND) == cancelled
    assert await ready.cancel_recovery("acc", "wh", "r1", now=LATER + 9) == cancelled
    assert await state(ready) == (0, 4)
    assert (await ask(ready, "r2", now=LATER + HOUR)).state is RecoveryState.RUNNING
    assert (await run(ready, "r2", now=LATER + HOUR)).skipped == 4


async def test_one_recovery_at_a_time_for_a_webhook_that_may_be_sent_to(ready: Store) -> None:
    await failures(ready, 3)
    await ask(ready)
    with pytest.raises(Conflict, match="runs already; wait for its end, or cancel it"):
        await ask(ready, "r2")
    await a_webhook(ready, "wh2")
    await ask(ready, "r2", webhook="wh2")
    await a_webhook(ready, "pending", verified=False)
    with pytest.raises(Conflict, match="pending"):
        await ask(ready, "r3", webhook="pending")
    await a_webhook(ready, "paused", paused=True)
    with pytest.raises(Conflict, match="paused"):
        await ask(ready, "r3", webhook="paused")
    for call in (
        ask(ready, "r3", webhook="none"),
        ready.recovery("acc", "wh2", "r1"),
        ready.cancel_recovery("acc", "wh2", "r1", now=LATER),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_recovery_waits_while_its_webhook_is_paused_and_ends_when_it_is_deleted(ready: Store) -> None:
    await failures(ready, 9)
    await ask(ready, rate=4.0)
    await step(ready, now=LATER)
    await ready.pause_webhook("acc", "wh", now=LATER)
    assert (await step(ready, now=LATER + SECOND)).requeued == 4
    assert await ready.running_recoveries(now=LATER + SECOND, limit=5) == []  # it rests: nobody asks again and again
    await ready.resume_webhook("acc", "wh", now=LATER)
    assert (await step(ready, now=LATER + 2 * SECOND)).requeued == 8
    await ready.delete_webhook("acc", "wh", now=LATER)
    ended = await step(ready, now=LATER + 3 * SECOND)
    assert (ended.state, ended.requeued) == (RecoveryState.CANCELLED, 8)


async def test_what_fails_after_it_was_asked_for_is_not_part_of_it(ready: Store) -> None:
    await failures(ready, 2)
    await ask(ready)
    await a_failure(ready, "younger", at=LATER)
    done = await run(ready, now=LATER + SECOND)
    assert done.requeued == 2
    assert "younger" not in [one.event_id for one in await queued(ready)]


async def test_what_still_waited_when_it_was_asked_for_and_failed_before_its_turn_is_part_of_it_and_of_what_is_expected(
    ready: Store,
) -> None:
    await failures(ready, 1)
    (waiting,) = (await publish(ready, event("waiting", at=NOON), leased=True)).claims
    asked = await ask(ready)
    assert (asked.total, asked.expected) == (1, 1)
    await ready.record([finished(waiting, answered(503), GaveUp(FailureReason.EXHAUSTED))])
    done = await run(ready, now=LATER + SECOND)
    assert (done.total, done.examined, done.requeued, done.expected) == (1, 2, 2, 2)


async def test_many_steps_over_more_failures_than_one_may_judge(ready: Store) -> None:
    events = [event(f"e{n}", at=NOON + n % 7) for n in range(1500)]
    claims: list[Claim] = (await publish(ready, *events, leased=True)).claims
    await ready.record([finished(one, answered(503), GaveUp(FailureReason.EXHAUSTED)) for one in claims])
    await ask(ready, rate=5000.0)
    assert (await step(ready, now=LATER)).requeued == 1000
    assert (await step(ready, now=LATER + SECOND)).requeued == 1500
    assert len({one.event_id for one in await queued(ready)}) == 1000  # of a page
    assert await state(ready) == (0, 1500)
