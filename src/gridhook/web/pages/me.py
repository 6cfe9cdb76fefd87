"""A person's own page: where they are signed in, and their password."""

from __future__ import annotations

from typing import Any

from gridhook.errors import Invalid
from gridhook.service.passwords import RULES
from gridhook.service.people import Visitor
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import forms
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

ME = f"{ROOT}/me"

# The first that is in a browser's name for itself. Most claim to be several others, which therefore come later.
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"))
_SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))


class Me:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeMe", "One's own sessions and password")
    async def index(self, call: Call) -> Reply:
        return await self._show(await self._front.visitor(call))

    @page("endSession", "End one of one's own sessions, or all others")
    async def end(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        form = await forms.read_form(call, visitor.csrf)
        people, person_id = self._front.service.people, visitor.session.person_id
        if form.text("session") == "others":
            count = await people.end_sessions(person_id, but=visitor.session.digest)
            notice = f"Signed out everywhere else: {count} {'session' if count == 1 else 'sessions'} ended."
        else:
            try:
                await people.end_session(person_id, bytes.fromhex(form.text("session")))
            except ValueError:
                raise Invalid("session", "is none of yours") from None
            notice = "That session has ended."
        self._front.service.log.info("sessions ended", person=visitor.email, request=call.request_id)
        return await self._front.done(visitor, ME, notice=notice)

    @page("changePassword", "Change one's own password")
    async def change_password(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        form = await forms.read_form(call, visitor.csrf)
        try:
            if form.raw("password") != form.raw("again"):
                raise Invalid("again", "is not the same as above")
            await self._front.service.door.change_password(visitor, form.raw("old"), form.raw("password"))
        except Invalid as refusal:
            return await self._show(visitor, status=422, errors={refusal.field: refusal.message})
        self._front.service.log.info("password set", person=visitor.email, request=call.request_id)
        return await self._front.done(visitor, ME, notice="Your password is changed. All your other sessions have ended.")

    async def _show(self, visitor: Visitor, *, status: int = 200, **context: Any) -> Reply:
        person = await self._front.service.people.known(visitor.email)
        sessions = await self._front.service.people.sessions(person.id)
        listed = [(one, browser_of(one.agent), one.digest == visitor.session.digest) for one in sessions]
        return await self._front.mine(visitor, ME, "me.html", status=status, person=person, sessions=listed, rules=RULES, **context)


def browser_of(agent: str) -> str:
    """`Firefox on Linux`; what a person recognises, not what is so."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Another browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    return f"{browser} on {system}" if system else browser


def routes(front: Front) -> list[Route]:
    pages = Me(front)
    return [
        Route(ME, {"GET": pages.index}),
        Route(ME + "/end", {"POST": pages.end}),
        Route(ME + "/password", {"POST": pages.change_password}),
    ]
