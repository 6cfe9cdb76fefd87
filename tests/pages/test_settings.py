"""The settings of a webhook: each thing is edited and seen, keys and certificates change step by step, and nothing is lost unasked."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from gridhook.model import AuthMethod, Role, Webhook
from gridhook.service.webhooks import Changes
from gridhook.telemetry import Log
from gridhook.testing import Receiver
from tests.pages.stage import Stage
from tests.receivers import real
from tests.transport.certificates import Authority
from tests.web.world import LOW as LOW_EVENT
from tests.web.world import running

LOW = "ag.account_balance.low"
ISSUED = "ag.access_pass.issued"
HOSTILE = '<script>alert("x")</script> \u202egnp.txt\u202c \'"&amp; {{ 7 * 7 }} 👩\u200d🚒'


def expected(stage: Stage, status: int) -> None:
    """The browser tells of each refusal; this one was wanted."""
    told = next(one for one in stage.troubles if f"status of {status}" in one)
    stage.troubles.remove(told)


def service(stage: Stage) -> Any:
    return stage.world.gridhook.service


async def webhook_of(stage: Stage, url: str, *, name: str = "Doors", method: AuthMethod = AuthMethod.BEARER_TOKEN) -> Webhook:
    """A verified one."""
    made = await service(stage).webhooks.create(
        stage.world.ours.account_id, name=name, url=url, subscribed_events=[LOW], auth_method=method
    )
    await stage.world.verified(made.webhook.id)
    return await now(stage, made.webhook.id)


async def now(stage: Stage, webhook_id: str) -> Webhook:
    return await stage.world.gridhook.store.webhook(stage.world.ours.account_id, webhook_id)


async def send_test(stage: Stage, webhook: Webhook) -> Any:
    return await service(stage).webhooks.send_test(webhook.account_id, webhook.id, LOW)


def settings(stage: Stage, webhook: Webhook) -> str:
    return f"{stage.base}/webhooks/{webhook.id}/settings"


def panel(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def agree(page: Page) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))


async def token(page: Page) -> str:
    return await page.locator("[name=csrf]").first.input_value()


async def test_name_url_events_and_limits_are_edited_and_another_url_makes_it_pending(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in(scripts=False)
    await page.goto(settings(stage, webhook))
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").first).to_contain_text("Nothing to save")
    assert (await now(stage, webhook.id)).revision == webhook.revision
    edit = panel(page, "Name, URL and events")
    await edit.get_by_label("Name", exact=True).fill("  ")
    await edit.get_by_label("Most requests at a time").fill("1.5")
    await edit.get_by_label("Most requests per second").fill("2.5")
    await edit.get_by_text("Events: 1 chosen").click()
    await edit.get_by_label(LOW, exact=True).uncheck()
    await edit.get_by_role("button", name="Save").click()
    await expect(edit.get_by_role("alert")).to_contain_text("nothing was changed")
    expected(stage, 422)
    for field, words in (("Name", "The name is required"), ("Most requests at a time", "must be a whole number")):
        await expect(edit.get_by_label(field, exact=True)).to_have_accessible_description(re.compile(words))
    await expect(edit.get_by_role("group", name="Events", exact=True)).to_contain_text("choose at least one event")
    await expect(edit.get_by_label("Most requests per second")).to_have_value("2.5")
    await edit.get_by_label("Name", exact=True).fill(HOSTILE)
    await edit.get_by_label("Most requests at a time").fill("3")
    await edit.get_by_label(ISSUED, exact=True).check()
    await edit.get_by_label("URL", exact=True).fill("https://10.0.0.5/hook")
    await edit.get_by_role("button", name="Save").click()
    await expect(edit.get_by_label("URL", exact=True)).to_have_accessible_description(re.compile("10.0.0.5 is in 10.0.0.0/8, private"))
    expected(stage, 422)
    receiver.handshake = None
    await edit.get_by_label("URL", exact=True).fill(receiver.url + "/v2")
    await edit.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").first).to_contain_text("Pending until the new URL has answered")
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    after = await now(stage, webhook.id)
    assert after.limits is not None
    assert (after.name, after.url, after.subscribed_events) == (HOSTILE, receiver.url + "/v2", (ISSUED,))
    assert (after.limits.max_in_flight, after.limits.rate_per_second, after.is_verified) == (3, 2.5, False)


async def test_of_two_who_edit_at_once_the_second_sees_what_changed_and_loses_nothing(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in()
    await page.goto(settings(stage, webhook))
    edit = panel(page, "Name, URL and events")
    await edit.get_by_label("Name", exact=True).fill("Mine")
    await edit.get_by_text("Events: 1 chosen").click()
    await edit.get_by_label(ISSUED, exact=True).check()
    changes = Changes(name="Theirs", rate_per_second=7, subscribed_events=["ag.hid_org.created"])
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, changes)
    await edit.get_by_role("button", name="Save").click()
    await expect(edit.get_by_role("alert")).to_contain_text("Somebody else changed this webhook")
    expected(stage, 412)
    await expect(edit).to_contain_text("Name: was Doors, is Theirs now")
    await expect(edit).to_contain_text(f"Events: added ag.hid_org.created; removed {LOW}")
    await expect(edit.get_by_label("Name", exact=True)).to_have_value("Mine")
    await expect(edit.get_by_label("Most requests per second")).to_have_value("7")  # not touched: theirs
    await expect(edit.get_by_label(ISSUED, exact=True)).to_be_checked()
    assert (await now(stage, webhook.id)).name == "Theirs"
    await stage.check_accessible(page)
    await stage.picture(page, "settings-stale")
    # A change of something else, such as a header, does not stand in the way.
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, Changes(headers={"X-Team": "doors"}))
    await edit.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").first).to_have_text("Saved.")
    after = await now(stage, webhook.id)
    assert after.limits is not None
    assert (after.name, after.limits.rate_per_second) == ("Mine", 7)


async def test_the_url_is_checked_as_one_leaves_the_field_and_headers_are_set_replaced_and_removed(
    stage: Stage, receiver: Receiver
) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in()
    agree(page)
    await page.goto(settings(stage, webhook))
    await page.get_by_label("URL", exact=True).fill("https://10.0.0.5/hook")
    await page.get_by_label("Name", exact=True).focus()
    await expect(page.locator("#url-check")).to_contain_text("10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)")
    headers = panel(page, "Headers of your own")
    for name, value in (("X-Team", "doors-1"), ("x-team", "doors-2"), ("X-Gateway-Key", "s3cret")):
        await headers.get_by_label("Header's name").fill(name)
        await headers.get_by_label("Value").fill(value)
        await headers.get_by_role("button", name="Set the header").click()
        await expect(headers.get_by_role("row", name=re.compile(name))).to_be_visible()
    await expect(headers.get_by_role("row")).to_have_count(3)  # the head too
    assert "s3cret" not in await page.content()
    await send_test(stage, webhook)
    assert (receiver.deliveries[-1].header("x-team"), receiver.deliveries[-1].header("x-gateway-key")) == ("doors-2", "s3cret")
    for name, value, field, words in (
        ("<script>", "x", "Header's name", "is not a header name"),
        ("Authorization", "x", "Header's name", "carries the webhook's Private Key"),
        ("X-Odd", "caf\u00e9", "Value", "visible ASCII characters"),
    ):
        await headers.get_by_label("Header's name").fill(name)
        await headers.get_by_label("Value").fill(value)
        await headers.get_by_role("button", name="Set the header").click()
        await expect(headers.get_by_label(field)).to_have_accessible_description(re.compile(words))
        expected(stage, 422)
        await expect(headers.get_by_label("Header's name")).to_have_value(name)
    await headers.get_by_role("button", name="Remove X-Gateway-Key").click()
    await expect(headers.get_by_role("row")).to_have_count(2)
    await send_test(stage, webhook)
    assert receiver.deliveries[-1].header("x-gateway-key") is None


async def test_a_private_key_is_changed_step_by_step_and_can_be_taken_back(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in()
    agree(page)
    await page.goto(settings(stage, webhook))
    key = panel(page, "Private Key")
    current = key.locator("li[aria-current=step]")
    await expect(current).to_contain_text("Make a new Private Key")
    await stage.check_accessible(page)
    await stage.picture(page, "settings")
    await key.get_by_label("at a time of your choice").check()
    await key.get_by_role("button", name="Make a new Private Key").click()
    await expect(key.get_by_label("Date and time, in UTC")).to_have_accessible_description(re.compile("is required"))
    expected(stage, 422)
    await key.get_by_label("in 7 days").check()
    await key.get_by_role("button", name="Make a new Private Key").click()
    await expect(current).to_contain_text("Let your endpoint accept both keys")
    waiting = await key.locator("code.secret").inner_text()
    await expect(key.get_by_text("Copy it now: it is not shown again")).to_be_visible()
    await stage.check_accessible(page)
    await stage.picture(page, "settings-key-waiting")
    await send_test(stage, webhook)
    assert receiver.deliveries[-1].header("authorization") != f"Bearer {waiting}"
    # Another may not be made meanwhile: said, not hidden, to one whose page is old.
    answer = await page.request.post(settings(stage, webhook) + "/private-key", form={"csrf": await token(page), "when": "0"})
    assert (answer.status, "waits" in await answer.text()) == (409, True)
    await page.reload()
    assert waiting not in await page.content()
    await key.get_by_role("button", name="Take the new key back").click()
    await expect(page.get_by_role("status").first).to_contain_text("is taken back")
    await expect(current).to_contain_text("Make a new Private Key")
    await key.get_by_label("at once").check()
    await key.get_by_role("button", name="Make a new Private Key").click()
    # What the receiver knows is seen from what it takes, not from the hour.
    await expect(current).to_contain_text("nothing was received with it yet")
    used = await key.locator("code.secret").inner_text()
    assert re.fullmatch("[0-9a-f]{64}", used)
    await send_test(stage, webhook)
    assert receiver.deliveries[-1].header("authorization") == f"Bearer {used}"
    await page.goto(settings(stage, webhook))
    assert used not in await page.content()
    await expect(current).to_contain_text("Let your endpoint forget the old key")


@pytest.mark.parametrize(
    ("section", "button", "secret"),
    [("Private Key", "Make a new Private Key", "[0-9a-f]{64}"), ("Signing (Standard Webhooks)", "Start signing", "whsec_.+")],
)
async def test_a_form_that_is_sent_twice_makes_one_key_and_shows_it(
    stage: Stage, receiver: Receiver, section: str, button: str, secret: str
) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in(scripts=False)
    await page.goto(settings(stage, webhook))
    form = panel(page, section).locator("form").filter(has=page.get_by_role("button", name=button))
    fields = await form.evaluate("form => Object.fromEntries(new FormData(form))")
    target = str(await form.get_attribute("action")).partition("#")[0]
    for _ in range(2):
        answer = await page.request.post(stage.world.base_url + target, form=fields, max_redirects=0)
        assert answer.status == 303
    await page.goto(stage.world.base_url + answer.headers["location"])
    await expect(panel(page, section)).to_contain_text("nothing was made twice")
    assert re.fullmatch(secret, await panel(page, section).locator("code.secret").inner_text())
    keys = await stage.world.signed("GET", f"/v1/console/webhooks/{webhook.id}")
    assert len(keys.json()["private_keys"]) + len(keys.json()["signing_keys"]) == 2


async def test_deliveries_are_signed_the_key_changes_with_an_overlap_and_signing_stops(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url)
    page = await stage.sign_in(scripts=False)
    await page.goto(settings(stage, webhook))
    signing = panel(page, "Signing (Standard Webhooks)")
    await signing.get_by_role("button", name="Start signing").click()
    first = await signing.locator("code.secret").inner_text()
    assert first.startswith("whsec_")
    await send_test(stage, webhook)
    assert str(receiver.deliveries[-1].header("webhook-signature")).count("v1,") == 1
    await signing.get_by_label("How long does the old key sign along?").select_option(label="an hour")
    await signing.get_by_role("button", name="Make a new signing key").click()
    assert await signing.locator("code.secret").inner_text() != first
    await expect(signing.get_by_role("row")).to_have_count(3)
    assert first not in await page.content()
    await send_test(stage, webhook)
    assert str(receiver.deliveries[-1].header("webhook-signature")).count("v1,") == 2
    await signing.get_by_role("button", name="Stop signing").click()
    await expect(signing).to_contain_text("Not signed")
    await send_test(stage, webhook)
    assert receiver.deliveries[-1].header("webhook-signature") is None


@pytest_asyncio.fixture(loop_scope="session")
async def vault(tmp_path: Path, quiet_log: Log, browser: Browser) -> AsyncIterator[Vault]:
    authority = Authority(tmp_path, "Receivers Root")
    async with running(tmp_path / "data", quiet_log, public_url="", ca_file=str(authority.path)) as world:
        with contextlib.ExitStack() as stack:
            vault = Vault(Stage(world, browser), authority, tmp_path, stack)
            try:
                yield vault
            finally:
                for context in vault.stage.contexts:
                    await context.close()
        assert vault.stage.troubles == []


class Vault:
    """A stage whose receivers ask for client certificates."""

    def __init__(self, stage: Stage, authority: Authority, home: Path, stack: contextlib.ExitStack) -> None:
        self.stage = stage
        self._authority = authority
        self._home = home
        self._stack = stack
        self._count = 0

    async def receiver(self, pinned: bytes | None = None) -> real.Receiver:
        """Python's ssl: trusts our authority, or this one certificate alone."""
        self._count += 1
        bundle = await service(self.stage).authorities.bundle()
        leaf = self._authority.leaf("127.0.0.1")
        started = real.start("python", "1.3", self._home / str(self._count), server_leaf=leaf, client_ca_bundle=bundle, pinned=pinned)
        return self._stack.enter_context(started)


def leaf_of(chain: bytes) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return chain.partition(end)[0] + end


async def test_a_certificate_is_changed_step_by_step_until_the_receiver_has_caught_up(vault: Vault) -> None:
    stage = vault.stage
    first_receiver = await vault.receiver()
    webhook = await webhook_of(stage, first_receiver.url, name="Vault", method=AuthMethod.MTLS)
    certificates = service(stage).certificates
    old = await certificates.presented(webhook.account_id, webhook.id)
    page = await stage.sign_in()
    agree(page)
    await page.goto(settings(stage, webhook))
    section = panel(page, "Client certificate")
    current = section.locator("li[aria-current=step]")
    await expect(section.get_by_role("row", name=re.compile(old.serial))).to_contain_text("The newest attempt presented it")
    await expect(section.get_by_role("link", name="our CA (PEM)")).to_have_attribute("href", "/v1/ca.pem")
    async with page.expect_download() as download:
        await section.get_by_role("link", name=f"Download (PEM) {old.serial}").click()
    assert (await (await download.value).path()).read_bytes() == old.chain
    await stage.check_accessible(page)
    await stage.picture(page, "settings-mtls")
    # A rotation taken back.
    await section.get_by_role("button", name="Issue the next certificate").click()
    await expect(current).to_contain_text("Let your server accept it")
    await section.get_by_role("button", name="Take the new certificate back").click()
    await expect(page.get_by_role("status").first).to_contain_text(f"{old.serial} again")
    await expect(current).to_contain_text("Issue the next certificate")
    # One that is gone through with; meanwhile the receiver knows the old one alone.
    strict = await vault.receiver(pinned=leaf_of(old.chain))
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, Changes(url=strict.url))
    await stage.world.verified(webhook.id)
    await section.get_by_role("button", name="Issue the next certificate").click()
    await expect(current).to_contain_text("Let your server accept it")
    new = await certificates.presented(webhook.account_id, webhook.id)
    await send_test(stage, webhook)
    await page.reload()
    await expect(section.get_by_role("row", name=re.compile(old.serial))).to_contain_text("The newest attempt presented it")
    await expect(section.get_by_role("row", name=re.compile(new.serial))).to_contain_text("has not accepted it yet")
    await expect(current).to_contain_text(new.fingerprint)
    await stage.check_accessible(page)
    await stage.picture(page, "settings-mtls-rotating")
    learnt = await vault.receiver(pinned=leaf_of(new.chain))
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, Changes(url=learnt.url))
    await stage.world.verified(webhook.id)
    await send_test(stage, webhook)
    assert learnt.wait_for(2)[-1].fingerprint == new.fingerprint
    # As when the stream of changes says that there is something new.
    await page.evaluate("htmx.trigger(document.body, 'changed')")
    await expect(current).to_contain_text("Let your server forget the old one")
    await expect(section.get_by_role("button", name="Take the new certificate back")).to_have_count(0)
    # A page that is older than the acceptance.
    form: dict[str, str | float | bool] = {"csrf": await token(page), "certificate_id": new.id}
    late = await page.request.post(settings(stage, webhook) + "/certificates/cancel", form=form)
    assert (late.status, "has accepted" in await late.text()) == (409, True)
    statuses = [
        (await page.request.post(settings(stage, webhook) + "/certificates", form={"csrf": form["csrf"]}, max_redirects=0)).status
        for _ in range(11)
    ]
    assert statuses[-1] == 429
    # Live: the piece that the page fetches when something changed.
    piece = await page.request.get(settings(stage, webhook) + "/certificates")
    assert (piece.status, "<html" in await piece.text(), new.serial in await piece.text()) == (200, False, True)


async def test_a_webhook_changes_to_mtls_and_back_after_it_was_said_what_that_means(vault: Vault) -> None:
    stage = vault.stage
    receiver = await vault.receiver()
    page = await stage.sign_in()
    async with Receiver() as plain:
        webhook = await webhook_of(stage, plain.url, name="Plain")
        await page.goto(settings(stage, webhook))
        await page.get_by_role("link", name="Change to mTLS…").click()
        await expect(page.get_by_text("mTLS needs an https URL")).to_be_visible()
        await expect(page.get_by_role("button", name="Use mTLS")).to_have_count(0)
        form: dict[str, str | float | bool] = {"csrf": await token(page), "auth_method": "mtls", "revision": str(webhook.revision)}
        refused = await page.request.post(settings(stage, webhook) + "/authentication", form=form)
        assert (refused.status, "needs an https URL" in await refused.text()) == (422, True)
    webhook = await webhook_of(stage, receiver.url, name="Vault", method=AuthMethod.MTLS)
    await page.goto(settings(stage, webhook))
    await page.get_by_role("link", name="Change to a Private Key…").click()
    await stage.check_accessible(page)
    await stage.picture(page, "settings-switch")
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, Changes(name="Safe"))
    await page.get_by_role("button", name="Use a Private Key from now on").click()
    await expect(page.get_by_role("alert")).to_contain_text("was changed while you were reading")
    expected(stage, 412)
    await page.get_by_role("button", name="Use a Private Key from now on").click()
    key = await panel(page, "Private Key").locator("code.secret").inner_text()
    await expect(panel(page, "Certificates of before").get_by_role("row")).to_have_count(2)
    await page.get_by_role("link", name="Change to mTLS…").click()
    await page.get_by_role("button", name="Use mTLS from now on").click()
    await expect(panel(page, "Client certificate")).to_contain_text("Presented")
    assert key not in await page.content()
    count = len(receiver.wait_for(1))
    await send_test(stage, webhook)
    seen = receiver.wait_for(count + 1)[-1]
    presented = await service(stage).certificates.presented(webhook.account_id, webhook.id)
    assert (seen.fingerprint, seen.authorization) == (presented.fingerprint, "")


async def test_a_webhook_is_deleted_once_its_name_was_typed_and_it_was_said_what_is_cancelled(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url, name="Front  doors")
    await service(stage).webhooks.pause(webhook.account_id, webhook.id)
    for _ in range(2):
        await stage.world.publish(LOW_EVENT)
    page = await stage.sign_in()
    await page.goto(settings(stage, webhook))
    await page.get_by_role("link", name="Delete this webhook…").click()
    await expect(page.get_by_text("2 held and 0 queued deliveries are cancelled")).to_be_visible()
    await page.get_by_label("Type the webhook's name").fill("Back doors")
    await page.get_by_role("button", name="Delete the webhook").click()
    await expect(page.get_by_label("Type the webhook's name")).to_have_accessible_description(re.compile("nothing was deleted"))
    expected(stage, 422)
    await stage.check_accessible(page)
    await stage.picture(page, "settings-delete")
    await page.get_by_label("Type the webhook's name").fill("Front doors")
    await page.get_by_role("button", name="Delete the webhook").click()
    await expect(page.get_by_role("status").first).to_contain_text("Deleted: Front  doors")
    assert (await stage.world.gridhook.store.webhooks(webhook.account_id, offset=0, limit=5)).webhooks == []
    assert (await page.request.get(settings(stage, webhook))).status == 404


async def test_viewers_see_the_values_and_change_nothing_and_strangers_find_nothing(stage: Stage, receiver: Receiver) -> None:
    webhook = await webhook_of(stage, receiver.url, name=HOSTILE)
    await service(stage).webhooks.edit(webhook.account_id, webhook.id, Changes(headers={"X-Team": "s3cret"}, max_in_flight=4))
    before = await now(stage, webhook.id)
    here = settings(stage, webhook)
    posts: dict[str, dict[str, str | float | bool]] = {
        "": {"name": "X", "url": receiver.url, "subscribed_events": ISSUED, "revision": str(before.revision)},
        "/headers": {"header_name": "X-A", "header_value": "b"},
        "/headers/remove": {"header_name": "X-Team"},
        "/private-key": {"when": "0"},
        "/private-key/cancel": {"key_id": "cred_1"},
        "/signing-key": {},
        "/signing-key/stop": {},
        "/certificates": {},
        "/certificates/cancel": {"certificate_id": "cred_1"},
        "/authentication": {"auth_method": "mtls", "revision": str(before.revision)},
        "/delete": {"name": HOSTILE, "revision": str(before.revision)},
    }
    viewer = await stage.sign_in("vera@example.com", role=Role.VIEWER)
    await viewer.goto(here)
    await expect(viewer.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await expect(panel(viewer, "Name, URL and events")).to_contain_text(LOW)
    await expect(panel(viewer, "Headers of your own")).to_contain_text("X-Team")
    assert await viewer.locator("main").get_by_role("button").count() == 0
    assert await viewer.locator("main input:not([type=hidden]), main form").count() == 0
    assert "s3cret" not in await viewer.content()
    await stage.check_accessible(viewer)
    await stage.picture(viewer, "settings-viewer")
    csrf = await token(viewer)
    for path, form in posts.items():
        assert (await viewer.request.post(here + path, form={"csrf": csrf, **form})).status == 403, path
    for path in ("/authentication", "/delete"):
        assert (await viewer.request.get(here + path)).status == 403
    admin = await stage.sign_in()
    await admin.goto(here)
    for path, form in posts.items():
        assert (await admin.request.post(here + path, form=form)).status == 403, path  # without the token
    stranger = await stage.sign_in("eve@example.com", tenant=stage.world.theirs)
    await stranger.goto(f"{stage.world.base_url}/console/me")
    csrf = await token(stranger)
    elsewhere = here.replace(stage.world.ours.account_id, stage.world.theirs.account_id)
    for base in (here, elsewhere):
        for path in ("", "/certificates", "/certificates/cred_1.pem", "/authentication", "/delete"):
            assert (await stranger.request.get(base + path)).status == 404, path
        for path, form in posts.items():
            assert (await stranger.request.post(base + path, form={"csrf": csrf, **form})).status == 404, path
    assert await now(stage, webhook.id) == before
