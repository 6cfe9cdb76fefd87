"""Where an open page hears that something changed."""

from __future__ import annotations

from gridhook.errors import NotFound
from gridhook.web.call import Call, is_id
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.streams import Streams
from gridhook.web.pages.views import BASE
from gridhook.web.problems import NO_SNIFF, NO_STORE, Reply
from gridhook.web.routes import Route

# The second: nginx must not collect what it passes on.
_HEADERS = [(b"content-type", b"text/event-stream"), NO_STORE, (b"x-accel-buffering", b"no"), NO_SNIFF]


class Changes:
    def __init__(self, front: Front, streams: Streams) -> None:
        self._front = front
        self._streams = streams

    @page("hearChanges", "That something changed, as server-sent events")
    async def stream(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook_id = call.argument("webhook") or None
        if webhook_id is not None:
            if not is_id(webhook_id):
                raise NotFound("This webhook does not exist.")
            await self._front.service.store.webhook(view.account.id, webhook_id)
        chunks = await self._streams.open(view.visitor, view.account.id, webhook_id)
        return Reply(200, b"", _HEADERS, chunks)


def routes(front: Front, streams: Streams) -> list[Route]:
    changes = Changes(front, streams)
    return [Route(BASE + "/changes", {"GET": changes.stream})]
