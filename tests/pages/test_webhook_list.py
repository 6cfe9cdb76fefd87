"""The list of webhooks."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from gridhook.model import AuthMethod, LaneLimits, Role, Webhook
from gridhook.testing import Receiver, Reply
from tests.pages.stage import Stage
from tests.web.world import LOW

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
        (LOW["type"],),  # type: ignore[arg-type]  # a literal dict of several types
        now,
        verified_at=now if verified else None,
        paused_at=now if paused else None,
        limits=LaneLimits(1),
    )
    await stage.world.gridhook.store.add_webhook(webhook, None)
    return webhook


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
        subscribed_events=[LOW["type"]],
        auth_method=AuthMethod.MTLS,  # type: ignore[list-item]
    )
    assert proving.certificate is not None
    await stage.world.publish(LOW)
    page = await stage.sign_in(role=Role.VIEWER)
    await page.goto(stage.base + "/webhooks")
    row = page.get_by_role("row", name="Production badge sync")
    await expect(row).to_contain_text("Verified")
    await expect(page.get_by_role("row", name="Pending one")).to_contain_text("1 held, oldest dropped in 5 h")
    await expect(page.get_by_role("row", name="With a certificate")).to_contain_text("certificate ends on 20")
    await expect(page.get_by_role("row", name="alert")).to_contain_text("Paused")
    assert HOSTILE in await names(page)
    await expect(row.get_by_role("img")).to_have_accessible_name(re.compile(r"^Last day, by hour: [12] received, 1 failed$"))
    await stage.check_accessible(page)
    await stage.picture(page, "webhooks")
