"""Creating a webhook: the form, the Private Key that is shown once, and the verification that one can watch."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from gridhook.testing import Received, Receiver, Reply
from tests.pages.stage import Stage

BALANCE_LOW = "ag.account_balance.low"


async def fill(page: Page, stage: Stage, url: str, *, name: str = "Production badge sync") -> None:
    await page.goto(stage.base + "/webhooks/new")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("URL", exact=True).fill(url)
    await page.get_by_label(BALANCE_LOW, exact=True).check()


async def test_a_new_webhook_shows_its_private_key_once_and_becomes_verified_by_itself(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in()
    await page.goto(stage.base + "/webhooks")
    await page.get_by_role("link", name="Create your first webhook").click()
    await stage.check_accessible(page)
    await stage.picture(page, "new")
    await fill(page, stage, receiver.url)
    await page.get_by_text("Headers and limits").click()
    await page.get_by_role("button", name="Create the webhook").click()
    await expect(page.get_by_role("heading", name="Webhook created: Production badge sync")).to_be_visible()
    key = await page.locator("code.secret").inner_text()
    assert re.fullmatch("[0-9a-f]{64}", key)
    verification = page.get_by_role("region", name="Verification", exact=True)
    await expect(verification).to_contain_text("proved that the URL is yours")
    await expect(verification.get_by_text("Verified", exact=True)).to_be_visible()
    await verification.get_by_text("The request and its answer").click()
    await stage.check_accessible(page)
    await stage.picture(page, "created")
    await page.reload()
    await expect(page.get_by_text("is not shown again")).to_be_visible()
    assert key not in await page.content()
    assert receiver.handshakes[0].header("authorization") is None
