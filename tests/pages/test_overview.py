"""The overview: an account at a glance."""

from __future__ import annotations

from gridhook.model import Role
from gridhook.rules.catalogue import event_type
from gridhook.testing import Receiver, Reply
from tests.pages.stage import Stage

BALANCE_LOW = "ag.account_balance.low"
HOSTILE = "<script>alert(1)</script> \"' \u202eevil\u202c 🦊 & " + "x" * 60


def an_event(id: str) -> dict[str, object]:
    return {"id": id, "type": BALANCE_LOW, "data": event_type(BALANCE_LOW).example}


async def test_a_new_account_is_told_what_to_do_first(stage: Stage) -> None:
    page = await stage.sign_in()
    await page.goto(f"{stage.world.base_url}/console")
    assert page.url == stage.base
    assert await page.get_by_role("link", name="Create your first webhook").is_visible()
    await stage.check_accessible(page)
    await stage.picture(page, "overview-empty")
    viewer = await stage.sign_in("vera@example.com", role=Role.VIEWER)
    await viewer.goto(stage.base)
    assert await viewer.get_by_role("link", name="Create your first webhook").count() == 0
    assert await viewer.get_by_role("link", name="See the event catalogue").is_visible()


async def test_what_fails_stands_first_then_how_it_went_and_what_waits(stage: Stage, receiver: Receiver) -> None:
    world = stage.world
    good = await world.create(receiver.url + "/good", name="Badge sync")
    await world.verified(good["id"])
    for number in range(5):
        await world.publish(an_event(f"e{number}"))
    await world.attempts(good["id"], 6)  # with the handshake
    async with Receiver() as broken, Receiver(handshake=None) as silent:
        bad = await world.create(broken.url + "/bad", name=HOSTILE)
        await world.verified(bad["id"])
        broken.script(*[Reply(503)] * 3)
        silent.reply = Reply(404)
        quiet = await world.create(silent.url + "/never", name="Not ready yet")
        await world.publish(an_event("late"))
        await world.attempts(bad["id"], 2)
        await world.attempts(quiet["id"], 1)
        await world.attempts(good["id"], 7)
        page = await stage.sign_in()
        await page.goto(stage.base)
        failing = page.get_by_role("region", name="1 webhook is failing")
        assert await failing.get_by_role("link").inner_text() == HOSTILE
        assert "503" in await failing.inner_text()
        hour = page.get_by_role("region", name="Last hour")
        assert "6\nreceived" in await hour.inner_text()
        assert "of 7 attempts succeeded" in await hour.inner_text()
        assert await page.get_by_role("img", name="Attempts").is_visible()
        assert await page.get_by_role("img", name="How quickly your servers answer").is_visible()
        held = page.get_by_role("region", name="Held events")
        assert "Not ready yet is pending: 1 event is held for it." in await held.inner_text()
        assert await page.get_by_role("region", name="Pending verification").get_by_role("link", name="Not ready yet").is_visible()
        await page.get_by_text("As a table").first.click()
        assert await page.get_by_role("row").filter(has_text="6").first.is_visible()
        await stage.check_accessible(page)
        await stage.picture(page, "overview")
        await failing.get_by_role("link").click()
        assert page.url.endswith(f"/webhooks/{bad['id']}")
    stage.troubles.clear()  # the page of one webhook is told of elsewhere


async def test_the_overview_works_without_scripts_and_is_nobody_elses(stage: Stage, receiver: Receiver) -> None:
    await stage.world.create(receiver.url + "/in", name="Ours")
    page = await stage.sign_in(scripts=False)
    await page.goto(stage.base)
    assert await page.get_by_role("heading", name="Overview").is_visible()
    answer = await page.goto(f"{stage.world.base_url}/console/a/{stage.world.theirs.account_id}")
    assert answer is not None
    assert answer.status == 404
    stage.troubles.clear()
