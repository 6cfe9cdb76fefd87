"""Signing in and out: with a password, by a link, at an OpenID Connect provider (single_sign_on.py)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from gridhook.errors import Invalid, NotFound, TooMany, Unauthenticated
from gridhook.model import LinkPurpose
from gridhook.service.door import KNOWN_BROWSER_DAYS, Entered, NotLetIn
from gridhook.service.passwords import RULES
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import forms
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Headers, Reply
from gridhook.web.routes import Route

SIGN_IN = f"{ROOT}/sign-in"
# A page of ours and nothing that a browser could read as another host: no backslash, no control character, no second slash in front.
_OURS = re.compile(rf"{ROOT}(?:[/?][!-\[\]-~]*)?", re.ASCII)
_NOT_AFTER = (f"{ROOT}/sign-", f"{ROOT}/link/", f"{ROOT}/oidc")


class SigningIn:
    def __init__(self, front: Front, provider: str | None) -> None:
        """provider: the host of the OpenID Connect provider, when there is one."""
        self._front = front
        self._provider = provider

    @page("openConsole", "The console's door: to the account's overview, or to a choice")
    async def door(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        if len(visitor.memberships) == 1 and not visitor.is_operator:
            return self._front.go(f"{ROOT}/a/{visitor.memberships[0].account_id}")
        return self._front.go(f"{ROOT}/accounts")

    # --- with a password ---

    @page("askSignIn", "The form to sign in")
    async def ask(self, call: Call) -> Reply:
        if self._front.token(call) and await is_signed_in(self._front, call):
            return self._front.go(ours(call.argument("next")))
        return self._form(call, next=ours(call.argument("next")), unsaved=call.argument("unsaved") == "1")

    @page("signIn", "Sign in with a password")
    async def sign_in(self, call: Call) -> Reply:
        csrf, _ = self._front.stranger(call)
        form = await forms.read_form(call, csrf)
        after, email = ours(form.raw("next")), form.text("email")
        again: dict[str, Any] = {"next": after, "email": email}
        browser = self._front.kept(call, self._front.browser_cookie)
        try:
            entered = await self._front.service.door.sign_in(email, form.raw("password"), agent_of(call), browser)
        except NotLetIn as refusal:
            # An address that nobody has may be a password in the wrong field.
            person = refusal.person.email if refusal.person else "(unknown)"
            self._front.service.log.warning("sign-in failed", person=person, request=call.request_id)
            return self._form(call, status=403, errors={"": forms.sentence(str(refusal))}, **again)
        except TooMany as refusal:
            self._front.service.log.warning("sign-in refused: too many attempts", request=call.request_id)
            headers = [(b"retry-after", b"%d" % refusal.retry_after)]
            return self._form(call, status=429, headers=headers, errors={"": forms.sentence(str(refusal))}, **again)
        return await let_in(self._front, call, entered, "password", after)

    def _form(self, call: Call, *, status: int = 200, headers: Headers | None = None, **context: Any) -> Reply:
        csrf, door = self._front.stranger(call)
        return self._front.page(
            "sign_in.html",
            status=status,
            headers=[*door, *(headers or [])],
            csrf=csrf,
            provider=self._provider,
            **{"email": "", "next": ROOT, "unsaved": False, **context},
        )

    # --- by a link ---

    @page("followLink", "A one-time link: to set a password, or to sign in")
    async def link(self, call: Call) -> Reply:
        token = call.params["token"]
        try:
            purpose, person = await self._front.service.people.link(token)
            if purpose is LinkPurpose.PASSWORD:
                return self._password(call, person.email)
        except NotFound:
            return self._over()
        # To look does not use it up: mail scanners and previews open what is in a mail before its reader does. And whom somebody
        # else led here, to be signed in as them, sees as whom.
        csrf, door = self._front.stranger(call)
        return self._front.page("link_enter.html", headers=door, csrf=csrf, email=person.email, path=call.path)

    @page("useLink", "Set a password, or sign in, by a one-time link")
    async def use_link(self, call: Call) -> Reply:
        csrf, _ = self._front.stranger(call)
        form = await forms.read_form(call, csrf)
        token, password = call.params["token"], form.raw("password")
        try:
            purpose, person = await self._front.service.people.link(token)
            if purpose is LinkPurpose.SIGN_IN:
                person = await self._front.service.people.use_link(token, LinkPurpose.SIGN_IN)
                return await let_in(self._front, call, await self._front.service.door.enter(person, agent_of(call)), "link", ROOT)
            try:
                if password != form.raw("again"):
                    raise Invalid("again", "is not the same as above")
                entered = await self._front.service.door.set_password(token, password, agent_of(call))
            except Invalid as refusal:
                return self._password(call, person.email, status=422, errors={refusal.field: refusal.message})
        except NotFound:
            return self._over()
        self._front.service.log.info("password set", person=person.email, request=call.request_id)
        return await let_in(self._front, call, entered, "link", ROOT)

    def _password(self, call: Call, email: str, *, status: int = 200, errors: dict[str, str] | None = None) -> Reply:
        csrf, door = self._front.stranger(call)
        return self._front.page(
            "set_password.html", status=status, headers=door, csrf=csrf, email=email, rules=RULES, errors=errors or {}, path=call.path
        )

    def _over(self) -> Reply:
        return self._front.page("link_over.html", status=404, hours=self._front.settings.link_hours)

    # --- out ---

    @page("signOut", "Sign out")
    async def sign_out(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        await forms.read_form(call, visitor.csrf)
        await self._front.service.people.sign_out(visitor)
        self._front.service.log.info("signed out", person=visitor.email, request=call.request_id)
        return self._front.go(SIGN_IN, [self._front.signed_out()])


async def let_in(front: Front, call: Call, entered: Entered, how: str, after: str) -> Reply:
    """On to a page, signed in. The session is a new one: whatever this browser carried before is over."""
    await front.service.people.end(front.token(call))
    front.service.log.info("signed in", person=entered.person.email, how=how, request=call.request_id)
    known = front.keep(front.browser_cookie, entered.browser, KNOWN_BROWSER_DAYS * 86_400)
    return front.go(after, [front.signed_in(entered.token), known])


async def is_signed_in(front: Front, call: Call) -> bool:
    try:
        await front.visitor(call)
    except Unauthenticated:
        return False
    return True


def agent_of(call: Call) -> str:
    return call.header(b"user-agent") or ""


def ours(wanted: str | None) -> str:
    """Where to go after signing in: a page of ours, whatever was asked for."""
    if wanted is None or not _OURS.fullmatch(wanted) or wanted.startswith(_NOT_AFTER):
        return ROOT
    path = unquote(wanted.partition("?")[0])
    return ROOT if "\\" in path or "//" in path or ".." in path.split("/") else wanted


def routes(front: Front, provider: str | None) -> list[Route]:
    pages = SigningIn(front, provider)
    return [
        Route(ROOT, {"GET": pages.door}),
        Route(SIGN_IN, {"GET": pages.ask, "POST": pages.sign_in}),
        Route(ROOT + "/link/{token}", {"GET": pages.link, "POST": pages.use_link}),
        Route(ROOT + "/sign-out", {"POST": pages.sign_out}),
    ]
