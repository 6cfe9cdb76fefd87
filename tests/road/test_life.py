"""Stories of a webhook's whole life: paused and resumed, limited, dead and back, tested, signed, recovered, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from standardwebhooks import Webhook as StandardWebhook

from gridhook.app import Gridhook, offline
from gridhook.bench.harness import Rig, rig, wait_for
from gridhook.errors import Conflict, Invalid, NotFound, TooMany, Unavailable
from gridhook.model import (
    Answered,
    AttemptKind,
    DeliveryFilter,
    DeliveryState,
    Origin,
    Reason,
    Recovery,
    RecoveryState,
    Unreachable,
)
from gridhook.rules.catalogue import check_data
from gridhook.service.webhooks import Changes
from gridhook.telemetry import Log
from gridhook.testing import FakeClock, Received, Receiver, Reply
from tests.road.test_stories import HOUR, ISSUED, MINUTE, NOON, PATIENCE, SECOND, Story, ids, not_ready, told

DAY = 24 * HOUR
LENIENT = 1.0  # seconds of what a rate gives that a busy machine may push together


@pytest.fixture
async def story(tmp_path: Path, quiet_log: Log) -> AsyncIterator[Story]:
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as one:
        yield one


def starts(requests: Sequence[Received], seconds: float) -> int:
    """How many came within this time of the first."""
    return sum(request.at - requests[0].at < seconds for request in requests)


def most_within(requests: Sequence[Received], seconds: float) -> int:
    """Of any stretch of time this long, the most requests that came in one."""
    times = [request.at for request in requests]
    return max(sum(start <= at < start + seconds for at in times) for start in times)


def one_at_a_time(requests: Sequence[Received], takes: float) -> bool:
    """Each came only when the answer to the one before, which takes so long, was out."""
    return all(later.at - earlier.at >= takes - 0.001 for earlier, later in pairwise(requests))


async def until(ready: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not ready():
            await asyncio.sleep(0.01)


# Pause and resume


async def test_what_was_held_during_a_pause_goes_out_oldest_first_and_does_not_flood_the_receiver(
    tmp_path: Path, database_url: str, quiet_log: Log
):
    async with told(tmp_path, database_url, FakeClock(NOON), quiet_log, ramp_per_second=10.0) as story:
        webhook = await story.webhook()
        await story.gridhook.service.webhooks.pause(story.account, webhook.id)
        for n in range(10):
            await story.publish(*[f"evt-{10 * n + m:03}" for m in range(10)])
            story.clock.advance(ms=SECOND)
        await story.quiet()
        assert ids(story.receiver) == []
        await story.gridhook.service.webhooks.resume(story.account, webhook.id)
        arrived = await story.received(100)
        assert sorted(arrived) == [f"evt-{n:03}" for n in range(100)]
        assert arrived != sorted(arrived, reverse=True)
        first = {int(event.removeprefix("evt-")) for event in arrived[:20]}
        assert first == set(range(20)), "the oldest are the first"
        # Ten a second, then twenty, then forty. Without a ramp all hundred come within a tenth of a second.
        assert starts(story.receiver.deliveries, 1.0) <= 10 * (1 + LENIENT)
        assert starts(story.receiver.deliveries, 3.0) <= 40 * (1 + LENIENT)
        await until(lambda: not story.gridhook.engine.lane_state(webhook.id).is_ramping)


async def test_two_processes_that_share_a_database_do_not_flood_it_either(tmp_path: Path, postgres_url: str, quiet_log: Log):
    async with told(tmp_path, postgres_url, FakeClock(NOON), quiet_log, ramp_per_second=10.0) as story:
        webhook = await story.webhook()
        other = Gridhook(story.gridhook.settings, clock=story.clock, log=quiet_log)
        try:
            await other.start()
            await story.gridhook.service.webhooks.pause(story.account, webhook.id)
            await story.publish(*[f"evt-{n}" for n in range(100)])
            story.clock.advance(ms=2 * MINUTE)
            await story.gridhook.service.webhooks.resume(story.account, webhook.id)
            await story.received(100)
            assert starts(story.receiver.deliveries, 1.0) <= 2 * 10 * (1 + LENIENT), "each process ramps by itself"
        finally:
            await other.close()


async def test_a_new_webhook_with_nothing_held_is_not_slowed_down(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log, ramp_per_second=1.0) as story:
        await story.webhook()
        await story.publish(*[f"evt-{n}" for n in range(200)])
        await story.received(200)
        assert starts(story.receiver.deliveries, 10.0) == 200


async def test_what_was_held_before_the_first_proof_ramps_up_too(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log, ramp_per_second=10.0) as story:
        story.receiver.handshake = not_ready
        webhook = await story.webhook(verified=False)
        await story.attempts(webhook, 1, AttemptKind.VERIFICATION)
        await story.publish(*[f"evt-{n}" for n in range(50)])
        story.receiver.handshake = Receiver().handshake
        await story.gridhook.service.webhooks.verify(story.account, webhook.id)
        await story.received(50)
        assert starts(story.receiver.deliveries, 1.0) <= 10 * (1 + LENIENT)


# Dead receivers


async def test_a_receiver_that_fails_sees_one_request_at_a_time_others_go_on_and_it_gets_all_when_it_is_back(tmp_path: Path):
    takes = 0.05
    lines = io.BytesIO()
    async with told(tmp_path, "", FakeClock(NOON), Log(lines), ramp_per_second=100.0) as story, Receiver() as other:
        dead = await story.webhook()
        story.receiver.reply = Reply(503, delay=takes)
        await story.publish(*[f"evt-{n}" for n in range(2000)])
        engine = story.gridhook.engine
        await until(lambda: engine.lane_state(dead.id).is_failing and engine.lane_state(dead.id).in_flight == 1)
        before = story.receiver.count

        account, _ = await story.gridhook.service.create_account("Another")
        alive = Story(story.gridhook, story.clock, other, account.id)
        await alive.webhook()
        await alive.publish(*[f"alive-{n}" for n in range(300)])
        assert len(await alive.received(300)) == 300

        await story.publish("latest")
        await story.receiver.received(before + 40)
        probes = story.receiver.deliveries[before:]
        assert "latest" not in {probe.event_id for probe in probes}
        assert one_at_a_time(probes, takes)
        assert len(set(ids(story.receiver))) == len(story.receiver.deliveries), "each probe is the one that has waited longest"
        assert engine.slots.failing == 1

        story.receiver.reply = Reply(200)
        back = len(story.receiver.deliveries)
        story.clock.advance(ms=30 * SECOND)  # what was tried and failed is due again
        await until(lambda: len(set(ids(story.receiver)[back:])) >= 2001 - back)
        story.clock.advance(ms=MINUTE)
        counts = await story.gridhook.store.counts(story.account, dead.id)
        while counts.queued:
            await asyncio.sleep(0.05)
            counts = await story.gridhook.store.counts(story.account, dead.id)
        assert set(ids(story.receiver)) == {"latest"} | {f"evt-{n}" for n in range(2000)}
        # The first few may still be probes that were on their way with the old answer.
        assert starts(story.receiver.deliveries[back + 2 :], 1.0) <= 100 * (1 + LENIENT)
        assert engine.slots.failing == 0
    told_to_operators = [json.loads(line) for line in lines.getvalue().splitlines() if b'"webhook":"%b"' % dead.id.encode() in line]
    turns = [line["msg"] for line in told_to_operators if line["msg"].startswith("a webhook")]
    assert len(turns) == 2
    assert "fails in an unbroken row" in turns[0]
    assert "succeeds again" in turns[1]


async def test_a_receiver_that_refuses_every_second_event_is_not_slowed_to_a_crawl(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        story.receiver.answer = lambda request: Reply(200 if int(str(request.event_id)) % 2 else 500, delay=0.01)
        await story.publish(*[str(n) for n in range(500)])
        await story.received(500)
        assert not story.gridhook.engine.lane_state(webhook.id).is_failing
        assert most_within(story.receiver.deliveries, 0.011) > 1


# Limits


async def test_a_rate_and_a_number_at_a_time_that_a_customer_sets_hold_and_lifting_them_acts_at_once(tmp_path: Path, quiet_log: Log):
    takes = 0.2
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        edit, service = Changes(max_in_flight=2, rate_per_second=20.0), story.gridhook.service.webhooks
        await service.edit(story.account, webhook.id, edit)
        await story.publish(*[f"evt-{n}" for n in range(40)])
        await story.received(40)
        times = [request.at for request in story.receiver.deliveries]
        assert times[-1] - times[0] >= (40 - 4 - 1) / 20 - 0.1, "twenty a second, and four at once in the beginning"
        state = story.gridhook.engine.lane_state(webhook.id)
        assert (state.limit, state.rate_per_second) == (2, 20.0)

        await service.edit(story.account, webhook.id, Changes(rate_per_second=None))
        story.receiver.reply = Reply(200, delay=takes)
        await story.publish(*[f"more-{n}" for n in range(10)])
        await story.received(50)
        arrivals = [request.at for request in story.receiver.deliveries[40:]]
        assert all(third - first >= takes - 0.001 for first, third in zip(arrivals, arrivals[2:], strict=False)), "two at a time"

        await until(lambda: story.gridhook.engine.lane_state(webhook.id).in_flight == 0)
        await service.edit(story.account, webhook.id, Changes(rate_per_second=0.1))
        await story.publish(*[f"last-{n}" for n in range(10)])
        await story.received(51)
        await story.quiet()
        assert story.receiver.count == 51
        await service.edit(story.account, webhook.id, Changes(rate_per_second=None, max_in_flight=None))
        await story.received(60)


async def test_limits_hold_for_what_a_former_process_left(tmp_path: Path, quiet_log: Log):
    async with Receiver() as receiver:
        async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
            story.receiver = receiver
            webhook = await story.webhook()
            limits = Changes(max_in_flight=1)
            await story.gridhook.service.webhooks.edit(story.account, webhook.id, limits)
            await story.gridhook.service.webhooks.pause(story.account, webhook.id)
            await story.publish(*[f"evt-{n}" for n in range(10)])
            await story.gridhook.store.resume_webhook(story.account, webhook.id, now=story.clock.now())
            # Nobody was told: the process ends before it has sent anything of it, or after the first.
        receiver.reply = Reply(200, delay=0.05)
        before = receiver.count
        async with told(tmp_path, "", FakeClock(NOON), quiet_log):
            await receiver.received(10)
        assert one_at_a_time(receiver.deliveries[before:], 0.05)


# Tests


async def test_a_test_send_goes_out_at_once_like_a_delivery_and_is_tried_once(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        store, engine = story.gridhook.store, story.gridhook.engine
        await story.gridhook.service.webhooks.edit(story.account, webhook.id, Changes(headers={"X-Team": "doors"}))
        story.receiver.script(Reply(500, body=b"no"))
        attempt = await engine.send_test(story.account, webhook.id, "ag.access_pass.suspended")
        assert isinstance(attempt.outcome, Answered)
        assert (attempt.kind, attempt.number, attempt.outcome.status, attempt.outcome.body) == (AttemptKind.TEST, 1, 500, b"no")
        (request,) = story.receiver.deliveries
        body = request.json()
        assert (body["source"], body["test"], body["type"], body["id"]) == (
            "/accessgrid/test",
            True,
            "ag.access_pass.suspended",
            attempt.event_id,
        )
        check_data("ag.access_pass.suspended", body["data"])
        assert request.header("x-team") == "doors"
        assert str(request.header("authorization")).startswith("Bearer ")
        detail = await store.attempt(story.account, attempt.id)
        assert detail.attempt.kind is AttemptKind.TEST
        assert detail.payload == request.body
        assert (await store.event(story.account, str(attempt.event_id), now=story.clock.now())).event.is_test

        story.clock.advance(ms=6 * HOUR)
        await story.quiet()
        assert story.receiver.count == 1, "not tried again"
        counts = await store.counts(story.account, webhook.id)
        assert (counts.held, counts.queued) == (0, 0)

        await story.gridhook.service.webhooks.pause(story.account, webhook.id)
        assert isinstance((await engine.send_test(story.account, webhook.id, ISSUED)).outcome, Answered), "also while paused"


async def test_a_test_send_is_refused_with_a_reason_and_then_nothing_goes_out(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        engine = story.gridhook.engine
        story.receiver.handshake = not_ready
        pending = await story.webhook(verified=False)
        with pytest.raises(Conflict, match="pending"):
            await engine.send_test(story.account, pending.id, ISSUED)
        with pytest.raises(Invalid, match=r"ag\.access_pass\.issued"):
            await engine.send_test(story.account, pending.id, "ag.access_pass.isued")
        other, _ = await story.gridhook.service.create_account("Another")
        with pytest.raises(NotFound):
            await engine.send_test(other.id, pending.id, ISSUED)
        assert story.receiver.count == 0


async def test_four_tests_of_an_account_may_run_and_what_was_begun_is_logged_even_if_the_caller_left(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        engine = story.gridhook.engine
        story.receiver.reply = Reply(200, delay=0.3)
        callers = [asyncio.ensure_future(engine.send_test(story.account, webhook.id, ISSUED)) for _ in range(4)]
        await story.receiver.received(4)
        with pytest.raises(TooMany):
            await engine.send_test(story.account, webhook.id, ISSUED)
        callers[0].cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        assert len(await story.attempts(webhook, 4, AttemptKind.TEST)) == 4
        await engine.send_test(story.account, webhook.id, ISSUED)


async def test_a_test_send_that_our_stop_cuts_short_is_in_the_log(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        story.receiver.reply = Reply(hang=True)
        caller = asyncio.ensure_future(story.gridhook.engine.send_test(story.account, webhook.id, ISSUED))
        await story.receiver.received(1)
        await story.gridhook.engine.close(0.0)
        (attempt,) = await story.attempts(webhook, 1, AttemptKind.TEST)
        assert isinstance(attempt.outcome, Unreachable)
        assert attempt.outcome.reason is Reason.INTERRUPTED
        assert (await caller).id == attempt.id


# Signatures and headers


async def test_a_receiver_checks_our_signatures_with_the_standard_package_and_both_keys_fit_while_one_replaces_the_other(
    tmp_path: Path, quiet_log: Log
):
    async with told(tmp_path, "", FakeClock(time.time_ns() // 1_000_000), quiet_log) as story:
        webhook = await story.webhook()
        service = story.gridhook.service.webhooks
        old = await service.rotate_signing_key(story.account, webhook.id)
        await story.publish("evt-1")
        await story.received(1)
        new = await service.rotate_signing_key(story.account, webhook.id, overlap_seconds=60)
        await story.publish("evt 2: é.%")
        await story.received(2)
        story.clock.advance(seconds=61)
        await story.publish("evt-3")
        await story.received(3)
        await service.stop_signing(story.account, webhook.id)
        await story.publish("evt-4")
        await story.received(4)

        def fits(key: str, request: Received) -> bool:
            try:
                return bool(StandardWebhook(key).verify(request.body, dict(request.headers)) == request.json())
            except Exception:
                return False

        requests = story.receiver.deliveries
        assert [fits(old.text, request) for request in requests] == [True, True, False, False]
        assert [fits(new.text, request) for request in requests] == [False, True, True, False]
        assert requests[0].header("webhook-id") == "evt-1"
        assert [request.header("webhook-signature") is None for request in requests] == [False, False, False, True]


async def test_a_retry_is_signed_anew_for_its_own_time_with_the_same_id(tmp_path: Path, quiet_log: Log):
    async with told(tmp_path, "", FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        await story.gridhook.service.webhooks.rotate_signing_key(story.account, webhook.id)
        story.receiver.script(Reply(503))
        await story.publish("evt-1")
        await story.attempts(webhook, 1)
        story.clock.advance(ms=30 * SECOND)
        await story.received(2)
        first, second = story.receiver.deliveries
        assert first.header("webhook-id") == second.header("webhook-id") == "evt-1"
        assert first.header("webhook-timestamp") == str(NOON // 1000)
        assert second.header("webhook-timestamp") == str(NOON // 1000 + 30)
        assert first.header("webhook-signature") != second.header("webhook-signature")


async def test_a_customers_own_headers_arrive_and_ours_cannot_be_replaced(story: Story):
    webhook = await story.webhook()
    service = story.gridhook.service.webhooks
    await service.edit(story.account, webhook.id, Changes(headers={"X-Gateway-Key": "s3cret", "X-Team": "doors"}))
    await story.publish("evt-1")
    await story.received(1)
    (request,) = story.receiver.deliveries
    assert (request.header("x-gateway-key"), request.header("x-team")) == ("s3cret", "doors")
    for name in ("Authorization", "Content-Type", "Host", "user-agent", "Webhook-Signature", "Transfer-Encoding"):
        with pytest.raises(Invalid):
            await service.edit(story.account, webhook.id, Changes(headers={name: "mine"}))
        if name not in ("Webhook-Signature", "Transfer-Encoding"):
            assert [key for key, _ in request.headers].count(name.lower()) == 1


async def test_keys_and_headers_that_cannot_be_opened_send_nothing(story: Story):
    webhook = await story.webhook()
    service = story.gridhook.service.webhooks
    other = await story.webhook()
    for one in (webhook, other):
        await service.edit(story.account, one.id, Changes(headers={"X-Whose": one.id}))
    await story.publish("evt-1")
    assert len(await story.received(2)) == 2
    # Somebody with access to the database gives one webhook what was sealed for the other.
    claim = story.gridhook.engine.dispatcher._deliverer.request
    theirs = (await story.gridhook.store.webhook(story.account, other.id)).extras
    work = await story.gridhook.store.work(story.account, webhook.id, now=story.clock.now())
    assert theirs is not None
    made = claim(
        account_id=story.account,
        webhook_id=webhook.id,
        url=webhook.url,
        auth_method=webhook.auth_method,
        credential_id=work.credential_id,
        credential=work.credential,
        extras=theirs,
        event_id="evt-2",
        payload=b"{}",
        started_at=NOON,
    )
    assert isinstance(made, Unreachable)
    assert made.reason is Reason.CREDENTIAL_UNAVAILABLE


# Recoveries


async def recovered(story: Story, recovery: Recovery) -> Recovery:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(Unavailable):
                now = await story.gridhook.store.recovery(story.account, recovery.webhook_id, recovery.id)
                if now.state is not RecoveryState.RUNNING:
                    return now
            story.clock.advance(ms=200)
            await asyncio.sleep(0.05)


async def test_after_an_outage_a_recovery_brings_what_was_given_up_at_its_rate_and_leaves_what_arrived_alone(
    tmp_path: Path, database_url: str, quiet_log: Log
):
    settings: dict[str, Any] = {"retry_delays_seconds": (), "recovery_per_second": 50.0}
    async with told(tmp_path, database_url, FakeClock(NOON), quiet_log, **settings) as story:
        webhook = await story.webhook()
        await story.publish("before-1", "before-2")
        await story.received(2)
        story.receiver.reply = Reply(500)
        await story.publish(*[f"lost-{n}" for n in range(200)])
        await story.received(202)
        await story.quiet()
        story.receiver.reply = Reply(200)
        story.clock.advance(ms=DAY)

        recovery = await story.gridhook.service.redelivery.recover(story.account, webhook.id, DeliveryFilter())
        assert recovery.total == 200
        ended = await recovered(story, recovery)
        assert (ended.state, ended.requeued, ended.skipped, ended.gone) == (RecoveryState.DONE, 200, 0, 0)
        await story.received(402)
        again = ids(story.receiver)[202:]
        assert sorted(again) == sorted(f"lost-{n}" for n in range(200)), "once each, under the id that they had"
        page = await story.gridhook.store.attempts(story.account, webhook.id, limit=1)
        assert page.attempts[0].origin is Origin.RECOVERY


async def test_several_recoveries_run_side_by_side_and_one_of_them_is_cancelled(tmp_path: Path, quiet_log: Log):
    settings: dict[str, Any] = {"retry_delays_seconds": (), "recovery_per_second": 10.0}
    async with told(tmp_path, "", FakeClock(NOON), quiet_log, **settings) as story:
        redelivery = story.gridhook.service.redelivery
        webhooks = [await story.webhook() for _ in range(3)]
        story.receiver.reply = Reply(500)
        await story.publish(*[f"lost-{n}" for n in range(30)])
        await story.received(90)
        await story.quiet()
        story.receiver.reply = Reply(200)
        story.clock.advance(ms=HOUR)
        running = [await redelivery.recover(story.account, webhook.id, DeliveryFilter()) for webhook in webhooks]
        await story.received(90 + 30)
        assert await redelivery.cancel(story.account, webhooks[0].id, running[0].id)
        ended = [await recovered(story, recovery) for recovery in running]
        assert [one.state for one in ended] == [RecoveryState.CANCELLED, RecoveryState.DONE, RecoveryState.DONE]
        assert [one.requeued for one in ended[1:]] == [30, 30]
        assert ended[0].requeued < 30
        await story.received(90 + sum(one.requeued for one in ended))


async def test_a_recovery_goes_on_when_its_database_was_away(tmp_path: Path, postgres_url: str, quiet_log: Log):
    settings: dict[str, Any] = {"retry_delays_seconds": (), "recovery_per_second": 20.0}
    async with told(tmp_path, postgres_url, FakeClock(NOON), quiet_log, **settings) as story:
        webhook = await story.webhook()
        story.receiver.reply = Reply(500)
        await story.publish(*[f"lost-{n}" for n in range(60)])
        await story.received(60)
        await story.quiet()
        story.receiver.reply = Reply(200)
        story.clock.advance(ms=HOUR)
        recovery = await story.gridhook.service.redelivery.recover(story.account, webhook.id, DeliveryFilter())
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for count in (20, 40):
                await story.received(60 + count)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                story.clock.advance(ms=SECOND)
        ended = await recovered(story, recovery)
        assert (ended.state, ended.requeued) == (RecoveryState.DONE, 60)
        await story.received(120)
        assert all(story.gridhook.engine.parts().values())


@pytest.mark.timeout(120)
def test_a_recovery_goes_on_where_it_was_when_its_process_is_killed(tmp_path: Path):
    events = 600
    with rig(tmp_path, recovery_per_second=150.0, ramp_per_second=1000.0) as made:
        webhook = made.add_webhook()
        made.wait_verified(webhook)
        made.publish("once", events=events, batch=100, connections=2, seconds=60.0)
        assert made.wait_received(events, 20.0) == events
        assert made.server.stop() == 0
        # The receiver lost its database, and asks for all of it again.
        recovery = asyncio.run(ask_for_all(made, webhook))
        assert recovery.total == events
        made.start_server()
        wait_for(lambda: int(made.control("stats")["repeats"]) >= events // 4, 30.0, "a part of the recovery")
        made.kill_server()
        assert int(made.control("stats")["repeats"]) < events, "it was not over yet"
        made.start_server()
        wait_for(lambda: '"recovery ended"' in (tmp_path / "server.log").read_text(), 30.0, "the end of the recovery")
        wait_for(lambda: min(made.control("dump")["counts"].values()) >= 2, 30.0, "every event for the second time")
        assert made.server.stop() == 0
        line = next(line for line in (tmp_path / "server.log").read_text().splitlines() if '"recovery ended"' in line)
        ended = json.loads(line)
        assert (ended["state"], ended["requeued"], ended["skipped"]) == ("done", events, 0)
        in_flight_at_the_kill = made.settings.webhook_slots
        assert sum(made.control("dump")["counts"].values()) <= 2 * events + in_flight_at_the_kill


async def ask_for_all(made: Rig, webhook_id: str) -> Recovery:
    async with offline(made.settings) as service:
        return await service.redelivery.recover(made.account, webhook_id, DeliveryFilter(states=(DeliveryState.DELIVERED,)))


# Forgetting


async def test_what_was_kept_long_enough_is_forgotten_while_deliveries_go_on_and_what_waits_is_kept(
    tmp_path: Path, database_url: str, quiet_log: Log
):
    async with told(tmp_path, database_url, FakeClock(NOON), quiet_log) as story:
        webhook = await story.webhook()
        service, store = story.gridhook.service, story.gridhook.store
        await story.publish(*[f"old-{n}" for n in range(1200)])
        await story.received(1200)
        await story.quiet()
        story.clock.advance(ms=30 * DAY - HOUR)
        await service.webhooks.pause(story.account, webhook.id)
        await story.publish("waits", "waits too")
        story.clock.advance(ms=2 * HOUR)
        story.gridhook.engine.pruner.hurry()

        async def gone(event_id: str) -> bool:
            try:
                await store.event(story.account, event_id, now=story.clock.now())
            except NotFound:
                return True
            return False

        await service.webhooks.resume(story.account, webhook.id)
        await story.publish(*[f"new-{n}" for n in range(50)])
        await story.received(1252)
        async with asyncio.timeout(PATIENCE):
            while not (await gone("old-0") and await gone("old-1199")):
                await asyncio.sleep(0.05)
        assert not await gone("waits")
        assert not await gone("new-0")
        attempts = await story.attempts(webhook, 52)
        assert not any(str(attempt.event_id).startswith("old-") for attempt in attempts)
        health = (await store.health(story.account, [webhook.id], now=story.clock.now()))[webhook.id]
        assert health.succeeded == 1252, "counters stay"
        text = story.gridhook.metrics.render().decode()
        assert 'gridhook_pruned_rows_total{kind="events"} 1200.0' in text
