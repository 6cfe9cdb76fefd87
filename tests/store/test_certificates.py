"""Certificates of webhooks: which is presented, which is fallen back on, by the clock; and the authorities that issue them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import apsw
import psycopg
import pytest
from msgspec.structs import replace

from gridhook.config import Settings
from gridhook.errors import Conflict, NotFound, Stale
from gridhook.model import (
    Answered,
    Attempt,
    AttemptKind,
    AuthMethod,
    Authority,
    Certificate,
    Claim,
    Exchange,
    Instant,
    Sealed,
    Timings,
    Webhook,
)
from gridhook.rules import contexts
from gridhook.store import Store, migrations, open_store, sqlite_path
from gridhook.store.promises import Credential, Work
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, SECOND, a_webhook, claim, event, finished, hook, key_ids, publish

DAY = 24 * HOUR
YEAR = 365 * DAY
numbers = count()
FOR_EVER = NOON + 100 * YEAR  # what stands is asked of the store's own clock


def sealed(name: str, key_id: str = "k1") -> Sealed:
    return Sealed(b"\x01" + bytes((len(key_id),)) + key_id.encode() + bytes(28) + f"sealed {name}".encode())


def ca(id: str = "ca_1", *, at: Instant = NOON, signs_from: Instant | None = None, expires: Instant = FOR_EVER) -> Authority:
    return Authority(id, f"pem of {id}".encode(), f"fp_{id}", at, at if signs_from is None else signs_from, expires)


def paper(id: str, webhook: str = "wh", *, at: Instant = NOON, expires: Instant = NOON + YEAR, authority: str = "ca_1") -> Certificate:
    return Certificate("acc", webhook, id, authority, f"serial {id}", f"fp {id}", f"chain {id}".encode(), at - HOUR, expires, at)


async def presenting(store: Store, id: str = "wh", first: str = "a", *, expires: Instant = NOON + YEAR) -> Webhook:
    webhook = replace(hook(id), auth_method=AuthMethod.MTLS)
    await store.add_webhook(webhook, Credential(first, sealed(first)), paper(first, id, expires=expires))
    return webhook


async def rotate(store: Store, id: str, *, now: Instant = NOON, webhook: str = "wh") -> list[Certificate]:
    return await store.add_certificate(paper(id, webhook, at=now, expires=now + YEAR), sealed(id), now=now)


async def in_use(store: Store, now: Instant, webhook: str = "wh") -> tuple[str | None, str | None, Instant | None]:
    """(presented, fallback, until): what a born-leased delivery, a claim and a test would carry, which must be the same."""
    number = next(numbers)
    born = (await publish(store, event(f"e{number}-1", at=now), leased=True, now=now)).claims
    await publish(store, event(f"e{number}-2", at=now), now=now)
    claimed = (await claim(store, 1, webhook=webhook, now=now)).claims
    work = await store.work("acc", webhook, now=now)
    assert (len(born), len(claimed)) == (1, 1)
    seen = set()
    requests: list[Claim | Work] = [*born, *claimed, work]
    for one in requests:
        for id, credential in ((one.credential_id, one.credential), (one.fallback_id, one.fallback)):
            assert (id is None) == (credential is None)
            assert credential is None or credential.blob.endswith(f"sealed {id}".encode())
        seen.add((one.credential_id, one.fallback_id, one.fallback_until))
    await store.record([finished(one, Answered(503)) for one in (*born, *claimed)])
    (answer,) = seen
    return answer


async def shown(store: Store, webhook: str = "wh") -> list[tuple[str, Instant | None, Instant | None, Instant | None]]:
    """(id, accepted_at, replaced_at, retires_at) of all, the presented one first."""
    return [(one.id, one.accepted_at, one.replaced_at, one.retires_at) for one in await store.certificates("acc", webhook)]


async def keys(store: Store) -> set[str]:
    """What every sealed value in the database is bound to."""
    found: set[str] = set()

    def look(context: str, _: Sealed) -> None:
        found.add(context)

    await store.reseal(1000, look)
    return found


def key_of(id: str, webhook: str = "wh") -> str:
    return contexts.certificate_key("acc", webhook, id)


async def delivered(store: Store, presented: str, now: Instant, *, took_ms: int = 0, fallback: bool = False) -> None:
    """A delivery that the receiver took, with the presented certificate or with the one fallen back on."""
    await publish(store, event(f"d{next(numbers)}", at=now), now=now)
    (one,) = (await claim(store, 1, now=now)).claims
    done = finished(one, Answered(200, exchange=Exchange(Timings(total_us=took_ms * 1000))))
    used = one.fallback_id if fallback else one.credential_id
    assert used == presented
    assert await store.record([replace(done, attempt=replace(done.attempt, credential_id=used))]) == [True]


# Authorities


async def test_processes_that_make_the_first_authority_at_once_agree_on_one(store: SqlStore, open_more: Callable[[], Store]) -> None:
    others = [open_more(), open_more()]
    for other in others:
        await other.open()
    asked = [(store, *others)[n % 3].add_authority(ca(f"ca_{n}"), sealed(f"ca_{n}"), first=True) for n in range(9)]
    answers = await asyncio.gather(*asked)
    (agreed,) = {one.id for one in answers}
    assert await others[0].authorities() == [ca(agreed)]
    assert await others[1].authority_key(agreed) == sealed(agreed)


async def test_authorities_are_told_newest_first_and_one_that_expired_no_longer(store: SqlStore) -> None:
    await store.add_authority(ca("ca_old", expires=NOON), sealed("old"))
    assert await store.add_authority(ca("ca_1"), sealed("1"), first=True) == ca("ca_1"), "an expired one is none"
    await store.add_authority(ca("ca_3", signs_from=NOON + DAY), sealed("3"))
    await store.add_authority(ca("ca_2", at=NOON + SECOND), sealed("2"))
    assert [one.id for one in await store.authorities()] == ["ca_3", "ca_2", "ca_1"]
    assert (await store.add_authority(ca("ca_9"), sealed("9"), first=True)).id == "ca_3"
    with pytest.raises(Conflict):
        await store.add_authority(ca("ca_2"), sealed("other"))
    assert await store.authority_key("ca_2") == sealed("2")


async def test_an_authority_is_removed_when_it_neither_signs_nor_has_a_certificate_in_use(store: SqlStore) -> None:
    await store.add_authority(ca("ca_1"), sealed("1"))
    with pytest.raises(NotFound):
        await store.remove_authority("ca_9", now=NOON)
    with pytest.raises(Conflict, match="signs"):
        await store.remove_authority("ca_1", now=NOON)
    await presenting(store)
    await store.add_authority(ca("ca_2", signs_from=NOON + HOUR), sealed("2"))
    with pytest.raises(Conflict, match="signs"):
        await store.remove_authority("ca_1", now=NOON + HOUR - 1)
    with pytest.raises(Conflict, match="issued a, which is in use"):
        await store.remove_authority("ca_1", now=NOON + HOUR)
    await store.add_certificate(paper("b", authority="ca_2"), sealed("b"), now=NOON + HOUR)
    with pytest.raises(Conflict, match="issued a, which is in use"):
        await store.remove_authority("ca_1", now=NOON + HOUR + 7 * DAY - 1)
    await store.remove_authority("ca_1", now=NOON + HOUR + 7 * DAY)
    assert [one.id for one in await store.authorities()] == ["ca_2"]
    assert contexts.authority_key("ca_1") not in await keys(store)
    for call in (store.authority_key("ca_1"), store.remove_authority("ca_1", now=NOON + 8 * DAY)):
        with pytest.raises(NotFound):
            await call


async def test_a_certificate_that_its_customer_let_expire_does_not_keep_its_authority_for_ever(store: SqlStore) -> None:
    await store.add_authority(ca("ca_1"), sealed("1"))
    await presenting(store)
    await store.add_authority(ca("ca_2"), sealed("2"))
    (left,) = await store.certificates("acc", "wh")
    with pytest.raises(Conflict, match="in use"):
        await store.remove_authority("ca_1", now=left.expires_at - 1)
    await store.remove_authority("ca_1", now=left.expires_at)


async def test_an_authority_that_was_published_by_mistake_is_removed_before_it_signs(store: SqlStore) -> None:
    await store.add_authority(ca("ca_1"), sealed("1"))
    await store.add_authority(ca("ca_2", signs_from=NOON + DAY), sealed("2"))
    await store.remove_authority("ca_2", now=NOON + HOUR)
    assert [one.id for one in await store.authorities()] == ["ca_1"]


# Presented and fallen back on


async def test_every_request_presents_the_webhooks_certificate(store: SqlStore) -> None:
    await presenting(store)
    assert await in_use(store, NOON) == ("a", None, None)
    assert await store.certificates("acc", "wh") == [paper("a")]
    assert await store.credentials("acc", "wh") == [], "it has no bearer key"


async def test_a_webhook_and_its_first_certificate_are_made_together_or_not_at_all(store: SqlStore) -> None:
    await presenting(store)
    with pytest.raises(Conflict):
        await store.add_webhook(replace(hook(), auth_method=AuthMethod.MTLS), Credential("b", sealed("b")), paper("b"))
    assert [one.id for one in await store.certificates("acc", "wh")] == ["a"]
    assert await keys(store) == {key_of("a")}


async def test_after_a_rotation_the_old_certificate_is_fallen_back_on_for_seven_days_and_no_longer(store: SqlStore) -> None:
    await presenting(store)
    week = NOON + HOUR + 7 * DAY
    assert [one.id for one in await rotate(store, "b", now=NOON + HOUR)] == ["b", "a"]
    assert await in_use(store, NOON + HOUR) == ("b", "a", week)
    assert await in_use(store, week - 1) == ("b", "a", week)
    assert await in_use(store, week) == ("b", None, None), "by the clock alone, before anything is destroyed"
    assert await store.retire_certificates(now=week - 1, limit=10) == 0
    assert await keys(store) == {key_of("a"), key_of("b")}
    assert await store.retire_certificates(now=week, limit=10) == 1
    assert await store.retire_certificates(now=week, limit=10) == 0
    assert await keys(store) == {key_of("b")}
    assert await in_use(store, week) == ("b", None, None)
    assert await shown(store) == [("b", None, None, None), ("a", None, NOON + HOUR, week)], "what may be shown of it stays"


async def test_keys_are_destroyed_in_small_steps(store: SqlStore) -> None:
    for id in ("w1", "w2", "w3"):
        await presenting(store, id, f"{id}a")
        await rotate(store, f"{id}b", webhook=id)
    assert [await store.retire_certificates(now=NOON + 7 * DAY, limit=2) for _ in range(3)] == [2, 1, 0]


async def test_an_old_certificate_is_not_fallen_back_on_after_its_own_end(store: SqlStore) -> None:
    await presenting(store, expires=NOON + DAY)
    await rotate(store, "b", now=NOON)
    assert await in_use(store, NOON) == ("b", "a", NOON + DAY)
    await presenting(store, "late", "c", expires=NOON + DAY)
    await rotate(store, "d", now=NOON + DAY, webhook="late")
    assert key_of("c", "late") not in await keys(store)
    assert await shown(store, "late") == [("d", None, None, None), ("c", None, NOON + DAY, NOON + DAY)]


async def test_a_second_rotation_that_comes_before_the_first_was_accepted_keeps_the_old_fallback_and_its_time(store: SqlStore) -> None:
    await presenting(store)
    await rotate(store, "b", now=NOON)
    await rotate(store, "c", now=NOON + DAY)
    assert await in_use(store, NOON + DAY) == ("c", "a", NOON + 7 * DAY)
    assert await shown(store) == [
        ("c", None, None, None),
        ("b", None, NOON + DAY, NOON + DAY),
        ("a", None, NOON, NOON + 7 * DAY),
    ]
    assert await keys(store) == {key_of("a"), key_of("c")}
    await rotate(store, "d", now=NOON + 8 * DAY)
    assert await in_use(store, NOON + 8 * DAY) == ("d", "c", NOON + 15 * DAY), "no fallback was left: the one before becomes it"


async def test_a_second_rotation_after_the_first_was_accepted_falls_back_on_the_accepted_one(store: SqlStore) -> None:
    await presenting(store)
    await rotate(store, "b", now=NOON)
    await delivered(store, "b", NOON + HOUR)
    await rotate(store, "c", now=NOON + DAY)
    assert await in_use(store, NOON + DAY) == ("c", "b", NOON + 8 * DAY)
    assert await keys(store) == {key_of("b"), key_of("c")}


async def test_rotations_asked_for_at_once_leave_one_presented_and_one_to_fall_back_on(
    store: SqlStore, open_more: Callable[[], Store]
) -> None:
    await presenting(store)
    other = open_more()
    await other.open()
    await asyncio.gather(*((rotate((store, other)[n % 2], f"n{n}")) for n in range(6)))
    presented, fallback, until = await in_use(store, NOON)
    assert (fallback, until) == ("a", NOON + 7 * DAY)
    assert await keys(store) == {key_of("a"), key_of(str(presented))}
    assert [one.replaced_at is None for one in await store.certificates("acc", "wh")] == [True] + [False] * 6


async def test_a_clock_that_steps_back_leaves_no_webhook_without_a_certificate(store: SqlStore) -> None:
    await presenting(store)
    await rotate(store, "b", now=NOON + HOUR)
    assert await in_use(store, NOON + HOUR - SECOND) == ("a", None, None)
    assert await in_use(store, NOON - DAY) == ("a", None, None)


# Accepted, and taken back


async def test_that_a_receiver_took_a_request_with_a_certificate_is_noted_once_for_the_one_that_was_used(store: SqlStore) -> None:
    await presenting(store)
    assert await in_use(store, NOON) == ("a", None, None)
    assert await shown(store) == [("a", None, None, None)], "503 tells nothing"
    await delivered(store, "a", NOON + SECOND, took_ms=250)
    await delivered(store, "a", NOON + HOUR)
    assert await shown(store) == [("a", NOON + SECOND + 250, None, None)]
    await rotate(store, "b", now=NOON + DAY)
    await delivered(store, "a", NOON + DAY, fallback=True)
    assert (await shown(store))[0] == ("b", None, None, None)
    await delivered(store, "b", NOON + 2 * DAY)
    assert (await shown(store))[0] == ("b", NOON + 2 * DAY, None, None)
    assert (await shown(store))[1][1] == NOON + SECOND + 250


async def test_a_test_and_a_handshake_that_the_receiver_takes_count_as_accepted_too(store: SqlStore) -> None:
    def attempt(webhook: str, kind: AttemptKind, status: int) -> Attempt:
        return Attempt("acc", webhook, kind, 1, NOON + HOUR, Answered(status), credential_id="a")

    await presenting(store, "tested")
    await store.add_attempt(attempt("tested", AttemptKind.TEST, 400))
    assert await shown(store, "tested") == [("a", None, None, None)]
    await store.add_attempt(attempt("tested", AttemptKind.TEST, 200))
    assert await shown(store, "tested") == [("a", NOON + HOUR, None, None)]
    await store.add_webhook(
        replace(hook("new", verified=False), auth_method=AuthMethod.MTLS), Credential("a", sealed("a")), paper("a", "new")
    )
    for matched, expected in ((False, None), (True, NOON + HOUR)):
        challenge = await store.issue_challenge("acc", "new", "ch", now=NOON)
        await store.settle_challenge(challenge, attempt("new", AttemptKind.VERIFICATION, 200), matched=matched, now=NOON)
        assert await shown(store, "new") == [("a", expected, None, None)]


async def test_a_rotation_is_taken_back_until_the_receiver_has_accepted_it(store: SqlStore) -> None:
    await presenting(store)
    await delivered(store, "a", NOON)
    await rotate(store, "b", now=NOON + HOUR)
    again = await store.cancel_certificate("acc", "wh", "b", now=NOON + 2 * HOUR)
    assert again == replace(paper("a"), accepted_at=NOON)
    assert await in_use(store, NOON + 30 * DAY) == ("a", None, None)
    assert await shown(store) == [("a", NOON, None, None), ("b", None, NOON + HOUR + HOUR, NOON + 2 * HOUR)]
    assert await keys(store) == {key_of("a")}
    assert await store.retire_certificates(now=NOON + 30 * DAY, limit=10) == 0
    await rotate(store, "c", now=NOON + 30 * DAY)
    assert await in_use(store, NOON + 30 * DAY) == ("c", "a", NOON + 37 * DAY)


async def test_what_cannot_be_taken_back_is_said_and_nothing_changes(store: SqlStore) -> None:
    await presenting(store)
    with pytest.raises(Conflict, match="no certificate to fall back on"):
        await store.cancel_certificate("acc", "wh", "a", now=NOON)
    await rotate(store, "b", now=NOON)
    before = await shown(store)
    with pytest.raises(NotFound):
        await store.cancel_certificate("acc", "wh", "x", now=NOON)
    with pytest.raises(Conflict, match="not the one that is presented"):
        await store.cancel_certificate("acc", "wh", "a", now=NOON)
    with pytest.raises(Conflict, match="no certificate to fall back on"):
        await store.cancel_certificate("acc", "wh", "b", now=NOON + 7 * DAY)
    assert await shown(store) == before
    await delivered(store, "b", NOON + HOUR)
    with pytest.raises(Conflict, match="the receiver has accepted"):
        await store.cancel_certificate("acc", "wh", "b", now=NOON + HOUR)
    assert await in_use(store, NOON + HOUR) == ("b", "a", NOON + 7 * DAY)


async def test_certificates_of_a_webhook_that_is_gone_or_another_accounts_are_not_found(store: SqlStore) -> None:
    await presenting(store)
    await presenting(store, "gone", "g")
    await store.delete_webhook("acc", "gone", now=NOON)
    for account, id in (("rival", "wh"), ("acc", "gone")):
        for call in (
            store.certificates(account, id),
            store.add_certificate(replace(paper("x"), account_id=account, webhook_id=id), sealed("x"), now=NOON),
            store.cancel_certificate(account, id, "a", now=NOON),
            store.switch_auth(account, id, AuthMethod.BEARER_TOKEN, Credential("x", sealed("x")), None, revision=1, now=NOON),
        ):
            with pytest.raises(NotFound):
                await call
    assert await keys(store) == {key_of("a")}, "the deleted one's key is destroyed"


# Beside bearer keys


async def test_a_webhook_changes_from_key_to_certificate_and_back_and_the_old_proof_is_destroyed_at_once(store: SqlStore) -> None:
    await a_webhook(store)
    waiting = (await publish(store, event("waiting"), now=NOON)).queued
    assert waiting == [("acc", "wh")]
    switched = await store.switch_auth("acc", "wh", AuthMethod.MTLS, Credential("a", sealed("a")), paper("a"), revision=1, now=NOON)
    assert (switched.auth_method, switched.revision, switched.verified_at) == (AuthMethod.MTLS, 2, NOON)
    assert await store.webhook("acc", "wh") == switched
    (one,) = (await claim(store)).claims
    assert (one.event_id, one.auth_method, one.credential_id) == ("waiting", AuthMethod.MTLS, "a")
    assert await keys(store) == {key_of("a")}
    await rotate(store, "b", now=NOON + HOUR)
    with pytest.raises(Conflict, match="uses mtls already"):
        await store.switch_auth("acc", "wh", AuthMethod.MTLS, Credential("c", sealed("c")), paper("c"), revision=2, now=NOON)
    with pytest.raises(Stale):
        await store.switch_auth("acc", "wh", AuthMethod.BEARER_TOKEN, Credential("k", sealed("k")), None, revision=1, now=NOON)
    assert await in_use(store, NOON + HOUR) == ("b", "a", NOON + HOUR + 7 * DAY)
    back = NOON + 2 * HOUR
    await store.switch_auth("acc", "wh", AuthMethod.BEARER_TOKEN, Credential("k", sealed("k")), None, revision=2, now=back)
    assert await in_use(store, back) == ("k", None, None)
    assert await keys(store) == {contexts.private_key("acc", "wh", "k")}
    assert await shown(store) == [("b", None, back, back), ("a", None, NOON + HOUR, back)]
    assert await store.expiring_certificates(before=FOR_EVER, limit=10) == []


async def test_what_renews_keys_leaves_certificates_alone_and_the_other_way_round(store: SqlStore) -> None:
    await presenting(store)
    with pytest.raises(Conflict, match="presents a certificate"):
        await store.add_credential("acc", "wh", Credential("k", sealed("k")), activates_at=NOON, now=NOON)
    await rotate(store, "b", now=NOON)
    await a_webhook(store, "other")
    with pytest.raises(Conflict, match="proves itself with a key"):
        await rotate(store, "c", webhook="other")
    await store.add_credential("acc", "other", Credential("k", sealed("k")), activates_at=NOON + HOUR, now=NOON)
    work = await store.work("acc", "other", now=NOON)
    assert (work.credential_id, work.fallback_id) == ("cred_other", None), "a key that is replaced is nothing to fall back on"
    await store.settle_held(now=NOON + DAY, limit=10)
    await store.retire_certificates(now=NOON + DAY, limit=10)
    assert await keys(store) == {key_of("a"), key_of("b"), contexts.private_key("acc", "other", "k")}
    await store.add_attempt(Attempt("acc", "other", AttemptKind.TEST, 1, NOON, Answered(200), credential_id="k"))
    assert await store.certificates("acc", "other") == []


# Watched, and sealed


async def test_presented_certificates_are_told_in_the_order_in_which_they_end(store: SqlStore) -> None:
    for id, first, expires in (("w1", "c", 3), ("w2", "b", 1), ("w3", "a", 1), ("w4", "d", 9), ("w5", "e", 2), ("w6", "f", 2)):
        await presenting(store, id, first, expires=NOON + expires * DAY)
    await rotate(store, "e2", now=NOON, webhook="w5")
    await store.delete_webhook("acc", "w6", now=NOON)
    before = NOON + 9 * DAY
    assert [one.id for one in await store.expiring_certificates(before=before, limit=10)] == ["a", "b", "c"]
    page = await store.expiring_certificates(before=before, limit=2)
    assert page == [paper("a", "w3", expires=NOON + DAY), paper("b", "w2", expires=NOON + DAY)]
    rest = await store.expiring_certificates(before=before + 1, after=(NOON + DAY, "b"), limit=10)
    assert [one.id for one in rest] == ["c", "d"]


async def test_what_many_webhooks_present_is_told_at_once_and_of_no_other_account(store: SqlStore) -> None:
    for id in ("wh_1", "wh_2", "wh_3"):
        await presenting(store, id, f"first_{id}")
    await rotate(store, "second", webhook="wh_2")
    await store.switch_auth("acc", "wh_3", AuthMethod.BEARER_TOKEN, Credential("key", sealed("key")), None, revision=1, now=NOON)
    await a_webhook(store, "bearer")
    found = await store.presented_certificates("acc", ["wh_1", "wh_2", "wh_3", "bearer", "nobody's"])
    assert {webhook: one.id for webhook, one in found.items()} == {"wh_1": "first_wh_1", "wh_2": "second"}
    assert found["wh_2"] == (await store.certificates("acc", "wh_2"))[0]
    assert await store.presented_certificates("acc", ["wh_2"]) == {"wh_2": found["wh_2"]}
    assert await store.presented_certificates("other", ["wh_1", "wh_2"]) == {}
    assert await store.presented_certificates("acc", []) == {}


async def test_keys_of_certificates_and_authorities_are_sealed_anew_like_all_others(store: SqlStore) -> None:
    await store.add_authority(ca(), sealed("ca_1", "old-ca"))
    webhook = replace(hook(), auth_method=AuthMethod.MTLS)
    await store.add_webhook(webhook, Credential("a", sealed("a", "old-crt")), paper("a"))
    await a_webhook(store, "other")
    assert await key_ids(store) == {"old-ca", "old-crt", "k1"}
    bound: dict[str, bytes] = {}

    def anew(context: str, old: Sealed) -> Sealed | None:
        bound[context] = old.blob
        return None if b"k1" in old.blob[:4] else sealed(context, "k1")

    assert await store.reseal(1, anew) == 1
    assert await store.reseal(100, anew) == 1
    assert await store.reseal(100, anew) == 0
    assert bound.keys() == {contexts.authority_key("ca_1"), key_of("a"), contexts.private_key("acc", "other", "cred_other")}
    assert await key_ids(store) == {"k1"}
    assert await store.authority_key("ca_1") == sealed(contexts.authority_key("ca_1"))
    assert (await store.work("acc", "wh", now=NOON)).credential == sealed(key_of("a"))


# The step from the schema before

SECOND_SCHEMA = """
INSERT INTO accounts (id, name, enterprise, created_at) VALUES ('acc', 'name', 1, 1);
INSERT INTO webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at)
  VALUES ('acc', 'wh', 'hook wh', 'https://wh.example.com/in', 1, 'bearer_token', '["ag.access_pass.issued"]', {now}, {now});
INSERT INTO subscriptions (account_id, event_type, webhook_id) VALUES ('acc', 'ag.access_pass.issued', 'wh');
INSERT INTO webhook_credentials (account_id, webhook_id, id, sealed, created_at, activates_at, forget_at) VALUES
  ('acc', 'wh', 'old', {blob}, {now}, {now}, {now} + 7200000), ('acc', 'wh', 'next', {blob}, {now} + 1, {now} + 3600000, NULL);
"""


async def test_keys_that_were_kept_before_there_were_certificates_are_used_on(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations.migrations
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda dialect: every(dialect)[:2])
        second = open_store(database_settings)
        await second.open()
    await second.close()
    if database_settings.database_url:
        with psycopg.connect(database_settings.database_url) as postgres:
            postgres.execute(SECOND_SCHEMA.format(now=NOON, blob="'\\x0102'::bytea"))
    else:
        sqlite = apsw.Connection(str(sqlite_path(database_settings)))
        sqlite.execute(SECOND_SCHEMA.format(now=NOON, blob="x'0102'"))
        sqlite.close()
    store = open_store(database_settings)
    await store.open()
    for now, expected in ((NOON, "old"), (NOON + HOUR, "next")):
        work = await store.work("acc", "wh", now=now)
        assert (work.credential_id, work.credential, work.fallback_id) == (expected, Sealed(b"\x01\x02"), None)
        await publish(store, event(f"e{now}", at=now), now=now)
        (one,) = (await claim(store, now=now)).claims
        assert (one.auth_method, one.credential_id, one.fallback_id) == (AuthMethod.BEARER_TOKEN, expected, None)
        assert one.lease_until == now + LEASE
        await store.record([finished(one)])
    await store.settle_held(now=NOON + 2 * HOUR, limit=10)
    assert [one.id for one in await store.credentials("acc", "wh")] == ["next"]
    await store.close()


async def test_a_certificate_that_exists_already_is_refused_before_anything_is_replaced(store: SqlStore) -> None:
    await presenting(store)
    await rotate(store, "b")
    before = await shown(store)
    with pytest.raises(Conflict):
        await rotate(store, "b", now=NOON + SECOND)
    assert await shown(store) == before
    assert (await in_use(store, NOON + SECOND))[0] == "b"

    webhook = await store.webhook("acc", "wh")
    key = Credential("k", sealed("k"))
    webhook = await store.switch_auth("acc", "wh", AuthMethod.BEARER_TOKEN, key, None, revision=webhook.revision, now=NOON + SECOND)
    with pytest.raises(Conflict):
        await store.switch_auth(
            "acc", "wh", AuthMethod.MTLS, Credential("a", sealed("a")), paper("a"), revision=webhook.revision, now=NOON + 2 * SECOND
        )
    assert await store.webhook("acc", "wh") == webhook
    assert (await in_use(store, NOON + 2 * SECOND))[0] == "k"
