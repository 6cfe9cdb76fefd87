"""The list of webhooks."""

from __future__ import annotations

from gridhook.testing import Receiver
from tests.pages.stage import Stage


async def test_a_webhook_stands_in_the_list(stage: Stage, receiver: Receiver) -> None:
    await stage.world.create(receiver.url + "/hook", name="Production badge sync")
    page = await stage.sign_in()
    await page.goto(stage.base + "/webhooks")
    assert await page.get_by_role("link", name="Production badge sync").is_visible()
    await stage.check_accessible(page)
    await stage.picture(page, "webhooks")
