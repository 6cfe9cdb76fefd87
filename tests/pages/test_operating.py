"""The operator's view: all accounts, this process, the hosts."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.async_api import expect

from gridhook.testing import Receiver, Reply
from tests.pages.stage import Stage
from tests.pages.test_overview import an_event


async def test_an_operator_sees_every_account_and_what_troubles_it(stage: Stage, receiver: Receiver) -> None:
    world = stage.world
    async with Receiver() as broken:
        good = await world.create(receiver.url + "/good")
        bad = await world.create(broken.url + "/bad", tenant=world.theirs)
        await world.verified(good["id"])
        assert len(await broken.shaken()) == 1
        broken.script(*[Reply(500)] * 3)
        await world.publish(an_event("e1"))
        await world.publish(an_event("e2"), tenant=world.theirs)
        await broken.received(1)
        await world.attempts(good["id"], 2)
        await stage.world.gridhook.service.create_account("<b>Nobody</b> & Söhne", account_id="hostile")
        page = await stage.sign_in("root@example.com", role=None, operator=True)
        await page.goto(f"{world.base_url}/console")
        await page.get_by_label("Console").get_by_role("link", name="Operator view").click()
        assert page.url == f"{world.base_url}/console/operate"
        while not await page.get_by_role("region", name="Most failing hosts").get_by_role("link").count():
            await page.reload()  # the attempt is recorded a moment after the answer
        accounts = page.get_by_role("region", name="Accounts")
        rows = await accounts.get_by_role("row").all_inner_texts()
        assert world.theirs.account_id in rows[1], "the account whose webhook fails stands first"
        assert any("<b>Nobody</b> & Söhne" in row for row in rows)
        assert "slots in use" in await page.get_by_role("region", name="This process").inner_text()
        worst = page.get_by_role("region", name="Most failing hosts")
        assert urlsplit(broken.url).netloc in await worst.inner_text()
        assert urlsplit(receiver.url).netloc in await page.get_by_role("region", name="Slowest hosts").inner_text()
        await stage.check_accessible(page)
        await stage.picture(page, "operate")
        await page.get_by_label("Name or id").fill("söhne")
        await page.get_by_role("button", name="Search").click()
        assert await page.get_by_role("region", name="Accounts").get_by_role("row").count() == 2
        await page.get_by_role("link", name="<b>Nobody</b> & Söhne").click()
        assert page.url.endswith("/console/a/hostile")
        assert await page.get_by_role("heading", name="Overview").is_visible()
    assert bad["id"]


async def test_the_operators_view_renews_itself_every_fifteen_seconds_while_one_looks(stage: Stage) -> None:
    world = stage.world
    page = await stage.sign_in("root@example.com", role=None, operator=True)
    await page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "hx-request" in request.headers else None)
    await page.goto(f"{world.base_url}/console/operate?q=new")
    await page.get_by_label("Name or id").fill("new acc")
    await world.gridhook.service.create_account("A new one", account_id="newcomer")
    await page.clock.run_for(12_000)
    assert asked == []
    await page.clock.run_for(5_000)
    await expect(page.get_by_role("region", name="Accounts")).to_contain_text("newcomer")
    await expect(page.get_by_label("Name or id")).to_have_value("new acc")  # what one types stays
    await world.gridhook.service.create_account("Another new one", account_id="newcomer2")
    await page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await page.clock.run_for(60_000)
    assert len(asked) == 1
    await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.get_by_role("region", name="Accounts")).to_contain_text("newcomer2")
    assert set(asked) == {f"{world.base_url}/console/operate?q=new"}


async def test_for_all_others_there_is_no_operators_view(stage: Stage) -> None:
    page = await stage.sign_in()
    answer = await page.goto(f"{stage.world.base_url}/console/operate")
    assert answer is not None
    assert answer.status == 404
    assert await page.get_by_role("heading", name="Not found").is_visible()
    stage.troubles.clear()
