"""What was tried and what was owed: filters, pages both ways, one thing in full, and what did not arrive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gridhook.errors import NotFound
from gridhook.model import (
    Answered,
    Attempt,
    AttemptFilter,
    AttemptKind,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    FailureReason,
    GaveUp,
    Origin,
    Outcome,
    Reason,
    RetryAt,
    Unreachable,
    Verdict,
)
from gridhook.store import Store
from gridhook.store.promises import Undelivered
from tests.store.world import HOUR, LEASE, NOON, SECOND, WINDOW, a_webhook, an_account, answered, claim, event, finished, publish

OUTCOMES: tuple[tuple[Outcome, Verdict | None], ...] = (
    (answered(200), None),
    (answered(503), RetryAt(NOON + HOUR)),
    (Unreachable(Reason.TIMEOUT), RetryAt(NOON + HOUR)),
    (answered(201), None),
    (answered(404), GaveUp(FailureReason.EXHAUSTED)),
    (Unreachable(Reason.DNS_ERROR), GaveUp(FailureReason.EXPIRED)),
    (answered(302), GaveUp(FailureReason.EXHAUSTED)),
)
TYPES = ("ag.access_pass.issued", "ag.access_pass.activated", "ag.landing_page.created")


async def a_mixed_past(store: Store) -> None:
    """Two webhooks, three types, seven outcomes, attempts that share an instant, tests, handshakes, and deliveries in every state."""
    await an_account(store)
    for id in ("wh", "other"):
        await a_webhook(store, id, types=TYPES)
    for n in range(28):
        at = NOON + n // 2 * SECOND
        await publish(store, event(f"e{n}", type=TYPES[n % 3], at=at), now=at)
        if n < 24:
            for webhook in ("wh", "other"):
                (ours,) = (await claim(store, 1, webhook=webhook, now=at)).claims
                outcome, verdict = OUTCOMES[n % 7]
                assert await store.record([finished(ours, outcome, verdict)]) == [True]
    await store.pause_webhook("acc", "other", now=NOON)
    for n in range(4):
        test = event(f"test{n}", type=TYPES[n % 3])
        attempt = Attempt(
            "acc", "wh", AttemptKind.TEST, 1, NOON + n * SECOND, answered(200 if n % 2 else 500), url="https://x.example.com/in"
        )
        await store.add_attempt(replace(attempt, event_id=test.id, event_type=test.type), test)
        await store.add_attempt(replace(attempt, kind=AttemptKind.VERIFICATION, outcome=answered(200 if n % 2 else 404)))


def nothing(_one: object) -> bool:
    return False


ATTEMPT_FILTERS: dict[AttemptFilter, Callable[[Attempt], bool]] = {
    AttemptFilter(): lambda one: True,
    AttemptFilter(event_type=TYPES[1]): lambda one: one.event_type == TYPES[1],
    AttemptFilter(event_id="e8"): lambda one: one.event_id == "e8",
    AttemptFilter(event_id="test2"): lambda one: one.event_id == "test2",
    AttemptFilter(event_id="never published"): nothing,
    AttemptFilter(event_id="e7", succeeded=True): lambda one: one.event_id == "e7" and _status(one) in (200, 201),
    AttemptFilter(succeeded=True): lambda one: _status(one) in (200, 201),
    AttemptFilter(succeeded=False): lambda one: _status(one) not in (200, 201),
    AttemptFilter(status=503): lambda one: _status(one) == 503,
    AttemptFilter(status=200): lambda one: _status(one) == 200,
    AttemptFilter(status=201, kind=AttemptKind.DELIVERY): lambda one: _status(one) == 201 and one.kind is AttemptKind.DELIVERY,
    AttemptFilter(status_class=2): lambda one: _status(one) // 100 == 2,
    AttemptFilter(status_class=4): lambda one: _status(one) // 100 == 4,
    AttemptFilter(reason=Reason.TIMEOUT): lambda one: getattr(one.outcome, "reason", None) is Reason.TIMEOUT,
    AttemptFilter(reason=Reason.TIMEOUT, succeeded=True): nothing,
    AttemptFilter(kind=AttemptKind.TEST): lambda one: one.kind is AttemptKind.TEST,
    AttemptFilter(kind=AttemptKind.TEST, succeeded=False): lambda one: one.kind is AttemptKind.TEST and _status(one) != 200,
    AttemptFilter(kind=AttemptKind.VERIFICATION, status=404): lambda one: one.kind is AttemptKind.VERIFICATION and _status(one) == 404,
    AttemptFilter(kind=AttemptKind.DELIVERY): lambda one: one.kind is AttemptKind.DELIVERY,
    AttemptFilter(since=NOON + 2 * SECOND, until=NOON + 4 * SECOND): lambda one: NOON + 2 * SECOND <= one.started_at < NOON + 4 * SECOND,
    AttemptFilter(succeeded=False, since=NOON + 3 * SECOND): lambda one: (
        one.started_at >= NOON + 3 * SECOND and _status(one) not in (200, 201)
    ),
    AttemptFilter(event_type=TYPES[0], until=NOON): nothing,
    AttemptFilter(event_type="\0'; DROP TABLE attempts; --"): nothing,
}


def _status(one: Attempt) -> int:
    return one.outcome.status if isinstance(one.outcome, Answered) else 0


async def all_attempts(store: Store, webhook: str | None, filter: AttemptFilter, *, limit: int, upwards: bool = False) -> list[Attempt]:
    """Page after page until there is no next."""
    found: list[Attempt] = []
    place = (0, 0) if upwards else None
    while True:
        ways = {"after": place} if upwards else {"before": place}
        page = await store.attempts("acc", webhook, **ways, filter=filter, limit=limit)
        assert len(page.attempts) <= limit
        found += page.attempts
        if page.next is None:
            return found
        place = page.next


async def test_each_filter_finds_the_attempts_it_names_and_no_others_and_pages_meet_without_gap_both_ways(store: Store) -> None:
    await a_mixed_past(store)
    everything = {webhook: await all_attempts(store, webhook, AttemptFilter(), limit=1000) for webhook in ("wh", "other", None)}
    assert [len(found) for found in everything.values()] == [32, 24, 56]
    for webhook, log in everything.items():
        assert log == sorted(log, key=lambda one: (one.started_at, one.id), reverse=True)
        for filter, wanted in ATTEMPT_FILTERS.items():
            expected = [one for one in log if wanted(one)]
            assert await all_attempts(store, webhook, filter, limit=3) == expected, filter
            assert await all_attempts(store, webhook, filter, limit=3, upwards=True) == expected[::-1], filter
    empty = [filter for filter, wanted in ATTEMPT_FILTERS.items() if wanted is not nothing and not any(map(wanted, everything[None]))]
    assert empty == []  # each of them had something to find


DELIVERY_FILTERS: dict[DeliveryFilter, Callable[[Delivery], bool]] = {
    DeliveryFilter(): lambda one: True,
    **{DeliveryFilter(states=(state,)): lambda one, state=state: one.state is state for state in DeliveryState},  # type: ignore[misc]
    DeliveryFilter(states=(DeliveryState.HELD, DeliveryState.QUEUED)): lambda one: one.state in (DeliveryState.HELD, DeliveryState.QUEUED),
    DeliveryFilter(states=(DeliveryState.FAILED, DeliveryState.DELIVERED)): (
        lambda one: one.state in (DeliveryState.FAILED, DeliveryState.DELIVERED)
    ),
    DeliveryFilter(states=(DeliveryState.FAILED,), event_type=TYPES[2]): (
        lambda one: one.state is DeliveryState.FAILED and one.event_type == TYPES[2]
    ),
    DeliveryFilter(event_type=TYPES[0]): lambda one: one.event_type == TYPES[0],
    DeliveryFilter(event_id="e4"): lambda one: one.event_id == "e4",
    DeliveryFilter(event_id="e4", states=(DeliveryState.HELD,)): nothing,
    DeliveryFilter(event_id="never published"): nothing,
    DeliveryFilter(result="timeout"): lambda one: one.last_result == "timeout",
    DeliveryFilter(states=(DeliveryState.FAILED,), result="404"): lambda one: one.last_result == "404",
    DeliveryFilter(since=NOON + SECOND, until=NOON + 3 * SECOND): lambda one: NOON + SECOND <= one.created_at < NOON + 3 * SECOND,
    DeliveryFilter(states=(DeliveryState.QUEUED,), since=NOON + 5 * SECOND): (
        lambda one: one.state is DeliveryState.QUEUED and one.created_at >= NOON + 5 * SECOND
    ),
}


async def all_deliveries(store: Store, webhook: str, filter: DeliveryFilter, *, limit: int, upwards: bool = False) -> list[Delivery]:
    found: list[Delivery] = []
    place = (0, 0) if upwards else None
    while True:
        ways = {"after": place} if upwards else {"before": place}
        page = await store.deliveries("acc", webhook, **ways, filter=filter, limit=limit, now=NOON)
        found += page.deliveries
        if page.next is None:
            return found
        place = page.next


async def test_each_filter_finds_the_deliveries_it_names_and_no_others_and_pages_meet_without_gap_both_ways(store: Store) -> None:
    await a_mixed_past(store)
    for webhook in ("wh", "other"):
        log = await all_deliveries(store, webhook, DeliveryFilter(), limit=1000)
        assert len(log) == 28
        assert log == sorted(log, key=lambda one: (one.created_at, one.id), reverse=True)
        for filter, wanted in DELIVERY_FILTERS.items():
            expected = [one for one in log if wanted(one)]
            assert await all_deliveries(store, webhook, filter, limit=3) == expected, filter
            assert await all_deliveries(store, webhook, filter, limit=3, upwards=True) == expected[::-1], filter
    assert {one.state for webhook in ("wh", "other") for one in await all_deliveries(store, webhook, DeliveryFilter(), limit=99)} == {
        *DeliveryState
    }


async def test_one_attempt_is_shown_with_what_was_sent_and_with_its_webhook_as_it_is_now(store: Store) -> None:
    await a_mixed_past(store)
    (failed, *_) = await all_attempts(store, "wh", AttemptFilter(event_id="e4"), limit=9)
    detail = await store.attempt("acc", failed.id)
    assert detail.attempt == failed
    assert detail.payload == event("e4").payload
    assert detail.webhook == await store.webhook("acc", "wh")
    (test,) = await all_attempts(store, "wh", AttemptFilter(event_id="test1"), limit=9)
    assert (await store.attempt("acc", test.id)).payload == event("test1").payload
    (handshake, *_) = await all_attempts(store, "wh", AttemptFilter(kind=AttemptKind.VERIFICATION), limit=9)
    assert (await store.attempt("acc", handshake.id)).payload is None
    await store.delete_webhook("acc", "wh", now=NOON)
    gone = await store.attempt("acc", failed.id)
    assert (gone.attempt, gone.payload, gone.webhook) == (failed, event("e4").payload, None)


async def test_what_belongs_to_another_account_or_never_was_is_not_found(store: Store) -> None:
    await a_mixed_past(store)
    await an_account(store, "stranger")
    (mine, *_) = await all_attempts(store, "wh", AttemptFilter(event_id="e4"), limit=9)
    assert mine.delivery_id is not None
    for account, attempt_id in (("stranger", mine.id), ("acc", 10**6), ("acc", 0), ("acc", 10**30), ("acc", -(10**30))):
        with pytest.raises(NotFound):
            await store.attempt(account, attempt_id)
    for account, webhook, delivery_id in (
        ("stranger", "wh", mine.delivery_id),
        ("acc", "other", mine.delivery_id),
        ("acc", "wh", 10**6),
        ("acc", "wh", 10**30),
    ):
        with pytest.raises(NotFound):
            await store.delivery(account, webhook, delivery_id, now=NOON)
    for account, event_id in (("stranger", "e4"), ("acc", "nothing"), ("acc", "\0")):
        with pytest.raises(NotFound):
            await store.event(account, event_id, now=NOON)


async def test_an_event_is_shown_with_everything_that_was_owed_for_it_a_test_with_nothing(store: Store) -> None:
    await a_mixed_past(store)
    detail = await store.event("acc", "e5", now=NOON)
    assert (detail.event.id, detail.event.type, detail.event.payload, detail.event.is_test) == ("e5", TYPES[2], event("e5").payload, False)
    assert [(one.webhook_id, one.state, one.failure_reason, one.last_result) for one in detail.deliveries] == [
        ("other", DeliveryState.FAILED, FailureReason.EXPIRED, "dns_error"),
        ("wh", DeliveryState.FAILED, FailureReason.EXPIRED, "dns_error"),
    ]
    again = await store.redeliver("acc", "wh", detail.deliveries[1].id, now=NOON + SECOND * 60, window_ms=WINDOW)
    assert (await store.event("acc", "e5", now=NOON)).deliveries == [*detail.deliveries, again.delivery]
    test = await store.event("acc", "test3", now=NOON)
    assert (test.event.is_test, test.event.payload, test.deliveries) == (True, event("test3").payload, [])


async def test_a_delivery_is_in_flight_while_its_lease_runs(store: Store) -> None:
    await an_account(store)
    await a_webhook(store)
    (ours,) = (await publish(store, event("e1"), leased=True)).claims
    flying = await store.delivery("acc", "wh", ours.delivery_id, now=NOON + LEASE - 1)
    assert (flying.in_flight, flying.attempts, flying.due_at, flying.state) == (True, 1, NOON + LEASE, DeliveryState.QUEUED)
    assert not (await store.delivery("acc", "wh", ours.delivery_id, now=NOON + LEASE)).in_flight
    await store.record([finished(ours, answered(503), RetryAt(NOON + HOUR))])
    waiting = await store.delivery("acc", "wh", ours.delivery_id, now=NOON + SECOND)
    assert (waiting.in_flight, waiting.due_at, waiting.last_result) == (False, NOON + HOUR, "503")


async def test_attempts_of_a_redelivery_say_that_a_person_asked_for_them(store: Store) -> None:
    await an_account(store)
    await a_webhook(store)
    (first,) = (await publish(store, event("e1"), leased=True)).claims
    await store.record([finished(first, answered(500), GaveUp(FailureReason.EXHAUSTED))])
    await store.redeliver("acc", "wh", first.delivery_id, now=NOON + SECOND, window_ms=WINDOW)
    (second,) = (await claim(store, now=NOON + SECOND)).claims
    await store.record([finished(second)])
    log = await all_attempts(store, "wh", AttemptFilter(), limit=10)
    assert [(one.origin, one.number, one.event_id) for one in log] == [(Origin.REDELIVERY, 1, "e1"), (Origin.EVENT, 1, "e1")]
    assert (await store.attempt("acc", log[0].id)).attempt.origin is Origin.REDELIVERY


async def test_what_did_not_arrive_is_counted_by_reason(store: Store) -> None:
    await a_mixed_past(store)
    groups = await store.undelivered("acc", "wh")
    failed = [
        Undelivered(DeliveryState.FAILED, FailureReason.EXHAUSTED, "302", 3, NOON + 3 * SECOND, None),
        Undelivered(DeliveryState.FAILED, FailureReason.EXHAUSTED, "404", 3, NOON + 2 * SECOND, None),
        Undelivered(DeliveryState.FAILED, FailureReason.EXPIRED, "dns_error", 3, NOON + 2 * SECOND, None),
    ]
    queued = {None: (4, NOON + 12 * SECOND), "503": (4, NOON), "timeout": (4, NOON + SECOND)}
    assert [one for one in groups if one.state is DeliveryState.FAILED] == failed
    assert {one.last_result: (one.count, one.oldest_created_at) for one in groups if one.state is DeliveryState.QUEUED} == queued
    assert all(one.oldest_expires_at == one.oldest_created_at + WINDOW for one in groups if one.state is DeliveryState.QUEUED)
    assert [one.count for one in groups] == sorted((one.count for one in groups), reverse=True)
    held = [one for one in await store.undelivered("acc", "other") if one.state is DeliveryState.HELD]
    assert {(one.last_result, one.count) for one in held} == {(None, 4), ("503", 4), ("timeout", 4)}
    assert sum(one.count for one in held) == (await store.counts("acc", "other")).held
