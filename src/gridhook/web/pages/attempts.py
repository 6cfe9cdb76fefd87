"""Webhook attempts: every request, handshake and test, newest first; new ones appear by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gridhook.errors import Invalid, NotFound
from gridhook.model import Answered, Attempt, AttemptFilter, AttemptKind, Reason, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.diagnosis import diagnose
from gridhook.rules.retry import RECEIVED
from gridhook.web.call import Call, is_id
from gridhook.web.cursors import Position, around, cursor, read_cursor
from gridhook.web.operations import page
from gridhook.web.pages import times
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import BASE, ONE, View
from gridhook.web.problems import NO_STORE, Reply
from gridhook.web.reading import checked_span, read_outcome, read_status, read_text
from gridhook.web.routes import Route

OF_ACCOUNT = BASE + "/attempts"
OF_WEBHOOK = ONE + "/attempts"
PAGE = 50
STRETCHES = 4  # of a long log that are looked at for one page, should the first hold no match
MOST_NAMED = 200  # webhooks to choose from in the filter of the whole account
FIELDS = ("type", "event_id", "outcome", "status", "reason", "kind", "since", "until")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the log is narrowed down to: the fields as they stand in the address, and what they mean. errors: of which field, what."""

    fields: Mapping[str, str]
    filter: AttemptFilter
    errors: Mapping[str, str]

    def query(self, **more: str) -> str:
        """Of an address that shows this; empty for all."""
        text = urlencode({**self.fields, **more})
        return f"?{text}" if text else ""


@dataclass(frozen=True, slots=True)
class Row:
    """words: the result in a word or two. is_new: it came after the page was first shown."""

    attempt: Attempt
    received: bool
    words: str
    summary: str
    webhook: str  # its name; of the whole account's log
    is_new: bool


class Attempts:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeAttemptsOfAccount", "All webhook attempts of an account")
    async def of_account(self, call: Call) -> Reply:
        view = await self._front.view(call)
        asked = asked_in(call)
        chosen = call.argument("webhook") or ""
        if is_id(chosen):
            return self._front.go(OF_WEBHOOK.format(account_id=view.account.id, webhook_id=chosen) + asked.query())
        page = await self._front.service.store.webhooks(view.account.id, offset=0, limit=MOST_NAMED)
        return await self._shown(view, call, None, asked, webhooks=page.webhooks, webhook=None, health=None)

    @page("seeAttempts", "A webhook's attempts")
    async def of_webhook(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        health = await self._front.service.store.health(view.account.id, [webhook.id], now=self._front.service.clock.now())
        return await self._shown(view, call, webhook, asked_in(call), webhooks=[], webhook=webhook, health=health.get(webhook.id))

    async def _shown(self, view: View, call: Call, of: Webhook | None, asked: Asked, **context: Any) -> Reply:
        found = await self._found(view, of, call, asked, 0)
        return await self._front.show(
            view,
            "attempts.html",
            status=422 if asked.errors else 200,
            types=EVENT_TYPES,
            reasons=list(Reason),
            kinds=list(AttemptKind),
            times={name: times.as_field(asked.fields.get(name, "")) for name in ("since", "until")},
            **context,
            **found,
        )

    @page("seeAttemptRows", "A log's rows alone")
    async def rows(self, call: Call) -> Reply:
        """For htmx. 204 when nothing is newer than `seen`; on a page of older attempts, whether there are newer ones."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call) if "webhook_id" in call.params else None
        asked = asked_in(call)
        seen = _number(call.argument("seen"))
        found = await self._found(view, webhook, call, asked, seen)
        if found["is_top"]:
            if found["mark"] <= seen:
                return Reply(204, b"", [NO_STORE])
            return self._front.fragment(view, "attempt_rows.html", is_fragment=True, webhook=webhook, **found)
        top, _ = await self._page(view, webhook, asked.filter, None, None)
        if max((one.id for one in top), default=0) <= seen:
            return Reply(204, b"", [NO_STORE])
        return self._front.fragment(view, "attempt_news.html", path=found["path"] + asked.query())

    async def _found(self, view: View, webhook: Webhook | None, call: Call, asked: Asked, seen: int) -> dict[str, Any]:
        log = view.account.id + "/attempts" if webhook is None else webhook.id
        older, newer = call.argument("cursor"), call.argument("newer")
        before, after = read_cursor(older, log), None if older else read_cursor(newer, log, "newer")
        attempts, following = ([], None) if asked.errors else await self._page(view, webhook, asked.filter, before, after)
        next_at, newer_at = around([(row.started_at, row.id) for row in attempts], following, before=before, after=after)
        path = view.base + "/attempts" if webhook is None else f"{view.base}/webhooks/{webhook.id}/attempts"
        is_top = before is None and after is None
        mark = max((one.id for one in attempts), default=0)
        here = {"cursor": older} if older else {"newer": newer} if newer else {}
        names = await self._names(view, attempts) if webhook is None else {}
        return {
            "asked": asked,
            "rows": [_row(one, names.get(one.webhook_id, "a deleted webhook"), seen) for one in attempts],
            "is_top": is_top,
            "mark": mark,
            "path": path,
            "rows_at": f"{path}/rows{asked.query(**here, seen=str(mark))}",
            "older": None if next_at is None else path + asked.query(cursor=cursor(next_at, log)),
            "newer": None if is_top or newer_at is None else path + asked.query(newer=cursor(newer_at, log)),
        }

    async def _page(
        self, view: View, webhook: Webhook | None, filter: AttemptFilter, before: Position | None, after: Position | None
    ) -> tuple[list[Attempt], Position | None]:
        """Newest first, and where it goes on in the direction asked for. One call looks at a stretch of the log only."""
        found: list[Attempt] = []
        following = None
        for _ in range(STRETCHES):
            one = await self._front.service.store.attempts(
                view.account.id, None if webhook is None else webhook.id, before=before, after=after, filter=filter, limit=PAGE - len(found)
            )
            found += one.attempts
            following = one.next
            if following is None or len(found) >= PAGE:
                break
            before, after = (following, None) if after is None else (None, following)
        return (found if after is None else found[::-1]), following

    async def _names(self, view: View, attempts: Sequence[Attempt]) -> dict[str, str]:
        wanted = {one.webhook_id for one in attempts}
        found = await asyncio.gather(*(self._front.service.store.webhook(view.account.id, id) for id in wanted), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, NotFound):
                raise one
        return {one.id: one.name for one in found if isinstance(one, Webhook)}


def asked_in(call: Call) -> Asked:
    """The fields that say something, and their filter. What cannot be read is an error of its field, and narrows nothing down."""
    fields = {name: text for name in FIELDS if (text := (call.argument(name) or "").strip())}
    errors: dict[str, str] = {}
    for name, words, what in (("type", EVENT_TYPES, "event type"), ("reason", [*Reason], "reason"), ("kind", [*AttemptKind], "kind")):
        if name in fields and fields[name] not in words:
            errors[name] = f"There is no such {what}."
    event_id = succeeded = status = status_class = None
    try:
        event_id = read_text(fields.get("event_id"), "event_id")
        succeeded = read_outcome(fields.get("outcome"))
        status, status_class = read_status(fields.get("status"))
    except Invalid as refusal:
        errors[refusal.field] = f"{refusal.message[:1].upper()}{refusal.message[1:]}."
    since, until = times.read(fields, "since", errors), times.read(fields, "until", errors)
    try:
        checked_span(since, until)
    except Invalid as refusal:
        errors["until"] = f"{refusal.message[:1].upper()}{refusal.message[1:]}."
    if errors:
        return Asked(fields, AttemptFilter(), errors)
    return Asked(
        fields,
        AttemptFilter(
            event_type=fields.get("type"),
            event_id=event_id,
            succeeded=succeeded,
            status=status,
            status_class=status_class,
            reason=Reason(fields["reason"]) if "reason" in fields else None,
            kind=AttemptKind(fields["kind"]) if "kind" in fields else None,
            since=since,
            until=until,
        ),
        {},
    )


def result_of(attempt: Attempt) -> tuple[bool, str]:
    """Whether it was received, and the result in a word or two."""
    outcome = attempt.outcome
    if isinstance(outcome, Answered):
        if attempt.kind is AttemptKind.VERIFICATION and attempt.echo is not None:
            return attempt.echo.value in ("matched", "trusted_host"), f"{outcome.status} {attempt.echo.replace('_', ' ')}"
        return outcome.status in RECEIVED, str(outcome.status)
    return outcome.reason is Reason.NOT_SENT, outcome.reason.replace("_", " ")


def _row(attempt: Attempt, webhook: str, seen: int) -> Row:
    received, words = result_of(attempt)
    return Row(attempt, received, words, diagnose(attempt).summary, webhook, 0 < seen < attempt.id)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


def routes(front: Front) -> list[Route]:
    pages = Attempts(front)
    return [
        Route(OF_ACCOUNT, {"GET": pages.of_account}),
        Route(OF_ACCOUNT + "/rows", {"GET": pages.rows}),
        Route(OF_WEBHOOK, {"GET": pages.of_webhook}),
        Route(OF_WEBHOOK + "/rows", {"GET": pages.rows}),
    ]
