"""The console in a real browser: a running gridhook, people of each kind signed in, and whatever the browser complains about."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, Page

from gridhook.model import LinkPurpose, Membership, Role
from tests.web.world import Tenant, World

WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 390, "height": 844}
PICTURES = os.environ.get("GRIDHOOK_TEST_PICTURES")  # a directory: then `picture` keeps what the pages look like there
HANG_GUARD_MS = 30_000


@dataclass
class Stage:
    """`troubles`: what browsers complained about (scripts, the content security policy, failed requests); empty at a test's end."""

    world: World
    browser: Browser
    troubles: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Where our account's pages begin."""
        return f"{self.world.base_url}/console/a/{self.world.ours.account_id}"

    async def link(self, email: str, *, role: Role | None = Role.ADMIN, operator: bool = False, tenant: Tenant | None = None) -> str:
        """The address of a link by which this person signs in."""
        people = self.world.gridhook.service.people
        membership = None if role is None else Membership((tenant or self.world.ours).account_id, role)
        person = await people.add(email, operator=operator, membership=membership)
        return f"{self.world.base_url}/console/link/{await people.new_link(person, LinkPurpose.SIGN_IN, seconds=60)}"

    async def sign_in(
        self,
        email: str = "ada@example.com",
        *,
        role: Role | None = Role.ADMIN,
        operator: bool = False,
        tenant: Tenant | None = None,
        scripts: bool = True,
        **options: Any,
    ) -> Page:
        """A page of a browser of their own. scripts=False: with JavaScript switched off. options: of Playwright's `new_context`."""
        page = await self.visit(scripts=scripts, **options)
        await page.goto(await self.link(email, role=role, operator=operator, tenant=tenant))
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_url(lambda url: "/console/link/" not in url)
        return page

    async def visit(self, *, scripts: bool = True, **options: Any) -> Page:
        """A page of a browser of its own that nobody is signed in with."""
        given: dict[str, Any] = {"viewport": WIDE, "java_script_enabled": scripts, "locale": "en-GB", "timezone_id": "Europe/Berlin"}
        context = await self.browser.new_context(**{**given, **options})
        context.set_default_timeout(HANG_GUARD_MS)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda said: self.troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        return page

    async def picture(self, page: Page, name: str, *, whole: bool = True) -> None:
        """What the page looks like, light and dark, wide and narrow; only when somebody asked for pictures. whole: beyond the window."""
        if PICTURES is None:
            return
        os.makedirs(PICTURES, exist_ok=True)
        for scheme in ("light", "dark"):
            for width, viewport in (("wide", WIDE), ("narrow", NARROW)):
                await _dress(page, scheme, viewport)
                await page.screenshot(path=f"{PICTURES}/{name}-{scheme}-{width}.png", full_page=whole)
        await _dress(page, "light", WIDE)

    async def check_accessible(self, page: Page) -> None:
        """Light and dark: nothing that axe calls serious or critical."""
        for scheme in ("light", "dark"):
            await _dress(page, scheme, WIDE)
            await page.evaluate(_axe())
            found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
            serious = [
                f"{one['id']}: {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:3])}"
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], f"{page.url} ({scheme})"
        await _dress(page, "light", WIDE)


async def _dress(page: Page, scheme: str, viewport: dict[str, int]) -> None:
    wanted: Literal["light", "dark"] = "dark" if scheme == "dark" else "light"
    await page.emulate_media(color_scheme=wanted)
    await page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})


def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text()
