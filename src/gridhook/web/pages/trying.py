"""Send Test: the event that would be sent, shown before; and what came of it, told in whole."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gridhook.errors import Conflict, Invalid, NotFound, TooMany
from gridhook.model import Attempt, AttemptKind, Instant, Webhook
from gridhook.rules import ids, samples
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.cloudevents import synthetic_event
from gridhook.web.call import Call, row_id
from gridhook.web.operations import page
from gridhook.web.pages.families import families
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route
from gridhook.web.shapes import attempts as attempt_shapes

EXCERPT = 2000  # characters of an answer's body; the attempt's own page has all that was kept


@dataclass(frozen=True, slots=True)
class Test:
    """What *Send Test* would send; both empty: nothing is chosen yet."""

    type: str = ""
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A test and what came of it. `phases`: (what, milliseconds from the start)."""

    attempt: attempt_shapes.AttemptDetail
    at: Instant
    succeeded: bool
    phases: tuple[tuple[str, float], ...]
    excerpt: str
    is_cut: bool


async def chosen_test(front: Front, view: View, webhook: Webhook, type: str | None) -> Test:
    """The event that a test of this type sends, but for its id and times. A type that is none is no choice."""
    if type not in EVENT_TYPES:
        return Test()
    now = front.service.clock.now()
    data = samples.sample(type, seed=view.account.id, now=now)
    event = synthetic_event(
        type, data, account_id=view.account.id, id=ids.uuid7(now, bytes(ids.UUID_BYTES)), now=now, base_url=front.settings.base_url
    )
    return Test(type, msgspec.json.format(event.payload, indent=2).decode())


async def sent_test(front: Front, view: View, webhook: Webhook, attempt_id: str | None) -> Sent | None:
    """A test of this webhook that was sent; None for anything else."""
    number = row_id(attempt_id or "")
    if number is None:
        return None
    try:
        found = await front.service.store.attempt(view.account.id, number)
    except NotFound:
        return None
    if found.attempt.webhook_id != webhook.id or found.attempt.kind is not AttemptKind.TEST:
        return None
    return _sent(attempt_shapes.in_full(found), found.attempt)


class Trying:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeTest", "What a test would send")
    async def choose(self, call: Call) -> Reply:
        """For htmx: the payload and its button; with `whole`, all of Send Test."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        test = await chosen_test(self._front, view, webhook, call.argument("type"))
        here = ONE.format(account_id=view.account.id, webhook_id=webhook.id)
        if call.argument("whole") is not None:
            return self._front.fragment(view, "test_panel.html", webhook=webhook, families=families(), test=test, sent=None, here=here)
        return self._front.fragment(view, "test_chosen.html", webhook=webhook, test=test, here=here)

    @page("sendTestEvent", "Send Test")
    async def send(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        here = ONE.format(account_id=view.account.id, webhook_id=webhook.id)
        in_place = call.header(b"hx-request") == "true"
        type = form.text("type")
        try:
            found = await self._front.service.webhooks.send_test(view.account.id, webhook.id, type)
        except (Conflict, Invalid, TooMany) as refusal:
            if in_place:
                raise
            words = "choose an event first" if isinstance(refusal, Invalid) else str(refusal)
            return await self._front.done(view, here, warning=f"Not sent: {words}.")
        self._front.note(view, "sent a test", webhook=webhook.id, type=type)
        if in_place:
            shown = _sent(attempt_shapes.in_full(found), found.attempt)
            return self._front.fragment(view, "test_result.html", webhook=webhook, sent=shown, here=here)
        return self._front.go(f"{here}?type={type}&sent={found.attempt.id}")


def _sent(attempt: attempt_shapes.AttemptDetail, logged: Attempt) -> Sent:
    took = attempt.timings_ms
    phases = (("DNS", took.dns), ("connect", took.connect), ("TLS", took.tls), ("first byte", took.first_byte), ("total", took.total))
    body = attempt.response.body if attempt.response else ""
    return Sent(
        attempt,
        logged.started_at,
        attempt.status in (200, 201),
        tuple((name, ms) for name, ms in phases if ms is not None),
        body[:EXCERPT],
        len(body) > EXCERPT or bool(attempt.response and attempt.response.truncated),
    )


def routes(front: Front) -> list[Route]:
    pages = Trying(front)
    return [Route(ONE + "/test", {"GET": pages.choose, "POST": pages.send})]
