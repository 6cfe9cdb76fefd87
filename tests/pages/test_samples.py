"""Sample receivers on the page of a new webhook. tests/receivers starts them."""

from __future__ import annotations

from playwright.async_api import expect

from gridhook.testing import Receiver
from gridhook.web.pages.samples import samples
from tests.pages.stage import Stage
from tests.pages.test_creating import fill, submit

LARGEST = 100_000  # bytes of a page's HTML


async def test_somebody_whose_endpoint_does_not_answer_yet_picks_their_language_and_copies_a_whole_receiver(
    stage: Stage, receiver: Receiver
):
    page = await stage.sign_in(permissions=["clipboard-read", "clipboard-write"])
    await fill(page, stage, receiver.url)
    await submit(page)
    section = page.get_by_role("region", name="An endpoint that answers")
    first, *_, last = samples()
    await expect(section.get_by_role("radio")).to_have_count(len(samples()))
    await expect(section.get_by_role("radio", name=first.label)).to_be_checked()
    await section.get_by_role("radio", name=first.label).press("ArrowLeft")  # by keyboard, round to the last one
    shown = section.get_by_role("region", name=f"{last.label} sample")
    await expect(shown).to_be_visible()
    await expect(section.get_by_role("region", name=f"{first.label} sample")).to_be_hidden()
    assert (await shown.inner_text()).strip() == last.code.strip()
    await section.get_by_role("button", name="Copy").click()
    await expect(section.get_by_role("button", name="Copied")).to_be_visible()
    assert (await page.evaluate("navigator.clipboard.readText()")).strip() == last.code.strip()
    assert len((await page.content()).encode()) < LARGEST
    await stage.check_accessible(page)
    await stage.picture(page, "samples")


async def test_the_samples_can_be_chosen_among_without_javascript(stage: Stage, receiver: Receiver):
    page = await stage.sign_in(scripts=False)
    await fill(page, stage, receiver.url)
    await submit(page)
    for sample in samples():
        await page.get_by_text(sample.label, exact=True).click()
        await expect(page.get_by_role("region", name=f"{sample.label} sample")).to_be_visible()
