"""The event catalogue."""

from __future__ import annotations

import json

from gridhook.rules.catalogue import EVENT_TYPES, catalogue, check_data
from gridhook.testing import Receiver
from gridhook.web.pages.catalogue import fields
from tests.pages.stage import Stage

TYPE = "ag.account_balance.low"
ISSUED = "ag.access_pass.issued"


async def test_every_type_is_listed_and_leads_to_its_page(stage: Stage, receiver: Receiver) -> None:
    hook = await stage.world.create(receiver.url + "/in", name='"><img src=x onerror=alert(1)>')
    await stage.world.verified(hook["id"])
    page = await stage.sign_in()
    await page.goto(stage.base + "/catalogue")
    for one in EVENT_TYPES:
        assert await page.get_by_role("link", name=one, exact=True).count() == 1
    await stage.check_accessible(page)
    await stage.picture(page, "catalogue")
    await page.get_by_role("link", name=TYPE, exact=True).click()
    assert await page.get_by_role("heading", name=catalogue().types[TYPE].title, level=1).is_visible()
    assert await page.get_by_role("link", name='"><img src=x onerror=alert(1)>').is_visible()
    event = json.loads(await page.get_by_role("region", name="Example event").inner_text())
    assert (event["specversion"], event["type"]) == ("1.0", TYPE)
    check_data(TYPE, event["data"])
    await stage.check_accessible(page)
    await page.goto(f"{stage.base}/catalogue/{ISSUED}")
    row = page.get_by_role("row").filter(has=page.get_by_text("details.platform", exact=True))
    assert "one of apple, android" in await row.inner_text()
    await stage.check_accessible(page)
    await stage.picture(page, "event-type")
    assert await page.get_by_role("link", name="JSON Schema, version 1").get_attribute("href") == catalogue().types[ISSUED].path
    assert (await stage.world.send("GET", catalogue().types[ISSUED].path)).status == 200


async def test_every_types_page_opens_without_scripts(stage: Stage) -> None:
    page = await stage.sign_in(scripts=False)
    for one in EVENT_TYPES[:: len(EVENT_TYPES) // 5]:
        answer = await page.goto(f"{stage.base}/catalogue/{one}")
        assert answer is not None
        assert answer.status == 200
    for unknown in ("ag.nothing", "%3Cscript%3E", "ag.access_pass.created"):
        answer = await page.goto(f"{stage.base}/catalogue/{unknown}")
        assert answer is not None
        assert answer.status == 404
    stage.troubles.clear()


def test_a_schema_as_a_table_names_every_field_with_its_kind_and_meaning() -> None:
    for one in catalogue().types.values():
        told = {field.name: field for field in fields(one)}
        assert all(field.kind != "any" and field.description for field in told.values()), one.type
    issued = {field.name: field for field in fields(catalogue().types[ISSUED])}
    assert issued["id"].is_required
    assert issued["full_name"].is_nullable
    assert issued["card_templates"].kind == "array of objects"
    assert issued["card_templates[].platform"].limits == "one of apple, android"
    assert issued["start_date"].limits == "date-time"
