"""One attempt in full: what was sent, what came back, how long each phase took, and what to do about it."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

import msgspec

from gridhook.errors import Conflict, NotFound
from gridhook.model import Answered, Attempt, AttemptKind, Delivery, DeliveryState, Webhook
from gridhook.rules import ids
from gridhook.rules.requests import CLOUDEVENT, USER_AGENT
from gridhook.store.promises import AttemptDetail
from gridhook.web.call import Call, row_id
from gridhook.web.operations import page
from gridhook.web.pages.attempts import OF_WEBHOOK, result_of
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import View
from gridhook.web.problems import NO_SNIFF, NO_STORE, Reply
from gridhook.web.routes import Route
from gridhook.web.shapes import attempts as shapes

ONE_ATTEMPT = OF_WEBHOOK + "/{attempt_id}"
MOST_SHOWN = 24_000  # characters of a payload or an answer on the page; the payload can be had in whole
MOST_DUMPED = 2048  # bytes that are shown in hexadecimal
GONE = "This attempt does not exist: it is past retention, never was, or is another account's."
_DUMP_WIDTH = 16
_PHASES = (("dns", "DNS"), ("connect", "Connect"), ("tls", "TLS"), ("first_byte", "Waiting for the answer"), ("total", "Receiving"))


@dataclass(frozen=True, slots=True)
class Step:
    """A phase of the request: `x` and `width` in thousandths of the whole, for the bar."""

    key: str
    label: str
    took_ms: float
    x: float
    width: float


class OneAttempt:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeAttempt", "One attempt in full")
    async def show(self, call: Call) -> Reply:
        view = await self._front.view(call)
        found = await self._found(view, call)
        attempt, webhook = found.attempt, found.webhook
        names: tuple[str, ...] = ()
        certificates = []
        if webhook is not None:
            detail = await self._front.service.webhooks.detail(view.account.id, webhook.id, most=0)
            names, certificates = detail.headers, [one.certificate for one in detail.certificates]
        it = shapes.in_full(found, names, certificates)
        store = self._front.service.store
        place = (attempt.started_at, attempt.id)
        older = await store.attempts(view.account.id, attempt.webhook_id, before=place, limit=1)
        newer = await store.attempts(view.account.id, attempt.webhook_id, after=place, limit=1)
        received, words = result_of(attempt)
        payload = "" if found.payload is None else msgspec.json.format(found.payload, indent=2).decode("utf-8", "replace")
        return await self._front.show(
            view,
            "attempt.html",
            webhook=webhook,
            attempt=attempt,
            it=it,
            received=received,
            words=words,
            steps=steps(attempt),
            sent=_sent_headers(attempt, names),
            payload=payload[:MOST_SHOWN],
            is_payload_cut=len(payload) > MOST_SHOWN,
            body="" if it.response is None or it.response.encoding == "base64" else it.response.body[:MOST_SHOWN],
            dump="" if it.response is None or it.response.encoding == "text" else hex_dump(b64decode(it.response.body)[:MOST_DUMPED]),
            body_bytes=len(attempt.outcome.body) if isinstance(attempt.outcome, Answered) else 0,
            most_dumped=MOST_DUMPED,
            older=next((one.id for one in older.attempts), None),
            newer=next((one.id for one in newer.attempts), None),
            may_send=_may_redeliver(view, attempt, webhook),
            waiting=await self._waiting(view, attempt),
            path=view.path,
        )

    @page("getAttemptPayload", "What an attempt sent, byte for byte")
    async def payload(self, call: Call) -> Reply:
        view = await self._front.view(call)
        found = await self._found(view, call)
        if found.payload is None:
            raise NotFound("This attempt's payload is not kept any more.")
        name = f'attachment; filename="attempt-{found.attempt.id}.json"'.encode()
        kind = [(b"content-type", CLOUDEVENT.encode()), (b"content-disposition", name), NO_SNIFF]
        return Reply(200, found.payload, [*kind, NO_STORE])

    @page("redeliverAttempt", "Send an attempt's event again")
    async def redeliver(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        found = await self._found(view, call)
        attempt = found.attempt
        here = f"{view.base}/webhooks/{attempt.webhook_id}/attempts/{attempt.id}"
        if attempt.delivery_id is None:
            raise Conflict("only deliveries can be sent again; for a handshake or a test, ask for a new one")
        try:
            done = await self._front.service.redelivery.redeliver(view.account.id, attempt.webhook_id, attempt.delivery_id)
        except Conflict as refusal:
            return await self._front.done(view, here, warning=f"Not sent: {refusal}.")
        self._front.note(view, "redelivered", webhook=attempt.webhook_id, deliveries=1)
        words = "ahead of schedule" if done.brought_forward else "with the same event id"
        return await self._front.done(view, here, notice=f"The delivery goes out again now, {words}.")

    async def _waiting(self, view: View, attempt: Attempt) -> Delivery | None:
        """The delivery, if it waits and this is still its last attempt: one that was brought forward keeps to no plan of before."""
        if attempt.delivery_id is None or attempt.next_attempt_at is None:
            return None
        service = self._front.service
        try:
            found = await service.store.delivery(view.account.id, attempt.webhook_id, attempt.delivery_id, now=service.clock.now())
        except NotFound:
            return None
        return found if found.state in (DeliveryState.QUEUED, DeliveryState.HELD) and found.attempts == attempt.number else None

    async def _found(self, view: View, call: Call) -> AttemptDetail:
        number = row_id(call.params["attempt_id"])
        try:
            if number is not None:
                found = await self._front.service.store.attempt(view.account.id, number)
                if found.attempt.webhook_id == call.params["webhook_id"]:
                    return found
        except NotFound:
            pass
        raise NotFound(GONE)


def steps(attempt: Attempt) -> list[Step]:
    """The phases that were reached, one after the other."""
    timings = attempt.outcome.exchange.timings
    whole = max(timings.total_us, 1)
    found = []
    before = 0
    for key, label in _PHASES:
        ended = getattr(timings, f"{key}_us")
        if ended is None:
            continue
        took = max(0, ended - before)
        found.append(Step(key, label, took / 1000, round(1000 * before / whole, 1), round(1000 * took / whole, 1)))
        before = max(before, ended)
    if found and isinstance(attempt.outcome, Answered) is False:
        last = found[-1]
        found[-1] = Step("ended", "Until it ended", last.took_ms, last.x, last.width)
    return found


def hex_dump(data: bytes) -> str:
    """Offset, bytes, and what of them is printable ASCII."""
    lines = []
    for at in range(0, len(data), _DUMP_WIDTH):
        piece = data[at : at + _DUMP_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {piece.hex(' '):<{_DUMP_WIDTH * 3 - 1}}  {text}")
    return "\n".join(lines)


def _sent_headers(attempt: Attempt, names: tuple[str, ...]) -> list[tuple[str, str]]:
    if attempt.kind is AttemptKind.VERIFICATION:
        challenge = ("X-AccessGrid-Webhook-Challenge", "a fresh token")
        return [("Content-Type", "application/json"), ("User-Agent", USER_AGENT), challenge]
    sent = [("Content-Type", CLOUDEVENT), ("User-Agent", USER_AGENT)]
    if attempt.credential_id is not None and not ids.is_certificate_id(attempt.credential_id):
        sent.append(("Authorization", "Bearer ••••"))
    return sent + [(name, "••••") for name in names]


def _may_redeliver(view: View, attempt: Attempt, webhook: Webhook | None) -> bool:
    is_ready = webhook is not None and webhook.is_verified and webhook.paused_at is None
    return view.may_change and is_ready and attempt.delivery_id is not None


def routes(front: Front) -> list[Route]:
    pages = OneAttempt(front)
    return [
        Route(ONE_ATTEMPT, {"GET": pages.show}),
        Route(ONE_ATTEMPT + "/payload", {"GET": pages.payload}),
        Route(ONE_ATTEMPT + "/redeliver", {"POST": pages.redeliver}),
    ]
