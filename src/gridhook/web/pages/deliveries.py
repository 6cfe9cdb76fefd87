"""A webhook's deliveries: what waits, what arrived, what did not; and sending single ones again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gridhook.errors import Conflict, Invalid, NotFound
from gridhook.model import Delivery, DeliveryFilter, DeliveryState, FailureReason, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.web.call import Call
from gridhook.web.cursors import Position, around, cursor, read_cursor
from gridhook.web.operations import page
from gridhook.web.pages import times
from gridhook.web.pages.front import Front
from gridhook.web.pages.recovering import shown_recoveries
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import Reply
from gridhook.web.reading import checked_span, read_text
from gridhook.web.routes import Route

DELIVERIES = ONE + "/deliveries"
PAGE = 25
STRETCHES = 4  # of a long log that are looked at for one page, should the first hold no match
FIELDS = ("state", "type", "event_id", "result", "since", "until")
_WHY = {
    FailureReason.EXHAUSTED: "every attempt was made",
    FailureReason.EXPIRED: "its time ran out",
    FailureReason.WEBHOOK_DELETED: "the webhook was deleted",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list is narrowed down to: the fields as they stand in the address, and what they mean. errors: of which field, what."""

    fields: Mapping[str, str]
    filter: DeliveryFilter
    errors: Mapping[str, str]

    @property
    def is_any(self) -> bool:
        return not self.fields

    def query(self, **more: str) -> str:
        """Of an address that shows this; empty for all."""
        text = urlencode({**self.fields, **more})
        return f"?{text}" if text else ""


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
        health = await self._front.service.store.health(view.account.id, [webhook.id], now=self._front.service.clock.now())
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
        there = here + asked_of({name: form.text(name) for name in FIELDS}).query()
        sent = forward = 0
        refused: dict[str, int] = {}
        for text in dict.fromkeys(wanted[:PAGE]):
            try:
                if not (text.isascii() and text.isdigit() and len(text) < 19):
                    raise NotFound("no such delivery")
                done = await self._front.service.redelivery.redeliver(view.account.id, webhook.id, int(text))
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
        log = f"{webhook.id}/deliveries"
        older, newer = call.argument("cursor"), call.argument("newer")
        before, after = read_cursor(older, log), None if older else read_cursor(newer, log, "newer")
        rows, following = ([], None) if asked.errors else await self._page(webhook, asked.filter, before, after)
        next_at, newer_at = around([(row.created_at, row.id) for row in rows], following, before=before, after=after)
        path = DELIVERIES.format(account_id=view.account.id, webhook_id=webhook.id)
        is_top = before is None and after is None
        here = asked.query(**({"cursor": older} if older else {"newer": newer} if newer else {}))
        return {
            "webhook": webhook,
            "asked": asked,
            "rows": [_row(one) for one in rows],
            "is_top": is_top,
            "path": path,
            "rows_at": f"{path}/rows{here}",
            "here": ONE.format(account_id=view.account.id, webhook_id=webhook.id),
            "older": None if next_at is None else path + asked.query(cursor=cursor(next_at, log)),
            "newer": None if is_top or newer_at is None else path + asked.query(newer=cursor(newer_at, log)),
            "may_send": view.may_change and webhook.is_verified and webhook.paused_at is None,
        }

    async def _page(
        self, webhook: Webhook, filter: DeliveryFilter, before: Position | None, after: Position | None
    ) -> tuple[list[Delivery], Position | None]:
        """Newest first, and where it goes on in the direction asked for. One call looks at a stretch of the log only."""
        store, now = self._front.service.store, self._front.service.clock.now()
        found: list[Delivery] = []
        following = None
        for _ in range(STRETCHES):
            one = await store.deliveries(
                webhook.account_id, webhook.id, before=before, after=after, filter=filter, limit=PAGE - len(found), now=now
            )
            found += one.deliveries
            following = one.next
            if following is None or len(found) >= PAGE:
                break
            before, after = (following, None) if after is None else (None, following)
        return (found if after is None else found[::-1]), following


def asked_in(call: Call) -> Asked:
    return asked_of({name: call.argument(name) or "" for name in FIELDS})


def asked_of(given: Mapping[str, str]) -> Asked:
    """The fields that say something, and their filter. What cannot be read is an error of its field, and narrows nothing down."""
    fields = {name: text.strip() for name, text in given.items() if text.strip()}
    errors: dict[str, str] = {}
    state = fields.get("state")
    if state is not None and state not in list(DeliveryState):
        errors["state"] = "There is no such state."
    if fields.get("type", EVENT_TYPES[0]) not in EVENT_TYPES:
        errors["type"] = "There is no such event type."
    texts: dict[str, str | None] = {}
    for name in ("event_id", "result"):
        try:
            texts[name] = read_text(fields.get(name), name)
        except Invalid as refusal:
            errors[name] = f"{refusal.message}."
    since, until = times.read(fields, "since", errors), times.read(fields, "until", errors)
    try:
        checked_span(since, until)
    except Invalid as refusal:
        errors["until"] = f"{refusal.message}."
    if errors:
        return Asked(fields, DeliveryFilter(), errors)
    return Asked(
        fields,
        DeliveryFilter((DeliveryState(state),) if state else (), fields.get("type"), texts["event_id"], texts["result"], since, until),
        {},
    )


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
