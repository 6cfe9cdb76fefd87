"""What waits and what did not arrive: found, sent again, recovered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from gridhook.model import DeliveryFilter, DeliveryState, Role
from gridhook.telemetry import Log
from gridhook.testing import Receiver, Reply
from tests.pages.stage import HANG_GUARD_MS, Stage
from tests.web.world import LOW, running

HOSTILE = '<script>alert("x")</script> /?#%2F\'"&amp; 🚒'


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, quiet_log: Log, browser: Browser) -> AsyncIterator[Stage]:
    """As elsewhere, but a delivery that fails once has failed for good."""
    async with running(tmp_path, quiet_log, public_url="", retry_delays_seconds=()) as world:
        stage = Stage(world, browser)
        try:
            yield stage
        finally:
            for context in stage.contexts:
                await context.close()
        assert stage.troubles == []


async def failed(stage: Stage, receiver: Receiver, *event_ids: str) -> str:
    """A webhook with a failed delivery of each of these events; its id. The receiver answers 200 from then on."""
    created = await stage.world.create(receiver.url, name="Production badge sync")
    webhook_id = str(created["id"])
    await stage.world.verified(webhook_id)
    receiver.reply = Reply(503)
    for event_id in event_ids:
        assert (await stage.world.publish({**LOW, "id": event_id})).status == 202
    await reached(stage, webhook_id, DeliveryState.FAILED, len(event_ids))
    receiver.reply = Reply(200)
    return webhook_id


async def reached(stage: Stage, webhook_id: str, state: DeliveryState, count: int) -> None:
    """Until so many deliveries are in that state."""
    store = stage.world.gridhook.store
    async with asyncio.timeout(HANG_GUARD_MS / 1000):
        while True:
            found = await store.deliveries(
                stage.world.ours.account_id, webhook_id, filter=DeliveryFilter(states=(state,)), limit=100, now=store.clock.now()
            )
            if len(found.deliveries) >= count:
                return
            await asyncio.sleep(0.02)


async def open_list(
    stage: Stage, webhook_id: str, query: str = "", *, scripts: bool = True, role: Role = Role.ADMIN, zone: str = "Europe/Berlin"
) -> Page:
    page = await stage.sign_in(f"{role}.{uuid4()}@example.com", role=role, scripts=scripts, timezone_id=zone)
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/deliveries{query}")
    return page


async def events(page: Page) -> list[str]:
    return await page.locator("#deliveries tbody bdi").all_inner_texts()


async def test_a_failed_delivery_is_sent_again_and_one_sees_it_arrive(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver, "evt 0", "first", HOSTILE)
    page = await open_list(stage, webhook_id)
    assert await events(page) == [HOSTILE, "first", "evt 0"]
    await expect(page.get_by_role("row", name="first")).to_contain_text("every attempt was made")
    await stage.check_accessible(page)
    await stage.picture(page, "deliveries")
    await page.get_by_role("button", name="Redeliver first", exact=True).click()
    await expect(page.get_by_text("The delivery goes out again now, with the same event id.")).to_be_visible()
    await expect(page.get_by_role("row", name="redelivered by hand")).to_contain_text("Delivered")
    assert (await receiver.received(4))[3].event_id == "first"
    # What is ticked stays ticked while the list renews itself.
    for row in ("evt 0", HOSTILE):
        await page.get_by_role("checkbox", name=f"Select {row}", exact=True).check()
    async with page.expect_response(re.compile("/deliveries/rows")):
        await stage.world.publish({**LOW, "id": "meanwhile"})
    await expect(page.get_by_role("row", name="meanwhile")).to_contain_text("Delivered")
    await page.get_by_role("button", name="Redeliver the selected").click()
    await expect(page.get_by_text("2 deliveries go out again now, with the same event id.")).to_be_visible()
    assert {one.event_id for one in (await receiver.received(7))[5:]} == {"evt 0", HOSTILE}


async def test_a_narrowed_list_is_shared_by_its_address_and_paged_without_a_script(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver, *(f"evt {number:02}" for number in range(27)))
    page = await open_list(stage, webhook_id, scripts=False)
    assert await events(page) == [f"evt {number:02}" for number in range(26, 1, -1)]
    await page.get_by_role("link", name="Older").click()
    assert await events(page) == ["evt 01", "evt 00"]
    await page.get_by_role("link", name="Newer").click()
    assert await events(page) == [f"evt {number:02}" for number in range(26, 1, -1)]
    await page.get_by_label("State").select_option("Failed")
    await page.get_by_label("Event id").fill("evt 03")
    await page.get_by_label("Last result").fill("503")
    await page.get_by_label("Made since (UTC)").fill("2026-01-01T00:00:00")
    await page.get_by_role("button", name="Apply").click()
    assert await events(page) == ["evt 03"]
    await page.get_by_role("button", name="Redeliver evt 03").click()
    await expect(page.get_by_text("The delivery goes out again now")).to_be_visible()
    shared = await open_list(stage, webhook_id, "?" + page.url.partition("?")[2], role=Role.VIEWER)
    assert await events(shared) == ["evt 03"]
    await expect(shared.get_by_label("Event id")).to_have_value("evt 03")
    await expect(shared.get_by_label("Made since (your time)")).to_have_value("2026-01-01T01:00")
    assert await shared.locator("main form[method=post], main input[type=checkbox]").count() == 0
    wrong = await shared.request.get(f"{shared.url.partition('?')[0]}?state=nonsense&since=yesterday&until=<b>")
    assert wrong.status == 422
    assert "There is no such state." in await wrong.text()
    await page.goto(f"{shared.url.partition('?')[0]}?event_id=%3Cscript%3E")
    await expect(page.get_by_text("No delivery matches")).to_be_visible()


async def test_times_are_typed_by_the_viewers_clock_of_that_day_and_shared_as_instants(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver)
    page = await open_list(stage, webhook_id)  # in Berlin
    for since, until, instants in (
        ("2026-01-15T09:00:00", "2026-07-15T09:00:00", ["2026-01-15T08:00:00Z", "2026-07-15T07:00:00Z"]),
        ("2026-03-29T01:59:59", "2026-03-29T03:00:00", ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"]),
    ):
        await page.get_by_label("Made since (your time)").fill(since)
        await page.get_by_label("Made before (your time)").fill(until)
        await page.get_by_role("button", name="Apply").click()
        await page.wait_for_url(re.compile(re.escape(quote(instants[1]))))
        assert [parse_qs(urlsplit(page.url).query)[name] for name in ("since", "until")] == [[one] for one in instants]
        for name, shown in (("since", since), ("until", until)):
            assert datetime.fromisoformat(await page.locator(f"#{name}").input_value()) == datetime.fromisoformat(shown)
    # Of the hour that the clock goes through twice, what nobody touched stays what it was.
    there = page.url.partition("?")[0]
    await page.goto(f"{there}?since=2026-10-25T01:30:00Z&until=2026-10-25T09:00:00%2B05:30")
    await expect(page.locator("#since")).to_have_value("2026-10-25T02:30")
    await expect(page.locator("#until")).to_have_value("2026-10-25T04:30")
    await page.get_by_label("State").select_option("Failed")
    await page.wait_for_url("**state=failed**")
    assert parse_qs(urlsplit(page.url).query)["since"] == ["2026-10-25T01:30:00Z"]
    # Elsewhere, and without a script, the same address means the same.
    far = await open_list(stage, webhook_id, "?" + urlsplit(page.url).query, zone="Asia/Kolkata")
    await expect(far.locator("#until")).to_have_value("2026-10-25T09:00")
    plain = await open_list(stage, webhook_id, "?" + urlsplit(page.url).query, scripts=False)
    await expect(plain.get_by_label("Made since (UTC)")).to_have_value("2026-10-25T01:30")
    await page.goto(f"{there}/recover")
    await page.get_by_label("Made before (your time)").fill("2026-07-15T09:00:00")
    await page.get_by_role("button", name="See how many match").click()
    await expect(page.get_by_text("There is nothing to send again.")).to_be_visible()
    assert parse_qs(urlsplit(page.url).query)["until"] == ["2026-07-15T07:00:00Z"]


async def test_what_failed_is_recovered_to_the_end_at_the_pace_one_chose(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver, *(f"evt-{number}" for number in range(6)))
    page = await open_list(stage, webhook_id)
    await page.get_by_role("link", name="Recover…").click()
    await stage.check_accessible(page)
    await page.get_by_label("At most so many a second").fill("1000")
    await page.get_by_role("button", name="See how many match").click()
    await expect(page.get_by_text("must lie between 0.1 and 50.")).to_be_visible()
    stage.troubles.remove(next(one for one in stage.troubles if "status of 422" in one))
    await page.get_by_label("At most so many a second").fill("4")
    await page.get_by_label("Those that failed with this result").check()
    await page.get_by_label("Result", exact=True).select_option("503 (6)")
    await page.get_by_role("button", name="See how many match").click()
    await expect(page.get_by_role("heading", name="6 deliveries match")).to_be_visible()
    await expect(page.get_by_text("At 4 a second all are queued within 2 s")).to_be_visible()
    await stage.check_accessible(page)
    await stage.picture(page, "recover")
    assert receiver.count == 6
    await page.get_by_role("button", name="Start the recovery").click()
    await expect(page.get_by_role("progressbar", name="Progress of the recovery")).to_be_visible()
    await stage.picture(page, "recovering")
    recoveries = page.get_by_role("region", name="Recover", exact=True)
    await expect(recoveries).to_contain_text("6 of 6 looked at: 6 sent again, 0 skipped, 0 gone")
    await expect(recoveries.get_by_text("Done", exact=True)).to_be_visible()
    again = (await receiver.received(12))[6:]
    assert sorted(str(one.event_id) for one in again) == [f"evt-{number}" for number in range(6)]
    await expect(page.locator("#deliveries").get_by_text("Delivered", exact=True)).to_have_count(6)


async def test_a_running_recovery_is_cancelled_and_a_second_one_refused_in_words(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver, *(f"evt-{number}" for number in range(3)))
    page = await open_list(stage, webhook_id, "/recover?which=failed&rate=0.1", scripts=False)
    await page.get_by_role("button", name="Start the recovery").click()
    await expect(page.get_by_text("The recovery runs.")).to_be_visible()
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/deliveries/recover?which=all")
    await page.get_by_role("button", name="Start the recovery").click()
    await expect(page.get_by_role("alert")).to_contain_text("runs already; wait for its end, or cancel it")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_text("Cancelled. What it queued already goes out all the same.")).to_be_visible()
    await expect(page.get_by_role("region", name="Recover", exact=True).get_by_text("Cancelled", exact=True)).to_be_visible()


async def test_nothing_is_sent_again_while_a_webhook_is_paused(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await failed(stage, receiver, "first")
    page = await open_list(stage, webhook_id, scripts=False)
    await stage.world.gridhook.service.webhooks.pause(stage.world.ours.account_id, webhook_id)
    await page.get_by_role("button", name="Redeliver first").click()
    await expect(page.get_by_role("alert")).to_contain_text("is paused; resume it first, then ask again")
    await expect(page.get_by_text("Nothing can be sent again while this webhook is paused")).to_be_visible()
    assert receiver.count == 1
