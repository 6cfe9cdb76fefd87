"""Webhooks: what is proven is a URL's version; what is held waits for the proof."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gridhook.errors import Conflict, NotFound
from gridhook.model import Attempt, AttemptKind, AuthMethod, Echo, RetryAt, Sealed, WebhookFilter, WebhookState
from gridhook.store import edits
from gridhook.store.promises import Challenge, Credential, WebhookCounts
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, NOON, SECOND, TYPE, a_webhook, answered, claim, event, finished, hook, log, publish, state


def handshake(challenge: Challenge) -> Attempt:
    return Attempt(
        challenge.account_id,
        challenge.webhook_id,
        AttemptKind.VERIFICATION,
        1,
        NOON,
        answered(),
        url=challenge.url,
        echo=Echo.MATCHED,
    )


async def test_held_deliveries_become_due_when_the_webhook_is_verified(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    await publish(store, event("e1"), event("e2"))
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    assert await store.settle_challenge(challenge, handshake(challenge), matched=True, now=NOON + SECOND)
    assert (await store.webhook("acc", "wh")).verified_at == NOON + SECOND
    claimed = await claim(store, now=NOON + SECOND)
    assert [(one.event_id, one.number) for one in claimed.claims] == [("e1", 1), ("e2", 1)]
    (attempt,) = await log(store)
    assert (attempt.kind, attempt.echo) == (AttemptKind.VERIFICATION, Echo.MATCHED)


async def test_all_held_deliveries_become_due_however_many_they_are(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "STEP", 7)
    await a_webhook(store, verified=False)
    await publish(store, *(event(f"e{number}") for number in range(50)))
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    await store.settle_challenge(challenge, None, matched=True, now=NOON)
    assert await state(store) == (0, 50)
    await store.change_url("acc", "wh", "https://new.example.com/", now=NOON)
    assert await state(store) == (50, 0)
    await store.delete_webhook("acc", "wh", now=NOON)
    assert await state(store) == (0, 0)


async def test_an_answer_that_does_not_match_proves_nothing(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    await publish(store, event("e1"))
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    wrong = replace(handshake(challenge), echo=Echo.MISMATCH)
    assert not await store.settle_challenge(challenge, wrong, matched=False, now=NOON)
    assert not (await store.webhook("acc", "wh")).is_verified
    assert await state(store) == (1, 0)
    assert [one.echo for one in await log(store)] == [Echo.MISMATCH]


async def test_only_the_newest_challenge_counts(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    old = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    new = await store.issue_challenge("acc", "wh", "ch2", now=NOON)
    assert not await store.settle_challenge(old, handshake(old), matched=True, now=NOON)
    assert [one.echo for one in await log(store)] == [Echo.SUPERSEDED]
    assert await store.settle_challenge(new, handshake(new), matched=True, now=NOON)


async def test_a_challenge_proves_once(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    answers = await asyncio.gather(*(store.settle_challenge(challenge, None, matched=True, now=NOON) for _ in range(3)))
    assert sorted(answers) == [False, False, True]


async def test_a_challenge_issued_for_the_old_url_cannot_verify_the_new_one(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    old = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    await store.change_url("acc", "wh", "https://new.example.com/", now=NOON)
    assert not await store.settle_challenge(old, handshake(old), matched=True, now=NOON)
    # Not even if a challenge of the same name is outstanding again: what is proven is a version of the URL.
    await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    assert not await store.settle_challenge(old, handshake(old), matched=True, now=NOON)
    assert not (await store.webhook("acc", "wh")).is_verified


async def test_a_changed_url_is_unverified_and_holds_what_was_queued(store: SqlStore) -> None:
    before = await a_webhook(store)
    await publish(store, event("e1"))
    after = await store.change_url("acc", "wh", "https://new.example.com/", now=NOON)
    assert after == replace(before, url="https://new.example.com/", url_version=2, verified_at=None, revision=2)
    assert await store.webhook("acc", "wh") == after
    assert await state(store) == (1, 0)
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    assert (challenge.url, challenge.url_version) == ("https://new.example.com/", 2)
    assert await store.settle_challenge(challenge, None, matched=True, now=NOON)
    (one,) = (await claim(store)).claims
    assert (one.url, one.url_version) == ("https://new.example.com/", 2)


async def test_held_deliveries_expire_with_their_event(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    await publish(store, event("old"), event("new", at=NOON + HOUR))
    assert await store.settle_held(now=NOON + 6 * HOUR - 1, limit=10) == (0, 0)
    assert await store.settle_held(now=NOON + 6 * HOUR, limit=10) == (0, 1)
    assert await store.counts("acc", "wh") == WebhookCounts(1, 0, NOON + 7 * HOUR, NOON + 7 * HOUR)


async def test_housekeeping_releases_what_a_verification_left_behind_in_small_steps(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_webhook(store, verified=False)
    await publish(store, *(event(f"e{number}") for number in range(10)))
    monkeypatch.setattr(edits, "release_step", lambda *_: 0)  # as if the process had died between verifying and releasing
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    await store.settle_challenge(challenge, None, matched=True, now=NOON)
    assert await state(store) == (10, 0)
    assert [await store.settle_held(now=NOON, limit=4) for _ in range(4)] == [(4, 0), (4, 0), (2, 0), (0, 0)]
    assert await state(store) == (0, 10)


async def test_housekeeping_leaves_pending_and_paused_webhooks_alone_and_fails_deleted_ones(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_webhook(store, "pending", verified=False)
    await a_webhook(store, "paused", paused=True)
    await a_webhook(store, "deleted", verified=False)
    await publish(store, event("e1"))
    monkeypatch.setattr(edits, "cancel_step", lambda *_: 0)
    await store.delete_webhook("acc", "deleted", now=NOON)
    assert await store.settle_held(now=NOON, limit=10) == (0, 0)
    assert [await state(store, id) for id in ("pending", "paused", "deleted")] == [(1, 0), (1, 0), (0, 0)]


async def test_deleting_cancels_what_waits_and_is_not_found_the_second_time(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"))
    await store.delete_webhook("acc", "wh", now=NOON)
    assert await state(store) == (0, 0)
    assert (await claim(store)).claims == []
    assert (await publish(store, event("e2"))).results[0].deliveries == 0
    for call in (
        store.delete_webhook("acc", "wh", now=NOON),
        store.webhook("acc", "wh"),
        store.change_url("acc", "wh", "https://x.example.com/", now=NOON),
        store.issue_challenge("acc", "wh", "ch", now=NOON),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_deleted_webhook_cannot_be_verified_by_a_late_answer(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    await store.delete_webhook("acc", "wh", now=NOON)
    assert not await store.settle_challenge(challenge, handshake(challenge), matched=True, now=NOON)
    assert [one.echo for one in await log(store)] == [Echo.SUPERSEDED]


async def test_another_accounts_webhook_is_not_found(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"))
    for call in (
        store.webhook("rival", "wh"),
        store.delete_webhook("rival", "wh", now=NOON),
        store.change_url("rival", "wh", "https://x.example.com/", now=NOON),
        store.issue_challenge("rival", "wh", "ch", now=NOON),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await store.webhooks("rival", offset=0, limit=10)).total == 0
    assert (await claim(store, account="rival")).claims == []
    assert await log(store, account="rival") == await log(store, None, account="rival") == []
    assert await state(store, account="rival") == (0, 0)
    assert await state(store) == (0, 1)


async def test_a_webhook_is_read_back_as_it_was_stored(store: SqlStore) -> None:
    webhook = replace(hook("wh", verified=False), name="Türsteuerung ☃", subscribed_events=(TYPE, "b", "a"))
    await store.add_webhook(webhook, None)
    assert await store.webhook("acc", "wh") == webhook
    with pytest.raises(Conflict):
        await store.add_webhook(webhook, Credential("c", Sealed(b"x")))


async def test_webhooks_are_listed_newest_first_in_pages(store: SqlStore) -> None:
    for number, id in enumerate("abcde"):
        await store.add_webhook(hook(id, at=NOON + number // 2), None)
    await store.delete_webhook("acc", "c", now=NOON)
    pages = [await store.webhooks("acc", offset=offset, limit=3) for offset in (0, 3, 6)]
    assert [[one.id for one in page.webhooks] for page in pages] == [["e", "d", "b"], ["a"], []]
    assert {page.total for page in pages} == {4}


async def found(store: SqlStore, text: str | None = None, state: WebhookState | None = None, method: AuthMethod | None = None) -> str:
    """The ids of the webhooks that match, in one word, oldest first."""
    page = await store.webhooks("acc", offset=0, limit=50, filter=WebhookFilter(text, state, method))
    assert page.total == len(page.webhooks)
    return "".join(reversed([one.id for one in page.webhooks]))


async def test_webhooks_are_found_by_a_part_of_their_name_or_url(store: SqlStore) -> None:
    names = ("Badge sync", "badges_%20!", "Türsteuerung 👩‍🚒", "x'; DROP TABLE webhooks; --")
    for id, name in zip("abcd", names, strict=True):
        await store.add_webhook(replace(hook(id, at=NOON + ord(id)), name=name), None)
    await store.add_webhook(replace(hook("e", account="rival"), name="Badge sync"), None)
    looked_for = {
        "BADGE": "ab",
        "sync": "a",
        "": "abcd",
        "_%": "b",
        "%": "b",
        "!": "b",
        "ür": "c",
        "👩‍🚒": "c",
        "'; drop": "d",
        "C.Example": "c",
    }
    assert {text: await found(store, text) for text in looked_for} == looked_for
    page = await store.webhooks("acc", offset=1, limit=1, filter=WebhookFilter("badge"))
    assert ([one.id for one in page.webhooks], page.total) == (["a"], 2)
    for text, ids in (("c.example", []), ("DROP", ["d"])):
        page = await store.webhooks("acc", offset=0, limit=50, filter=WebhookFilter(text, in_url=False))
        assert ([one.id for one in page.webhooks], page.total) == (ids, len(ids))


async def test_webhooks_are_found_by_how_they_stand_and_prove_themselves(store: SqlStore) -> None:
    for id, verified, paused in (("v", True, False), ("f", True, False), ("p", False, False), ("q", False, True), ("s", True, True)):
        webhook = await a_webhook(store, id, verified=verified, paused=paused, types=(id,))
        assert webhook.paused_at is None or paused
    await store.add_webhook(replace(hook("m", at=NOON + 1), auth_method=AuthMethod.MTLS), None)
    for id, status in (("f", 500), ("v", 200)):
        await publish(store, event(id, type=id))
        (one,) = (await claim(store, webhook=id)).claims
        await store.record([finished(one, answered(status), RetryAt(NOON))])
    states = {state: "".join(sorted(await found(store, state=state))) for state in WebhookState}
    assert states == {
        WebhookState.VERIFIED: "fmv",
        WebhookState.PENDING: "p",
        WebhookState.PAUSED: "qs",
        WebhookState.FAILING: "f",
    }
    assert await found(store, method=AuthMethod.MTLS) == "m"
    assert await found(store, "hook", WebhookState.FAILING, AuthMethod.BEARER_TOKEN) == "f"
    assert await found(store, "hook", WebhookState.FAILING, AuthMethod.MTLS) == ""


async def test_it_is_known_whether_a_handshake_is_under_way(store: SqlStore) -> None:
    await a_webhook(store, verified=False)
    challenge = await store.issue_challenge("acc", "wh", "ch1", now=NOON)
    assert await store.is_proving("acc", "wh")
    assert not await store.is_proving("rival", "wh")
    await store.settle_challenge(challenge, None, matched=False, now=NOON)
    assert not await store.is_proving("acc", "wh")
    challenge = await store.issue_challenge("acc", "wh", "ch2", now=NOON)
    await store.settle_challenge(challenge, None, matched=True, now=NOON)
    assert not await store.is_proving("acc", "wh")


async def test_the_same_event_type_named_twice_is_one_subscription(store: SqlStore) -> None:
    await a_webhook(store, types=(TYPE, TYPE))
    assert (await publish(store, event("e1"))).results[0].deliveries == 1
