"""Webhook attempts: the live log, one attempt in full, one event."""

from __future__ import annotations

import json

from playwright.async_api import Page, Route, expect

from gridhook.model import Role
from gridhook.testing import Receiver, Reply
from tests.pages.stage import HANG_GUARD_MS, Stage
from tests.web.world import BALANCE, LOW

HOSTILE = b"<script>alert(1)</script><img src=x onerror=alert(2)> &amp; \"' \xf0\x9f\x92\xa5 " + b"x" * 3000
HEADERS = (("X-Bad", "<script>alert(3)</script>"), ("Set-Cookie", "a=b; Path=/"))


async def proven(stage: Stage, receiver: Receiver, name: str = "Production badge sync") -> str:
    created = await stage.world.create(receiver.url, name=name)
    await stage.world.verified(created["id"])
    return str(created["id"])


async def publish(stage: Stage, id: str) -> None:
    answer = await stage.world.publish({**LOW, "id": id})
    assert answer.status == 202, answer


async def rows(page: Page) -> int:
    return await page.locator("#attempts tbody tr").count()


async def test_a_new_attempt_appears_by_itself_and_is_marked(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    await publish(stage, "first")
    await stage.world.attempts(webhook_id, 2)
    page = await stage.sign_in()
    for address in (f"{stage.base}/attempts", f"{stage.base}/webhooks/{webhook_id}/attempts"):
        await page.goto(address)
        await expect(page.locator("#attempts tbody tr")).not_to_have_count(0)
        before = await rows(page)
        await publish(stage, f"later-{before}-{len(address)}")
        await expect(page.locator("#attempts tbody tr")).to_have_count(before + 1)
        await expect(page.locator("#attempts tbody tr").first).to_have_class("new")
        assert f"later-{before}" in await page.locator("#attempts tbody tr").first.inner_text()


async def test_an_open_page_is_live_again_by_itself_when_its_stream_was_refused_for_a_while(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    page = await stage.sign_in()
    refused = 0

    async def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        await (route.fulfill(status=502, body="a proxy's own words") if refused == 1 else route.continue_())

    await page.route("**/changes*", refuse_once)
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts")
    await expect(page.locator("#attempts tbody tr")).to_have_count(1)
    await publish(stage, "missed-meanwhile")
    await expect(page.locator("#attempts tbody tr").first).to_contain_text("missed-meanwhile", timeout=HANG_GUARD_MS)
    assert refused == 2
    stage.troubles.remove(next(one for one in stage.troubles if "status of 502" in one))


async def test_filters_stand_in_the_address_so_that_a_view_can_be_shared(stage: Stage) -> None:
    async with Receiver(lambda request: Reply(503 if b"bad" in request.body else 200)) as receiver:
        webhook_id = await proven(stage, receiver)
        for id in ("good-1", "bad-1", "good-2"):
            await publish(stage, id)
        await stage.world.attempts(webhook_id, 4)
        page = await stage.sign_in()
        await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts")
        await page.get_by_label("Outcome").select_option("failed")
        await page.wait_for_url("**/attempts?outcome=failed")  # what was left empty does not stand there
        await expect(page.locator("#attempts tbody tr")).to_have_count(1)
        another = await stage.sign_in("ben@example.com", role=Role.VIEWER, scripts=False)
        await another.goto(page.url)
        assert await rows(another) == 1
        text = await another.locator("#attempts tbody tr").inner_text()
        assert "bad-1" in text
        assert "503" in text
        await another.goto(f"{stage.base}/attempts?status=5xx&kind=delivery&since=2020-01-01T00:00")
        assert await rows(another) == 1
        await another.goto(f"{stage.base}/attempts?event_id=nobody")
        assert await another.get_by_text("No attempt matches").is_visible()
        wrong = await another.request.get(f"{stage.base}/attempts?status=99&reason=gremlins&since=yesterday")
        assert wrong.status == 422
        for words in ("Status:", "Reason:", "Since:"):
            assert words in await wrong.text()
        await another.goto(f"{stage.base}/attempts?webhook={webhook_id}&outcome=failed")
        assert another.url == f"{stage.base}/webhooks/{webhook_id}/attempts?outcome=failed"


async def test_one_attempt_tells_all_and_what_a_receiver_wrote_does_nothing(stage: Stage) -> None:
    async with Receiver(lambda request: Reply(500, HEADERS, HOSTILE)) as receiver:
        webhook_id = await proven(stage, receiver, "<script>alert('name')</script> &amp;")
        await publish(stage, "an/id <b>&")
        await stage.world.attempts(webhook_id, 2)
        page = await stage.sign_in()
        await page.goto(f"{stage.base}/attempts")
        await page.locator("#attempts tbody tr").first.get_by_role("link").first.click()
        assert await page.get_by_text("The receiver answered 500").is_visible()
        assert await page.get_by_text("What to do:").is_visible()
        assert "<script>alert(1)</script>" in (await page.locator("section[aria-labelledby=response-title]").inner_text())
        assert "Bearer ••••" in (await page.locator("section[aria-labelledby=request-title]").inner_text())
        await page.get_by_text("As a curl command").click()
        assert await page.get_by_text("printf %s").is_visible()
        await stage.check_accessible(page)
        await stage.picture(page, "attempt")
        await page.get_by_role("link", name="an/id <b>&", exact=True).click()
        assert await page.get_by_role("heading", name="ag.account_balance.low").is_visible()
        assert await page.get_by_text("<script>alert('name')</script> &amp;").first.is_visible()
        await stage.check_accessible(page)
        await stage.picture(page, "event")


async def test_bytes_that_are_no_text_are_shown_in_hexadecimal(stage: Stage) -> None:
    async with Receiver(lambda request: Reply(200, (), bytes(range(256)) * 16)) as receiver:
        webhook_id = await proven(stage, receiver)
        await publish(stage, "e1")
        newest = (await stage.world.attempts(webhook_id, 2))[0]
        page = await stage.sign_in()
        await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts/{newest['id']}")
        dump = await page.get_by_role("region", name="Body of the response, in hexadecimal").inner_text()
    assert dump.splitlines()[4] == "00000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO"
    assert len(await page.content()) < 60_000


async def test_what_was_sent_can_be_had_byte_for_byte(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    await publish(stage, "e1")
    newest = (await stage.world.attempts(webhook_id, 2))[0]
    page = await stage.sign_in()
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts/{newest['id']}")
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name="Download it as it was sent").click()
    got = (await (await waiting.value).path()).read_bytes()
    assert got == receiver.deliveries[0].body
    assert json.loads(got)["data"] == BALANCE


async def test_an_attempt_and_an_event_are_sent_again_and_viewers_cannot(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    await publish(stage, "a/b")
    newest = (await stage.world.attempts(webhook_id, 2))[0]
    address = f"{stage.base}/webhooks/{webhook_id}/attempts/{newest['id']}"
    page = await stage.sign_in(scripts=False)
    await page.goto(address)
    await page.get_by_role("button", name="Redeliver").click()
    assert await page.get_by_text("goes out again now").is_visible()
    await stage.world.attempts(webhook_id, 3)
    await page.goto(f"{stage.base}/events/a%2Fb")
    await page.get_by_role("button", name="Redeliver").last.click()
    assert await page.get_by_text("goes out again now").is_visible()
    assert page.url.endswith("/events/a%2Fb")
    await stage.world.attempts(webhook_id, 4)
    viewer = await stage.sign_in("ben@example.com", role=Role.VIEWER)
    for one in (address, f"{stage.base}/events/a%2Fb"):
        await viewer.goto(one)
        assert await viewer.get_by_role("button", name="Redeliver").count() == 0
    token = await viewer.locator("input[name=csrf]").first.get_attribute("value")
    answer = await viewer.request.post(f"{address}/redeliver", form={"csrf": token or ""}, headers={"sec-fetch-site": "same-origin"})
    assert answer.status == 403


async def test_an_attempt_tells_of_the_next_one_only_while_there_is_one_to_come(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    receiver.reply = Reply(503)
    await publish(stage, "waits")
    first = (await stage.world.attempts(webhook_id, 2))[0]
    page = await stage.sign_in()
    address = f"{stage.base}/webhooks/{webhook_id}/attempts/{first['id']}"
    await page.goto(address)
    await expect(page.get_by_text("Next attempt in")).to_be_visible()
    account_id = stage.world.ours.account_id
    await stage.world.gridhook.service.webhooks.pause(account_id, webhook_id)
    await page.goto(address)
    await expect(page.get_by_text("The next attempt waits until the webhook is verified and not paused.")).to_be_visible()
    await stage.world.gridhook.service.webhooks.resume(account_id, webhook_id)
    await stage.world.attempts(webhook_id, 3)
    await page.goto(address)
    await expect(page.get_by_role("heading", name="Facts")).to_be_visible()
    await expect(page.get_by_text("Next attempt")).to_have_count(0)
    receiver.reply = Reply(200)
    await page.get_by_role("button", name="Redeliver").click()
    await expect(page.get_by_text("The delivery goes out again now, ahead of schedule.")).to_be_visible()
    await stage.world.attempts(webhook_id, 4)
    for attempt in (await stage.world.attempts(webhook_id, 4))[:3]:
        await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts/{attempt['id']}")
        await expect(page.get_by_role("heading", name="Facts")).to_be_visible()
        await expect(page.get_by_text("next attempt")).to_have_count(0)


async def test_older_pages_stay_as_they_are_and_say_that_there_are_newer_ones(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await proven(stage, receiver)
    for number in range(60):
        await publish(stage, f"e{number}")
    await stage.world.attempts(webhook_id, 50)
    page = await stage.sign_in()
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts")
    await stage.check_accessible(page)
    await stage.picture(page, "attempts")
    await page.get_by_role("link", name="Older").click()
    before = await page.locator("#attempts table").inner_text()
    await publish(stage, "brand-new")
    await page.get_by_role("link", name="Show them").click()
    await expect(page.get_by_text("brand-new")).to_be_visible()
    assert "brand-new" not in before
    await page.get_by_role("link", name="Older").click()
    await page.get_by_role("link", name="Newer").click()
    await expect(page.get_by_text("brand-new")).to_be_visible()


async def test_an_empty_log_teaches_and_another_accounts_attempts_are_not_there(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in()
    await page.goto(f"{stage.base}/attempts")
    assert await page.get_by_text("No attempts yet").is_visible()
    await stage.picture(page, "attempts-none")
    webhook_id = await proven(stage, receiver)
    await publish(stage, "secret")
    newest = (await stage.world.attempts(webhook_id, 2))[0]
    theirs = await stage.sign_in("eve@example.com", tenant=stage.world.theirs)
    base = f"{stage.world.base_url}/console/a/{stage.world.theirs.account_id}"
    for path in (
        f"/webhooks/{webhook_id}/attempts",
        f"/webhooks/{webhook_id}/attempts/{newest['id']}",
        "/events/secret",
        "/attempts/rows/x",
    ):
        assert (await theirs.request.get(base + path)).status == 404, path
