"""Creating a webhook: the form, the Private Key that is shown once, and the verification that one can watch."""

from __future__ import annotations

import asyncio
import re
from typing import TypeAlias

from playwright.async_api import Page, expect

from gridhook.model import Role, Webhook
from gridhook.testing import Received, Receiver, Reply, echo
from tests.pages.stage import Stage

Form: TypeAlias = dict[str, str | float | bool]

BALANCE_LOW = "ag.account_balance.low"
HOSTILE = '<script>alert("x")</script> \u202egnp.txt\u202c \'"&amp; {{ 7 * 7 }} 👩\u200d🚒'
PRIVATE = "https://10.0.0.5/hook"


async def fill(page: Page, stage: Stage, url: str, *, name: str = "Production badge sync") -> None:
    await page.goto(stage.base + "/webhooks/new")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("URL", exact=True).fill(url)
    await page.get_by_label(BALANCE_LOW, exact=True).check()


async def submit(page: Page) -> None:
    await page.get_by_role("button", name="Create the webhook").click()


async def webhooks(stage: Stage) -> list[Webhook]:
    """Newest first."""
    return (await stage.world.gridhook.store.webhooks(stage.world.ours.account_id, offset=0, limit=50)).webhooks


def expected(stage: Stage, status: int) -> None:
    """The browser tells of each refusal; this one was wanted."""
    told = next(one for one in stage.troubles if f"status of {status}" in one)
    stage.troubles.remove(told)


async def test_a_new_webhook_shows_its_private_key_once_and_becomes_verified_by_itself(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in(permissions=["clipboard-read", "clipboard-write"])
    await page.goto(stage.base + "/webhooks")
    await page.get_by_role("link", name="Create your first webhook").click()
    await stage.check_accessible(page)
    await stage.picture(page, "new")
    await fill(page, stage, receiver.url)
    await submit(page)
    await expect(page.get_by_role("heading", name="Webhook created: Production badge sync")).to_be_visible()
    key = await page.locator("code.secret").inner_text()
    assert re.fullmatch("[0-9a-f]{64}", key)
    await page.get_by_role("button", name="Copy the Private Key").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == key
    verification = page.get_by_role("region", name="Verification", exact=True)
    await expect(verification).to_contain_text("proved that the URL is yours")
    await expect(verification.get_by_text("Verified", exact=True)).to_be_visible()
    await verification.get_by_text("The request and its answer").click()
    await expect(verification.get_by_role("region", name="The answer")).to_contain_text(str(receiver.handshakes[0].challenge))
    await stage.check_accessible(page)
    await stage.picture(page, "created")
    await page.reload()
    await expect(page.get_by_text("is not shown again")).to_be_visible()
    assert key not in await page.content()
    assert receiver.handshakes[0].header("authorization") is None


async def test_a_wrong_answer_is_diagnosed_and_the_verification_resent_once_it_is_mended(stage: Stage, receiver: Receiver) -> None:
    def wrong(request: Received) -> Reply:
        return Reply(401, (("X-Powered-By", "<b onclick=alert(1)>\u00e9"),), b"<script>alert(1)</script><img src=x onerror=alert(2)>")

    receiver.handshake = wrong
    page = await stage.sign_in()
    page.on("dialog", lambda dialog: stage.troubles.append(f"a dialog came up: {dialog.message}"))
    await fill(page, stage, receiver.url, name=HOSTILE)
    await submit(page)
    assert await page.get_by_role("heading", level=1).inner_text() == f"Webhook created: {HOSTILE}"
    verification = page.get_by_role("region", name="Verification", exact=True)
    await expect(verification).to_contain_text("The receiver answered 401")
    await expect(verification).to_contain_text("answer X-AccessGrid-Webhook-Challenge before checking the key")
    answer = verification.get_by_role("region", name="The answer")
    await expect(answer).to_contain_text("HTTP/1.1 401 Unauthorized")
    await expect(answer).to_contain_text("<script>alert(1)</script><img src=x onerror=alert(2)>")
    await expect(answer).to_contain_text("<b onclick=alert(1)>")
    await stage.check_accessible(page)
    await stage.picture(page, "not-verified")
    receiver.handshake = echo
    await verification.get_by_role("button", name="Resend verification").click()
    await expect(verification).to_contain_text("proved that the URL is yours")
    await expect(verification.get_by_role("button", name="Resend verification")).to_have_count(0)
    assert len(receiver.handshakes) == 2


async def test_who_resends_too_often_is_told_when_to_come_back(stage: Stage, receiver: Receiver) -> None:
    receiver.handshake = None
    created = await stage.world.create(receiver.url)
    page = await stage.sign_in()
    await page.goto(f"{stage.base}/webhooks/{created['id']}/created")
    form: Form = {"csrf": await page.locator("[name=csrf]").first.input_value(), "at": "created"}
    for _ in range(stage.world.settings.verify_per_minute):
        await page.request.post(f"{stage.base}/webhooks/{created['id']}/verification", form=form)
    await page.get_by_role("button", name="Resend verification").click()
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(r"At most \d+ handshakes a minute; try again in \d+ s"))
    await expect(page.locator("#verification")).to_contain_text("the body is no complete JSON object")


async def test_a_private_address_is_explained_as_one_leaves_the_field(stage: Stage) -> None:
    page = await stage.sign_in()
    await fill(page, stage, PRIVATE)
    told = page.locator("#url-check")
    await expect(told).to_contain_text("10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)")
    await expect(told).to_contain_text("Point the host at public addresses only")
    await page.get_by_label("URL", exact=True).fill("http://127.0.0.1:8443/hook")
    await page.get_by_label("Name", exact=True).focus()
    await expect(told).to_contain_text("This URL can be used")
    await expect(told).to_contain_text("use https for anything but trials")
    assert await webhooks(stage) == []


async def test_without_a_script_all_that_is_wrong_is_said_at_its_field_and_what_was_typed_stays(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in(scripts=False)
    await page.goto(stage.base + "/webhooks/new")
    await page.get_by_label("Name", exact=True).fill("  ")
    await page.get_by_label("URL", exact=True).fill(PRIVATE)
    await page.get_by_text("Headers and limits").click()
    await page.get_by_label("Headers of your own").fill("X-Team: <doors>\nCookie: a=b")
    await page.get_by_label("Most requests at a time").fill("1.5")
    await submit(page)
    await expect(page.get_by_role("alert")).to_contain_text("Please look at the marked fields")
    expected(stage, 422)
    for field, words in (
        ("Name", "The name is required"),
        ("URL", "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)"),
        ("Headers of your own", "Cookie cannot be set"),
        ("Most requests at a time", "must be a whole number"),
    ):
        await expect(page.get_by_label(field, exact=True)).to_have_accessible_description(re.compile(re.escape(words)))
    await expect(page.get_by_role("group", name="Events", exact=True)).to_contain_text("choose at least one event")
    await expect(page.get_by_label("URL", exact=True)).to_have_value(PRIVATE)
    await expect(page.get_by_label("Headers of your own")).to_have_value("X-Team: <doors>\nCookie: a=b")
    await stage.picture(page, "new-wrong")
    assert await webhooks(stage) == []
    await page.get_by_label("Name", exact=True).fill("Doors")
    await page.get_by_label("URL", exact=True).fill(receiver.url)
    await page.get_by_label(BALANCE_LOW, exact=True).check()
    await page.get_by_label("Headers of your own").fill("X-Team: <doors>")
    await page.get_by_label("Most requests at a time").fill("3")
    await submit(page)
    await expect(page.locator("code.secret")).to_be_visible()
    (webhook,) = await webhooks(stage)
    await stage.world.verified(webhook.id)
    assert webhook.limits is not None
    assert (webhook.name, webhook.limits.max_in_flight) == ("Doors", 3)
    await page.reload()
    await expect(page.locator("#verification")).to_contain_text("proved that the URL is yours")


async def test_with_mtls_the_certificate_can_be_taken_along_and_there_is_no_key(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in()
    await fill(page, stage, receiver.url)  # http: a certificate could not be presented
    await page.get_by_label("mTLS", exact=True).check()
    await submit(page)
    await expect(page.get_by_label("URL", exact=True)).to_have_accessible_description(re.compile("The URL must be https for mtls"))
    expected(stage, 422)
    await expect(page.get_by_label("mTLS", exact=True)).to_be_checked()
    await page.get_by_label("URL", exact=True).fill(receiver.url.replace("http:", "https:"))
    await submit(page)
    await expect(page.get_by_role("heading", name="Client certificate")).to_be_visible()
    (webhook,) = await webhooks(stage)
    certificate = await stage.world.gridhook.service.certificates.presented(webhook.account_id, webhook.id)
    assert certificate is not None
    await expect(page.get_by_text(certificate.fingerprint)).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download the certificate").click()
    assert (await (await download.value).path()).read_bytes() == certificate.chain
    await expect(page.get_by_role("link", name="our CA (PEM)")).to_have_attribute("href", "/v1/ca.pem")
    await expect(page.locator("code.secret")).to_have_count(0)
    # The receiver speaks no TLS: said so, not left open.
    await expect(page.locator("#verification")).to_contain_text("No TLS connection came about")
    await page.get_by_text("The certificate in PEM").click()
    await stage.check_accessible(page)
    await stage.picture(page, "created-mtls")


async def test_events_are_chosen_by_family_or_all_at_once(stage: Stage) -> None:
    page = await stage.sign_in()
    await page.goto(stage.base + "/webhooks/new?event=ag.hid_org.created")
    chosen = page.locator("[name=subscribed_events]:checked")
    await expect(chosen).to_have_count(1)
    await page.get_by_role("button", name="Select all of Card templates").click()
    await expect(chosen).to_have_count(6)
    await page.get_by_role("button", name="Select all events").click()
    await expect(chosen).to_have_count(await page.locator("[name=subscribed_events]").count())
    await page.get_by_role("button", name="none of Access passes").click()
    await expect(page.get_by_label("ag.access_pass.issued", exact=True)).not_to_be_checked()
    await expect(page.get_by_label("ag.card_template.created", exact=True)).to_be_checked()


async def test_a_form_that_is_sent_twice_makes_one_webhook(stage: Stage, receiver: Receiver) -> None:
    page = await stage.sign_in()
    await page.goto(stage.base + "/webhooks/new")
    form: Form = {name: await page.locator(f"form[data-once] [name={name}]").input_value() for name in ("csrf", "once")}
    form |= {"name": "Doors", "url": receiver.url, "subscribed_events": BALANCE_LOW}
    answers = await asyncio.gather(*(page.request.post(page.url, form=form, max_redirects=0) for _ in range(3)))
    assert [answer.status for answer in answers] == [303, 303, 303]
    (webhook,) = await webhooks(stage)
    assert {answer.headers["location"] for answer in answers} == {
        f"{stage.base}/webhooks/{webhook.id}/created".removeprefix(stage.world.base_url)
    }
    await page.goto(f"{stage.base}/webhooks/{webhook.id}/created")
    await expect(page.locator("code.secret")).to_be_visible()
    # Another name: that is another webhook, not the same one sent again.
    await page.request.post(f"{stage.base}/webhooks/new", form={**form, "name": "Lifts"})
    assert [one.name for one in await webhooks(stage)] == ["Lifts", "Doors"]


async def test_viewers_find_no_form_and_are_refused_and_strangers_find_nothing(stage: Stage, receiver: Receiver) -> None:
    created = await stage.world.create("http://127.0.0.1:1443/")
    page = await stage.sign_in("vera@example.com", role=Role.VIEWER)
    await page.goto(stage.base + "/webhooks")
    await expect(page.get_by_role("link", name=re.compile("Create"))).to_have_count(0)
    await page.goto(stage.base + "/webhooks/new")
    await expect(page.get_by_text("Ask one of its admins")).to_be_visible()
    await page.goto(f"{stage.base}/webhooks/{created['id']}/created")
    await expect(page.locator("#verification")).to_contain_text("Not verified")
    await expect(page.get_by_role("button", name="Resend verification")).to_have_count(0)
    csrf = await page.locator("[name=csrf]").first.input_value()
    form: Form = {"csrf": csrf, "name": "Doors", "url": receiver.url, "subscribed_events": BALANCE_LOW}
    for path in ("/webhooks/new", f"/webhooks/{created['id']}/verification"):
        assert (await page.request.post(stage.base + path, form=form)).status == 403
    assert (await page.request.get(f"{stage.base}/check-url?url={receiver.url}")).status == 404
    assert [one.id for one in await webhooks(stage)] == [created["id"]]
    stranger = await stage.sign_in("eve@example.com", tenant=stage.world.theirs)
    elsewhere = stage.base.replace(stage.world.ours.account_id, stage.world.theirs.account_id)
    for base in (stage.base, elsewhere):
        for path in ("created", "verification", "settings/certificates"):
            assert (await stranger.request.get(f"{base}/webhooks/{created['id']}/{path}")).status == 404
    assert receiver.handshakes == []
