"""Deleting a webhook: what is lost with it is said first, and its name is asked for."""

from __future__ import annotations

import unicodedata

from gridhook.errors import Forbidden, Stale
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.settings import SETTINGS, address, detail_of
from gridhook.web.pages.views import WEBHOOKS, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route


class Deleting:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeDeletion", "What is lost when a webhook is deleted")
    async def ask(self, call: Call) -> Reply:
        view = await self._front.view(call)
        if not view.may_change:
            raise Forbidden("you may look at this account, and change nothing; ask one of its admins")
        return await self._asked(view, call)

    @page("deleteWebhook", "Delete a webhook")
    async def delete(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        typed = form.text("name")
        if _plain(typed) != _plain(webhook.name):
            words = "This is not the webhook's name: nothing was deleted." if typed else "Type the webhook's name: nothing was deleted."
            return await self._asked(view, call, {"name": words}, typed, 422)
        try:
            revision = int(form.number("revision") or 0)
            await self._front.service.webhooks.delete(view.account.id, webhook.id, revision=revision)
        except Stale:
            words = "This webhook was changed while you were reading; nothing was deleted. Look at it again, then decide."
            return await self._asked(view, call, {"": words}, "", 412)
        self._front.note(view, "deleted a webhook", webhook=webhook.id, name=webhook.name)
        there = WEBHOOKS.format(account_id=view.account.id)
        return await self._front.done(view, there, notice=f"Deleted: {webhook.name}. Nothing more is sent to {webhook.url}")

    async def _asked(self, view: View, call: Call, errors: dict[str, str] | None = None, typed: str = "", status: int = 200) -> Reply:
        found = await detail_of(self._front, view, call)
        return await self._front.show(
            view,
            "settings_delete.html",
            status=status,
            errors=errors or {},
            webhook=found.webhook,
            here=address(view, found.webhook.id),
            counts=found.counts,
            typed=typed,
        )


def _plain(name: str) -> str:
    """As it can be typed: what looks alike on the page counts as alike."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def routes(front: Front) -> list[Route]:
    pages = Deleting(front)
    return [Route(SETTINGS + "/delete", {"GET": pages.ask, "POST": pages.delete})]
