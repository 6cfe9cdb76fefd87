"""Whole stories: a customer, a publisher and a receiver, against the running parts. Time moves when the story says so."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.errors import GridhookError, NotFound
from gridhook.model import Answered, Attempt, AttemptKind, Echo, Publication, Reason, Unreachable, Webhook
from gridhook.rules.catalogue import event_type
from gridhook.rules.cloudevents import Draft
from gridhook.telemetry import Log
from gridhook.testing import FakeClock, Received, Receiver, Reply, echo

ISSUED = "ag.access_pass.issued"
NOON = 1_790_000_000_000
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
PATIENCE = 20.0  # seconds; a guard against hanging, not a promise


def ids(receiver: Receiver) -> list[str]:
    """Of the events that it got, in order; handshakes are none."""
    return [str(request.event_id) for request in receiver.deliveries]


def not_ready(_: Received) -> Reply:
    """An endpoint that does not answer the handshake yet."""
    return Reply(503)


@dataclass
class Story:
    gridhook: Gridhook
    clock: FakeClock
    receiver: Receiver
    account: str

    async def webhook(self, *, verified: bool = True) -> Webhook:
        created = await self.gridhook.service.webhooks.create(
            self.account, name="Badge sync", url=self.receiver.url, subscribed_events=[ISSUED]
        )
        if verified:
            return await self.until(lambda w: w.is_verified, created.webhook.id)
        return created.webhook

    async def until(self, ready: Callable[[Webhook], bool], webhook_id: str) -> Webhook:
        async with asyncio.timeout(PATIENCE):
            while not ready(webhook := await self.gridhook.store.webhook(self.account, webhook_id)):
                await asyncio.sleep(0.01)
        return webhook

    async def publish(self, *ids: str, time_at: int | None = None) -> list[Publication]:
        drafts = [Draft(ISSUED, event_type(ISSUED).example, id, time_at) for id in ids]
        answers = await self.gridhook.service.publish(self.account, drafts)
        for answer in answers:
            if isinstance(answer, GridhookError):
                raise answer
        return [answer for answer in answers if isinstance(answer, Publication)]

    async def attempts(self, webhook: Webhook, count: int, kind: AttemptKind = AttemptKind.DELIVERY) -> list[Attempt]:
        """The log, oldest first, once it has `count` rows of this kind."""
        async with asyncio.timeout(PATIENCE):
            while True:
                page = await self.gridhook.store.attempts(self.account, webhook.id, before=None, limit=100)
                found = [attempt for attempt in reversed(page.attempts) if attempt.kind is kind]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def received(self, count: int) -> list[str]:
        """Ids of the events that the receiver got, once there are `count` requests that are no handshakes."""
        await self.receiver.received(count)
        return ids(self.receiver)

    async def quiet(self) -> None:
        """Nothing is in flight, nothing unrecorded, and the dispatcher had time to look around."""
        for _ in range(3):
            await asyncio.sleep(0.1)
            await self.gridhook.engine.dispatcher.recorder.drain()


@pytest.fixture
async def story(tmp_path: Path, database_url: str, quiet_log: Log) -> AsyncIterator[Story]:
    clock = FakeClock(NOON)
    async with told(tmp_path, database_url, clock, quiet_log) as one:
        yield one


@asynccontextmanager
async def told(directory: Path, database_url: str, clock: FakeClock, log: Log, **changes: Any) -> AsyncIterator[Story]:
    settings = Settings(
        data_dir=str(directory / "data"),
        database_url=database_url,
        master_key="test:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
        allow_networks=("127.0.0.1/32",),
        poll_seconds=0.05,
        attempt_seconds=2.0,
        connect_seconds=1.0,
        drain_seconds=1.0,
        **changes,
    )
    async with Receiver() as receiver:
        gridhook = Gridhook(settings, clock=clock, log=log)
        try:
            await gridhook.start()
            account, _ = await gridhook.service.create_account("Example Corp")
            yield Story(gridhook, clock, receiver, account.id)
        finally:
            await gridhook.close()


async def test_a_webhook_is_proven_then_gets_the_event_and_the_log_shows_both(story: Story):
    webhook = await story.webhook()
    (answer,) = await story.publish("evt-1")
    assert (answer.deliveries, answer.duplicate) == (1, False)
    assert await story.received(1) == ["evt-1"]
    (attempt,) = await story.attempts(webhook, 1)
    assert isinstance(attempt.outcome, Answered)
    assert (attempt.outcome.status, attempt.number, attempt.event_id) == (200, 1, "evt-1")
    (handshake,) = await story.attempts(webhook, 1, AttemptKind.VERIFICATION)
    assert handshake.echo is Echo.MATCHED


async def test_a_receiver_that_is_down_for_three_retries_gets_the_event_at_the_fourth(story: Story):
    webhook = await story.webhook()
    story.receiver.script(*[Reply(503)] * 3)
    await story.publish("evt-1")
    for number, wait in ((1, 30 * SECOND), (2, 2 * MINUTE), (3, 5 * MINUTE)):
        attempts = await story.attempts(webhook, number)
        assert attempts[-1].next_attempt_at == story.clock.now() + wait
        story.clock.advance(ms=wait - SECOND)
        await story.quiet()
        assert len(ids(story.receiver)) == number, "nothing goes out before its time"
        story.clock.advance(ms=SECOND)
    attempts = await story.attempts(webhook, 4)
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4]
    assert [attempt.outcome.status for attempt in attempts if isinstance(attempt.outcome, Answered)] == [503, 503, 503, 200]
    assert await story.received(4) == ["evt-1"] * 4


async def test_after_the_seventh_attempt_a_delivery_is_given_up(story: Story):
    webhook = await story.webhook()
    story.receiver.script(*[Reply(500)] * 7)
    await story.publish("evt-1")
    for number, wait in enumerate((30, 120, 300, 900, 1800, 3600), 1):
        await story.attempts(webhook, number)
        story.clock.advance(ms=wait * SECOND)
    attempts = await story.attempts(webhook, 7)
    assert attempts[-1].next_attempt_at is None
    story.clock.advance(ms=HOUR)
    await story.quiet()
    assert len(ids(story.receiver)) == 7
    counts = await story.gridhook.store.counts(story.account, webhook.id)
    assert (counts.held, counts.queued) == (0, 0)


async def test_what_is_published_while_pending_arrives_after_verification_and_costs_no_attempt(story: Story):
    story.receiver.handshake = not_ready
    webhook = await story.webhook(verified=False)
    await story.attempts(webhook, 1, AttemptKind.VERIFICATION)
    await story.publish("evt-1", "evt-2")
    story.clock.advance(ms=5 * HOUR)
    await story.quiet()
    assert ids(story.receiver) == []
    counts = await story.gridhook.store.counts(story.account, webhook.id)
    assert counts.held == 2
    assert counts.oldest_expires_at == NOON + 6 * HOUR
    story.receiver.handshake = echo
    assert await story.gridhook.service.webhooks.verify(story.account, webhook.id) is False
    assert sorted(await story.received(2)) == ["evt-1", "evt-2"]
    assert {attempt.number for attempt in await story.attempts(webhook, 2)} == {1}
    assert await story.gridhook.service.webhooks.verify(story.account, webhook.id) is True


async def test_what_is_held_for_six_hours_expires_and_is_never_sent(story: Story):
    story.receiver.handshake = not_ready
    webhook = await story.webhook(verified=False)
    await story.attempts(webhook, 1, AttemptKind.VERIFICATION)
    await story.publish("evt-1")
    story.clock.advance(ms=6 * HOUR + SECOND)
    story.receiver.handshake = echo
    await story.gridhook.service.webhooks.verify(story.account, webhook.id)
    await story.until(lambda w: w.is_verified, webhook.id)
    await story.quiet()
    assert ids(story.receiver) == []
    counts = await story.gridhook.store.counts(story.account, webhook.id)
    assert (counts.held, counts.queued) == (0, 0)


async def test_no_attempt_starts_once_the_event_is_older_than_six_hours_by_its_own_time(story: Story):
    webhook = await story.webhook()
    story.receiver.script(Reply(500))
    await story.publish("evt-1", time_at=NOON - 6 * HOUR + 20 * SECOND)
    attempts = await story.attempts(webhook, 1)
    assert attempts[0].next_attempt_at is None
    story.clock.advance(ms=30 * SECOND)
    await story.quiet()
    assert len(ids(story.receiver)) == 1


async def test_a_url_that_changes_during_the_handshake_is_not_verified_by_the_old_answer(story: Story):
    async with Receiver() as other:
        other.handshake = not_ready
        story.receiver.handshake = lambda request: dataclasses.replace(echo(request), delay=0.5)
        webhook = await story.webhook(verified=False)
        await story.receiver.shaken()
        await story.gridhook.service.webhooks.change_url(story.account, webhook.id, other.url)
        handshakes = await story.attempts(webhook, 2, AttemptKind.VERIFICATION)
        assert {attempt.echo for attempt in handshakes} == {Echo.SUPERSEDED, Echo.WRONG_STATUS}
        assert not (await story.gridhook.store.webhook(story.account, webhook.id)).is_verified
        await story.publish("evt-1")
        await story.quiet()
        assert ids(story.receiver) == ids(other) == []


async def test_a_changed_url_holds_the_retries_and_they_go_to_the_new_one_once_proven(story: Story):
    webhook = await story.webhook()
    story.receiver.script(Reply(500))
    await story.publish("evt-1")
    await story.attempts(webhook, 1)
    async with Receiver() as other:
        other.handshake = not_ready
        await story.gridhook.service.webhooks.change_url(story.account, webhook.id, other.url)
        await story.attempts(webhook, 2, AttemptKind.VERIFICATION)
        story.clock.advance(ms=HOUR)
        await story.quiet()
        assert ids(other) == []
        assert ids(story.receiver) == ["evt-1"]
        other.handshake = echo
        await story.gridhook.service.webhooks.verify(story.account, webhook.id)
        attempts = await story.attempts(webhook, 2)
        assert [attempt.number for attempt in attempts] == [1, 2]
        assert ids(other) == ["evt-1"]


async def test_a_deleted_webhook_gets_nothing_more(story: Story):
    webhook = await story.webhook()
    story.receiver.script(Reply(500))
    await story.publish("evt-1")
    await story.attempts(webhook, 1)
    await story.gridhook.service.webhooks.delete(story.account, webhook.id)
    story.clock.advance(ms=HOUR)
    await story.quiet()
    assert len(ids(story.receiver)) == 1
    with pytest.raises(NotFound):
        await story.gridhook.service.webhooks.delete(story.account, webhook.id)


async def test_a_repeat_of_an_event_is_answered_like_the_first_time_and_sent_once(story: Story):
    await story.webhook()
    (first,) = await story.publish("evt-1")
    (again,) = await story.publish("evt-1")
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.deliveries == again.deliveries == 1
    await story.received(1)
    await story.quiet()
    assert ids(story.receiver) == ["evt-1"]


async def test_one_customers_dead_endpoint_does_not_slow_anothers_deliveries(story: Story):
    dead = await story.webhook()
    account, _ = await story.gridhook.service.create_account("Another")
    async with Receiver() as other:
        created = await story.gridhook.service.webhooks.create(account.id, name="alive", url=other.url, subscribed_events=[ISSUED])
        alive = Story(story.gridhook, story.clock, other, account.id)
        await alive.until(lambda w: w.is_verified, created.webhook.id)
        story.receiver.reply = Reply(hang=True)
        await story.publish(*[f"dead-{n}" for n in range(2000)])
        await alive.publish(*[f"alive-{n}" for n in range(50)])
        # They arrive while every request to the dead endpoint still hangs: nothing of it has been answered or given up.
        assert len(await alive.received(50)) == 50
        assert story.gridhook.engine.slots.limit(dead.id) <= story.gridhook.settings.webhook_slots


async def test_a_secret_that_cannot_be_opened_sends_nothing_and_says_why(story: Story):
    webhook = await story.webhook()
    for key in list(story.gridhook.vault._ring):
        del story.gridhook.vault._ring[key]
    await story.publish("evt-1")
    (attempt,) = await story.attempts(webhook, 1)
    assert isinstance(attempt.outcome, Unreachable)
    assert attempt.outcome.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert ids(story.receiver) == []


async def test_a_stored_key_that_cannot_stand_in_a_header_fails_its_own_delivery_and_nobody_elses(story: Story):
    webhook = await story.webhook()
    vault = story.gridhook.vault
    story.gridhook.engine.dispatcher._deliverer._vault = _Opens("two words")  # type: ignore[assignment]
    (answer,) = await story.publish("evt-1")
    assert answer.deliveries == 1
    (attempt,) = await story.attempts(webhook, 1)
    assert isinstance(attempt.outcome, Unreachable)
    assert attempt.outcome.reason is Reason.INTERNAL
    assert "two words" not in attempt.outcome.detail
    story.gridhook.engine.dispatcher._deliverer._vault = vault
    await story.publish("evt-2")
    assert await story.received(1) == ["evt-2"]
    await story.attempts(webhook, 2)
    assert story.gridhook.engine.slots.in_flight == 0


class _Opens:
    """A vault whose every secret is this text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self, *_: object) -> str:
        return self._text


async def test_a_sender_that_died_gets_nothing_more_to_send_and_the_process_says_that_it_is_broken(story: Story, capfd: object):
    webhook = await story.webhook()
    story.gridhook.transport._sends._look_at = None  # type: ignore[attr-defined]  # the defect
    story.gridhook.transport._sends.turn()  # type: ignore[attr-defined]
    assert story.gridhook.engine.is_broken()
    assert not story.gridhook.engine.parts()["sender"]
    await story.publish("evt-1")
    story.clock.advance(ms=HOUR)
    await story.quiet()
    counts = await story.gridhook.store.counts(story.account, webhook.id)
    assert counts.queued == 1, "accepted, kept for the next process, and no attempt is used up"


async def test_an_account_that_registers_without_end_makes_us_knock_only_so_often(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log, new_urls_per_minute=3) as story:
        story.receiver.handshake = not_ready
        for _ in range(8):
            await story.webhook(verified=False)
        await story.receiver.shaken(3)
        await story.quiet()
        assert len(story.receiver.handshakes) == 3, "the others wait for their turn"


async def test_a_webhook_that_was_down_for_longer_than_the_window_comes_back_past_all_that_expired(story: Story):
    """It makes one request at a time: were expired events cleared away one at a time as well, more could expire than are."""
    webhook = await story.webhook()
    story.receiver.reply = Reply(503)
    await story.publish(*[f"first-{number}" for number in range(20)])
    async with asyncio.timeout(60):
        while not story.gridhook.engine.lane_state(webhook.id).is_failing:
            await asyncio.sleep(0.01)
    await story.publish(*[f"missed-{number}" for number in range(3_000)])
    story.clock.advance(ms=7 * HOUR)
    story.receiver.reply = Reply(200)
    await story.publish("fresh")
    async with asyncio.timeout(60):  # at one each 50 ms it took two and a half minutes
        while "fresh" not in ids(story.receiver):
            await asyncio.sleep(0.01)
