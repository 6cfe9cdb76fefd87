"""Publishing: one commit for the event and its deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from msgspec.structs import replace

from gridhook.errors import Invalid, Unavailable
from gridhook.model import Instant, LaneLimits, NewEvent, Publication
from gridhook.store.promises import Lane, Published
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, TYPE, a_webhook, always, an_account, claim, event, publish, state


async def test_an_event_becomes_one_delivery_for_each_subscribed_webhook(store: SqlStore) -> None:
    await a_webhook(store, "one")
    await a_webhook(store, "two")
    await a_webhook(store, "other", types=("ag.card_template.published",))
    answer = await publish(store, event("e1"))
    assert answer.results == [Publication("e1", 2)]
    assert [await state(store, id) for id in ("one", "two", "other")] == [(0, 1), (0, 1), (0, 0)]


async def test_an_event_that_nobody_wants_is_kept_all_the_same(store: SqlStore) -> None:
    assert (await publish(store, event("e1"))).results == [Publication("e1", 0)]
    assert (await publish(store, event("e1"))).results == [Publication("e1", 0, duplicate=True)]


async def test_publishing_an_id_twice_creates_nothing_and_is_answered_like_the_first_time(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"))
    answer = await publish(store, event("e1"), leased=True)
    assert answer.results == [Publication("e1", 1, duplicate=True)]
    assert answer.claims == []
    assert await state(store) == (0, 1)


async def test_a_repeat_is_answered_with_the_first_count_even_if_more_webhooks_subscribed_since(store: SqlStore) -> None:
    await a_webhook(store, "one")
    await publish(store, event("e1"))
    await a_webhook(store, "two")
    assert (await publish(store, event("e1"))).results == [Publication("e1", 1, duplicate=True)]
    assert await state(store, "two") == (0, 0)


async def test_the_same_id_with_other_content_is_a_conflict_and_keeps_the_first(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1", content="first"))
    answer = await publish(store, event("e1", content="second"))
    assert answer.results == [Publication("e1", 0, conflict=True)]
    ((one),) = (await claim(store)).claims
    assert one.payload == event("e1", content="first").payload


async def test_a_repeat_within_one_batch_is_a_repeat(store: SqlStore) -> None:
    await a_webhook(store)
    answer = await publish(store, event("e1"), event("e2"), event("e1"), event("e2", content="other"), leased=True)
    assert answer.results == [
        Publication("e1", 1),
        Publication("e2", 1),
        Publication("e1", 1, duplicate=True),
        Publication("e2", 0, conflict=True),
    ]
    assert [one.event_id for one in answer.claims] == ["e1", "e2"]


async def test_two_publishers_of_one_id_at_once_create_one_event(store: SqlStore) -> None:
    await a_webhook(store)
    answers = await asyncio.gather(*(publish(store, event("e1"), leased=True) for _ in range(20)))
    assert sorted(answer.results[0].duplicate for answer in answers) == [False] + [True] * 19
    assert sum(len(answer.claims) for answer in answers) == 1
    assert await state(store) == (0, 1)


async def test_two_accounts_may_use_the_same_event_id(store: SqlStore) -> None:
    await a_webhook(store)
    await a_webhook(store, account="rival")
    answer = await publish(store, event("e1"), event("e1", account="rival"))
    assert [result.duplicate for result in answer.results] == [False, False]
    assert await state(store) == await state(store, account="rival") == (0, 1)


async def test_a_delivery_is_born_leased_with_all_that_its_attempt_needs(store: SqlStore) -> None:
    webhook = await a_webhook(store)
    answer = await publish(store, event("e1"), leased=True)
    (one,) = answer.claims
    assert (one.account_id, one.webhook_id, one.event_id, one.event_type) == ("acc", "wh", "e1", TYPE)
    assert (one.number, one.started_at, one.lease_until, one.time_at, one.expires_at) == (1, NOON, NOON + LEASE, NOON, NOON + 6 * HOUR)
    assert (one.url, one.url_version, one.auth_method) == (webhook.url, 1, webhook.auth_method)
    assert one.credential_id == "cred_wh"
    assert one.credential is not None
    assert one.credential.blob.endswith(b"sealed for wh")
    assert one.payload == event("e1").payload
    assert answer.queued == []
    assert (await claim(store)).claims == []


async def test_without_a_free_slot_a_delivery_is_born_due(store: SqlStore) -> None:
    await a_webhook(store)
    answer = await publish(store, event("e1"))
    assert answer.claims == []
    assert answer.queued == [("acc", "wh")]
    assert await store.lanes(now=NOON, limit=10) == [Lane("acc", "wh", NOON)]


@pytest.mark.parametrize("why", ["pending", "paused"])
async def test_a_delivery_for_a_pending_or_paused_webhook_is_born_held(store: SqlStore, why: str) -> None:
    await a_webhook(store, verified=why != "pending", paused=why == "paused")
    asked: list[str] = []

    def reserve(_account: str, webhook: str, _limits: LaneLimits | None) -> bool:
        asked.append(webhook)
        return True

    answer = await store.publish([event("e1")], lease_ms=LEASE, now=NOON, reserve=reserve)
    assert answer.results == [Publication("e1", 1)]
    assert (answer.claims, answer.queued, asked) == ([], [], [])
    assert await state(store) == (1, 0)
    assert await store.lanes(now=NOON, limit=10) == []


async def test_slots_are_asked_for_once_per_delivery_and_never_for_a_repeat(store: SqlStore) -> None:
    await a_webhook(store)
    asked: list[str] = []

    def one_slot(_account: str, webhook: str, _limits: LaneLimits | None) -> bool:
        asked.append(webhook)
        return len(asked) == 1

    answer = await store.publish([event("e1"), event("e2"), event("e1")], lease_ms=LEASE, now=NOON, reserve=one_slot)
    assert asked == ["wh", "wh"]
    assert [one.event_id for one in answer.claims] == ["e1"]
    assert answer.queued == [("acc", "wh")]


@pytest.mark.parametrize("poison", ["a type that is no text", "an instant that no database holds"])
async def test_one_event_that_cannot_be_stored_does_not_fail_its_neighbours(store: SqlStore, poison: str) -> None:
    await a_webhook(store)
    slots = 0

    def reserve(_account: str, _webhook: str, _limits: LaneLimits | None) -> bool:
        nonlocal slots
        slots += 1
        return True

    def give_back(_account: str, _webhook: str) -> None:
        nonlocal slots
        slots -= 1

    def publishing(one: NewEvent, now: Instant = NOON) -> Awaitable[Published]:
        return store.publish([one], lease_ms=LEASE, now=now, reserve=reserve, give_back=give_back)

    good = [f"e{number}" for number in range(10)]
    bad = (
        publishing(replace(event("bad"), type="\ud800"))
        if poison == "a type that is no text"
        else publishing(event("bad"), now=-(2**70))  # found out only when its delivery is written, after slots were reserved
    )
    refused, *answers = await asyncio.gather(bad, *(publishing(event(id)) for id in good), return_exceptions=True)
    assert isinstance(refused, Invalid)
    published = [answer for answer in answers if isinstance(answer, Published)]
    claims = [claim.event_id for answer in published for claim in answer.claims]
    assert claims == good
    assert slots == len(good), "what was reserved for the run that failed was used again or given back"
    assert await state(store) == (0, len(good))


async def test_a_publisher_who_goes_away_before_the_answer_leaves_no_slot_and_no_lease_behind(store: SqlStore) -> None:
    await a_webhook(store)
    returned = asyncio.Event()
    publishing = asyncio.create_task(
        store.publish(
            [event("e1")],
            lease_ms=LEASE,
            now=NOON,
            reserve=always,
            give_back=lambda _account, _webhook: returned.set(),
        )
    )
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await asyncio.wait_for(returned.wait(), 30)
    await store.release([], now=NOON)  # whatever was handed back waits before this
    (one,) = (await claim(store)).claims
    assert (one.event_id, one.number) == ("e1", 1)


async def test_an_event_that_is_too_old_already_is_not_sent(store: SqlStore) -> None:
    await a_webhook(store)
    answer = await publish(store, event("e1", at=NOON - 6 * HOUR), leased=True)
    assert answer.claims == []
    assert (await claim(store)).claims == []
    assert await state(store) == (0, 0)


async def test_a_closed_store_keeps_nothing_and_says_so(store: SqlStore) -> None:
    await store.close()
    await store.close()
    assert not store.is_alive()
    with pytest.raises(Unavailable):
        await publish(store, event("e1"))
    with pytest.raises(Unavailable):
        await store.account("acc")


async def test_what_waits_when_the_store_closes_is_written_and_answered(store: SqlStore) -> None:
    await an_account(store)
    publishing = [asyncio.create_task(publish(store, event(f"e{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*publishing)
    assert all(not answer.results[0].duplicate for answer in answers)
