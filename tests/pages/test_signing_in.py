"""Signing in and out, one's own page, the choice of an account."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Page

from gridhook.model import LinkPurpose, Membership, Person, Role, Session
from gridhook.telemetry import Log
from gridhook.web.pages.signing_in import ours
from tests.pages.stage import Stage
from tests.web.world import HANG_GUARD_SECONDS, Answer, World, running

GOOD = "seven green bicycles"
FORM = "application/x-www-form-urlencoded"
NOT_TOGETHER = "This address and password do not belong together"


async def a_person(world: World, email: str = "ada@example.com", *, role: Role = Role.ADMIN, password: str | None = GOOD) -> Person:
    person = await world.gridhook.service.people.add(email, membership=Membership(world.ours.account_id, role))
    if password is not None:
        token = await world.gridhook.service.people.new_link(person, LinkPurpose.PASSWORD, seconds=60)
        await world.gridhook.service.door.set_password(token, password, "")
    return person


async def sign_in(page: Page, email: str, password: str) -> None:
    """On the page with the form."""
    await page.get_by_label("Email").fill(email)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def forgive(stage: Stage, status: str) -> None:
    """The browser's own line about an answer that was to be refused; it comes when it comes."""
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        while (line := next((one for one in stage.troubles if f"status of {status}" in one), None)) is None:
            await asyncio.sleep(0.01)
    stage.troubles.remove(line)


# --- in a browser


async def test_a_link_sets_a_password_once_and_signs_in_without_any_script(stage: Stage) -> None:
    people = stage.world.gridhook.service.people
    person = await a_person(stage.world, password=None)
    link = f"{stage.world.base_url}/console/link/{await people.new_link(person, LinkPurpose.PASSWORD, seconds=60)}"
    page = await stage.visit(scripts=False)
    await page.goto(link)
    await page.goto(link)  # whoever only looks, a mail scanner as well, does not use it up
    await page.get_by_text("At least 12 characters").wait_for()
    for password, again, words in (
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "repeats itself"),
        (GOOD, GOOD + "!", "is not the same as above"),
    ):
        await page.get_by_label("New password").fill(password)
        await page.get_by_label("The same once more").fill(again)
        await page.get_by_role("button", name="Set the password and sign in").click()
        await page.get_by_text(words).wait_for()
        await forgive(stage, "422")
    await page.get_by_label("New password").fill(GOOD)
    await page.get_by_label("The same once more").fill(GOOD)
    await page.get_by_role("button", name="Set the password and sign in").click()
    await page.wait_for_url(f"{stage.base}**")
    await page.locator("summary").click()
    await page.get_by_role("button", name="Sign out").click()
    await sign_in(page, " Ada@Example.com", GOOD)
    await page.wait_for_url(f"{stage.base}**")

    other = await stage.visit()
    await other.goto(link)
    await other.get_by_role("heading", name="This link no longer works").wait_for()
    await forgive(stage, "404")
    await stage.check_accessible(other)
    await stage.picture(other, "link-over")


async def test_the_form_to_sign_in_and_the_one_to_set_a_password_can_be_read_by_everybody(stage: Stage) -> None:
    person = await a_person(stage.world, password=None)
    page = await stage.visit()
    await page.goto(f"{stage.world.base_url}/console/sign-in")
    await stage.check_accessible(page)
    await stage.picture(page, "sign-in")
    await sign_in(page, "ada@example.com", GOOD)
    await page.get_by_role("alert").get_by_text(NOT_TOGETHER).wait_for()
    assert await page.get_by_label("Email").input_value() == "ada@example.com"
    assert await page.get_by_label("Password").input_value() == ""
    await forgive(stage, "403")
    await stage.check_accessible(page)
    await stage.picture(page, "sign-in-wrong")
    token = await stage.world.gridhook.service.people.new_link(person, LinkPurpose.PASSWORD, seconds=60)
    await page.goto(f"{stage.world.base_url}/console/link/{token}")
    await stage.check_accessible(page)
    await stage.picture(page, "set-password")


async def test_who_was_signed_out_elsewhere_signs_in_again_and_comes_back_to_the_page_they_wanted(stage: Stage) -> None:
    person = await a_person(stage.world)
    page = await stage.sign_in()
    await page.goto(f"{stage.world.base_url}/console/me")  # a page that asks for nothing by itself
    await stage.world.gridhook.service.people.end_sessions(person.id)
    wanted = f"{stage.world.base_url}/console/accounts?q=north&page=1"
    await page.goto(wanted)
    await page.get_by_role("heading", name="Sign in").wait_for()
    await sign_in(page, "ada@example.com", "not the password")
    await forgive(stage, "403")
    await sign_in(page, "ada@example.com", GOOD)
    await page.wait_for_url(wanted)


async def test_a_person_sees_where_they_are_signed_in_ends_it_and_changes_their_password(stage: Stage) -> None:
    await a_person(stage.world)
    page = await stage.sign_in()
    others = [await stage.sign_in(user_agent=f"Mozilla/5.0 (X11; Linux) Firefox/{n} <script>alert(1)</script>") for n in (140, 141)]
    me = f"{stage.world.base_url}/console/me"
    await page.goto(me)
    assert await page.get_by_text("Firefox on Linux").count() == 2
    assert await page.get_by_text("This one").count() == 1
    await stage.check_accessible(page)
    await stage.picture(page, "me")
    await page.get_by_role("button", name="End the session of Firefox on Linux").first.click()
    await page.get_by_text("That session has ended").wait_for()
    assert await page.get_by_text("Firefox on Linux").count() == 1
    await others[1].goto(me)
    await others[1].get_by_role("heading", name="Sign in").wait_for()
    await page.get_by_role("button", name="Sign out everywhere else").wait_for()

    for old, new, words in ((GOOD + "?", "nine purple elephants", "is not your present password"), (GOOD, "short and old", "")):
        await page.get_by_label("Present password").fill(old)
        await page.get_by_label("New password", exact=True).fill(new)
        await page.get_by_label("The new one once more").fill(new)
        await page.get_by_role("button", name="Change the password").click()
        if words:
            await page.get_by_text(words).wait_for()
            await forgive(stage, "422")
    await page.get_by_text("Your password is changed. All your other sessions have ended.").wait_for()
    await others[0].goto(me)
    await others[0].get_by_role("heading", name="Sign in").wait_for()
    await page.reload()
    assert await page.get_by_text("Your password is changed").count() == 0


async def test_an_operator_finds_any_account_and_a_member_only_their_own(stage: Stage) -> None:
    world = stage.world
    await world.gridhook.service.create_account('<script>alert("x")</script>', account_id="hostile", enterprise=False)
    operator = await stage.sign_in("op@example.com", role=None, operator=True)
    await operator.wait_for_url("**/console/accounts")
    await operator.get_by_text("3 accounts").wait_for()
    await stage.check_accessible(operator)
    await stage.picture(operator, "accounts")
    await operator.get_by_label("Name or id").fill("CONT")
    await operator.get_by_role("button", name="Search").click()
    await operator.get_by_text("1 account;").wait_for()
    await operator.get_by_label("Name or id").fill('"><b>nothing')
    await operator.get_by_role("button", name="Search").click()
    await operator.get_by_role("heading", name="No such account").wait_for()

    await world.gridhook.service.people.add("ada@example.com", membership=Membership(world.theirs.account_id, Role.VIEWER))
    member = await stage.sign_in()
    await member.goto(f"{world.base_url}/console")
    assert await member.locator("tbody").get_by_role("link").all_inner_texts() == ["Contoso", "Northwind"]
    assert await member.locator("tbody").get_by_text("viewer").count() == 1
    await member.goto(f"{world.base_url}/console/a/hostile/webhooks")
    await member.get_by_role("heading", name="Not found").wait_for()
    await forgive(stage, "404")


async def test_an_account_without_webhooks_in_its_plan_is_told_kindly(stage: Stage) -> None:
    page = await stage.sign_in()
    await page.goto("about:blank")  # the overview would refresh itself, and be refused too
    await stage.world.gridhook.service.set_enterprise(stage.world.ours.account_id, False)
    await page.goto(f"{stage.base}/webhooks")
    await page.get_by_role("heading", name="Northwind has no webhooks yet").wait_for()
    await forgive(stage, "403")
    await stage.check_accessible(page)
    await stage.picture(page, "not-in-plan")
    await page.locator("summary").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="Sign in").wait_for()
    stranger = await stage.sign_in("new@example.com", role=None)
    await stranger.get_by_role("heading", name="You belong to no account yet").wait_for()


# --- what a browser would not send


class Browsing:
    """Plain HTTP with a jar for cookies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jar: dict[str, str] = {}

    async def get(self, path: str, *lines: str) -> Answer:
        more = "".join(f"{line}\r\n" for line in lines)
        return self._kept(await self.world.raw(self._head("GET", path) + f"{more}\r\n".encode()))

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        body = urlencode(fields).encode()
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"Content_Type": FORM, **headers}.items())
        return self._kept(await self.world.raw(self._head("POST", path) + f"{more}Content-Length: {len(body)}\r\n\r\n".encode() + body))

    async def sign_in(self, email: str = "ada@example.com", password: str = GOOD, **more: str) -> Answer:
        form = await self.get("/console/sign-in")
        return await self.post("/console/sign-in", {"csrf": token_in(form), "email": email, "password": password, **more})

    def _head(self, method: str, path: str) -> bytes:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        return f"{method} {path} HTTP/1.1\r\nHost: gridhook.test\r\nCookie: {cookies}\r\n".encode()

    def _kept(self, answer: Answer) -> Answer:
        for line in cookies_of(answer):
            name, _, value = line.partition(";")[0].partition("=")
            self.jar[name] = value
        return answer


def cookies_of(answer: Answer) -> list[str]:
    return [value for name, value in answer.all_headers if name == "set-cookie"]


def token_in(page: Answer) -> str:
    return page.body.decode().partition('name="csrf" value="')[2].partition('"')[0]


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path, quiet_log: Log) -> Any:
    async with running(tmp_path, quiet_log, public_url="", sign_ins_per_minute=4) as world:
        yield world


async def test_a_wrong_password_an_unknown_address_and_one_without_a_password_are_answered_alike(world: World) -> None:
    await a_person(world)
    await a_person(world, "none@example.com", password=None)
    answers = [
        await Browsing(world).sign_in(email, password)
        for email, password in (("ada@example.com", "wrong wrong wrong"), ("none@example.com", GOOD), ("xyz@example.com", GOOD), ("!", ""))
    ]
    assert {answer.status for answer in answers} == {403}
    assert all(NOT_TOGETHER in answer.body.decode() for answer in answers)
    assert len({answer.body.partition(b'name="email"')[0].partition(b'value="')[0] for answer in answers}) == 1
    assert all("gridhook=" not in line for answer in answers for line in cookies_of(answer))


async def test_guessing_is_slowed_down_and_a_browser_known_to_the_person_gets_in_meanwhile(world: World) -> None:
    await a_person(world)
    known = Browsing(world)
    assert (await known.sign_in()).status == 303
    attacker = Browsing(world)
    assert [(await attacker.sign_in(password="wrong wrong wrong")).status for _ in range(4)] == [403, 403, 403, 429]
    slowed = await attacker.sign_in()
    assert slowed.status == 429
    assert 1 <= int(slowed.headers["retry-after"]) <= 60
    assert b"Too many attempts; try again in" in slowed.body
    del known.jar["gridhook"]  # its session is over
    assert (await known.sign_in()).status == 303


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": "another's"}, {}),
        ({"csrf": "own"}, {"Sec_Fetch_Site": "cross-site"}),
        ({"csrf": "own"}, {"Sec_Fetch_Site": "same-site"}),
        ({"csrf": "own"}, {"Origin": "https://evil.example"}),
        ({"csrf": "own"}, {"Origin": "null"}),
    ],
    ids=["no token", "empty token", "made up", "of another browser", "another site", "a sister site", "another origin", "a sandbox"],
)
async def test_a_form_that_another_site_sends_does_nothing(world: World, fields: dict[str, str], headers: dict[str, str]) -> None:
    await a_person(world)
    ada = Browsing(world)
    await ada.sign_in()
    other = Browsing(world)
    await a_person(world, "eve@example.com")
    await other.sign_in("eve@example.com")
    for path, more in (
        ("/console/sign-out", {}),
        ("/console/me/end", {"session": "others"}),
        ("/console/me/password", {"old": GOOD, "password": "eleven yellow spoons", "again": "eleven yellow spoons"}),
    ):
        known = {"own": token_in(await ada.get("/console/me")), "another's": token_in(await other.get("/console/me"))}
        sent = {name: known.get(value, value) for name, value in fields.items()}
        assert (await ada.post(path, {**sent, **more}, **headers)).status == 403, path
    assert (await ada.get("/console/me")).status == 200
    # Nor does it sign a visitor in, as somebody else.
    visitor, elsewhere = Browsing(world), Browsing(world)
    known = {"own": token_in(await visitor.get("/console/sign-in")), "another's": token_in(await elsewhere.get("/console/sign-in"))}
    sent = {name: known.get(value, value) for name, value in fields.items()}
    answer = await visitor.post("/console/sign-in", {**sent, "email": "eve@example.com", "password": GOOD}, **headers)
    assert answer.status == 403
    assert "gridhook" not in visitor.jar


async def test_signing_in_starts_a_new_session_whatever_the_browser_carried_before(world: World) -> None:
    await a_person(world)
    browser = Browsing(world)
    browser.jar["gridhook"] = planted = "x" * 43
    await browser.sign_in()
    first = browser.jar["gridhook"]
    assert first != planted
    form = await browser.get("/console/sign-in")
    assert form.status == 303  # signed in already
    door = {name: value for name, value in browser.jar.items() if name != "gridhook"}
    again = Browsing(world)
    again.jar = dict(door)
    page = await again.get("/console/sign-in")
    again.jar["gridhook"] = first
    await again.post("/console/sign-in", {"csrf": token_in(page), "email": "ada@example.com", "password": GOOD})
    assert again.jar["gridhook"] not in (first, planted)
    for old in (first, planted):
        browser.jar["gridhook"] = old
        assert (await browser.get("/console/me")).status == 303
    assert (await again.get("/console/me")).status == 200


async def test_a_link_that_signs_in_works_once_and_a_mail_scanner_that_opens_it_does_not_use_it_up(world: World) -> None:
    people = world.gridhook.service.people
    path = f"/console/link/{await people.new_link(await a_person(world), LinkPurpose.SIGN_IN, seconds=60)}"
    scanner = Browsing(world)
    assert (await world.send("HEAD", path)).status == 200
    assert (await world.send("GET", path, Sec_Purpose="prefetch;prerender")).status == 200
    assert (await scanner.get(path)).status == 200
    assert (await scanner.get("/console/me")).status == 303  # it is nobody
    browser = Browsing(world)
    page = await browser.get(path)
    assert page.body.count(b"<button") == 1
    assert (await browser.post(path, {"csrf": token_in(page)})).status == 303
    assert (await browser.get("/console/me")).status == 200
    again = await Browsing(world).get(path)
    assert again.status == 404
    assert b"This link no longer works" in again.body
    assert cookies_of(again) == []


async def test_a_viewer_changes_nothing_and_whoever_is_taken_out_sees_nothing_at_their_next_request(world: World) -> None:
    people = world.gridhook.service.people
    person = await a_person(world, role=Role.VIEWER)
    browser = Browsing(world)
    await browser.sign_in()
    webhooks = f"/console/a/{world.ours.account_id}/webhooks"
    assert (await browser.get(webhooks)).status == 200
    assert (await browser.get(f"/console/a/{world.theirs.account_id}/webhooks")).status == 404
    await people.remove(person.email, world.ours.account_id)
    assert (await browser.get(webhooks)).status == 404
    assert (await browser.get("/console/me")).status == 200
    await people.remove(person.email)
    assert (await browser.get("/console/me")).headers["location"] == "/console/sign-in?next=/console/me"


async def test_the_log_tells_who_came_and_went_and_holds_nothing_that_opens_a_door(tmp_path: Path) -> None:
    written = io.BytesIO()
    async with running(tmp_path, Log(written), public_url="") as world:
        person = await a_person(world, password=None)
        token = await world.gridhook.service.people.new_link(person, LinkPurpose.PASSWORD, seconds=60)
        browser = Browsing(world)
        form = token_in(await browser.get(f"/console/link/{token}"))
        await browser.post(f"/console/link/{token}", {"csrf": form, "password": GOOD, "again": GOOD})
        session = browser.jar["gridhook"]
        await browser.post("/console/sign-out", {"csrf": token_in(await browser.get("/console/me"))})
        await browser.sign_in(password="wrong wrong wrong")
        await browser.sign_in("my password, in the wrong field", "x")
        await browser.sign_in()
    lines = [json.loads(line) for line in written.getvalue().decode().splitlines()]
    told = [(line["msg"], line["person"]) for line in lines if "person" in line]
    ada = "ada@example.com"
    assert told == [
        ("password set", ada),
        ("signed in", ada),
        ("signed out", ada),
        ("sign-in failed", ada),
        ("sign-in failed", "(unknown)"),
        ("signed in", ada),
    ]
    assert [line["how"] for line in lines if line["msg"] == "signed in"] == ["link", "password"]
    for secret in (GOOD, "wrong wrong", "wrong field", token, session, browser.jar["gridhook"]):
        assert secret not in written.getvalue().decode()


@pytest.mark.parametrize(
    ("public_url", "prefix", "secure"), [("https://hooks.example.com", "__Host-", True), ("http://hooks.example.com", "", False)]
)
async def test_cookies_are_for_this_host_alone_and_out_of_scripts_reach(
    tmp_path: Path, quiet_log: Log, public_url: str, prefix: str, secure: bool
) -> None:
    async with running(tmp_path, quiet_log, public_url=public_url) as world:
        await a_person(world)
        browser = Browsing(world)
        lines = [*cookies_of(await browser.get("/console/sign-in")), *cookies_of(await browser.sign_in())]
        assert {line.partition("=")[0] for line in lines} == {f"{prefix}gridhook{end}" for end in ("", "-door", "-browser")}
        for line in lines:
            parts = line.split("; ")
            assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(parts)
            assert ("Secure" in parts) is secure
            assert not any(part.startswith("Domain") for part in parts)
        session = next(line for line in lines if line.startswith(f"{prefix}gridhook="))
        assert f"Max-Age={12 * 3600}" in session
        me = await browser.get("/console/me")
        assert me.status == 200
        form = token_in(me)
        out = cookies_of(await browser.post("/console/sign-out", {"csrf": form}))
        assert out[0].startswith(f"{prefix}gridhook=; Path=/; Max-Age=0")
        assert (await browser.post("/console/sign-out", {"csrf": form})).status == 303


@pytest.mark.parametrize("wanted", ["/console", "/console/me", "/console/a/acc_1/webhooks?page=2&q=a%20b", "/console?x=1"])
def test_after_signing_in_one_comes_to_the_page_of_ours_that_was_wanted(wanted: str):
    assert ours(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "https://evil.example/console",
        "//evil.example/console",
        "/\\evil.example",
        "/console\\..\\..//evil.example",
        "/console//evil.example",
        "/console/%2f%2fevil.example",
        "/console/%5cevil.example",
        "/console/../../evil",
        "/console/%2e%2e/evil",
        "/console.evil.example",
        "/console@evil.example",
        "/console/a\r\nSet-Cookie: x=y",
        "/console/a b",
        "/console/\N{FULLWIDTH SOLIDUS}evil",
        "javascript:alert(1)",
        "/v1/console/webhooks",
        "/console/link/xyz",
        "/console/sign-out",
        "/console/oidc",
    ],
)
def test_and_nowhere_else(wanted: str | None):
    assert ours(wanted) == "/console"


async def test_a_page_that_is_left_open_does_not_prolong_a_session(world: World) -> None:
    people, store = world.gridhook.service.people, world.gridhook.service.store
    person = await a_person(world, password=None)
    began = store.clock.now() - 600_000
    token = "a page that was opened ten minutes ago"
    digest = hashlib.sha256(token.encode()).digest()
    await store.add_session(Session(digest, person.id, "", began, began, began + 3_600_000), now=began)
    here = f"/console/a/{world.ours.account_id}"

    async def seen_at(by_itself: str) -> int:
        answer = await world.send("GET", f"{here}/webhooks", Cookie=f"gridhook={token}", HX_Request=by_itself)
        assert answer.status == 200
        (session,) = await people.sessions(person.id)
        return session.seen_at

    assert await seen_at("true") == began
    assert await seen_at("false") > began


async def test_of_two_who_use_a_link_at_the_same_time_one_gets_in(world: World) -> None:
    people = world.gridhook.service.people
    person = await a_person(world, password=None)
    browsers = [Browsing(world) for _ in range(4)]
    path = f"/console/link/{await people.new_link(person, LinkPurpose.SIGN_IN, seconds=60)}"
    tokens = [token_in(await one.get(path)) for one in browsers]
    entered = await asyncio.gather(*(one.post(path, {"csrf": token}) for one, token in zip(browsers, tokens, strict=True)))
    assert sorted(one.status for one in entered) == [303, 404, 404, 404]
    path = f"/console/link/{await people.new_link(person, LinkPurpose.PASSWORD, seconds=60)}"
    forms = [{"csrf": token_in(await one.get(path)), "password": f"{GOOD} {turn}"} for turn, one in enumerate(browsers)]
    answers = await asyncio.gather(
        *(one.post(path, {**sent, "again": sent["password"]}) for one, sent in zip(browsers, forms, strict=True))
    )
    assert sorted(one.status for one in answers) == [303, 404, 404, 404]
    (winner,) = [turn for turn, one in enumerate(answers) if one.status == 303]
    assert (await browsers[winner].get("/console/me")).status == 200
    assert len(await people.sessions(person.id)) == 1
    assert (await Browsing(world).sign_in(password=f"{GOOD} {winner}")).status == 303


async def test_a_link_on_another_site_signs_nobody_in_who_did_not_see_as_whom(world: World) -> None:
    people = world.gridhook.service.people
    await a_person(world)
    ada = Browsing(world)
    await ada.sign_in()
    eve = await a_person(world, "eve@example.com", password=None)
    path = f"/console/link/{await people.new_link(eve, LinkPurpose.SIGN_IN, seconds=60)}"
    page = await ada.get(path, "Sec-Fetch-Site: cross-site")
    assert page.status == 200
    assert b"signs you in as <strong>eve@example.com</strong>" in page.body
    assert b"ada@example.com" in (await ada.get("/console/me")).body
    assert (await ada.post(path, {"csrf": "0" * 64})).status == 403
    assert (await ada.post(path, {"csrf": token_in(page)}, Sec_Fetch_Site="cross-site")).status == 403
    assert (await ada.post(path, {"csrf": token_in(page)}, Sec_Fetch_Site="same-origin")).status == 303
    assert b"eve@example.com" in (await ada.get("/console/me")).body
    assert (await ada.post(path, {"csrf": token_in(page)})).status == 404


async def test_after_signing_in_one_comes_to_an_event_whose_id_holds_a_slash(world: World) -> None:
    await a_person(world)
    wanted = f"/console/a/{world.ours.account_id}/events/2026%2F11%2Fa?x=%2F"
    browser = Browsing(world)
    sent = await browser.get(wanted)
    form = await browser.get(sent.headers["location"])
    kept = unescape(form.body.decode().partition('name="next" value="')[2].partition('"')[0])
    assert (await browser.sign_in(next=kept)).headers["location"] == wanted


async def test_a_private_key_is_shown_once_to_the_session_that_made_it_and_only_to_eyes(world: World) -> None:
    await a_person(world)
    ada, elsewhere = Browsing(world), Browsing(world)
    await ada.sign_in()
    await elsewhere.sign_in()
    new = f"/console/a/{world.ours.account_id}/webhooks/new"
    fields = {"name": "Doors", "url": "http://127.0.0.1:18009/h", "subscribed_events": "ag.account_balance.low"}
    made = await ada.post(new, {"csrf": token_in(await ada.get(new)), **fields})
    assert (made.status, made.body) == (303, b"")
    there = made.headers["location"]

    def shows_it(page: Answer) -> bool:
        assert page.status == 200
        assert page.headers["cache-control"] == "no-store"
        return b'class="secret"' in page.body

    assert not shows_it(await elsewhere.get(there))
    assert (await world.send("HEAD", there, Cookie=f"gridhook={ada.jar['gridhook']}")).status == 200
    assert not shows_it(await ada.get(there, "Sec-Purpose: prefetch;prerender"))
    assert shows_it(await ada.get(there))
    assert not shows_it(await ada.get(there))
