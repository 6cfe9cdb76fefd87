"""Signing in at the organisation's own OpenID Connect provider: a real one, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from gridhook.model import Membership, Role
from gridhook.telemetry import Log
from tests.cli.world import fetch, free_port, wait_until
from tests.pages.stage import Stage
from tests.pages.test_signing_in import forgive
from tests.web.world import running

SECRET = "shared with the provider, and long enough"
PROVIDER = Path(__file__).with_name("provider.py")


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, str(PROVIDER), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None
        try:
            return fetch(f"{url}/last")[0] == 200
        except OSError:
            return False

    try:
        wait_until(answers)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, quiet_log: Log, browser: Browser, issuer: str) -> AsyncIterator[Stage]:
    """A gridhook whose people sign in there. The port is chosen before: the provider must know where to send them back."""
    listen = f"127.0.0.1:{free_port()}"
    oidc: dict[str, Any] = {"oidc_issuer": issuer, "oidc_client_id": "gridhook", "oidc_client_secret": SECRET}
    async with running(tmp_path, quiet_log, listen=listen, public_url=f"http://{listen}", **oidc) as world:
        stage = Stage(world, browser)
        try:
            yield stage
        finally:
            for context in stage.contexts:
                await context.close()
        assert stage.troubles == []


def tell(issuer: str, sub: str, **claims: object) -> None:
    """The provider learns who somebody is."""
    request = urllib.request.Request(
        f"{issuer}/users/{sub}", json.dumps(claims).encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status < 300


async def at_provider(stage: Stage, sub: str, wanted: str) -> Page:
    """A stranger asks for a page of ours, chooses the provider, and says there who they are."""
    page = await stage.visit()
    await page.goto(stage.world.base_url + wanted)
    await page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    await page.get_by_role("textbox", name="sub").fill(sub)
    await page.get_by_role("button", name="Authorize").click()
    await page.wait_for_url(f"{stage.world.base_url}/**")
    return page


async def test_whoever_the_provider_vouches_for_is_let_in_to_the_page_they_wanted(stage: Stage, issuer: str) -> None:
    await asyncio.to_thread(tell, issuer, "u-1", email="Ada@Example.com", email_verified=True)
    await stage.world.gridhook.service.people.add("ada@example.com", membership=Membership(stage.world.ours.account_id, Role.VIEWER))
    page = await at_provider(stage, "u-1", "/console/accounts?q=north")
    assert page.url == f"{stage.world.base_url}/console/accounts?q=north"
    await page.get_by_role("link", name="Northwind").wait_for()
    asked = json.loads((await asyncio.to_thread(fetch, f"{issuer}/last"))[1])
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid email"
    assert {"state", "nonce"} <= set(asked)
    # What it was sent away with is used up.
    assert [one["name"] for one in await page.context.cookies() if one["name"].endswith("-oidc")] == []


@pytest.mark.parametrize(
    ("sub", "claims", "words"),
    [
        ("u-2", {"email": "stranger@example.com", "email_verified": True}, "Nobody here has the address stranger@example.com"),
        ("u-3", {"email": "ada@example.com", "email_verified": False}, "has not verified that ada@example.com is yours"),
        ("u-4", {"email": "ada@example.com"}, "has not verified that ada@example.com is yours"),
        ("u-5", {}, "did not tell your email address"),
    ],
    ids=["unknown here", "not verified", "not said to be verified", "no address"],
)
async def test_nobody_else_is_let_in_and_each_is_told_why(
    stage: Stage, issuer: str, sub: str, claims: dict[str, object], words: str
) -> None:
    await stage.world.gridhook.service.people.add("ada@example.com", membership=Membership(stage.world.ours.account_id, Role.ADMIN))
    await asyncio.to_thread(tell, issuer, sub, **claims)
    page = await at_provider(stage, sub, "/console/sign-in")
    await page.get_by_text(words).wait_for()
    await forgive(stage, "403")
    assert (await page.request.get(f"{stage.base}/webhooks", max_redirects=0)).status == 303
    assert [person.email for person in await stage.world.gridhook.store.people()] == ["ada@example.com"]
    if sub == "u-2":
        await stage.check_accessible(page)
        await stage.picture(page, "sign-on-refused")


async def test_who_denies_it_at_the_provider_comes_back_to_a_page_that_says_so(stage: Stage) -> None:
    page = await stage.visit()
    await page.goto(stage.world.base_url + "/console/sign-in")
    await stage.picture(page, "sign-in-with-provider")
    await page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    await page.get_by_role("button", name="Deny").click()
    await page.get_by_text("127.0.0.1 did not let you in (access_denied)").wait_for()
    await forgive(stage, "403")


async def test_an_answer_that_this_browser_did_not_ask_for_signs_nobody_in(stage: Stage, issuer: str) -> None:
    await asyncio.to_thread(tell, issuer, "u-6", email="mallory@example.com", email_verified=True)
    await stage.world.gridhook.service.people.add("mallory@example.com", membership=Membership(stage.world.theirs.account_id, Role.ADMIN))
    begun = await stage.world.send("GET", "/console/oidc")
    kept = begun.headers["set-cookie"].partition(";")[0]
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    with_code = await asyncio.to_thread(authorize, begun.headers["location"], "u-6")
    code = parse_qs(urlsplit(with_code).query)["code"][0]
    state = asked["state"][0]
    # Another browser, which was lured here: it keeps nothing, or what belongs to another sign-in.
    other = (await stage.world.send("GET", "/console/oidc")).headers["set-cookie"].partition(";")[0]
    for cookie in ("", other, kept[:-4] + "AAAA"):
        answer = await stage.world.send("GET", f"/console/oidc/back?code={code}&state={state}", Cookie=cookie)
        assert answer.status == 403
        assert b"was not begun in this browser" in answer.body
    mixed_up = await stage.world.send("GET", f"/console/oidc/back?code={code}&state={state}&iss=https://evil.example", Cookie=kept)
    assert mixed_up.status == 403
    # The right browser gets in, once.
    assert (await stage.world.send("GET", f"/console/oidc/back?code={code}&state={state}", Cookie=kept)).status == 303
    again = await stage.world.send("GET", f"/console/oidc/back?code={code}&state={state}", Cookie=kept)
    assert again.status == 403


@pytest.mark.parametrize("kind", ["nothing", "audience", "nonce", "no-nonce", "issuer", "old", "key", "secret", "unsigned"])
async def test_an_id_token_that_the_provider_did_not_make_for_this_sign_in_opens_nothing(stage: Stage, issuer: str, kind: str) -> None:
    await asyncio.to_thread(tell, issuer, "u-7", email="ada@example.com", email_verified=True)
    await stage.world.gridhook.service.people.add("ada@example.com", operator=True)
    begun = await stage.world.send("GET", "/console/oidc")
    back = urlsplit(await asyncio.to_thread(authorize, begun.headers["location"], "u-7"))
    await asyncio.to_thread(fetch, f"{issuer}/forge/{kind}")
    answer = await stage.world.send("GET", f"{back.path}?{back.query}", Cookie=begun.headers["set-cookie"].partition(";")[0])
    if kind == "nothing":
        assert answer.status == 303
        return
    assert answer.status == 503
    assert "set-cookie" not in answer.headers
    assert b"could not be asked just now" in answer.body


async def test_a_provider_that_does_not_answer_leaves_the_password(tmp_path: Path, quiet_log: Log) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    async with running(tmp_path, quiet_log, oidc_issuer=gone, oidc_client_id="gridhook") as world:
        answer = await world.send("GET", "/console/oidc?next=/console/me")
        assert answer.status == 503
        assert b"could not be asked just now; try again, or sign in with your password" in answer.body
        assert (await world.send("GET", "/console/sign-in")).status == 200


def authorize(url: str, sub: str) -> str:
    """Where the provider sends somebody who says who they are."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())
    with pytest.raises(urllib.error.HTTPError) as redirected:
        opener.open(urllib.request.Request(url, f"sub={sub}".encode()), timeout=30)
    with redirected.value:
        return str(redirected.value.headers["location"])
