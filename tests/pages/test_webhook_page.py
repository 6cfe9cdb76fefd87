"""One webhook at a glance, and Send Test."""

from __future__ import annotations

import contextlib
import re

from playwright.async_api import Page, expect

from gridhook.errors import TooMany
from gridhook.model import Role
from gridhook.testing import Received, Receiver, Reply, echo
from tests.pages.stage import NARROW, Stage
from tests.web.world import LOW

LOW_TYPE = str(LOW["type"])
HOSTILE = b"</code></pre><script>alert(1)</script><img src=x onerror=alert(2)> \xe2\x80\xae{{ 7 * 7 }}"


async def added(stage: Stage, receiver: Receiver, *, name: str = "Production badge sync") -> str:
    """The id of a verified webhook to this receiver."""
    created = await stage.world.create(receiver.url, name=name)
    await stage.world.verified(created["id"])
    return str(created["id"])


async def open_page(stage: Stage, webhook_id: str, rest: str = "", *, role: Role = Role.ADMIN, scripts: bool = True) -> Page:
    page = await stage.sign_in(f"{role}@example.com", role=role, scripts=scripts)
    page.on("dialog", lambda dialog: stage.troubles.append(f"a dialog came up: {dialog.message}"))
    await page.goto(f"{stage.base}/webhooks/{webhook_id}{rest}")
    return page


def expected(stage: Stage, status: int) -> None:
    """The browser tells of each refusal; this one was wanted."""
    stage.troubles.remove(next(one for one in stage.troubles if f"status of {status}" in one))


async def test_a_webhook_shows_how_it_stands_and_what_waits(stage: Stage, receiver: Receiver) -> None:
    receiver.script(Reply(200), Reply(200), Reply(503))
    webhook_id = await added(stage, receiver)
    for _ in range(3):
        await stage.world.publish(LOW)
    await stage.world.attempts(webhook_id, 4)
    page = await open_page(stage, webhook_id)
    await expect(page.get_by_text("Failing since")).to_be_visible()
    await expect(page.get_by_text("The receiver says that it is unavailable")).to_be_visible()
    await expect(page.get_by_role("region", name="Status", exact=True)).to_contain_text("Verified since")
    await expect(page.get_by_role("link", name=LOW_TYPE)).to_have_attribute("href", re.compile(f"/catalogue/{LOW_TYPE}$"))
    await expect(page.locator(".tile").first).to_contain_text("66.7 %")
    await expect(page.get_by_role("img", name=re.compile("Deliveries per minute"))).to_be_visible()
    await expect(page.get_by_role("region", name="Last attempts").locator("tbody tr")).to_have_count(4)
    await stage.check_accessible(page)
    await stage.picture(page, "webhook")
    await page.get_by_role("link", name="6 hours").click()
    assert page.url.endswith("?span=6h#plots-title")
    await expect(page.get_by_role("img", name=re.compile("Deliveries in each 5 min"))).to_be_visible()
    waits = page.get_by_role("region", name="What waits, and what did not arrive")
    await waits.get_by_role("link", name="tried before: 503").click()
    assert page.url.endswith("/deliveries?state=queued&result=503")
    await expect(page.locator("#deliveries tbody tr")).to_have_count(1)


async def test_a_pending_webhook_is_verified_by_hand_and_may_then_be_tested(stage: Stage, receiver: Receiver) -> None:
    receiver.handshake = None
    created = await stage.world.create(receiver.url)
    await stage.world.attempts(created["id"], 1)
    page = await open_page(stage, created["id"])
    await expect(page.get_by_text("A test can be sent once this webhook is Verified")).to_be_visible()
    await expect(page.get_by_role("link", name="samples in several languages")).to_be_visible()
    await expect(page.get_by_role("region", name="Last attempts").locator("tbody tr")).to_contain_text("200: not json")
    await expect(page.get_by_role("button", name="Send Test")).to_have_count(0)
    await stage.check_accessible(page)
    await stage.picture(page, "webhook-pending")
    receiver.handshake = echo
    await page.get_by_role("button", name="Resend verification").click()
    await expect(page.get_by_text("A fresh challenge is on its way")).to_be_visible()
    await expect(page.get_by_role("region", name="Status", exact=True)).to_contain_text("Verified since")
    await expect(page.get_by_label("Event", exact=True)).to_be_visible()
    await expect(page.locator("#webhook-state")).to_have_text("Verified")


async def test_a_webhook_is_paused_and_resumed(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    page = await stage.sign_in()
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto(f"{stage.base}/webhooks/{webhook_id}")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Events are held for this webhook from now on")).to_be_visible()
    await stage.world.publish(LOW)
    await expect(page.get_by_role("region", name="What waits, and what did not arrive")).to_contain_text("Held not tried yet")
    assert receiver.count == 0
    await page.get_by_role("button", name="Resume").click()
    await receiver.received(1)
    await expect(page.get_by_role("region", name="Last attempts")).to_contain_text(LOW_TYPE)
    await expect(page.get_by_text("Nothing waits, and nothing is undelivered")).to_be_visible()


async def test_what_i_opened_stays_open_and_where_i_am_by_keyboard_stays_when_the_page_refreshes_itself(
    stage: Stage, receiver: Receiver
) -> None:
    webhook_id = await added(stage, receiver)
    await stage.world.publish(LOW)
    await stage.world.attempts(webhook_id, 2)
    page = await open_page(stage, webhook_id)
    table = page.get_by_role("region", name="Deliveries per minute, as a table")
    await page.locator("#throughput-table summary").click()
    await expect(table).to_be_visible()
    everything = page.get_by_role("link", name="All webhook attempts")
    await everything.focus()
    attempts = page.get_by_role("region", name="Last attempts").locator("tbody tr")
    for count in (3, 4):
        await stage.world.publish(LOW)
        await expect(attempts).to_have_count(count)
        await expect(table).to_be_visible()
        await expect(everything).to_be_focused()
    await page.locator("#throughput-table summary").click()
    await stage.world.publish(LOW)
    await expect(attempts).to_have_count(5)
    await expect(table).to_be_hidden()


async def test_on_a_phone_all_tabs_can_be_seen_and_the_menu_closes_by_escape(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    page = await open_page(stage, webhook_id)
    await page.set_viewport_size({"width": NARROW["width"], "height": NARROW["height"]})
    for links in (page.get_by_label("This webhook").get_by_role("link"), page.get_by_label("Console").get_by_role("link")):
        for link in await links.all():
            box = await link.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= NARROW["width"], await link.inner_text()
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    menu = page.locator("details.me summary")
    await menu.press("Enter")
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    await expect(menu).to_be_focused()


async def test_who_was_signed_out_while_a_page_was_open_is_told_and_comes_back_to_it(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    for button in ("Send Test", "Pause"):  # one is sent by a script, one as a plain form
        page = await stage.sign_in()
        page.on("dialog", lambda dialog: dialog.accept())
        async with page.expect_response(lambda answer: "/now" in answer.url):  # what the page fetches by itself, when its stream opens
            await page.goto(f"{stage.base}/webhooks/{webhook_id}?type={LOW_TYPE}")
        await page.context.clear_cookies()
        await page.get_by_role("button", name=button).click()
        await expect(page.get_by_role("alert")).to_contain_text("nothing of what you just sent was saved or done")
        assert await page.locator("input[name=next]").input_value() == f"{stage.base}/webhooks/{webhook_id}?type={LOW_TYPE}".removeprefix(
            stage.world.base_url
        )
    stage.troubles[:] = [one for one in stage.troubles if "401" not in one]
    assert receiver.count == 0
    assert not (await stage.world.gridhook.service.webhooks.detail(stage.world.ours.account_id, webhook_id)).webhook.paused_at


async def test_a_test_shows_what_will_be_sent_and_what_the_receiver_made_of_it(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    receiver.script(Reply(200), Reply(401, (("X-Sly", "<b onclick=alert(1)>"),), HOSTILE))
    page = await open_page(stage, webhook_id)
    choice = page.get_by_label("Event", exact=True)
    assert (await choice.locator("option").all_inner_texts())[:2] == ["Select event…", LOW_TYPE]
    await choice.select_option("ag.access_pass.issued")
    payload = page.get_by_role("region", name="The payload")
    await expect(payload).to_contain_text('"type": "ag.access_pass.issued"')
    await expect(page.get_by_text("This webhook does not subscribe to")).to_be_visible()
    await choice.select_option(LOW_TYPE)
    await expect(payload).to_contain_text(f'"type": "{LOW_TYPE}"')
    await page.get_by_role("button", name="Send Test").click()
    result = page.locator("#test-result")
    await expect(result).to_contain_text("✓ Received Test")
    event = (await receiver.received(1))[0].json()
    assert event["test"] is True
    assert f'"{event["data"]["account_id"]}"' in await payload.inner_text()
    await expect(result).to_contain_text(event["id"])
    await page.get_by_role("button", name="Send Test").click()
    await expect(result).to_contain_text("✗ Not received")
    await expect(result).to_contain_text("Check that the receiver expects this webhook's key")
    await expect(result.get_by_role("region", name="The receiver's answer")).to_contain_text("<b onclick=alert(1)>")
    await expect(result.get_by_role("link", name="Show the attempt in full")).to_have_attribute("href", re.compile(r"/attempts/\d+$"))
    await stage.check_accessible(page)
    await stage.picture(page, "webhook-test")


async def test_a_test_needs_no_script_and_an_answer_full_of_markup_stays_text(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver, name='<script>alert("x")</script> & "sons"')

    def sly(request: Received) -> Reply:
        return Reply(500, (("Content-Type", "text/html"),), HOSTILE.replace(b"\xe2\x80\xae", b""))

    receiver.answer = sly
    page = await open_page(stage, webhook_id, scripts=False)
    await page.get_by_label("Event", exact=True).select_option(LOW_TYPE)
    await page.get_by_role("button", name="Show the payload").click()
    await expect(page.get_by_role("region", name="The payload")).to_contain_text(LOW_TYPE)
    await page.get_by_role("button", name="Send Test").click()
    await expect(page.locator("#test-result")).to_contain_text("✗ Not received")
    answer = page.get_by_role("region", name="The receiver's answer")
    await expect(answer).to_contain_text("</code></pre><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}")
    assert await page.locator("main script, main img").count() == 0


async def use_up(stage: Stage, webhook_id: str) -> None:
    """Send tests until the next one would be one too many."""
    with contextlib.suppress(TooMany):
        while True:
            await stage.world.gridhook.service.webhooks.send_test(stage.world.ours.account_id, webhook_id, LOW_TYPE)


async def test_tests_beyond_the_limit_are_refused_in_words(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    page = await open_page(stage, webhook_id, f"?type={LOW_TYPE}")
    await use_up(stage, webhook_id)
    await page.get_by_role("button", name="Send Test").click()
    await expect(page.locator("#test-result")).to_contain_text("At most 30 test sends a minute")
    expected(stage, 429)
    stage.troubles.remove(next(one for one in stage.troubles if "Response Status Error Code 429" in one))  # htmx tells of it, too


async def test_viewers_see_it_and_change_nothing_and_others_see_nothing(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    page = await open_page(stage, webhook_id, role=Role.VIEWER)
    await expect(page.get_by_role("heading", name="Facts")).to_be_visible()
    await expect(page.get_by_text("An admin of this account can send a test event here")).to_be_visible()
    await expect(page.locator("main button:visible")).to_have_text(["Copy"])  # shown by a script, so a moment later
    token = await page.locator("input[name=csrf]").first.get_attribute("value")
    address = f"{stage.base}/webhooks/{webhook_id}"
    for action in ("pause", "resume", "test", "deliveries/redeliver", "deliveries/recover", "deliveries/recoveries/rec_1/cancel"):
        refused = await page.request.post(f"{address}/{action}", form={"csrf": str(token), "type": LOW_TYPE})
        assert refused.status == 403, action
        assert "ask one of its admins" in await refused.text()
    admin = await stage.sign_in("ada@example.com")
    for action in ("pause", "test", "deliveries/redeliver", "deliveries/recover"):
        forged = await admin.request.post(f"{address}/{action}", form={"csrf": "0" * 64, "type": LOW_TYPE})
        assert forged.status == 403, action
    stranger = await stage.sign_in("eve@example.com", tenant=stage.world.theirs)
    theirs = f"{stage.world.base_url}/console/a/{stage.world.theirs.account_id}"
    for place in ("", "/now", "/test", "/deliveries", "/deliveries/rows", "/deliveries/recover", "/deliveries/recoveries"):
        assert (await stranger.request.get(f"{address}{place}")).status == 404
        assert (await stranger.request.get(f"{theirs}/webhooks/{webhook_id}{place}")).status == 404
    assert receiver.count == 0


async def test_the_button_below_a_list_of_deliveries_says_what_it_does_with_the_selected(stage: Stage, receiver: Receiver) -> None:
    webhook_id = await added(stage, receiver)
    receiver.reply = Reply(503)
    await stage.world.publish({**LOW, "id": "waits"})
    await stage.world.attempts(webhook_id, 2)
    receiver.reply = Reply(200)
    page = await open_page(stage, webhook_id, "/deliveries")
    await page.get_by_role("checkbox", name="Select waits").check()
    await expect(page.get_by_role("button", name="Redeliver the selected")).to_have_count(0)
    await page.get_by_role("button", name="Send the selected now").click()
    await expect(page.get_by_text("The delivery goes out again now, ahead of schedule.")).to_be_visible()
    await expect(page.get_by_role("row", name="waits")).to_contain_text("Delivered")
    await expect(page.get_by_role("button", name="Redeliver the selected")).to_be_visible()
    # Nothing tells any more of the attempt that was planned.
    await page.goto(f"{stage.base}/webhooks/{webhook_id}/attempts")
    await expect(page.get_by_role("row", name="503")).to_be_visible()
    await expect(page.get_by_text("next attempt")).to_have_count(0)
    await page.goto(f"{stage.base}/webhooks/{webhook_id}")
    await expect(page.get_by_text("1 received, 1 failed attempt", exact=True)).to_be_visible()


async def test_viewers_do_not_see_what_stands_in_the_query_of_a_url(stage: Stage, receiver: Receiver) -> None:
    created = await stage.world.create(receiver.url + "?token=canary7")
    await stage.world.verified(created["id"])
    await stage.world.publish(LOW)
    await stage.world.attempts(created["id"], 2)
    (attempt,) = (await stage.world.gridhook.store.attempts(stage.world.ours.account_id, created["id"], limit=1)).attempts
    one = f"{stage.base}/webhooks/{created['id']}"
    places = [
        f"{one}{place}" for place in ("", "/attempts", "/deliveries", "/settings", "/created", "/verification", f"/attempts/{attempt.id}")
    ]
    told: dict[Role, str] = {}
    for role, email in ((Role.ADMIN, "ada@example.com"), (Role.VIEWER, "vera@example.com")):
        page = await stage.sign_in(email, role=role)
        answers = [await page.request.get(place) for place in (f"{stage.base}/webhooks", *places)]
        assert {answer.status for answer in answers} == {200}
        told[role] = "".join([await answer.text() for answer in answers])
    assert "/hook?token=canary7" in told[Role.ADMIN]
    assert "canary7" not in told[Role.VIEWER]
    assert "/hook?***" in told[Role.VIEWER]
    for role, email, found in ((Role.ADMIN, "ada@example.com", True), (Role.VIEWER, "vera@example.com", False)):
        page = await stage.sign_in(email, role=role)
        answer = await page.request.get(f"{stage.base}/webhooks?q=canary")
        assert (created["id"] in await answer.text()) is found, role
