"""People of the console: accounts, one-time links, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gridhook.errors import Conflict, NotFound
from gridhook.model import Link, LinkPurpose, Membership, Person, Role, Sealed, Session
from gridhook.store import Store
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, NOON, an_account

ADA = Person("per_ada", "ada@example.com", False, NOON)
BOB = Person("per_bob", "bob@example.com", True, NOON)
DAY = 24 * HOUR


def a_session(digest: bytes, person: Person = ADA, *, at: int = NOON, hours: int = 12) -> Session:
    return Session(digest * 32, person.id, "a browser", at, at, at + hours * HOUR)


async def is_good(store: Store, digest: bytes, *, now: int = NOON + 1, idle: int = 2 * HOUR) -> bool:
    try:
        await store.session(digest * 32, now=now, seen_after=now - idle)
    except NotFound:
        return False
    return True


async def test_an_address_belongs_to_one_person(store: SqlStore) -> None:
    await store.add_person(ADA)
    with pytest.raises(Conflict, match="known already"):
        await store.add_person(Person("per_other", ADA.email, True, NOON))
    assert await store.person(email=ADA.email) == ADA
    assert await store.person(id=ADA.id) == ADA
    with pytest.raises(NotFound):
        await store.person(email="nobody@example.com")
    with pytest.raises(NotFound):
        await store.person(id="", email="")


async def test_a_person_has_one_role_in_each_of_their_accounts_and_the_last_word_counts(store: SqlStore) -> None:
    for account in ("acc", "other"):
        await an_account(store, account)
    await store.add_person(ADA)
    await store.add_person(BOB)
    await store.add_membership(ADA.id, Membership("acc", Role.ADMIN), now=NOON)
    await store.add_membership(ADA.id, Membership("other", Role.VIEWER), now=NOON)
    await store.add_membership(BOB.id, Membership("acc", Role.VIEWER), now=NOON)
    await store.add_membership(ADA.id, Membership("acc", Role.VIEWER), now=NOON)
    assert await store.memberships(ADA.id) == [Membership("acc", Role.VIEWER), Membership("other", Role.VIEWER)]
    assert await store.members("acc") == [(ADA, Role.VIEWER), (BOB, Role.VIEWER)]
    assert await store.people() == [ADA, BOB]
    with pytest.raises(NotFound):
        await store.add_membership(ADA.id, Membership("gone", Role.VIEWER), now=NOON)
    with pytest.raises(NotFound):
        await store.add_membership("per_gone", Membership("acc", Role.VIEWER), now=NOON)


async def test_what_is_taken_from_a_person_is_gone_for_a_session_that_is_open(store: SqlStore) -> None:
    await an_account(store)
    await store.add_person(BOB)
    await store.add_membership(BOB.id, Membership("acc", Role.ADMIN), now=NOON)
    await store.add_session(a_session(b"1", BOB), now=NOON)
    session, memberships = await store.session(b"1" * 32, now=NOON, seen_after=0)
    assert (session.is_operator, memberships) == (True, [Membership("acc", Role.ADMIN)])
    await store.set_operator(BOB.id, False)
    await store.remove_membership(BOB.id, "acc")
    session, memberships = await store.session(b"1" * 32, now=NOON, seen_after=0)
    assert (session.is_operator, memberships) == (False, [])
    with pytest.raises(NotFound):
        await store.remove_membership(BOB.id, "acc")


async def test_a_link_works_once_however_many_follow_it_at_the_same_time(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await store.add_person(ADA)
    other = open_more()
    await other.open()
    await store.add_link(b"d" * 32, Link(ADA.id, LinkPurpose.PASSWORD), now=NOON, expires_at=NOON + HOUR)
    assert await other.link(b"d" * 32, now=NOON) == Link(ADA.id, LinkPurpose.PASSWORD)
    used = await asyncio.gather(*(one.use_link(b"d" * 32, now=NOON) for one in (store, other) * 4), return_exceptions=True)
    assert [one for one in used if not isinstance(one, NotFound)] == [Link(ADA.id, LinkPurpose.PASSWORD)]


async def test_a_link_ends_with_its_time_with_a_newer_one_and_with_a_password(store: SqlStore) -> None:
    await store.add_person(ADA)

    async def good(digest: bytes, now: int = NOON) -> bool:
        try:
            await store.link(digest * 32, now=now)
        except NotFound:
            return False
        return True

    for digest in (b"1", b"2"):
        await store.add_link(digest * 32, Link(ADA.id, LinkPurpose.SIGN_IN), now=NOON, expires_at=NOON + HOUR)
    assert (await good(b"1"), await good(b"2")) == (False, True)
    assert (await good(b"2", NOON + HOUR - 1), await good(b"2", NOON + HOUR)) == (True, False)
    with pytest.raises(NotFound):
        await store.use_link(b"2" * 32, now=NOON + HOUR)
    await store.set_password(ADA.id, "$argon2id$1")
    assert not await good(b"2")
    with pytest.raises(NotFound):
        await store.add_link(b"3" * 32, Link("per_gone", LinkPurpose.SIGN_IN), now=NOON, expires_at=NOON + HOUR)


async def test_a_session_ends_at_its_time_and_when_nobody_uses_it(store: SqlStore) -> None:
    await store.add_person(ADA)
    await store.add_session(a_session(b"1"), now=NOON)
    assert (await store.person(id=ADA.id)).signed_in_at == NOON
    assert await is_good(store, b"1", now=NOON + 2 * HOUR - 1)
    assert not await is_good(store, b"1", now=NOON + 2 * HOUR)
    for hour in range(1, 12):
        await store.touch_session(b"1" * 32, now=NOON + hour * HOUR)
    await store.touch_session(b"1" * 32, now=NOON)  # a late word of earlier use
    assert await is_good(store, b"1", now=NOON + 12 * HOUR - 1)
    assert not await is_good(store, b"1", now=NOON + 12 * HOUR)


async def test_sessions_and_links_that_are_over_are_forgotten_when_a_new_one_begins(store: SqlStore) -> None:
    await store.add_person(ADA)
    await store.add_person(BOB)
    await store.add_session(a_session(b"1"), now=NOON)
    await store.add_link(b"1" * 32, Link(ADA.id, LinkPurpose.SIGN_IN), now=NOON, expires_at=NOON + HOUR)
    await store.add_session(a_session(b"2", BOB, at=NOON + DAY), now=NOON + DAY)
    await store.add_link(b"2" * 32, Link(BOB.id, LinkPurpose.SIGN_IN), now=NOON + DAY, expires_at=NOON + DAY + HOUR)
    # Were they there, they would be good at the time that they were made for.
    assert not await is_good(store, b"1", now=NOON + 1)
    with pytest.raises(NotFound):
        await store.link(b"1" * 32, now=NOON)


async def test_sessions_can_be_ended_one_by_one_all_or_all_but_one_and_only_by_their_owner(store: SqlStore) -> None:
    await store.add_person(ADA)
    await store.add_person(BOB)
    for number, digest in enumerate((b"1", b"2", b"3")):
        await store.add_session(a_session(digest, at=NOON + number), now=NOON + number)
    await store.add_session(a_session(b"b", BOB), now=NOON)
    listed = await store.sessions(ADA.id, now=NOON + 5, seen_after=NOON - HOUR)
    assert [one.digest[:1] for one in listed] == [b"3", b"2", b"1"]
    assert {one.email for one in listed} == {ADA.email}
    await store.end_session(ADA.id, b"b" * 32)
    assert await is_good(store, b"b")
    await store.end_session(ADA.id, b"1" * 32)
    assert not await is_good(store, b"1")
    assert await store.end_sessions(ADA.id, but=b"3" * 32) == 1
    assert (await is_good(store, b"2"), await is_good(store, b"3")) == (False, True)
    assert await store.end_sessions(ADA.id) == 1
    assert await is_good(store, b"b")


async def test_a_new_password_ends_all_sessions_but_the_one_that_set_it_and_a_new_hash_of_the_same_ends_none(store: SqlStore) -> None:
    await store.add_person(ADA)
    assert await store.password(ADA.email) == (ADA, None)
    for digest in (b"1", b"2"):
        await store.add_session(a_session(digest), now=NOON)
    await store.set_password(ADA.id, "first", but=b"1" * 32)
    assert (await is_good(store, b"1"), await is_good(store, b"2")) == (True, False)
    await store.rehash(ADA.id, before="first", password="first, hashed better")
    assert (await store.password(ADA.email))[1] == "first, hashed better"
    assert await is_good(store, b"1")
    # Somebody changed it while we hashed: the old one must not come back.
    await store.rehash(ADA.id, before="first", password="late")
    assert (await store.password(ADA.email))[1] == "first, hashed better"
    assert (await store.person(id=ADA.id)).has_password
    with pytest.raises(NotFound):
        await store.set_password("per_gone", "x")


async def test_a_removed_person_leaves_nothing_that_opens_a_door(store: SqlStore) -> None:
    await an_account(store)
    await store.add_person(ADA)
    await store.add_membership(ADA.id, Membership("acc", Role.ADMIN), now=NOON)
    await store.add_session(a_session(b"1"), now=NOON)
    await store.add_link(b"1" * 32, Link(ADA.id, LinkPurpose.SIGN_IN), now=NOON, expires_at=NOON + HOUR)
    await store.remove_person(ADA.id)
    assert not await is_good(store, b"1")
    assert await store.members("acc") == []
    with pytest.raises(NotFound):
        await store.link(b"1" * 32, now=NOON)
    with pytest.raises(NotFound):
        await store.add_session(a_session(b"2"), now=NOON)
    with pytest.raises(NotFound):
        await store.remove_person(ADA.id)
    # The same person once more starts with nothing.
    await store.add_person(ADA)
    assert await store.memberships(ADA.id) == []
    assert await store.password(ADA.email) == (ADA, None)


async def test_what_a_page_shows_once_is_shown_to_one_request_at_its_page(store: SqlStore, open_more: Callable[[], Store]) -> None:
    await store.add_person(ADA)
    await store.add_session(a_session(b"1"), now=NOON)
    other = open_more()
    await other.open()
    await store.set_flash(b"1" * 32, "/page", Sealed(b"first"))
    await store.set_flash(b"1" * 32, "/page", Sealed(b"a secret"))
    assert await store.take_flash(b"1" * 32, "/other") is None
    assert await store.take_flash(b"2" * 32, "/page") is None
    taken = await asyncio.gather(*(one.take_flash(b"1" * 32, "/page") for one in (store, other) * 4))
    assert [one for one in taken if one] == [Sealed(b"a secret")]
