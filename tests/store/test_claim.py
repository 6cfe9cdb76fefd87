"""Claiming, recording, releasing: a delivery has one owner, and none for longer than a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gridhook.model import Answered, Delivered, Exchange, FailureReason, GaveUp, Phase, Reason, RetryAt, Timings, Unreachable
from gridhook.store import Store
from gridhook.store.promises import Lane, Want
from gridhook.store.sqlstore import SqlStore
from tests.store.world import (
    HOUR,
    LEASE,
    NOON,
    SECOND,
    WINDOW,
    a_webhook,
    answered,
    claim,
    event,
    finished,
    log,
    publish,
    state,
)

LATER = NOON + LEASE + SECOND  # every lease taken at noon has ended


async def test_a_delivery_is_claimed_by_one_worker_only(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await a_webhook(store)
    await publish(store, *(event(f"e{number}") for number in range(200)))
    rivals: list[Store] = [store, open_more(), open_more()]
    for rival in rivals[1:]:
        await rival.open()
    rounds = await asyncio.gather(*(claim(rival, 25) for rival in rivals for _ in range(8)))
    ids = [one.delivery_id for claimed in rounds for one in claimed.claims]
    assert len(ids) == len(set(ids))
    rest = await claim(store, 200)
    assert {*ids, *(one.delivery_id for one in rest.claims)} >= set(ids)
    assert len(ids) + len(rest.claims) == 200


async def test_no_lane_gives_more_than_was_asked_of_it(store: SqlStore) -> None:
    await a_webhook(store, "one")
    await a_webhook(store, "two")
    await publish(store, *(event(f"e{number}") for number in range(5)))
    claimed = await store.claim([Want("acc", "one", 2), Want("acc", "two", 3)], lease_ms=LEASE, now=NOON)
    assert [one.webhook_id for one in claimed.claims] == ["one"] * 2 + ["two"] * 3
    assert claimed.lanes == [Lane("acc", "one", NOON), Lane("acc", "two", NOON)]


async def test_what_is_due_first_is_claimed_first_and_never_early(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("second"), now=NOON + 2 * SECOND)
    await publish(store, event("first"), now=NOON + 1 * SECOND)
    assert (await claim(store)).claims == []
    assert (await claim(store)).lanes == [Lane("acc", "wh", NOON + SECOND)]
    assert [one.event_id for one in (await claim(store, now=NOON + 5 * SECOND)).claims] == ["first", "second"]


async def test_an_expired_lease_is_due_again_and_the_lost_attempt_is_in_the_log(store: SqlStore) -> None:
    webhook = await a_webhook(store)
    (lost,) = (await publish(store, event("e1"), leased=True)).claims
    assert (await claim(store, now=NOON + LEASE - 1)).claims == []
    (again,) = (await claim(store, now=NOON + LEASE)).claims
    assert (again.delivery_id, again.number) == (lost.delivery_id, 2)
    assert again.lease != lost.lease
    (attempt,) = await log(store)
    assert attempt.outcome == Unreachable(Reason.WORKER_LOST, phase=Phase.REQUEST)
    assert (attempt.number, attempt.started_at, attempt.event_id) == (1, NOON, "e1")
    assert (attempt.url, attempt.credential_id) == (webhook.url, "cred_wh")


async def test_a_lost_attempt_does_not_claim_to_know_a_url_that_was_changed_since(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"), leased=True)
    await store.change_url("acc", "wh", "https://new.example.com/", now=NOON + SECOND)
    await claim(store, now=LATER)
    (attempt,) = await log(store)
    assert attempt.url == ""


async def test_a_late_finisher_changes_nothing(store: SqlStore) -> None:
    await a_webhook(store)
    (ours,) = (await publish(store, event("e1"), leased=True)).claims
    (theirs,) = (await claim(store, now=LATER)).claims
    before = await log(store)
    assert await store.record([finished(ours)]) == [False]
    assert await log(store) == before
    assert await state(store) == (0, 1)
    assert await store.record([finished(theirs)]) == [True]
    assert await state(store) == (0, 0)
    assert [one.number for one in await log(store)] == [1, 2]


async def test_two_workers_that_finish_one_delivery_in_the_same_group_do_not_both_win(store: SqlStore) -> None:
    await a_webhook(store)
    (ours,) = (await publish(store, event("e1"), leased=True)).claims
    (theirs,) = (await claim(store, now=LATER)).claims
    answers = await asyncio.gather(*(store.record([finished(one)]) for one in (ours, theirs, theirs, ours)))
    assert answers == [[False], [True], [False], [False]]
    assert await store.record([finished(theirs), finished(ours)]) == [False, False]
    assert [one.number for one in await log(store)] == [1, 2]


async def test_a_received_delivery_is_never_due_again(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    assert await store.record([finished(one, answered(201), Delivered())]) == [True]
    assert await state(store) == (0, 0)
    assert await store.lanes(now=NOON, limit=10) == []
    assert (await claim(store, now=NOON + HOUR)).claims == []


async def test_a_retry_is_due_at_its_time_with_the_next_number(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    at = NOON + 30 * SECOND
    await store.record([finished(one, answered(500), RetryAt(at), at)])
    assert await store.lanes(now=NOON, limit=10) == [Lane("acc", "wh", at)]
    assert (await claim(store, now=at - 1)).claims == []
    (again,) = (await claim(store, now=at)).claims
    assert (again.number, again.payload) == (2, one.payload)
    (attempt,) = await log(store)
    assert attempt.next_attempt_at == at


async def test_a_delivery_given_up_is_failed_with_its_attempt_in_the_log(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    assert await store.record([finished(one, answered(500), GaveUp(FailureReason.EXHAUSTED))]) == [True]
    assert await state(store) == (0, 0)
    assert len(await log(store)) == 1


async def test_our_own_stop_gives_the_number_back_but_leaves_the_attempt_in_the_log(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    await store.record([finished(one, Unreachable(Reason.INTERRUPTED), RetryAt(NOON))])
    (again,) = (await claim(store)).claims
    assert again.number == 1
    (attempt,) = await log(store)
    assert attempt.outcome == Unreachable(Reason.INTERRUPTED)


async def test_a_released_claim_is_due_at_once_with_its_number_and_without_an_attempt(store: SqlStore) -> None:
    await a_webhook(store)
    claims = (await publish(store, event("e1"), event("e2"), leased=True)).claims
    await store.release(claims[:1], now=NOON + SECOND)
    (again,) = (await claim(store, now=NOON + SECOND)).claims
    assert (again.delivery_id, again.number) == (claims[0].delivery_id, 1)
    assert await log(store) == []


async def test_releasing_a_lost_lease_changes_nothing(store: SqlStore) -> None:
    await a_webhook(store)
    claims = (await publish(store, event("e1"), leased=True)).claims
    (theirs,) = (await claim(store, now=LATER)).claims
    await store.release(claims, now=LATER)
    assert (await claim(store, now=LATER)).claims == []
    assert await store.record([finished(theirs)]) == [True]


async def test_a_delivery_that_kills_workers_ends_with_its_schedule(store: SqlStore) -> None:
    await a_webhook(store)
    now = NOON
    await publish(store, event("e1"))
    numbers = []
    while (claimed := await claim(store, now=now)).claims:
        numbers.append(claimed.claims[0].number)
        now += LEASE
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert claimed.lanes == []
    assert await state(store) == (0, 0)
    assert [(one.number, one.outcome.reason) for one in await log(store) if isinstance(one.outcome, Unreachable)] == [
        (number, Reason.WORKER_LOST) for number in numbers
    ]


async def test_no_attempt_starts_after_the_event_has_expired(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"))
    assert (await claim(store, now=NOON + 6 * HOUR)).claims == []
    assert await state(store) == (0, 0)


@pytest.mark.parametrize("leased", [False, True])
async def test_what_is_due_for_a_webhook_that_lost_its_verification_is_held_at_the_claim(store: SqlStore, leased: bool) -> None:
    await a_webhook(store)
    await publish(store, event("e1"), leased=leased)
    await store.change_url("acc", "wh", "https://new.example.com/", now=NOON)
    assert (await claim(store, now=LATER)).claims == []
    assert await state(store) == (1, 0)
    assert len(await log(store)) == leased  # what was in flight when its worker died may have been seen by the receiver


async def test_a_retry_for_a_webhook_that_lost_its_verification_meanwhile_is_held(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    await store.change_url("acc", "wh", "https://new.example.com/", now=NOON)
    assert await store.record([finished(one, answered(500), RetryAt(NOON + 30 * SECOND))]) == [True]
    assert await state(store) == (1, 0)


async def test_a_retry_for_a_webhook_that_was_deleted_meanwhile_is_failed(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    await store.delete_webhook("acc", "wh", now=NOON)
    assert await store.record([finished(one, answered(500), RetryAt(NOON + 30 * SECOND))]) == [True]
    assert await state(store) == (0, 0)
    assert len(await log(store)) == 1


async def test_a_worker_that_died_with_a_deleted_webhooks_delivery_leaves_its_attempt_in_the_log(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"), leased=True)
    await store.delete_webhook("acc", "wh", now=NOON)
    claimed = await claim(store, now=LATER)
    assert (claimed.claims, claimed.lanes) == ([], [])
    assert [one.number for one in await log(store)] == [1]


async def test_a_delivery_says_what_its_last_attempt_brought_a_lost_one_included(store: SqlStore) -> None:
    await a_webhook(store)

    async def last() -> list[str | None]:
        page = await store.deliveries("acc", "wh", limit=10, now=NOON)
        return [one.last_result for one in reversed(page.deliveries)]

    claims = (await publish(store, *(event(f"e{number}") for number in range(5)), leased=True)).claims
    assert await last() == [None] * 5
    brought = [
        finished(claims[0], answered(201)),
        finished(claims[1], answered(503), RetryAt(NOON)),
        finished(claims[2], Unreachable(Reason.TLS_CERTIFICATE), GaveUp(FailureReason.EXPIRED)),
        finished(claims[3], Unreachable(Reason.INTERRUPTED), RetryAt(NOON + HOUR)),
    ]
    await store.record(brought)
    assert await last() == ["201", "503", "tls_certificate", "interrupted", None]
    assert [one.event_id for one in (await claim(store)).claims] == ["e1"]
    assert await last() == ["201", "503", "tls_certificate", "interrupted", None], "another attempt runs"
    assert {one.event_id for one in (await claim(store, now=LATER)).claims} == {"e1", "e4"}
    assert await last() == ["201", "worker_lost", "tls_certificate", "interrupted", "worker_lost"]
    await store.pause_webhook("acc", "wh", now=LATER)
    assert (await claim(store, now=LATER + 2 * HOUR)).claims == []
    assert await last() == ["201", "worker_lost", "tls_certificate", "interrupted", "worker_lost"]


async def test_a_receivers_bytes_are_kept_as_they_came(store: SqlStore) -> None:
    await a_webhook(store)
    claims = (await publish(store, event("e1"), event("e2"), leased=True)).claims
    exchange = Exchange(Timings(1, None, 3, 4, 5), "203.0.113.9", "TLSv1.3", 1)
    evil = Answered(200, b"x: \xff\x00\r\n", bytes(range(256)), True, "reset\x00 by \ud800 peer", exchange)
    lost = Unreachable(Reason.TLS_CERTIFICATE, "expired \x00", Phase.TLS, exchange)
    assert await store.record([finished(claims[0], evil), finished(claims[1], lost)]) == [True, True]
    first, second = sorted(await log(store), key=lambda one: one.event_id or "")
    assert first == replace(finished(claims[0], evil).attempt, id=first.id, outcome=replace(evil, body_error="reset\ufffd by ? peer"))
    assert second.outcome == replace(lost, detail="expired \ufffd")


async def test_lanes_are_listed_in_order_and_in_pages(store: SqlStore) -> None:
    for account in ("b", "a"):
        for id in ("two", "one", "held"):
            await a_webhook(store, id, account=account, verified=id != "held")
        await publish(store, *(event(f"e{number}", account=account) for number in range(3)), now=NOON + 5)
        await publish(store, *(event(f"f{number}", account=account) for number in range(3)))
    everything = [Lane(account, id, NOON) for account in "ab" for id in ("one", "two")]
    assert await store.lanes(now=NOON, limit=100) == everything
    assert await store.lanes(now=NOON, limit=3) == everything[:3]
    assert await store.lanes(now=NOON, limit=100, after=("a", "two")) == everything[2:]


@pytest.mark.parametrize("slots", [1, 16])
async def test_what_expired_while_a_lane_was_down_is_cleared_away_in_large_steps(store: SqlStore, slots: int) -> None:
    """A failing lane claims for one slot: at a row each, more could expire than it ever clears away."""
    await a_webhook(store)
    await publish(store, *(event(f"old{number}", at=NOON - WINDOW) for number in range(300)))
    await publish(store, event("fresh"))
    assert (await claim(store, slots)).claims == []
    assert [one.event_id for one in (await claim(store, slots)).claims] == ["fresh"]
    assert [one.count for one in await store.undelivered("acc", "wh") if one.failure_reason is FailureReason.EXPIRED] == [300]
    assert await log(store) == []
