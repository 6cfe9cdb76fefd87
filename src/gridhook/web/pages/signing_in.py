"""Signing in and out."""

from __future__ import annotations

from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import forms
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Reply
from gridhook.web.routes import Route


class SigningIn:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("openConsole", "The console's door: to the account's overview, or to a choice")
    async def door(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        if len(visitor.memberships) == 1 and not visitor.is_operator:
            return self._front.go(f"{ROOT}/a/{visitor.memberships[0].account_id}/webhooks")
        return self._front.go(f"{ROOT}/accounts")

    @page("followLink", "A one-time link")
    async def link(self, call: Call) -> Reply:
        token = await self._front.service.people.sign_in_by_link(call.params["token"], call.header(b"user-agent") or "")
        return self._front.go(ROOT, [self._front.signed_in(token)])

    @page("signOut", "Sign out")
    async def sign_out(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        await forms.read_form(call, visitor.csrf)
        await self._front.service.people.sign_out(visitor)
        return self._front.go(f"{ROOT}/sign-in", [self._front.signed_out()])


def routes(front: Front) -> list[Route]:
    pages = SigningIn(front)
    return [
        Route(ROOT, {"GET": pages.door}),
        Route(ROOT + "/link/{token}", {"GET": pages.link}),
        Route(ROOT + "/sign-out", {"POST": pages.sign_out}),
    ]
