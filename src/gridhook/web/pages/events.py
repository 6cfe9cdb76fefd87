"""One event: as it is sent, and how its delivery to each webhook stands."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from gridhook.errors import Conflict, NotFound
from gridhook.model import AttemptFilter, Delivery, DeliveryState, Webhook
from gridhook.web.call import Call, is_id, row_id
from gridhook.web.operations import page
from gridhook.web.pages.attempt import MOST_SHOWN
from gridhook.web.pages.attempts import Row, name_of, result_of
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import BASE, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

EVENT = BASE + "/events/{event_id}"
MOST_ATTEMPTS = 20
LONGEST_ID = 255
GONE = "This event does not exist: it is past retention, never was, or is another account's."


@dataclass(frozen=True, slots=True)
class Owed:
    """`webhook` None: deleted. again: what a person may ask for: "Redeliver", "Send now", or nothing."""

    delivery: Delivery
    webhook: Webhook | None
    again: str


class Events:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeEvent", "One event and its deliveries")
    async def show(self, call: Call) -> Reply:
        view = await self._front.view(call)
        store, now = self._front.service.store, self._front.service.clock.now()
        event_id = _readable(call.params["event_id"])
        try:
            found = await store.event(view.account.id, event_id, now=now)
        except NotFound:
            raise NotFound(GONE) from None
        log = await store.attempts(view.account.id, None, filter=AttemptFilter(event_id=event_id), limit=MOST_ATTEMPTS)
        wanted = {one.webhook_id for one in found.deliveries} | {one.webhook_id for one in log.attempts}
        webhooks = await store.webhooks_by_ids(view.account.id, list(wanted))
        payload = msgspec.json.format(found.event.payload, indent=2).decode("utf-8", "replace") if found.event.payload else ""
        rows = []
        for attempt in log.attempts:
            received, words = result_of(attempt)
            rows.append(Row(attempt, received, words, "", name_of(webhooks.get(attempt.webhook_id)), False))
        return await self._front.show(
            view,
            "event.html",
            event=found.event,
            owed=[Owed(one, webhooks.get(one.webhook_id), _again(view, one, webhooks.get(one.webhook_id))) for one in found.deliveries],
            rows=rows,
            has_more=log.next is not None,
            payload=payload[:MOST_SHOWN],
            is_cut=len(payload) > MOST_SHOWN,
            path=address(view, event_id),
        )

    @page("redeliverEvent", "Send an event again to one webhook")
    async def redeliver(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        event_id = _readable(call.params["event_id"])
        webhook_id, delivery_id = form.text("webhook"), row_id(form.text("delivery"))
        if not is_id(webhook_id) or delivery_id is None:
            raise NotFound("This delivery does not exist.")
        here = address(view, event_id)
        told = {}
        try:
            done = await self._front.service.redelivery.redeliver(view.account.id, webhook_id, delivery_id)
            self._front.note(view, "redelivered", webhook=webhook_id, deliveries=1)
            words = "ahead of schedule" if done.brought_forward else "with the same event id"
            told["notice"] = f"The delivery goes out again now, {words}."
        except Conflict as refusal:
            told["warning"] = f"Not sent: {refusal}."
        # A page asks for what it is to tell by its path as it is once decoded.
        await self._front.service.people.leave(view.visitor, f"{view.base}/events/{event_id}", told)
        return self._front.go(here)


def address(view: View, event_id: str) -> str:
    """Ids of events may hold a slash."""
    return f"{view.base}/events/{quote(event_id, safe='')}"


def _readable(event_id: str) -> str:
    if not event_id.isprintable() or len(event_id) > LONGEST_ID:
        raise NotFound(GONE)
    return event_id


def _again(view: View, one: Delivery, webhook: Webhook | None) -> str:
    if not view.may_change or webhook is None or not webhook.is_verified or webhook.paused_at is not None:
        return ""
    if one.state in (DeliveryState.FAILED, DeliveryState.DELIVERED):
        return "Redeliver"
    return "Send now" if one.state is DeliveryState.QUEUED and not one.in_flight else ""


def routes(front: Front) -> list[Route]:
    pages = Events(front)
    return [Route(EVENT, {"GET": pages.show}), Route(EVENT + "/redeliver", {"POST": pages.redeliver})]
