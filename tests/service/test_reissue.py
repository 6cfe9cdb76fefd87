"""Every webhook moves to the authority that signs now: once each, whoever else rotates, and however often it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import psycopg
import pytest

from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.errors import Conflict, NotFound, Unavailable
from gridhook.model import AuthMethod, Authority, Certificate, Webhook
from gridhook.rules import contexts
from gridhook.service.certificates import Shown
from gridhook.service.reissue import GIVE_UP_AFTER, Due, Reissue, Result, Wanted
from gridhook.store import sqlite_path
from gridhook.telemetry import Log
from gridhook.testing import FakeClock

DAY = 86_400_000
NOON = 1_795_348_800_000


class World:
    """Processes on one database."""

    def __init__(self, settings: Settings, clock: FakeClock, log: Log) -> None:
        self.settings = settings
        self.clock = clock
        self.log = log
        self.processes: list[Gridhook] = []

    async def process(self) -> Gridhook:
        opened = Gridhook(self.settings, clock=self.clock, log=self.log)
        self.processes.append(opened)
        await opened.open()
        return opened

    @property
    def gridhook(self) -> Gridhook:
        return self.processes[0]

    async def webhook(self, id: str, account: str = "acc") -> Certificate:
        """One that presents a certificate of the authority that signs now."""
        certificate, credential = await self.gridhook.service.authorities.issue(account, id)
        webhook = Webhook(account, id, id, "https://hooks.example.com/", 1, AuthMethod.MTLS, ("ag.hid_org.created",), NOON, NOON)
        await self.gridhook.store.add_webhook(webhook, credential, certificate)
        return certificate

    async def roll(self) -> Authority:
        self.clock.advance(ms=1000)
        return await self.gridhook.service.authorities.roll(signs_in_ms=0)

    async def listed(self, id: str, account: str = "acc") -> list[Shown]:
        return await self.gridhook.service.certificates.listed(account, id)

    async def stands(self, id: str, account: str = "acc") -> list[tuple[str, str]]:
        """(authority, state) of its certificates, newest first."""
        return [(one.certificate.authority_id, one.state.value) for one in await self.listed(id, account)]

    async def reissue(
        self, *, from_id: str | None = None, account_id: str | None = None, keep_fallback: bool = True
    ) -> tuple[list[Due], Result]:
        verb = verb_of(self.gridhook)
        wanted = await verb.wanted(from_id=from_id, account_id=account_id, keep_fallback=keep_fallback)
        due = await verb.due(wanted)
        return due, await verb.run(wanted, due, lambda: None)

    async def refuse(self, condition: str) -> None:
        """From now on the database takes no certificate of which this is true."""
        await asyncio.to_thread(self._refuse, condition)

    def _refuse(self, condition: str) -> None:
        when = f"BEFORE INSERT ON webhook_certificates {'' if not self.settings.database_url else 'FOR EACH ROW'} WHEN ({condition})"
        if not self.settings.database_url:
            with contextlib.closing(apsw.Connection(str(sqlite_path(self.settings)))) as database:
                database.execute(f"CREATE TRIGGER refusing {when} BEGIN SELECT RAISE(ABORT, 'refused'); END")
            return
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            says = "BEGIN RAISE check_violation; END"
            connection.execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {says} $$")
            connection.execute(f"CREATE TRIGGER refusing {when} EXECUTE FUNCTION refuse()")

    async def allow(self) -> None:
        await asyncio.to_thread(self._allow)

    def _allow(self) -> None:
        if not self.settings.database_url:
            with contextlib.closing(apsw.Connection(str(sqlite_path(self.settings)))) as database:
                database.execute("DROP TRIGGER refusing")
            return
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute("DROP TRIGGER refusing ON webhook_certificates")


def verb_of(gridhook: Gridhook) -> Reissue:
    service = gridhook.service
    return Reissue(store=service.store, authorities=service.authorities, certificates=service.certificates)


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, quiet_log: Log) -> AsyncIterator[World]:
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    key = "test:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    one = World(Settings(data_dir=str(tmp_path), database_url=url, master_key=key), FakeClock(NOON), quiet_log)
    await one.process()
    for account in ("acc", "other"):
        await one.gridhook.service.create_account(account, account_id=account)
    yield one
    for process in one.processes:
        await process.store.close()


async def test_every_webhook_moves_once_and_its_old_certificate_is_fallen_back_on_for_seven_days(world: World) -> None:
    old = await world.webhook("wh_1")
    await world.webhook("wh_1", "other")
    await world.webhook("wh_gone")
    await world.webhook("wh_key")
    service = world.gridhook.service
    await service.webhooks.delete("acc", "wh_gone")
    await service.webhooks.switch_auth("acc", "wh_key", AuthMethod.BEARER_TOKEN)
    new = await world.roll()
    await world.webhook("wh_new")

    due, result = await world.reissue()
    assert {(one.account_id, one.webhook_id, one.authority_id) for one in due} == {
        ("acc", "wh_1", old.authority_id),
        ("other", "wh_1", old.authority_id),
    }
    assert result == Result(moved=2)
    for account in ("acc", "other"):
        assert await world.stands("wh_1", account) == [(new.id, "presented"), (old.authority_id, "fallback")]
    assert await world.stands("wh_new") == [(new.id, "presented")]
    work = await world.gridhook.store.work("acc", "wh_1", now=world.clock.now())
    assert (work.fallback_id, work.fallback_until) == (old.id, world.clock.now() + 7 * DAY)

    assert await world.reissue() == ([], Result()), "run again, there is nothing left to do"
    verb = verb_of(world.gridhook)
    wanted = await verb.wanted()
    assert [(one.authority.id, one.in_use) for one in await verb.old(wanted)] == [(old.authority_id, True)]
    world.clock.advance(ms=7 * DAY)
    assert [(one.authority.id, one.in_use) for one in await verb.old(wanted)] == [(old.authority_id, False)]
    await service.authorities.remove(old.authority_id)


async def test_only_what_is_asked_for_is_moved(world: World) -> None:
    first = (await world.webhook("wh_1")).authority_id
    second = (await world.roll()).id
    await world.webhook("wh_2")
    await world.webhook("wh_2", "other")
    third = (await world.roll()).id
    due, _ = await world.reissue(from_id=second, account_id="other")
    assert [(one.account_id, one.webhook_id) for one in due] == [("other", "wh_2")]
    due, _ = await world.reissue(from_id=second)
    assert [(one.account_id, one.webhook_id) for one in due] == [("acc", "wh_2")]
    assert await world.stands("wh_1") == [(first, "presented")]
    assert await world.stands("wh_2", "other") == [(third, "presented"), (second, "fallback")]


async def test_what_makes_no_sense_is_refused(world: World) -> None:
    verb = verb_of(world.gridhook)
    with pytest.raises(NotFound, match="gridhook ca create"):
        await verb.wanted()
    stolen = (await world.webhook("wh_1")).authority_id
    with pytest.raises(Conflict, match="signs itself: first make its successor with `gridhook ca roll --signs-in 0s`"):
        await verb.wanted(from_id=stolen)
    await world.gridhook.service.authorities.roll()
    with pytest.raises(Conflict, match="signs itself"):
        await verb.wanted(from_id=stolen)
    with pytest.raises(NotFound, match="no authority ca_none"):
        await verb.wanted(from_id="ca_none")
    with pytest.raises(NotFound, match="acc_none"):
        await verb.wanted(account_id="acc_none")


async def test_without_a_fallback_nothing_that_the_thief_could_have_signed_is_presented_any_more(world: World) -> None:
    await world.webhook("wh_moved")
    old = (await world.webhook("wh_1")).authority_id
    await world.gridhook.service.certificates.rotate("acc", "wh_1")
    new = await world.roll()
    await world.gridhook.service.certificates.rotate("acc", "wh_moved")

    due, result = await world.reissue(from_id=old, keep_fallback=False)
    seen = sorted((one.webhook_id, one.is_fallback, one.is_needed) for one in due)
    assert seen == [("wh_1", False, False), ("wh_moved", True, True)]
    assert result == Result(moved=1, retired=1)
    assert await world.stands("wh_moved") == [(new.id, "presented"), (old, "retired")]
    assert await world.stands("wh_1") == [(new.id, "presented"), (old, "retired"), (old, "retired")]
    presented = {contexts.certificate_key("acc", id, (await world.listed(id))[0].certificate.id) for id in ("wh_1", "wh_moved")}
    bound: set[str] = set()
    await world.gridhook.store.reseal(1000, lambda context, _: bound.add(context))
    assert {one for one in bound if "wh_" in one} == presented, "the old keys are destroyed, not only unused"
    assert await world.reissue(from_id=old, keep_fallback=False) == ([], Result())
    await world.gridhook.service.authorities.remove(old)


async def test_no_certificate_is_replaced_twice_by_two_who_do_it_at_once_nor_beside_the_renewal(world: World) -> None:
    webhooks = [f"wh_{n}" for n in range(12)]
    for id in webhooks:
        await world.webhook(id)
    new = await world.roll()
    other = await world.process()
    verbs = [verb_of(world.gridhook), verb_of(other)]
    wanted = await verbs[0].wanted()
    due = await verbs[0].due(wanted)
    renewed = [(await world.listed(id))[0].certificate for id in webhooks[::3]]
    renewing = [other.service.certificates.renew(one) for one in renewed]
    results = await asyncio.gather(*(verb.run(wanted, due, lambda: None) for verb in verbs), *renewing, return_exceptions=True)
    moved = [one for one in results if isinstance(one, Result)]
    renewals = [one for one in results if isinstance(one, Certificate)]
    assert len(moved) == 2
    assert sum(one.moved for one in moved) + len(renewals) == 12
    assert [one.moved + one.spared for one in moved] == [12, 12]
    for id in webhooks:
        assert [authority == new.id for authority, _ in await world.stands(id)] == [True, False]


async def test_what_changed_since_it_was_listed_is_spared_and_one_more_of_the_old_authority_is_not(world: World) -> None:
    stolen = (await world.webhook("wh_1")).authority_id
    for id in ("wh_gone", "wh_key", "wh_renewed"):
        await world.webhook(id)
    late, credential = await world.gridhook.service.authorities.issue("acc", "wh_1")
    new = await world.roll()
    verb = verb_of(world.gridhook)
    wanted: Wanted = await verb.wanted()
    due = await verb.due(wanted)

    service = world.gridhook.service
    await world.gridhook.store.add_certificate(late, credential.sealed, now=world.clock.now())
    await service.webhooks.delete("acc", "wh_gone")
    await service.webhooks.switch_auth("acc", "wh_key", AuthMethod.BEARER_TOKEN)
    renewed = await service.certificates.rotate("acc", "wh_renewed")
    assert await verb.run(wanted, due, lambda: None) == Result(moved=1, spared=3)
    assert [authority for authority, _ in await world.stands("wh_1")] == [new.id, stolen, stolen]
    assert (await world.listed("wh_renewed"))[0].certificate == renewed
    assert await verb.due(wanted) == []


async def test_webhooks_that_cannot_be_moved_are_named_with_the_databases_reason_and_keep_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridhook.service.reissue.GIVE_UP_AFTER", 2)  # in a row, not in all
    for n in range(5):
        world.clock.advance(ms=1000)
        await world.webhook(f"wh_{n}")
    new = await world.roll()
    await world.refuse("NEW.webhook_id IN ('wh_1', 'wh_3')")
    told: list[None] = []
    verb = verb_of(world.gridhook)
    wanted = await verb.wanted()
    result = await verb.run(wanted, await verb.due(wanted), lambda: told.append(None))
    assert (result.moved, result.left, len(told)) == (3, 0, 5)
    assert [(due.webhook_id, reason) for due, reason in result.failed] == [
        (id, "the database cannot store this") for id in ("wh_1", "wh_3")
    ]
    assert [state for _, state in await world.stands("wh_1")] == ["presented"], "it goes on with the old one"
    assert [one.webhook_id for one in await verb.due(wanted)] == ["wh_1", "wh_3"]
    assert (await world.stands("wh_4"))[0] == (new.id, "presented")


async def test_it_stops_when_nothing_can_be_moved_and_goes_on_when_the_trouble_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridhook.service.reissue.PAGE", 5)  # of several pages none is left out
    for n in range(GIVE_UP_AFTER + 3):
        await world.webhook(f"wh_{n}")
    await world.roll()
    await world.refuse("length(NEW.id) > 0")
    _, result = await world.reissue()
    assert (result.moved, len(result.failed), result.left) == (0, GIVE_UP_AFTER, 3)
    await world.allow()
    _, result = await world.reissue()
    assert result == Result(moved=GIVE_UP_AFTER + 3)


async def test_nothing_is_touched_when_the_authority_cannot_sign(world: World) -> None:
    old = await world.webhook("wh_1")
    new = await world.roll()
    broken = Authority("ca_broken", new.certificate, "another", NOON + 2000, NOON + 2000, new.expires_at)
    await world.gridhook.store.add_authority(broken, world.gridhook.vault.seal(b"x", contexts.authority_key("ca_elsewhere")))
    world.clock.advance(ms=2000)
    with pytest.raises(Unavailable, match="could not be decrypted"):
        await world.reissue()
    assert await world.stands("wh_1") == [(old.authority_id, "presented")]
