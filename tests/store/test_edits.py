"""Editing, pausing and resuming, while deliveries go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from gridhook.errors import NotFound, Stale
from gridhook.model import Attempt, AttemptKind, Claim, FailureReason, GaveUp, LaneLimits, RetryAt, Sealed
from gridhook.store import Store
from gridhook.store.promises import Credential, WebhookCounts, WebhookEdit
from gridhook.store.sqlstore import SqlStore
from tests.store.world import (
    HOUR,
    LEASE,
    NOON,
    SECOND,
    TYPE,
    WINDOW,
    a_webhook,
    an_account,
    answered,
    claim,
    event,
    finished,
    hook,
    key_ids,
    log,
    publish,
    state,
)

OTHER_TYPE = "ag.card_template.published"
EXTRAS = Sealed(b"\x01\x02k1" + bytes(28) + b"headers and keys")
NEW_URL = "https://new.example.com/in"


async def proven(store: Store, name: str = "ch", now: int = NOON) -> None:
    challenge = await store.issue_challenge("acc", "wh", name, now=now)
    assert await store.settle_challenge(challenge, None, matched=True, now=now)


# --- editing ----------------------------------------------------------------------------------------------------


async def test_a_webhook_is_registered_with_limits_and_extras_and_edited_in_all_its_parts_at_once(store: SqlStore) -> None:
    before = replace(hook(), limits=LaneLimits(5, 2.5), extras=EXTRAS)
    await store.add_webhook(before, None)
    assert await store.webhook("acc", "wh") == before
    edit = WebhookEdit(name="Türsteuerung ☃", url=NEW_URL, subscribed_events=(OTHER_TYPE,), limits=LaneLimits(None, 0.5), extras=None)
    after = await store.edit_webhook("acc", "wh", edit, now=NOON)
    assert after == replace(
        before,
        name="Türsteuerung ☃",
        url=NEW_URL,
        url_version=2,
        verified_at=None,
        subscribed_events=(OTHER_TYPE,),
        limits=LaneLimits(None, 0.5),
        extras=None,
        revision=2,
    )
    assert await store.webhook("acc", "wh") == after
    assert (await store.webhooks("acc", offset=0, limit=10)).webhooks == [after]


async def test_an_account_has_no_more_webhooks_than_it_may_also_when_many_are_registered_at_once(
    store: SqlStore, open_more: Callable[[], Store]
) -> None:
    await an_account(store)
    other = open_more()
    await other.open()
    both = (store, other)
    made = await asyncio.gather(*(both[n % 2].add_webhook(hook(f"w{n}"), None, most=3) for n in range(12)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["Conflict"] * 9 + ["NoneType"] * 3
    assert (await store.webhooks("acc", offset=0, limit=10)).total == 3


async def test_what_an_edit_does_not_name_stays_as_it_is(store: SqlStore) -> None:
    before = replace(hook(), limits=LaneLimits(5), extras=EXTRAS)
    await store.add_webhook(before, None)
    assert await store.edit_webhook("acc", "wh", WebhookEdit(name="other"), now=NOON) == replace(before, name="other", revision=2)
    assert await store.edit_webhook("acc", "wh", WebhookEdit(limits=None), now=NOON) == replace(
        before, name="other", limits=None, revision=3
    )


async def test_two_people_who_edit_the_same_state_do_not_overwrite_each_other(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await a_webhook(store)
    other = open_more()
    await other.open()
    answers = await asyncio.gather(
        *(
            (store, other)[number % 2].edit_webhook("acc", "wh", WebhookEdit(name=f"name {number}"), revision=1, now=NOON)
            for number in range(8)
        ),
        return_exceptions=True,
    )
    (won,) = [one for one in answers if not isinstance(one, BaseException)]
    assert [type(one) for one in answers if one is not won] == [Stale] * 7
    assert await store.webhook("acc", "wh") == won
    assert won.revision == 2
    with pytest.raises(Stale, match="revision 2, not 1"):
        await store.edit_webhook("acc", "wh", WebhookEdit(url=NEW_URL, subscribed_events=()), revision=1, now=NOON)
    assert await store.webhook("acc", "wh") == won, "a refused edit changes nothing"
    assert (await publish(store, event("e1"))).results[0].deliveries == 1


async def test_every_edit_raises_the_revision_by_one_also_when_many_come_at_once(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await a_webhook(store)
    other = open_more()
    await other.open()
    edits = [
        (store, other)[number % 2].edit_webhook("acc", "wh", WebhookEdit(limits=LaneLimits(number + 1)), now=NOON) for number in range(20)
    ]
    assert sorted(one.revision for one in await asyncio.gather(*edits)) == list(range(2, 22))
    assert (await store.pause_webhook("acc", "wh", now=NOON)).revision == 22
    assert (await store.resume_webhook("acc", "wh", now=NOON)).revision == 23
    assert (await store.change_url("acc", "wh", NEW_URL, now=NOON)).revision == 24
    assert (await store.webhook("acc", "wh")).revision == 24


async def test_another_subscription_holds_for_events_published_after_the_edit(store: SqlStore) -> None:
    await a_webhook(store, types=(TYPE, "ag.kept"))
    await publish(store, event("before"))
    await store.edit_webhook("acc", "wh", WebhookEdit(subscribed_events=("ag.kept", OTHER_TYPE)), now=NOON)
    deliveries = [(await publish(store, event(type, type=type))).results[0].deliveries for type in (TYPE, "ag.kept", OTHER_TYPE)]
    assert deliveries == [0, 1, 1]
    assert [one.event_id for one in (await claim(store)).claims] == ["before", "ag.kept", OTHER_TYPE]
    await store.delete_webhook("acc", "wh", now=NOON)
    assert (await publish(store, event("after", type=OTHER_TYPE))).results[0].deliveries == 0


async def test_an_event_published_together_with_the_edit_goes_by_the_old_or_the_new_subscription_never_by_half(store: SqlStore) -> None:
    await a_webhook(store, types=("old.a", "old.b"))
    edit = store.edit_webhook("acc", "wh", WebhookEdit(subscribed_events=("new.a", "new.b")), now=NOON)
    types = ("old.a", "old.b", "new.a", "new.b")
    pair, _ = await asyncio.gather(publish(store, *(event(type, type=type) for type in types)), edit)
    assert [one.deliveries for one in pair.results] in ([1, 1, 0, 0], [0, 0, 1, 1])


async def test_the_same_url_again_proves_nothing_anew_unless_that_is_asked_for(store: SqlStore) -> None:
    before = await a_webhook(store)
    await publish(store, event("e1"))
    same = await store.edit_webhook("acc", "wh", WebhookEdit(url=before.url, name="other"), now=NOON)
    assert same == replace(before, name="other", revision=2)
    assert await state(store) == (0, 1)
    anew = await store.change_url("acc", "wh", before.url, now=NOON)
    assert anew == replace(same, url_version=2, verified_at=None, revision=3)
    assert await state(store) == (1, 0)
    assert await store.unproven(limit=10) == [("acc", "wh")]


async def test_an_edited_url_holds_what_was_queued_with_its_attempts_counted_and_owes_a_handshake(store: SqlStore) -> None:
    await a_webhook(store)
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    await store.record([finished(one, answered(500), RetryAt(NOON + 30 * SECOND))])
    stale = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    await store.edit_webhook("acc", "wh", WebhookEdit(url=NEW_URL), revision=1, now=NOON)
    assert await state(store) == (1, 0)
    assert not await store.settle_challenge(stale, None, matched=True, now=NOON)
    assert await store.unproven(limit=10) == [("acc", "wh")]
    await proven(store)
    (again,) = (await claim(store)).claims
    assert (again.number, again.url, again.url_version) == (2, NEW_URL, 2)


async def test_an_edit_during_an_attempt_leaves_that_attempt_as_it_was_sent(store: SqlStore) -> None:
    webhook = replace(hook(), extras=EXTRAS)
    await store.add_webhook(webhook, Credential("cred_wh", EXTRAS))
    (one,) = (await publish(store, event("e1"), leased=True)).claims
    await store.edit_webhook("acc", "wh", WebhookEdit(url=NEW_URL, name="other", extras=None, subscribed_events=()), now=NOON)
    assert await store.record([finished(one, answered(200))]) == [True]
    (attempt,) = await log(store)
    assert (attempt.url, one.extras) == (webhook.url, EXTRAS)
    assert await store.counts("acc", "wh") == WebhookCounts(0, 0, None, None)


async def test_a_claim_brings_the_webhooks_extras_and_limits_and_publishing_asks_with_them(store: SqlStore) -> None:
    limits = LaneLimits(3, 1.5)
    await store.add_webhook(replace(hook(types=(TYPE, OTHER_TYPE)), limits=limits, extras=EXTRAS), None)
    await a_webhook(store, "free")
    asked: list[tuple[str, LaneLimits | None]] = []

    def reserve(_account: str, webhook: str, limits: LaneLimits | None) -> bool:
        asked.append((webhook, limits))
        return webhook == "wh" and len(asked) < 4

    events = (event("e1"), event("e2"), event("e3", type=OTHER_TYPE))
    born = (await store.publish(events, lease_ms=LEASE, now=NOON, reserve=reserve)).claims
    assert asked == [("free", None), ("wh", limits), ("wh", limits), ("wh", limits)], "one that had no slot is asked once"
    assert len({id(limits) for webhook, limits in asked if webhook == "wh"}) == 1, "one object for a group"
    assert [(one.event_id, one.extras) for one in born] == [("e1", EXTRAS), ("e2", EXTRAS)]
    claimed = await claim(store)
    assert [one.extras for one in claimed.claims] == [EXTRAS]
    assert claimed.limits == {"wh": limits}
    free = await claim(store, webhook="free")
    assert (free.limits, [one.extras for one in free.claims]) == ({"free": None}, [None, None])
    assert (await claim(store)).limits == {}
    work = await store.work("acc", "wh", now=NOON)
    assert (work.webhook, work.credential_id, work.credential) == (await store.webhook("acc", "wh"), None, None)


async def test_a_deleted_webhook_keeps_no_secret_and_cannot_be_edited(store: SqlStore) -> None:
    await store.add_webhook(replace(hook(), extras=EXTRAS), None)
    assert await key_ids(store) == {"k1"}
    await store.delete_webhook("acc", "wh", now=NOON)
    assert await key_ids(store) == set()
    for account in ("acc", "rival"):
        if account == "rival":
            await a_webhook(store, "mine")
        id = "wh" if account == "acc" else "mine"
        calls: list[Awaitable[object]] = [
            store.edit_webhook(account, id, WebhookEdit(name="x"), now=NOON),
            store.pause_webhook(account, id, now=NOON),
            store.resume_webhook(account, id, now=NOON),
            store.work(account, id, now=NOON),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                await call
    assert (await store.webhook("acc", "mine")).revision == 1


# --- pausing ----------------------------------------------------------------------------------------------------


async def test_a_pause_holds_what_is_queued_and_what_is_published_and_says_until_when(store: SqlStore) -> None:
    await a_webhook(store)
    await a_webhook(store, "other")
    await publish(store, event("e1"), event("e2", at=NOON + HOUR))
    paused = await store.pause_webhook("acc", "wh", now=NOON + SECOND)
    assert (paused.paused_at, paused.is_verified, paused.revision) == (NOON + SECOND, True, 2)
    await publish(store, event("e3", at=NOON + 2 * HOUR), leased=True)
    assert await store.counts("acc", "wh") == WebhookCounts(3, 0, NOON + WINDOW, NOON + WINDOW)
    assert await store.held("acc", ["wh", "other", "unknown"]) == {"wh": (3, NOON + WINDOW)}
    assert await store.held("rival", ["wh"]) == {}
    assert await store.held("acc", ["wh"], most=2) == {"wh": (2, NOON + WINDOW)}
    assert await store.counts("acc", "wh", most=2) == WebhookCounts(2, 0, NOON + WINDOW, NOON + WINDOW)
    assert (await claim(store, now=NOON + 3 * HOUR)).claims == []
    assert await store.settle_held(now=NOON + WINDOW, limit=10) == (0, 1), "a deadline is a deadline"
    assert await store.held("acc", ["wh"]) == {"wh": (2, NOON + HOUR + WINDOW)}


async def test_pausing_or_resuming_twice_changes_nothing(store: SqlStore) -> None:
    await a_webhook(store)
    assert (await store.resume_webhook("acc", "wh", now=NOON)).revision == 1
    first = await store.pause_webhook("acc", "wh", now=NOON)
    assert await store.pause_webhook("acc", "wh", now=NOON + SECOND) == first
    again = await store.resume_webhook("acc", "wh", now=NOON + 2 * SECOND)
    assert (again.paused_at, again.revision) == (None, 3)
    assert await store.resume_webhook("acc", "wh", now=NOON + 3 * SECOND) == again


async def test_requests_in_flight_end_during_a_pause_and_what_failed_waits_for_its_end(store: SqlStore) -> None:
    await a_webhook(store)
    good, bad, spent = (await publish(store, event("good"), event("bad"), event("spent"), leased=True)).claims
    await store.pause_webhook("acc", "wh", now=NOON)
    assert (await state(store))[1] == 3, "they are on their way"
    recorded = [
        finished(good),
        finished(bad, answered(500), RetryAt(NOON + SECOND)),
        finished(spent, answered(500), GaveUp(FailureReason.EXHAUSTED)),
    ]
    assert await store.record(recorded) == [True, True, True]
    assert await state(store) == (1, 0)
    await store.resume_webhook("acc", "wh", now=NOON + HOUR)
    (again,) = (await claim(store, now=NOON + HOUR)).claims
    assert (again.event_id, again.number) == ("bad", 2)


async def test_what_is_resumed_is_claimed_oldest_first(store: SqlStore) -> None:
    await a_webhook(store, paused=True)
    order = [3, 0, 4, 1, 2]
    for number in order:
        await publish(store, event(f"e{number}", at=NOON - number * SECOND))
    await store.resume_webhook("acc", "wh", now=NOON + HOUR)
    claims = [one for _ in order for one in (await claim(store, 1, now=NOON + HOUR)).claims]
    assert [one.event_id for one in claims] == ["e4", "e3", "e2", "e1", "e0"]


async def test_resuming_releases_nothing_before_the_url_is_proven_and_proving_nothing_before_the_resume(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    await publish(store, event("e1"))
    await store.pause_webhook("acc", "wh", now=NOON)
    await proven(store)
    assert await state(store) == (1, 0)
    await store.change_url("acc", "wh", NEW_URL, now=NOON)
    await store.resume_webhook("acc", "wh", now=NOON)
    assert await state(store) == (1, 0)
    assert await store.settle_held(now=NOON, limit=10) == (0, 0)
    await proven(store)
    assert await state(store) == (0, 1)


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_or_doubled_while_people_edit_and_others_deliver(
    store: SqlStore, open_more: Callable[[], Store], seed: int
) -> None:
    """Publishers, two workers and three people at once, in two processes; afterwards everything is accounted for."""
    await a_webhook(store)
    other = open_more()
    await other.open()
    stores: tuple[Store, ...] = (store, other)
    published: list[str] = []
    raised = 0

    async def publisher(number: int) -> None:
        for turn in range(15):
            id = f"e{number}-{turn}"
            claims = (await publish(stores[number % 2], event(id), leased=turn % 2 == 0)).claims
            await finish(stores[number % 2], claims, turn)
            published.append(id)

    async def worker(number: int) -> None:
        for turn in range(25):
            await finish(stores[number], (await claim(stores[number], 5)).claims, turn)

    async def finish(store: Store, claims: list[Claim], turn: int) -> None:
        outcome, verdict = (answered(200), None) if turn % 3 else (answered(503), RetryAt(NOON))
        assert all(await store.record([finished(one, outcome, verdict) for one in claims]))

    async def person(number: int) -> None:
        nonlocal raised
        for turn in range(8):
            mine = stores[(number + turn + seed) % 2]
            match (number + turn + seed) % 4:
                case 0:
                    assert (await mine.pause_webhook("acc", "wh", now=NOON)).paused_at == NOON
                case 1:
                    await mine.resume_webhook("acc", "wh", now=NOON)
                case 2:
                    await mine.edit_webhook("acc", "wh", WebhookEdit(name=f"{number}-{turn}"), now=NOON)
                    raised += 1
                case _:
                    await mine.edit_webhook("acc", "wh", WebhookEdit(url=f"https://{number}-{turn}.example.com/"), now=NOON)
                    raised += 1
                    challenge = await mine.issue_challenge("acc", "wh", f"ch{number}-{turn}", now=NOON)
                    await mine.settle_challenge(challenge, None, matched=True, now=NOON)

    await asyncio.gather(*(publisher(n) for n in range(4)), *(worker(n) for n in range(2)), *(person(n) for n in range(3)))
    webhook = await store.webhook("acc", "wh")
    assert webhook.revision > raised
    assert webhook.url_version <= webhook.revision
    await store.resume_webhook("acc", "wh", now=NOON)
    if not webhook.is_verified:
        await proven(store, "last")
    while any(await store.settle_held(now=NOON, limit=1000)):  # what a race left behind is housekeeping's
        pass
    while claims := (await claim(store, 100)).claims:
        assert {(one.url, one.url_version) for one in claims} == {(webhook.url, webhook.url_version)}
        await store.record([finished(one) for one in claims])
    assert await state(store) == (0, 0)
    attempts = await log(store)
    assert {one.event_id for one in attempts if one.outcome == answered(200)} == set(published)
    assert len({(one.event_id, one.number) for one in attempts}) == len(attempts), "no number was given twice"
    health = (await store.health("acc", ["wh"], now=NOON))["wh"]
    assert (health.succeeded, health.failed) == (len(published), len(attempts) - len(published))


# --- tests ------------------------------------------------------------------------------------------------------


async def test_a_test_is_in_the_log_with_its_event_and_is_owed_to_nobody(store: SqlStore) -> None:
    await a_webhook(store)
    attempt = Attempt("acc", "wh", AttemptKind.TEST, 1, NOON, answered(503), event_id="evt_test", event_type=TYPE, url="https://x/")
    id = await store.add_attempt(attempt, event("evt_test"))
    assert await log(store) == [replace(attempt, id=id)]
    assert await state(store) == (0, 0)
    assert (await store.health("acc", ["wh"], now=NOON))["wh"].failed == 0, "a test says nothing about real events"
    repeat = await publish(store, event("evt_test"), leased=True)
    assert (repeat.results[0].duplicate, repeat.claims) == (True, [])
    assert await store.add_attempt(replace(attempt, number=2)) > id
