"""A webhook's deliveries: what waits, what arrived, what did not; and sending single ones again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gridhook.errors import Conflict, NotFound
from gridhook.model import Delivery, DeliveryFilter, DeliveryState, FailureReason, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.web.call import Call, row_id
from gridhook.web.cursors import Position
from gridhook.web.operations import page
from gridhook.web.pages import logs, times
from gridhook.web.pages.front import Front
from gridhook.web.pages.recovering import shown_recoveries
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import Reply
from gridhook.web.reading import read_text
from gridhook.web.routes import Route

DELIVERIES = ONE + "/deliveries"
PAGE = 25
FIELDS = ("state", "type", "event_id", "result", "since", "until")
_WHY = {
    FailureReason.EXHAUSTED: "every attempt was made",
    FailureReason.EXPIRED: "its time ran out",
    FailureReason.WEBHOOK_DELETED: "the webhook was deleted",
}


Asked: TypeAlias = logs.Asked[DeliveryFilter]


@dataclass(frozen=True, slots=True)
class Row:
    """`again`: what a person may ask for: "Redeliver", "Send now", or nothing."""

    delivery: Delivery
    why: str
    again: str


class Deliveries:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeDeliveries", "A webhook's deliveries")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        asked = asked_in(call)
        found = await self._found(view, webhook, call, asked)
        health = await self._front.service.store.health(view.account.id, [webhook.id], now=None)
        return await self._front.show(
            view,
            "deliveries.html",
            status=422 if asked.errors else 200,
            health=health.get(webhook.id),
            states=list(DeliveryState),
            types=EVENT_TYPES,
            times={name: times.as_field(asked.fields.get(name, "")) for name in ("since", "until")},
            **await shown_recoveries(self._front, view, webhook),
            **found,
        )

    @page("seeDeliveryRows", "A webhook's deliveries, the list alone")
    async def rows(self, call: Call) -> Reply:
        """For htmx."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        return self._front.fragment(view, "delivery_rows.html", **await self._found(view, webhook, call, asked_in(call)))

    @page("redeliverDeliveries", "Send deliveries again")
    async def redeliver(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        here = DELIVERIES.format(account_id=view.account.id, webhook_id=webhook.id)
        wanted = [form.text("one")] if "one" in form else form.all("delivery")
        # What the list was narrowed down to stays; nothing else of it is believed.
        there = here + asked_of(logs.Fields({name: form.text(name) for name in FIELDS})).query()
        sent = forward = 0
        refused: dict[str, int] = {}
        for text in dict.fromkeys(wanted[:PAGE]):
            try:
                number = row_id(text)
                if number is None:
                    raise NotFound("no such delivery")
                done = await self._front.service.redelivery.redeliver(view.account.id, webhook.id, number)
            except (Conflict, NotFound) as refusal:
                words = "a delivery is gone: it is past retention" if isinstance(refusal, NotFound) else str(refusal)
                refused[words] = refused.get(words, 0) + 1
                continue
            sent, forward = sent + 1, forward + done.brought_forward
        if sent:
            self._front.note(view, "redelivered", webhook=webhook.id, deliveries=sent)
        told = _told(sent, forward, refused) if wanted else {"warning": "Select the deliveries to send again first."}
        # Left for the path alone: that is what a page asks for when it looks for what it is to tell.
        await self._front.service.people.leave(view.visitor, here, told)
        return self._front.go(there)

    async def _found(self, view: View, webhook: Webhook, call: Call, asked: Asked) -> dict[str, Any]:
        path = DELIVERIES.format(account_id=view.account.id, webhook_id=webhook.id)
        part = await logs.part_of(call, f"{webhook.id}/deliveries", path, asked, self._look(webhook, asked), _place, size=PAGE)
        return {
            "webhook": webhook,
            "asked": asked,
            "rows": [_row(one) for one in part.rows],
            "is_top": part.is_top,
            "path": path,
            "rows_at": f"{path}/rows{asked.query(**part.here)}",
            "here": ONE.format(account_id=view.account.id, webhook_id=webhook.id),
            "older": part.older,
            "newer": part.newer,
            "may_send": view.may_change and webhook.is_verified and webhook.paused_at is None,
        }

    def _look(self, webhook: Webhook, asked: Asked) -> logs.Look[Delivery]:
        store, now = self._front.service.store, self._front.service.clock.now()

        async def look(before: Position | None, after: Position | None, limit: int) -> tuple[Sequence[Delivery], Position | None]:
            found = await store.deliveries(
                webhook.account_id, webhook.id, before=before, after=after, filter=asked.filter, limit=limit, now=now
            )
            return found.deliveries, found.next

        return look


def asked_in(call: Call) -> Asked:
    return asked_of(logs.arguments(call, FIELDS))


def asked_of(fields: logs.Fields) -> Asked:
    state = fields.one_of("state", [*DeliveryState], "state")
    event_type = fields.one_of("type", EVENT_TYPES, "event type")
    event_id = fields.read("event_id", lambda text: read_text(text, "event_id"))
    result = fields.read("result", lambda text: read_text(text, "result"))
    since, until = fields.span()
    if fields.errors:
        return logs.Asked(fields.texts, DeliveryFilter(), fields.errors)
    filter = DeliveryFilter((DeliveryState(state),) if state else (), event_type, event_id, result, since, until)
    return logs.Asked(fields.texts, filter, {})


def _place(delivery: Delivery) -> Position:
    return delivery.created_at, delivery.id


def _row(one: Delivery) -> Row:
    why = "" if one.failure_reason is None else _WHY[one.failure_reason]
    ended = one.state in (DeliveryState.FAILED, DeliveryState.DELIVERED)
    return Row(one, why, "Redeliver" if ended else "Send now" if one.state is DeliveryState.QUEUED and not one.in_flight else "")


def _told(sent: int, forward: int, refused: Mapping[str, int]) -> dict[str, str]:
    told = {}
    if sent:
        words = f"{sent} deliveries go out again now" if sent > 1 else "The delivery goes out again now"
        told["notice"] = words + (", ahead of schedule." if forward == sent else ", with the same event id.")
    if refused:
        count = sum(refused.values())
        words = "; ".join(f"{one} ({number} times)" if number > 1 else one for one, number in list(refused.items())[:3])
        told["warning"] = f"{'Not sent' if count == 1 else f'{count} were not sent'}: {words}."
    return told


def routes(front: Front) -> list[Route]:
    pages = Deliveries(front)
    return [
        Route(DELIVERIES, {"GET": pages.index}),
        Route(DELIVERIES + "/rows", {"GET": pages.rows}),
        Route(DELIVERIES + "/redeliver", {"POST": pages.redeliver}),
    ]
