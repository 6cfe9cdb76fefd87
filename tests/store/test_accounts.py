"""Accounts, secrets, publisher keys, sealed values, and the log's pages."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gridhook.errors import Conflict, NotFound
from gridhook.model import Account, AccountSecret, Membership, Person, PublisherKey, Role, Sealed
from gridhook.store.promises import Want, WebhookEdit
from gridhook.store.sqlstore import SqlStore
from tests.store.world import NOON, a_webhook, an_account, claim, event, finished, key_ids, log, publish


def secret(id: str, *, at: int = NOON, key: str = "k1") -> AccountSecret:
    return AccountSecret("acc", id, Sealed(bytes((1, len(key))) + key.encode() + bytes(28) + b"ciphertext of " + id.encode()), at)


async def test_an_account_id_is_taken_once(store: SqlStore) -> None:
    await an_account(store)
    with pytest.raises(Conflict):
        await an_account(store)
    assert await store.account("acc") == Account("acc", "name of acc", True, NOON)
    with pytest.raises(NotFound):
        await store.account("nobody")


async def test_accounts_are_listed_oldest_first_and_enterprise_can_be_switched(store: SqlStore) -> None:
    for id, at in (("young", NOON + 1), ("old", NOON)):
        await store.add_account(Account(id, id, True, at))
    await store.set_enterprise("old", False)
    assert [(one.id, one.enterprise) for one in await store.accounts()] == [("old", False), ("young", True)]
    with pytest.raises(NotFound):
        await store.set_enterprise("nobody", True)


async def test_accounts_are_found_by_name_or_id_page_by_page_and_by_who_belongs_to_them(store: SqlStore) -> None:
    for id, name in (("acc_1", "Zoo"), ("acc_2", "alpha 100% doors"), ("acc_3", "Beta")):
        await store.add_account(Account(id, name, True, NOON))
    await store.add_person(Person("ada", "ada@example.com", False, NOON))
    await store.add_membership("ada", Membership("acc_1", Role.VIEWER), now=NOON)

    async def found(text: str | None = None, person_id: str | None = None, offset: int = 0) -> tuple[list[str], int]:
        page = await store.accounts_found(text, person_id, offset=offset, limit=2)
        return [one.id for one in page.accounts], page.total

    assert await found() == (["acc_2", "acc_3"], 3)
    assert await found(offset=2) == (["acc_1"], 3)
    assert await found("BETA") == await found("_3") == (["acc_3"], 1)
    assert await found("100%") == (["acc_2"], 1)
    assert await found("%a%") == ([], 0)
    assert await found(None, "ada") == await found("zoo", "ada") == (["acc_1"], 1)
    assert await found("beta", "ada") == await found(None, "nobody") == ([], 0)


async def test_an_account_has_at_most_two_live_secrets_and_at_least_one(store: SqlStore) -> None:
    await an_account(store)
    await store.add_secret(secret("first"))
    with pytest.raises(Conflict):
        await store.revoke_secret("acc", "first", now=NOON)
    await store.add_secret(secret("second", at=NOON + 1))
    with pytest.raises(Conflict):
        await store.add_secret(secret("third"))
    assert await store.secrets("acc") == [secret("first"), secret("second", at=NOON + 1)]
    await store.revoke_secret("acc", "first", now=NOON)
    assert [one.id for one in await store.secrets("acc")] == ["second"]
    with pytest.raises(NotFound):
        await store.revoke_secret("acc", "first", now=NOON)
    assert await store.secrets("nobody") == []


async def test_secrets_added_at_once_do_not_slip_past_the_limit(store: SqlStore) -> None:
    await an_account(store)
    answers = await asyncio.gather(*(store.add_secret(secret(f"s{number}")) for number in range(6)), return_exceptions=True)
    assert sum(answer is None for answer in answers) == 2
    assert len(await store.secrets("acc")) == 2


async def test_a_publisher_key_is_found_by_its_digest_until_it_is_revoked(store: SqlStore) -> None:
    everyone, one = PublisherKey("k1", "backend", None, NOON), PublisherKey("k2", "reader", "acc", NOON + 1)
    await store.add_publisher_key(everyone, b"digest one")
    await store.add_publisher_key(one, b"digest two")
    with pytest.raises(Conflict):
        await store.add_publisher_key(replace(one, id="k3"), b"digest two")
    assert await store.publisher_keys() == [everyone, one]
    assert await store.publisher_key(b"digest two") == one
    assert await store.publisher_key(b"digest three") is None
    await store.revoke_publisher_key("k2", now=NOON)
    assert await store.publisher_key(b"digest two") is None
    assert await store.publisher_keys() == [everyone]
    with pytest.raises(NotFound):
        await store.revoke_publisher_key("k2", now=NOON)


async def test_the_master_keys_in_use_are_known_by_their_ids(store: SqlStore) -> None:
    assert await key_ids(store) == set()
    await an_account(store)
    await store.add_secret(secret("s", key="old"))
    await a_webhook(store)
    assert await key_ids(store) == {"old", "k1"}
    await store.delete_webhook("acc", "wh", now=NOON)
    assert await key_ids(store) == {"old"}


async def test_every_sealed_value_is_offered_for_resealing_with_what_it_is_bound_to(store: SqlStore) -> None:
    await an_account(store)
    await store.add_secret(secret("s", key="old"))
    await a_webhook(store)
    await store.edit_webhook("acc", "wh", WebhookEdit(extras=secret("x").sealed), now=NOON)
    offered: list[str] = []

    def reseal(context: str, sealed: Sealed) -> Sealed | None:
        if b"new" in sealed.blob:
            return None
        offered.append(context)
        return Sealed(b"\x01\x03new" + bytes(28) + sealed.blob)

    assert [await store.reseal(1, reseal) for _ in range(4)] == [1, 1, 1, 0]
    assert offered == ["account_secrets|secret|acc|s", "webhook_credentials|private_key|acc|wh|cred_wh", "webhooks|extras|acc|wh"]
    assert (await store.webhook("acc", "wh")).revision == 2, "another master key is no edit"
    assert await key_ids(store) == {"new"}


async def test_a_value_of_the_installation_is_set_once(store: SqlStore) -> None:
    assert await store.meta("canary") is None
    answers = await asyncio.gather(*(store.set_meta_once("canary", bytes([number])) for number in range(3)))
    assert answers == [b"\x00"] * 3
    assert await store.meta("canary") == b"\x00"


async def test_the_log_is_read_newest_first_page_by_page_and_followed_oldest_first(store: SqlStore) -> None:
    for id in ("wh", "other"):
        await a_webhook(store, id)
    for number in range(5):
        await publish(store, event(f"e{number}"), now=NOON)
        for id in ("wh", "other"):
            (one,) = (await store.claim([Want("acc", id, 1)], lease_ms=1000, now=NOON + number // 2)).claims
            await store.record([finished(one)])
    whole = await log(store)
    assert [one.event_id for one in whole] == ["e0", "e1", "e2", "e3", "e4"]
    pages, before = [], None
    while True:
        page = await store.attempts("acc", "wh", before=before, limit=2)
        pages.append([one.event_id for one in page.attempts])
        before = page.next
        if before is None:
            break
    assert pages == [["e4", "e3"], ["e2", "e1"], ["e0"]]
    after = (whole[1].started_at, whole[1].id)
    followed = await store.attempts("acc", "wh", before=None, after=after, limit=10)
    assert followed.attempts == whole[2:]
    assert len((await store.attempts("acc", None, before=None, limit=100)).attempts) == 10
    assert len((await store.attempts("acc", None, before=None, after=after, limit=100)).attempts) > 3
    assert (await claim(store)).claims == []
