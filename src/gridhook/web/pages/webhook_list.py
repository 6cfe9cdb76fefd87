"""The list of an account's webhooks: how each stands, and how it has been doing."""

from __future__ import annotations

from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import WEBHOOKS
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

PAGE = 50


class WebhookList:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeWebhooks", "The list of webhooks")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        number = call.integer("page", 1, 1, 1000)
        found = await self._front.service.store.webhooks(view.account.id, offset=(number - 1) * PAGE, limit=PAGE)
        listed = await self._front.service.webhooks.listed(view.account.id, found.webhooks)
        return await self._front.show(view, "webhooks.html", listed=listed, total=found.total)


def routes(front: Front) -> list[Route]:
    pages = WebhookList(front)
    return [Route(WEBHOOKS, {"GET": pages.index})]
