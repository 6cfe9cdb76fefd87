"""Long random histories, told to the database and to a small model of it that must agree at every step."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from gridhook.model import Claim, Delivered, FailureReason, GaveUp, Instant, Reason, RetryAt, Unreachable
from gridhook.store.sqlstore import SqlStore
from tests.store.world import HOUR, LEASE, NOON, SECOND, TYPE, a_webhook, answered, claim, event, finished, log, publish, state

WEBHOOKS = ("one", "two", "three")
STEPS = 150
MOST_ATTEMPTS = 7


@dataclass
class Owed:
    """What the model knows of one delivery."""

    webhook: str
    event: str
    expires_at: Instant
    state: str = "queued"
    due_at: Instant = 0
    lease: bytes | None = None
    attempts: int = 0


class Model:
    def __init__(self) -> None:
        self.verified = dict.fromkeys(WEBHOOKS, True)
        self.paused = dict.fromkeys(WEBHOOKS, False)
        self.events: set[str] = set()
        self.owed: dict[tuple[str, str], Owed] = {}
        self.logged = dict.fromkeys(WEBHOOKS, 0)

    def of(self, webhook: str, state: str) -> list[Owed]:
        return [one for one in self.owed.values() if one.webhook == webhook and one.state == state]

    def sendable(self, webhook: str) -> bool:
        return self.verified[webhook] and not self.paused[webhook]

    def release(self, webhook: str, now: Instant) -> None:
        for owed in self.of(webhook, "held") if self.sendable(webhook) else ():
            owed.state, owed.due_at = "queued", now

    def hold(self, webhook: str) -> None:
        for owed in self.of(webhook, "queued"):
            owed.state = owed.state if owed.lease else "held"

    def publish(self, id: str, now: Instant, claims: dict[str, Claim]) -> None:
        for webhook in WEBHOOKS if id not in self.events else ():
            one = self.owed[(webhook, id)] = Owed(webhook, id, now + 6 * HOUR, "queued" if self.sendable(webhook) else "held", now)
            if webhook in claims:
                one.lease, one.attempts, one.due_at = claims[webhook].lease, 1, now + LEASE
        self.events.add(id)

    def claim(self, webhook: str, limit: int, now: Instant, claims: list[Claim]) -> None:
        due = sorted((one for one in self.of(webhook, "queued") if one.due_at <= now), key=lambda one: one.due_at)
        # Which of several rows that are due at the same instant come first is the database's choice: limits here take all.
        assert len(due) <= limit
        got = {found.event_id: found for found in claims}
        for one in due:
            if one.lease is not None:
                self.logged[webhook] += 1
            one.lease = None
            if one.expires_at <= now or one.attempts >= MOST_ATTEMPTS:
                one.state = "failed"
            elif not self.sendable(webhook):
                one.state = "held"
            else:
                found = got.pop(one.event)
                one.attempts += 1
                assert (found.number, found.lease_until) == (one.attempts, now + LEASE)
                one.lease, one.due_at = found.lease, now + LEASE
        assert got == {}, "nothing else may be claimed"

    def held_or_queued(self, webhook: str) -> tuple[int, int]:
        return len(self.of(webhook, "held")), len(self.of(webhook, "queued"))


@pytest.mark.parametrize("seed", range(4))
async def test_any_history_ends_as_the_promises_say(store: SqlStore, seed: int) -> None:
    chance = random.Random(seed)
    model, now = Model(), NOON
    outstanding: list[Claim] = []
    for webhook in WEBHOOKS:
        await a_webhook(store, webhook, types=(TYPE,))
    for step in range(STEPS):
        now += chance.choice((0, SECOND, 20 * SECOND, LEASE, HOUR // 4))
        webhook = chance.choice(WEBHOOKS)
        match chance.choice((*("publish", "claim", "record") * 2, "release", "verify", "change", "pause", "resume", "resume", "held")):
            case "publish":
                id = f"e{chance.randrange(60)}"
                answer = await publish(
                    store, event(id, at=now) if id not in model.events else event(id), leased=chance.random() < 0.5, now=now
                )
                assert answer.results[0].conflict or answer.results[0].duplicate or id not in model.events
                outstanding += answer.claims
                model.publish(id, now, {one.webhook_id: one for one in answer.claims})
            case "claim":
                claimed = await claim(store, 1000, webhook=webhook, now=now)
                model.claim(webhook, 1000, now, claimed.claims)
                outstanding += claimed.claims
            case "record" if outstanding:
                one = outstanding.pop(chance.randrange(len(outstanding)))
                outcome, verdict = chance.choice(
                    (
                        (answered(200), Delivered()),
                        (answered(500), RetryAt(now + 30 * SECOND)),
                        (answered(500), GaveUp(FailureReason.EXHAUSTED)),
                        (Unreachable(Reason.INTERRUPTED), RetryAt(now)),
                    )
                )
                owed = model.owed[(one.webhook_id, one.event_id)]
                ours = owed.lease == one.lease
                assert await store.record([finished(one, outcome, verdict)]) == [ours], step
                if ours:
                    model.logged[one.webhook_id] += 1
                    owed.lease = None
                    owed.attempts -= outcome == Unreachable(Reason.INTERRUPTED)
                    if isinstance(verdict, RetryAt):
                        owed.state, owed.due_at = ("queued", verdict.at) if model.sendable(one.webhook_id) else ("held", 0)
                    else:
                        owed.state = "delivered" if isinstance(verdict, Delivered) else "failed"
            case "release" if outstanding:
                one = outstanding.pop(chance.randrange(len(outstanding)))
                await store.release([one], now=now)
                owed = model.owed[(one.webhook_id, one.event_id)]
                if owed.lease == one.lease:
                    owed.lease, owed.due_at, owed.attempts = None, now, owed.attempts - 1
            case "verify":
                challenge = await store.issue_challenge("acc", webhook, f"ch{step}", now=now)
                assert await store.settle_challenge(challenge, None, matched=True, now=now)
                model.verified[webhook] = True
                model.release(webhook, now)
            case "change":
                await store.change_url("acc", webhook, f"https://{step}.example.com/", now=now)
                model.verified[webhook] = False
                model.hold(webhook)
            case "pause":
                await store.pause_webhook("acc", webhook, now=now)
                model.paused[webhook] = True
                model.hold(webhook)
            case "resume":
                await store.resume_webhook("acc", webhook, now=now)
                model.paused[webhook] = False
                model.release(webhook, now)
            case "held":
                expired = [owed for one in WEBHOOKS for owed in model.of(one, "held") if owed.expires_at <= now]
                assert await store.settle_held(now=now, limit=10_000) == (0, len(expired))
                for owed in expired:
                    owed.state = "failed"
        assert {one: await state(store, one) for one in WEBHOOKS} == {one: model.held_or_queued(one) for one in WEBHOOKS}, step
        lanes = {lane.webhook_id: lane.due_at for lane in await store.lanes(now=now, limit=10)}
        assert lanes == {one: min(owed.due_at for owed in model.of(one, "queued")) for one in WEBHOOKS if model.of(one, "queued")}, step
    assert {one: len(await log(store, one)) for one in WEBHOOKS} == model.logged
