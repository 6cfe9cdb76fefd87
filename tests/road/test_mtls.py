"""Stories of client certificates: presented, refused, rotated, renewed, ended. The receivers are servers that people run."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from gridhook.app import Gridhook, offline
from gridhook.bench.harness import Rig, rig, wait_for
from gridhook.errors import Conflict, Invalid, NotFound
from gridhook.model import Answered, Attempt, AttemptKind, AuthMethod, Certificate, Outcome, Reason, Unreachable, Webhook
from gridhook.rules.catalogue import check_data
from gridhook.rules.certificates import CertificateState
from gridhook.rules.instants import rfc3339
from gridhook.rules.refusals import is_certificate_refusal
from gridhook.store import sqlite_path
from gridhook.telemetry import Log
from gridhook.testing import FakeClock
from tests.receivers import real
from tests.road.test_crashes import Publishers
from tests.road.test_stories import HOUR, ISSUED, MINUTE, PATIENCE, SECOND, Story, told
from tests.transport.certificates import Authority, Leaf

DAY = 24 * HOUR
EXPIRING = "ag.webhook.cert_expiring"


@dataclass
class World:
    """A running gridhook that trusts the receivers' certificates, and the place where receivers are started."""

    story: Story
    leaf: Leaf
    home: Path
    stack: contextlib.ExitStack

    @property
    def gridhook(self) -> Gridhook:
        return self.story.gridhook

    async def receiver(
        self, pinned: Certificate | None = None, kind: real.Kind = "python", version: real.TlsVersion = "1.3"
    ) -> real.Receiver:
        """One that takes any certificate of our authority, or this one only."""
        home = self.home / f"receiver-{time.monotonic_ns()}"
        bundle = await self.gridhook.service.authorities.bundle()
        started = real.start(
            kind, version, home, server_leaf=self.leaf, client_ca_bundle=bundle, pinned=None if pinned is None else leaf_of(pinned)
        )
        return self.stack.enter_context(started)

    async def webhook(self, url: str, *, verified: bool = True, types: tuple[str, ...] = (ISSUED,)) -> tuple[Webhook, Certificate]:
        created = await self.gridhook.service.webhooks.create(
            self.story.account, name="Vault", url=url, subscribed_events=list(types), auth_method=AuthMethod.MTLS
        )
        assert created.private_key is None
        assert created.certificate is not None
        if verified:
            await self.story.until(lambda w: w.is_verified, created.webhook.id)
        return created.webhook, created.certificate

    async def move(self, webhook: Webhook, url: str, *, verified: bool = True) -> None:
        moved = await self.gridhook.service.webhooks.change_url(self.story.account, webhook.id, url)
        if verified:
            await self.story.until(lambda w: w.is_verified and w.url_version == moved.url_version, webhook.id)

    async def rotate(self, webhook: Webhook) -> Certificate:
        return await self.gridhook.service.certificates.rotate(self.story.account, webhook.id)

    async def delivered(self, webhook: Webhook, id: str) -> Attempt:
        """Publish, and wait for the first attempt to be in the log."""
        await self.story.publish(id)
        return await self.attempt_for(webhook, id)

    async def attempt_for(self, webhook: Webhook, id: str) -> Attempt:
        async with asyncio.timeout(PATIENCE):
            while True:
                page = await self.gridhook.store.attempts(self.story.account, webhook.id, before=None, limit=100)
                for attempt in page.attempts:
                    if attempt.event_id == id:
                        return attempt
                await asyncio.sleep(0.01)

    async def shown(self, webhook: Webhook) -> dict[str, CertificateState]:
        listed = await self.gridhook.service.certificates.listed(self.story.account, webhook.id)
        return {one.certificate.id: one.state for one in listed}

    async def certificate(self, webhook: Webhook, id: str) -> Certificate:
        listed = await self.gridhook.service.certificates.listed(self.story.account, webhook.id)
        return next(one.certificate for one in listed if one.certificate.id == id)

    async def accepted(self, webhook: Webhook, id: str) -> Certificate:
        async with asyncio.timeout(PATIENCE):
            while (found := await self.certificate(webhook, id)).accepted_at is None:
                await asyncio.sleep(0.01)
        return found

    async def keys(self) -> set[str]:
        """Of the certificates whose key we still have."""
        return set(await asyncio.to_thread(self._keys))

    def _keys(self) -> list[str]:
        with database_of(self.gridhook) as database:
            return [str(id) for (id,) in database.execute("SELECT id FROM webhook_credentials WHERE auth_method = 'mtls'")]

    async def change(self, statement: str, *values: str | bytes) -> None:
        """What a disk, a person or an attacker may do to the database behind our back."""

        def run() -> None:
            with database_of(self.gridhook) as database:
                database.execute(statement, values)
                assert database.changes()

        await asyncio.to_thread(run)


@contextlib.contextmanager
def database_of(gridhook: Gridhook | Rig) -> Iterator[apsw.Connection]:
    """By the same library as the store's: another one in this process would undo its locks when it closes the file."""
    with contextlib.closing(apsw.Connection(str(sqlite_path(gridhook.settings)))) as database:
        database.set_busy_timeout(10_000)
        yield database


def leaf_of(certificate: Certificate) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return certificate.chain.partition(end)[0] + end


def status_of(outcome: Outcome) -> int | None:
    return outcome.status if isinstance(outcome, Answered) else None


def reason_of(outcome: Outcome) -> Reason | None:
    return outcome.reason if isinstance(outcome, Unreachable) else None


@pytest.fixture(scope="session")
def receivers_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("receivers"), "Receivers Root")


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as one:
        yield one


@contextlib.asynccontextmanager
async def opened(
    directory: Path, authority: Authority, stack: contextlib.ExitStack, log: Log, clock: FakeClock, database_url: str = "", **changes: Any
) -> AsyncIterator[World]:
    settings: dict[str, Any] = {"ca_file": str(authority.path), "tests_per_minute": 1000, "new_urls_per_minute": 1000} | changes
    async with told(directory, database_url, clock, log, **settings) as story:
        yield World(story, authority.leaf("127.0.0.1"), directory, stack)


def a_while_ago(days: float = 10) -> FakeClock:
    """The receivers' clocks are this machine's. Ours starts earlier, so that what we issue later is still valid for them."""
    return FakeClock(time.time_ns() // 1_000_000 - int(days * DAY))


@pytest.fixture
async def world(tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log) -> AsyncIterator[World]:
    async with opened(tmp_path, receivers_authority, stack, quiet_log, a_while_ago()) as one:
        yield one


# The whole way, with each receiver in each version of TLS


@pytest.mark.parametrize("version", real.VERSIONS)
@pytest.mark.parametrize("kind", real.KINDS)
async def test_a_receiver_that_pins_a_certificate_gets_events_for_seven_days_after_a_rotation_and_sees_when_it_must_catch_up(
    world: World, kind: real.Kind, version: real.TlsVersion
) -> None:
    story = world.story
    trusting = await world.receiver(kind=kind, version=version)
    webhook, old = await world.webhook(trusting.url + "/1")
    first = await world.delivered(webhook, "evt-1")
    assert (status_of(first.outcome), first.credential_id, first.note) == (200, old.id, None)
    for request in trusting.wait_for(2):  # the handshake, and the event
        assert (request.common_name, request.serial, request.fingerprint) == (webhook.id, old.serial, old.fingerprint)
        assert request.authorization == ""
    await world.accepted(webhook, old.id)

    # A receiver that knows this certificate only takes no other webhook's, though it is of the same authority.
    pinning = await world.receiver(old, kind, version)
    await world.move(webhook, pinning.url + "/1")
    stranger, _ = await world.webhook(pinning.url + "/2", verified=False)
    (handshake,) = await story.attempts(stranger, 1, AttemptKind.VERIFICATION)
    assert is_certificate_refusal(handshake.outcome)
    assert not (await story.gridhook.store.webhook(story.account, stranger.id)).is_verified
    await world.gridhook.service.webhooks.delete(story.account, stranger.id)

    # Rotated: the receiver has not heard of it yet.
    new = await world.rotate(webhook)
    assert await world.shown(webhook) == {new.id: CertificateState.PRESENTED, old.id: CertificateState.FALLBACK}
    second = await world.delivered(webhook, "evt-2")
    assert (status_of(second.outcome), second.number, second.credential_id) == (200, 1, old.id)
    assert second.note is not None
    assert f"certificate {new.id} was refused" in second.note
    assert f"{old.id}, the one before it, was presented at once" in second.note
    tested = await story.gridhook.engine.send_test(story.account, webhook.id, ISSUED)
    assert (status_of(tested.outcome), tested.credential_id) == (200, old.id)
    assert tested.note is not None
    assert {one.fingerprint for one in pinning.wait_for(3) if one.status == 200} == {old.fingerprint}

    # Seven days later the old one is gone, in law at once and in the flesh with the next look.
    story.clock.advance(ms=7 * DAY - 1)
    assert (await world.delivered(webhook, "evt-3")).credential_id == old.id
    assert await world.keys() == {old.id, new.id}
    story.clock.advance(ms=1)
    refused = await world.delivered(webhook, "evt-4")
    assert is_certificate_refusal(refused.outcome)
    assert (refused.credential_id, refused.note) == (new.id, None)
    await story.gridhook.engine.warden.look()
    assert await world.keys() == {new.id}
    assert await world.shown(webhook) == {new.id: CertificateState.PRESENTED, old.id: CertificateState.RETIRED}
    assert (await world.certificate(webhook, new.id)).accepted_at is None

    # One that trusts the authority sees the new one where it saw the old.
    await world.move(webhook, trusting.url + "/1")
    assert status_of((await world.delivered(webhook, "evt-5")).outcome) == 200
    assert trusting.wait_for(4)[-1].fingerprint == new.fingerprint
    await world.accepted(webhook, new.id)
    taken = [one.fingerprint for one in pinning.wait_for(4) if one.status == 200]
    assert taken == [old.fingerprint] * 4, "the handshake, two events and the test"


# Rotation


async def test_once_the_receiver_has_caught_up_the_old_certificate_is_not_tried_any_more(world: World) -> None:
    receiver = await world.receiver()
    webhook, old = await world.webhook(receiver.url)
    new = await world.rotate(webhook)
    assert (await world.delivered(webhook, "evt-1")).credential_id == new.id
    await world.accepted(webhook, new.id)
    assert {one.fingerprint for one in receiver.wait_for(2)[1:]} == {new.fingerprint}
    with pytest.raises(Conflict, match="has accepted"):
        await world.gridhook.service.certificates.cancel(world.story.account, webhook.id, new.id)
    assert await world.shown(webhook) == {new.id: CertificateState.PRESENTED, old.id: CertificateState.FALLBACK}


async def test_a_rotation_that_is_asked_for_twice_keeps_the_certificate_that_the_receiver_knows(world: World) -> None:
    trusting = await world.receiver()
    webhook, old = await world.webhook(trusting.url)
    pinning = await world.receiver(old)
    await world.move(webhook, pinning.url)
    second = await world.rotate(webhook)
    world.story.clock.advance(ms=3 * DAY)
    third = await world.rotate(webhook)
    assert await world.keys() == {old.id, third.id}, "the one that was never accepted is gone"
    attempt = await world.delivered(webhook, "evt-1")
    assert (status_of(attempt.outcome), attempt.credential_id) == (200, old.id)
    assert (await world.shown(webhook))[second.id] is CertificateState.RETIRED
    world.story.clock.advance(ms=4 * DAY - 1)
    assert status_of((await world.delivered(webhook, "evt-2")).outcome) == 200, "seven days are counted from the first rotation"
    world.story.clock.advance(ms=1)
    assert is_certificate_refusal((await world.delivered(webhook, "evt-3")).outcome)


async def test_a_rotation_that_is_taken_back_leaves_everything_as_it_was(world: World) -> None:
    trusting = await world.receiver()
    webhook, old = await world.webhook(trusting.url)
    pinning = await world.receiver(old)
    await world.move(webhook, pinning.url)
    new = await world.rotate(webhook)
    again = await world.gridhook.service.certificates.cancel(world.story.account, webhook.id, new.id)
    assert again.id == old.id
    attempt = await world.delivered(webhook, "evt-1")
    assert (status_of(attempt.outcome), attempt.credential_id, attempt.note) == (200, old.id, None)
    assert await world.keys() == {old.id}
    world.story.clock.advance(ms=8 * DAY)
    await world.gridhook.engine.warden.look()
    assert status_of((await world.delivered(webhook, "evt-2")).outcome) == 200


# Nothing is sent without


async def test_an_expired_certificate_sends_nothing_and_the_next_one_brings_what_waited(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log
) -> None:
    settings: dict[str, Any] = {"certificate_days": 1, "renew_days_before": 0}
    clock = a_while_ago(1 - 5 / (24 * 60))  # what is issued now ends in five minutes
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, **settings) as world:
        receiver = await world.receiver()
        webhook, old = await world.webhook(receiver.url)
        receiver.wait_for(1)
        clock.advance(ms=DAY)
        attempt = await world.delivered(webhook, "evt-1")
        assert reason_of(attempt.outcome) is Reason.CREDENTIAL_EXPIRED
        assert attempt.credential_id == old.id
        tested = await world.story.gridhook.engine.send_test(world.story.account, webhook.id, ISSUED)
        assert reason_of(tested.outcome) is Reason.CREDENTIAL_EXPIRED
        assert await world.shown(webhook) == {old.id: CertificateState.EXPIRED}
        await world.move(webhook, receiver.url + "/again", verified=False)
        handshakes = await world.story.attempts(webhook, 2, AttemptKind.VERIFICATION)
        assert reason_of(handshakes[-1].outcome) is Reason.CREDENTIAL_EXPIRED
        assert (len(receiver.seen), receiver.refused) == (1, []), "not even a connection"

        clock.advance(ms=10 * MINUTE - DAY)  # a time at which receivers take the next one
        new = await world.rotate(webhook)
        await world.gridhook.service.webhooks.verify(world.story.account, webhook.id)
        await world.story.until(lambda w: w.is_verified, webhook.id)
        made = {one.number: one for one in await world.story.attempts(webhook, 2)}
        assert (reason_of(made[1].outcome), made[1].credential_id) == (Reason.CREDENTIAL_EXPIRED, old.id)
        assert (status_of(made[2].outcome), made[2].credential_id) == (200, new.id)


@pytest.mark.parametrize(
    ("statement", "of_other"),
    [
        pytest.param("UPDATE webhook_credentials SET sealed = ? WHERE webhook_id = ?", False, id="broken"),
        pytest.param("UPDATE webhook_credentials SET sealed = ? WHERE webhook_id = ?", True, id="another webhook's"),
        pytest.param("DELETE FROM webhook_credentials WHERE ? IS NOT NULL AND webhook_id = ?", False, id="lost"),
    ],
)
async def test_a_key_that_does_not_open_sends_nothing(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log, statement: str, of_other: bool
) -> None:
    clock = a_while_ago()
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock) as world:
        account = world.story.account
        receiver = await world.receiver()
        webhook, certificate = await world.webhook(receiver.url)
        other, _ = await world.webhook(receiver.url + "/other", types=(EXPIRING,))
        whose = other if of_other else webhook
        work = await world.gridhook.store.work(account, whose.id, now=clock.now())
        assert work.credential is not None
        blob = work.credential.blob
        await world.change(statement, blob if of_other else blob[:-1] + bytes([blob[-1] ^ 1]), webhook.id)
    # A new process: what was opened before is remembered.
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock) as world:
        world.story.account = account
        attempt = await world.delivered(webhook, "evt-1")
        tested = await world.gridhook.engine.send_test(account, webhook.id, ISSUED)
        for outcome in (attempt.outcome, tested.outcome):
            assert isinstance(outcome, Unreachable)
            assert outcome.reason is Reason.CREDENTIAL_UNAVAILABLE
            assert (certificate.id if "UPDATE" in statement else webhook.id) in outcome.detail
        assert len(receiver.seen) == 2, "the two handshakes"


async def test_a_deleted_webhook_has_no_key_any_more(world: World) -> None:
    receiver = await world.receiver()
    webhook, _ = await world.webhook(receiver.url)
    await world.rotate(webhook)
    await world.gridhook.service.webhooks.delete(world.story.account, webhook.id)
    assert await world.keys() == set()
    with pytest.raises(NotFound):
        await world.gridhook.service.certificates.listed(world.story.account, webhook.id)
    with pytest.raises(NotFound):
        await world.rotate(webhook)


# Switching


async def test_a_webhook_changes_from_a_key_to_a_certificate_and_back_and_never_carries_both(world: World) -> None:
    story, service = world.story, world.gridhook.service.webhooks
    receiver = await world.receiver()
    webhook, first = await world.webhook(receiver.url)
    bearer = await service.switch_auth(story.account, webhook.id, AuthMethod.BEARER_TOKEN)
    assert bearer.private_key
    assert await world.keys() == set()
    with pytest.raises(Conflict, match="Private Key"):
        await world.rotate(webhook)
    without = await world.delivered(webhook, "evt-1")
    assert reason_of(without.outcome) is Reason.TLS_ALERT, "this receiver wants a certificate; a warm connection with one is not borrowed"
    assert without.credential_id != first.id

    switched = await service.switch_auth(story.account, webhook.id, AuthMethod.MTLS)
    assert switched.certificate is not None
    assert (await story.gridhook.store.webhook(story.account, webhook.id)).is_verified
    attempt = await world.delivered(webhook, "evt-2")
    assert (status_of(attempt.outcome), attempt.credential_id) == (200, switched.certificate.id)
    last = receiver.wait_for(2)[-1]
    assert (last.fingerprint, last.authorization) == (switched.certificate.fingerprint, "")


async def test_a_certificate_needs_https(world: World) -> None:
    service, account = world.gridhook.service.webhooks, world.story.account
    with pytest.raises(Invalid, match="https") as refused:
        await world.webhook(world.story.receiver.url)
    assert refused.value.field == "url"
    bearer = await world.story.webhook()
    with pytest.raises(Invalid, match="https") as refused:
        await service.switch_auth(account, bearer.id, AuthMethod.MTLS)
    assert refused.value.field == "auth_method"
    receiver = await world.receiver()
    webhook, _ = await world.webhook(receiver.url)
    with pytest.raises(Invalid, match="https"):
        await service.change_url(account, webhook.id, world.story.receiver.url)
    with pytest.raises(Conflict, match="Private Key to rotate"):
        await service.rotate_key(account, webhook.id)


# Apart from each other


@pytest.mark.parametrize(("kind", "version"), [("nginx", "1.2"), ("node", "1.3")])
async def test_webhooks_on_one_host_share_neither_connections_nor_tls_sessions(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log, kind: real.Kind, version: real.TlsVersion
) -> None:
    changes: dict[str, Any] = {"idle_connection_seconds": 1, "connection_life_seconds": 1, "webhook_slots": 4}
    async with opened(tmp_path, receivers_authority, stack, quiet_log, a_while_ago(), **changes) as world:
        receiver = await world.receiver(kind=kind, version=version)
        webhooks = {f"/hook/{n}": (await world.webhook(f"{receiver.url}/{n}"))[0] for n in range(4)}
        for burst in range(3):
            await world.story.publish(*[f"evt-{burst}-{n}" for n in range(10)])
            seen = await asyncio.to_thread(receiver.wait_for, 4 + 40 * (burst + 1))
            await asyncio.sleep(1.1)  # the connections grow too old: the next ones resume sessions
        assert {one.status for one in seen} == {200}
        assert {(one.path, one.common_name) for one in seen} == {(path, webhook.id) for path, webhook in webhooks.items()}
        owners: dict[int, set[str]] = {}
        for one in seen:
            owners.setdefault(one.connection, set()).add(one.common_name)
        assert all(len(names) == 1 for names in owners.values())
        assert len(owners) < len(seen) / 2, "and yet they are kept"
        assert any(one.resumed for one in seen), "and sessions are resumed"


# Notices and renewal


async def notices(world: World, webhook: Webhook) -> list[int]:
    """The days of those that this webhook took, in order. What they say is checked against the catalogue."""
    await world.story.quiet()
    page = await world.gridhook.store.attempts(world.story.account, webhook.id, before=None, limit=100)
    days = []
    for one in reversed(page.attempts):
        if one.event_type == EXPIRING and status_of(one.outcome) == 200:
            detail = await world.gridhook.store.attempt(world.story.account, one.id)
            data = json.loads(detail.payload or b"")["data"]
            check_data(EXPIRING, data)
            days.append(data["days_until_expiration"])
    return days


async def listener(world: World) -> Webhook:
    """A webhook with a Private Key that wants to hear of certificates."""
    created = await world.gridhook.service.webhooks.create(
        world.story.account, name="Operations", url=world.story.receiver.url, subscribed_events=[EXPIRING]
    )
    return await world.story.until(lambda w: w.is_verified, created.webhook.id)


async def test_every_webhook_that_asked_for_it_hears_four_times_that_a_certificate_ends_whatever_clocks_and_processes_do(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log
) -> None:
    clock = a_while_ago(400)
    never: dict[str, Any] = {"renew_days_before": 0, "certificate_days": 410}  # receivers take it until its end
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, **never) as world:
        account = world.story.account
        receiver = await world.receiver()
        webhook, certificate = await world.webhook(receiver.url, types=(ISSUED, EXPIRING))
        deleted, _ = await world.webhook(receiver.url + "/deleted")
        await world.gridhook.service.webhooks.delete(account, deleted.id)
        operations = await listener(world)
        clock.advance(ms=380 * DAY - SECOND - 1000)
        await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == []
        clock.advance(ms=MINUTE)
        for _ in range(2):
            await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == await notices(world, webhook) == [30]
        (request,) = world.story.receiver.deliveries
        assert request.json()["data"] == {
            "webhook_id": webhook.id,
            "webhook_name": "Vault",
            "cert_expires_at": rfc3339(certificate.expires_at),
            "days_until_expiration": 30,
        }
        assert str(request.header("authorization")).startswith("Bearer ")
        # A crash between the event and the note that it was published: told again under the same id, which is no second event.
        await world.change("UPDATE webhook_certificates SET noticed_days = NULL WHERE webhook_id = ?", webhook.id)
        await world.gridhook.engine.warden.look()
        clock.advance(ms=-5 * DAY)
        await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == [30]
    # Down for three weeks and more, so that two are late: they are told at once, at the start.
    clock.advance(ms=5 * DAY + 24 * DAY + 12 * HOUR)
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, **never) as world:
        world.story.account = account
        await world.move(operations, world.story.receiver.url)
        await world.story.receiver.received(2)
        assert await notices(world, operations) == [30, 5, 5]
        clock.advance(ms=5 * DAY)
        await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == [30, 5, 5, 0]
        clock.advance(ms=2 * DAY)
        await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == [30, 5, 5, 0], "what has expired does not expire any more"
        assert await notices(world, webhook) == [30, 5, 5, 0]


async def test_thirty_days_before_its_end_a_certificate_is_renewed_and_a_receiver_that_trusts_our_authority_notices_nothing(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log
) -> None:
    clock = a_while_ago(380)
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, certificate_days=400) as world:
        receiver = await world.receiver()
        webhook, old = await world.webhook(receiver.url)
        operations = await listener(world)
        clock.advance(ms=old.expires_at - 30 * DAY - 1 - clock.now())
        await world.gridhook.engine.warden.look()
        assert len(await world.shown(webhook)) == 1
        clock.advance(ms=1)
        for _ in range(3):
            await world.gridhook.engine.warden.look()
        new, fallback = list(await world.shown(webhook))
        assert fallback == old.id
        attempt = await world.delivered(webhook, "evt-1")
        assert (status_of(attempt.outcome), attempt.credential_id, attempt.note) == (200, new, None)
        assert await notices(world, operations) == [30], "said once all the same: who pins certificates must know"
        clock.advance(ms=8 * DAY)
        await world.gridhook.engine.warden.look()
        assert await world.keys() == {new}
        clock.advance(ms=20 * DAY)
        await world.gridhook.engine.warden.look()
        assert await notices(world, operations) == [30]


async def test_a_renewal_that_would_gain_nothing_is_not_made_and_keeps_no_notice_back(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack
) -> None:
    lines = io.BytesIO()
    clock = a_while_ago(0)
    async with opened(tmp_path, receivers_authority, stack, Log(lines), clock, certificate_days=3650) as world:
        receiver = await world.receiver()
        webhook, old = await world.webhook(receiver.url)
        operations = await listener(world)
        (authority,) = await world.gridhook.service.authorities.listed()
        assert old.expires_at == authority.expires_at
        clock.advance(ms=3650 * DAY - 13 * DAY)
        for _ in range(3):
            await world.gridhook.engine.warden.look()
        assert list(await world.shown(webhook)) == [old.id]
        assert await notices(world, operations) == [13, 13]
    assert b"gridhook ca roll" in lines.getvalue()


async def test_two_processes_on_one_postgresql_tell_once_and_renew_once(
    tmp_path: Path, postgres_url: str, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log
) -> None:
    clock = a_while_ago(380)
    async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, postgres_url, certificate_days=400) as world:
        receiver = await world.receiver()
        webhooks = [(await world.webhook(f"{receiver.url}/{n}"))[0] for n in range(5)]
        operations = await listener(world)
        other = Gridhook(world.gridhook.settings, clock=clock, log=quiet_log)
        try:
            await other.start()
            clock.advance(ms=371 * DAY)
            await asyncio.gather(*[one.engine.warden.look() for one in (world.gridhook, other) * 2])
            for webhook in webhooks:
                assert sorted((await world.shown(webhook)).values()) == [CertificateState.FALLBACK, CertificateState.PRESENTED]
            await world.story.receiver.received(5)
            assert await notices(world, operations) == [29] * 5
            told = [request.json()["data"]["webhook_id"] for request in world.story.receiver.deliveries]
            assert sorted(told) == sorted(webhook.id for webhook in webhooks)
        finally:
            await other.close()


# Crashes


def has_more_than(publishers: Publishers, count: int) -> bool:
    return len(publishers.acknowledged) > count


@pytest.mark.timeout(120)
def test_a_kill_between_a_rotation_and_its_acceptance_loses_nothing(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack
) -> None:
    with rig(tmp_path, ca_file=str(receivers_authority.path), retry_delays_seconds=(1,) * 10) as made:
        leaf = receivers_authority.leaf("127.0.0.1")

        def receiver(trusted: bytes, pinned: bytes | None = None) -> real.Receiver:
            home = tmp_path / ("pinning" if pinned else "trusting")
            return stack.enter_context(real.start("node", "1.3", home, server_leaf=leaf, client_ca_bundle=trusted, pinned=pinned))

        async def set_up() -> tuple[str, str, real.Receiver]:
            """A webhook whose receiver pins its first certificate. The handshake is owed, and made when the server starts."""
            async with offline(made.settings) as service:
                trusting = receiver(await service.authorities.bundle())
                new = await service.webhooks.create(
                    made.account, name="Vault", url=trusting.url, subscribed_events=[ISSUED], auth_method=AuthMethod.MTLS
                )
                assert new.certificate is not None
                pinning = receiver(await service.authorities.bundle(), leaf_of(new.certificate))
                await service.webhooks.change_url(made.account, new.webhook.id, pinning.url)
                return new.webhook.id, new.certificate.id, pinning

        async def rotated() -> Certificate:
            async with offline(made.settings) as service:
                return await service.certificates.rotate(made.account, webhook_id)

        async def undelivered() -> int:
            async with offline(made.settings) as service:
                counts = await service.store.counts(made.account, webhook_id)
                return counts.queued + counts.held

        async def last() -> tuple[Attempt, Certificate]:
            async with offline(made.settings) as service:
                page = await service.store.attempts(made.account, webhook_id, before=None, limit=1)
                return page.attempts[0], (await service.store.certificates(made.account, webhook_id))[0]

        made.kill_server()
        webhook_id, old_id, pinning = asyncio.run(set_up())
        made.start_server()
        made.wait_verified(webhook_id)
        with Publishers(made) as publishers:
            wait_for(partial(has_more_than, publishers, 100), PATIENCE, "a hundred events")
            new = asyncio.run(rotated())
            for more in (200, 300):
                made.kill_server()
                made.start_server()
                wait_for(partial(has_more_than, publishers, more), PATIENCE, "more events")
        wait_for(lambda: asyncio.run(undelivered()) == 0, PATIENCE, "every delivery")
        attempt, presented = asyncio.run(last())
        assert (status_of(attempt.outcome), attempt.credential_id) == (200, old_id)
        assert (presented.id, presented.accepted_at) == (new.id, None)
        assert len(pinning.seen) >= len(publishers.acknowledged)
        with database_of(made) as database:
            states = dict(database.execute("SELECT state, count(*) FROM deliveries GROUP BY state"))
        assert states == {"delivered": len(publishers.acknowledged)}
