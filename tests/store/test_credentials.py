"""Bearer keys: which is in use, by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gridhook.errors import Conflict, NotFound
from gridhook.model import Sealed
from gridhook.store import Store
from gridhook.store.promises import Credential, CredentialInfo
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, SECOND, a_webhook, claim, event, log, publish

DAY = 24 * HOUR


def key(id: str) -> Credential:
    return Credential(id, Sealed(b"\x01\x02k1" + bytes(28) + f"sealed {id}".encode()))


async def in_use(store: Store, now: int, id: str = "e") -> set[str | None]:
    """What a born-leased delivery, a claim and a test would carry."""
    born = (await publish(store, event(f"{id}{now}-1"), leased=True, now=now)).claims
    await publish(store, event(f"{id}{now}-2"), now=now)
    claimed = (await claim(store, 1, now=now)).claims
    work = await store.work("acc", "wh", now=now)
    for one in (*born, *claimed):
        assert one.credential is not None
        assert one.credential_id is not None
        assert one.credential.blob.endswith(one.credential_id.removeprefix("cred_").encode())
    return {work.credential_id, *(one.credential_id for one in born), *(one.credential_id for one in claimed)}


async def test_a_scheduled_key_is_in_use_from_its_time_on_by_the_clock_alone(store: SqlStore) -> None:
    await a_webhook(store)
    await store.add_credential("acc", "wh", key("next"), activates_at=NOON + DAY, now=NOON)
    assert await store.credentials("acc", "wh") == [
        CredentialInfo("next", NOON + 1, NOON + DAY),
        CredentialInfo("cred_wh", NOON, NOON),
    ]
    assert await in_use(store, NOON) == {"cred_wh"}
    assert await in_use(store, NOON + DAY - 1) == {"cred_wh"}
    assert await in_use(store, NOON + DAY) == {"next"}


async def test_a_key_for_now_is_in_use_at_once_however_many_are_made_in_the_same_instant(store: SqlStore) -> None:
    await a_webhook(store)
    for id in ("z", "m", "a"):
        await store.add_credential("acc", "wh", key(id), activates_at=NOON - DAY, now=NOON)
        assert await in_use(store, NOON, id) == {id}
    assert [one.activates_at for one in await store.credentials("acc", "wh")] == [NOON] * 4


async def test_while_a_key_waits_no_other_can_be_added_until_it_is_cancelled(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await a_webhook(store)
    other = open_more()
    await other.open()
    answers = await asyncio.gather(
        *((store, other)[n % 2].add_credential("acc", "wh", key(f"k{n}"), activates_at=NOON + DAY, now=NOON) for n in range(6)),
        return_exceptions=True,
    )
    assert sorted(type(one) is Conflict for one in answers) == [False] + [True] * 5
    waiting = (await store.credentials("acc", "wh"))[0].id
    await store.cancel_credential("acc", "wh", waiting, now=NOON + DAY - 1)
    assert [one.id for one in await store.credentials("acc", "wh")] == ["cred_wh"]
    assert await in_use(store, NOON + DAY) == {"cred_wh"}
    await store.add_credential("acc", "wh", key("again"), activates_at=NOON + DAY, now=NOON + DAY)
    assert await in_use(store, NOON + DAY, "later") == {"again"}


async def test_a_key_that_has_been_in_use_cannot_be_cancelled(store: SqlStore) -> None:
    await a_webhook(store)
    await store.add_credential("acc", "wh", key("next"), activates_at=NOON + HOUR, now=NOON)
    for id in ("next", "cred_wh"):
        with pytest.raises(Conflict):
            await store.cancel_credential("acc", "wh", id, now=NOON + HOUR)
    with pytest.raises(NotFound):
        await store.cancel_credential("acc", "wh", "unknown", now=NOON)
    assert len(await store.credentials("acc", "wh")) == 2


async def test_a_replaced_key_is_forgotten_when_no_request_can_need_it_any_more(store: SqlStore) -> None:
    await a_webhook(store)
    await store.add_credential("acc", "wh", key("next"), activates_at=NOON + DAY, now=NOON)

    async def kept(now: int) -> list[str]:
        await store.settle_held(now=now, limit=10)
        return [one.id for one in await store.credentials("acc", "wh")]

    assert await kept(NOON + DAY + HOUR - 1) == ["next", "cred_wh"]
    assert await kept(NOON + DAY + HOUR) == ["next"]
    assert await kept(NOON + 30 * DAY) == ["next"]


async def test_a_key_whose_successor_was_cancelled_is_not_forgotten(store: SqlStore) -> None:
    await a_webhook(store)
    await store.add_credential("acc", "wh", key("next"), activates_at=NOON + HOUR, now=NOON)
    await store.cancel_credential("acc", "wh", "next", now=NOON)
    await store.settle_held(now=NOON + DAY, limit=10)
    assert await in_use(store, NOON + DAY) == {"cred_wh"}


async def test_a_clock_that_steps_back_leaves_no_webhook_without_a_key(store: SqlStore) -> None:
    await a_webhook(store)
    assert await in_use(store, NOON - SECOND) == {"cred_wh"}


async def test_a_lost_attempt_does_not_claim_to_know_a_key_that_was_changed_since(store: SqlStore) -> None:
    await a_webhook(store)
    await publish(store, event("e1"), leased=True, now=NOON)
    await store.add_credential("acc", "wh", key("next"), activates_at=NOON + SECOND, now=NOON)
    await claim(store, now=NOON + LEASE)
    (attempt,) = await log(store)
    assert attempt.credential_id is None


async def test_keys_of_a_webhook_that_is_gone_or_another_accounts_are_not_found(store: SqlStore) -> None:
    await a_webhook(store)
    await a_webhook(store, "gone")
    await store.delete_webhook("acc", "gone", now=NOON)
    for account, id in (("rival", "wh"), ("acc", "gone")):
        for call in (
            store.credentials(account, id),
            store.add_credential(account, id, key("x"), activates_at=NOON, now=NOON),
            store.cancel_credential(account, id, "cred_wh", now=NOON),
        ):
            with pytest.raises(NotFound):
                await call
    with pytest.raises(Conflict):
        await store.add_credential("acc", "wh", key("cred_wh"), activates_at=NOON, now=NOON)
    assert [one.id for one in await store.credentials("acc", "wh")] == ["cred_wh"]


async def test_a_clock_that_steps_back_lets_nobody_cancel_the_only_key(store: SqlStore) -> None:
    await a_webhook(store)
    with pytest.raises(Conflict, match="in use"):
        await store.cancel_credential("acc", "wh", "cred_wh", now=NOON - HOUR)
    assert await in_use(store, NOON - HOUR) == {"cred_wh"}
