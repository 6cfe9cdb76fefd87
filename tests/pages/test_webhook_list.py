"""The list of webhooks."""

from __future__ import annotations

import re
from contextlib import closing

import apsw
import pytest
from playwright.async_api import Page, expect

from gridhook.model import AuthMethod, LaneLimits, Role, Webhook
from gridhook.store import sqlite_path
from gridhook.testing import Receiver, Reply, echo
from gridhook.web.pages.sparks import spark
from gridhook.web.pages.templates import DAY, HOUR
from tests.pages.stage import Stage
from tests.web.world import LOW

NOON = 1_795_348_800_000
BALANCE_LOW = "ag.account_balance.low"
HOSTILE = '<script>alert("x")</script> \u202egnp.txt\u202c \'"&amp; 👩\u200d🚒'


async def add(stage: Stage, id: str, *, name: str = "", verified: bool = True, paused: bool = False, mtls: bool = False) -> Webhook:
    """Straight into the store: no handshake."""
    now = stage.world.gridhook.store.clock.now()
    webhook = Webhook(
        stage.world.ours.account_id,
        id,
        name or f"Webhook {id}",
        f"https://{id}.example.com/in?x=<b>",
        1,
        AuthMethod.MTLS if mtls else AuthMethod.BEARER_TOKEN,
        (BALANCE_LOW,),
        now,
        verified_at=now if verified else None,
        paused_at=now if paused else None,
        limits=LaneLimits(1),
    )
    await stage.world.gridhook.store.add_webhook(webhook, None)
    return webhook


def test_a_single_failure_among_many_successes_is_seen() -> None:
    drawn = spark([(NOON, 10_000, 1), (NOON + 23 * HOUR, 5_000, 0)], since=NOON)
    assert [(bar.x, bar.kind) for bar in drawn.bars] == [(0, "bad"), (0, "good"), (115, "good")]
    assert drawn.bars[0].height >= 1.5
    assert drawn.bars[2].height == pytest.approx(drawn.height / 2, abs=1)
    assert all(bar.y >= 0 and bar.y + bar.height <= drawn.height and bar.x + bar.width <= drawn.width for bar in drawn.bars)
    assert drawn.path("bad") == "M0 22.5h4v1.5h-4z"
    assert (drawn.succeeded, drawn.failed) == (15_000, 1)
    assert spark([], since=NOON).bars == ()


async def names(page: Page) -> list[str]:
    return await page.locator("tbody tr td:first-child a").all_inner_texts()


async def test_each_webhook_tells_how_it_stands_and_has_been_doing(stage: Stage, receiver: Receiver) -> None:
    created = await stage.world.create(receiver.url, name="Production badge sync")
    await stage.world.verified(created["id"])
    receiver.script(Reply(200), Reply(503))
    for _ in range(2):
        assert (await stage.world.publish(LOW)).status == 202
    await stage.world.attempts(created["id"], 3)
    await add(stage, "wh_2", name="Pending one", verified=False)
    await add(stage, "wh_1", name=HOSTILE, paused=True)
    proving = await stage.world.gridhook.service.webhooks.create(
        stage.world.ours.account_id,
        name="With a certificate",
        url="https://127.0.0.1:1443/",
        subscribed_events=[BALANCE_LOW],
        auth_method=AuthMethod.MTLS,
    )
    assert proving.certificate is not None
    await stage.world.publish(LOW)
    ending = await stage.world.gridhook.service.webhooks.create(
        stage.world.ours.account_id,
        name="Ends soon",
        url="https://127.0.0.1:1443/",
        subscribed_events=["ag.hid_org.created"],
        auth_method=AuthMethod.MTLS,
    )
    with closing(apsw.Connection(str(sqlite_path(stage.world.settings)))) as database:
        in_ten_days = stage.world.gridhook.store.clock.now() + 10 * DAY + HOUR
        database.execute("UPDATE webhook_certificates SET expires_at = ? WHERE webhook_id = ?", (in_ten_days, ending.webhook.id))
    page = await stage.sign_in(role=Role.VIEWER)
    await page.goto(stage.base + "/webhooks")
    row = page.get_by_role("row", name="Production badge sync")
    await expect(row).to_contain_text("Verified")
    await expect(page.get_by_role("row", name="Pending one")).to_contain_text("1 held, oldest dropped in 5 h")
    await expect(page.get_by_role("row", name="With a certificate")).to_contain_text("certificate ends on 20")
    await expect(page.get_by_role("row", name="Ends soon")).to_contain_text("⚠ certificate ends in 10 d")
    await expect(page.get_by_role("row", name="alert")).to_contain_text("Paused")
    assert HOSTILE in await names(page)
    await expect(row.get_by_role("img")).to_have_accessible_name(re.compile(r"^Last day, by hour: [12] received, 1 failed$"))
    await stage.check_accessible(page)
    await stage.picture(page, "webhooks")


async def test_an_empty_list_teaches_and_leads_on(stage: Stage) -> None:
    page = await stage.sign_in(role=Role.VIEWER)
    await page.goto(stage.base + "/webhooks")
    assert [await one.inner_text() for one in await page.locator("ol b").all()] == ["Create", "Verify", "Receive"]
    await expect(page.get_by_role("link", name="Create")).to_have_count(0)
    await expect(page.get_by_role("link", name="See the event catalogue")).to_have_attribute("href", re.compile("/catalogue$"))
    await stage.check_accessible(page)
    await stage.picture(page, "webhooks-none")


async def test_a_narrowed_list_can_be_shared_by_its_address_and_needs_no_script(stage: Stage) -> None:
    for number in range(30):
        await add(stage, f"wh_{number:02}", name=f"Door {number:02}", verified=number % 2 == 0, mtls=number == 4)
    await add(stage, "wh_x", name=HOSTILE, paused=True)
    page = await stage.sign_in(scripts=False)
    await page.goto(stage.base + "/webhooks")
    assert len(await names(page)) == 25
    await expect(page.get_by_text("31 webhooks, page 1 of 2")).to_be_visible()
    await page.get_by_role("link", name="Older").click()
    assert len(await names(page)) == 6
    await page.get_by_label("Name or URL").fill("door 0")
    await page.get_by_label("Status").select_option("Verified")
    await page.get_by_role("button", name="Search").click()
    assert sorted(await names(page)) == [f"Door 0{number}" for number in range(0, 10, 2)]
    assert re.search(r"\?q=door\+0&state=verified&auth=$", page.url)
    shared = await stage.sign_in("grace@example.com", role=Role.VIEWER)
    await shared.goto(page.url)
    assert await names(shared) == await names(page)
    await expect(shared.get_by_label("Status")).to_have_value("verified")
    await shared.get_by_label("Authentication").select_option("mTLS")  # with a script, choosing is enough
    await expect(shared.get_by_text("1 webhook found")).to_be_visible()
    assert await names(shared) == ["Door 04"]
    await page.goto(f"{stage.base}/webhooks?q=%3Cscript%3E%00%25&state=nonsense&page=99999")
    await expect(page.get_by_text("No webhook matches")).to_be_visible()
    await page.get_by_role("link", name="Show all webhooks").click()
    assert len(await names(page)) == 25


async def test_the_list_renews_itself_when_something_changes(stage: Stage, receiver: Receiver) -> None:
    receiver.handshake = None  # it answers the challenge like any delivery, which proves nothing
    page = await stage.sign_in()
    created = await stage.world.create(receiver.url, name="Doors")
    await stage.world.attempts(created["id"], 1)
    await page.goto(stage.base + "/webhooks")
    row = page.get_by_role("row", name="Doors")
    await expect(row).to_contain_text("Pending")
    await expect(row).to_contain_text("the body is no complete JSON object")
    await stage.check_accessible(page)
    await stage.picture(page, "webhooks-pending")
    receiver.handshake = echo
    async with page.expect_response(re.compile("/changes")):
        await page.reload()
    await stage.world.gridhook.service.webhooks.verify(stage.world.ours.account_id, created["id"])
    await expect(row).to_contain_text("Verified")
    await expect(row).not_to_contain_text("JSON")
    await stage.world.publish(LOW)
    await expect(row).to_contain_text("received (200)")
