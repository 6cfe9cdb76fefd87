"""The pictures of the README: an account as it may look after a day's work."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, expect

from gridhook.rules import samples
from gridhook.telemetry import Log
from gridhook.testing import FakeClock, Receiver, Reply
from tests.pages.stage import Stage
from tests.web.world import running

TYPES = ("ag.access_pass.issued", "ag.access_pass.activated", "ag.card_template.published", "ag.access_pass.suspended")
STEP_SECONDS = 1200
STEPS = 70


@pytest_asyncio.fixture(loop_scope="session")
async def clock() -> FakeClock:
    return FakeClock(1_795_358_400_000)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, quiet_log: Log, browser: Browser, clock: FakeClock) -> AsyncIterator[Stage]:
    changes: dict[str, Any] = {"public_url": "", "retry_delays_seconds": (1800, 3600)}
    async with running(tmp_path, quiet_log, clock=clock, **changes) as world:
        stage = Stage(world, browser)
        try:
            yield stage
        finally:
            for context in stage.contexts:
                await context.close()
        assert stage.troubles == []


async def test_a_day_of_an_account_looks_as_in_the_readme(stage: Stage, clock: FakeClock) -> None:
    world, chance = stage.world, random.Random(7)
    async with Receiver(lambda request: Reply(503 if chance.random() < 0.04 else 200)) as good, Receiver(lambda request: Reply(500)) as bad:
        ids = []
        for name, receiver in (("Production badge sync", good), ("Front desk, Lisbon", good), ("Room keys, staging", bad)):
            made = await world.gridhook.service.webhooks.create(
                world.ours.account_id, name=name, url=receiver.url, subscribed_events=list(TYPES)
            )
            await world.verified(made.webhook.id)
            ids.append(made.webhook.id)
        sent = 0
        for step in range(STEPS):
            clock.advance(seconds=STEP_SECONDS)
            busy = 2 + int(7 * abs(((step + 20) % 70) / 35 - 1))
            for _ in range(chance.randint(1, busy)):
                type = chance.choice(TYPES)
                answer = await world.publish({"type": type, "data": samples.sample(type, seed=str(sent), now=clock.now())})
                assert answer.status == 202, answer
                sent += 1
            await good.received(2 * sent)
        clock.advance(seconds=30)
        page = await stage.sign_in("ada@example.com")
        for name, path in (("overview", ""), ("webhook", f"/webhooks/{ids[0]}?span=day"), ("attempts", "/attempts")):
            await page.goto(stage.base + path)
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await stage.picture(page, f"readme-{name}", whole=False)
        await page.goto(f"{stage.base}/attempts?outcome=failed")
        await page.locator("#attempts tbody tr").first.get_by_role("link").first.click()
        await expect(page.get_by_text("What to do:")).to_be_visible()
        await stage.picture(page, "readme-attempt", whole=False)
