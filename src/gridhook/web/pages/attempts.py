"""Webhook attempts: every request, handshake and test, newest first; new ones appear by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gridhook.model import Answered, Attempt, AttemptFilter, AttemptKind, Reason, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.diagnosis import diagnose
from gridhook.rules.retry import RECEIVED
from gridhook.web.call import Call, is_id, row_id
from gridhook.web.cursors import Position
from gridhook.web.operations import page
from gridhook.web.pages import logs, times
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import BASE, ONE, View
from gridhook.web.problems import NO_STORE, Reply
from gridhook.web.reading import read_outcome, read_status, read_text
from gridhook.web.routes import Route

OF_ACCOUNT = BASE + "/attempts"
OF_WEBHOOK = ONE + "/attempts"
PAGE = 50
MOST_NAMED = 200  # webhooks to choose from in the filter of the whole account
FIELDS = ("type", "event_id", "outcome", "status", "reason", "kind", "since", "until")


Asked: TypeAlias = logs.Asked[AttemptFilter]


@dataclass(frozen=True, slots=True)
class Row:
    """words: the result in a word or two. is_new: it came after the page was first shown. is_last: none of these is a later one of its
    delivery, as where somebody sent it ahead of schedule."""

    attempt: Attempt
    received: bool
    words: str
    summary: str
    webhook: str  # its name; of the whole account's log
    is_new: bool
    is_last: bool = True


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
        health = await self._front.service.store.health(view.account.id, [webhook.id], now=None)
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
        seen = row_id(call.argument("seen") or "") or 0
        found = await self._found(view, webhook, call, asked, seen)
        if found["is_top"]:
            if found["mark"] <= seen:
                return Reply(204, b"", [NO_STORE])
            return self._front.fragment(view, "attempt_rows.html", is_fragment=True, webhook=webhook, **found)
        top, _ = await logs.walk(self._look(view, webhook, asked), None, None, PAGE)
        if max((one.id for one in top), default=0) <= seen:
            return Reply(204, b"", [NO_STORE])
        return self._front.fragment(view, "attempt_news.html", path=found["path"] + asked.query())

    async def _found(self, view: View, webhook: Webhook | None, call: Call, asked: Asked, seen: int) -> dict[str, Any]:
        log = view.account.id + "/attempts" if webhook is None else webhook.id
        path = view.base + "/attempts" if webhook is None else f"{view.base}/webhooks/{webhook.id}/attempts"
        part = await logs.part_of(call, log, path, asked, self._look(view, webhook, asked), _place, size=PAGE)
        mark = max((one.id for one in part.rows), default=0)
        known: dict[str, Webhook] = {}
        if webhook is None:
            known = await self._front.service.store.webhooks_by_ids(view.account.id, list({one.webhook_id for one in part.rows}))
        last = {one.delivery_id: one.number for one in sorted(part.rows, key=lambda one: one.number)}
        return {
            "asked": asked,
            "rows": [
                _row(one, known.get(one.webhook_id), seen, one.delivery_id is None or last[one.delivery_id] == one.number)
                for one in part.rows
            ],
            "is_top": part.is_top,
            "mark": mark,
            "path": path,
            "rows_at": f"{path}/rows{asked.query(**part.here, seen=str(mark))}",
            "older": part.older,
            "newer": part.newer,
        }

    def _look(self, view: View, webhook: Webhook | None, asked: Asked) -> logs.Look[Attempt]:
        async def look(before: Position | None, after: Position | None, limit: int) -> tuple[Sequence[Attempt], Position | None]:
            webhook_id = None if webhook is None else webhook.id
            found = await self._front.service.store.attempts(
                view.account.id, webhook_id, before=before, after=after, filter=asked.filter, limit=limit
            )
            return found.attempts, found.next

        return look


def asked_in(call: Call) -> Asked:
    fields = logs.arguments(call, FIELDS)
    event_type = fields.one_of("type", EVENT_TYPES, "event type")
    reason = fields.one_of("reason", [*Reason], "reason")
    kind = fields.one_of("kind", [*AttemptKind], "kind")
    event_id = fields.read("event_id", lambda text: read_text(text, "event_id"))
    succeeded = fields.read("outcome", read_outcome)
    status, status_class = fields.read("status", read_status) or (None, None)
    since, until = fields.span()
    if fields.errors:
        return logs.Asked(fields.texts, AttemptFilter(), fields.errors)
    filter = AttemptFilter(
        event_type=event_type,
        event_id=event_id,
        succeeded=succeeded,
        status=status,
        status_class=status_class,
        reason=None if reason is None else Reason(reason),
        kind=None if kind is None else AttemptKind(kind),
        since=since,
        until=until,
    )
    return logs.Asked(fields.texts, filter, {})


def name_of(webhook: Webhook | None) -> str:
    return "a deleted webhook" if webhook is None else webhook.name


def result_of(attempt: Attempt) -> tuple[bool, str]:
    """Whether it was received, and the result in a word or two."""
    outcome = attempt.outcome
    if isinstance(outcome, Answered):
        if attempt.kind is AttemptKind.VERIFICATION and attempt.echo is not None:
            return attempt.echo.value in ("matched", "trusted_host"), f"{outcome.status} {attempt.echo.replace('_', ' ')}"
        return outcome.status in RECEIVED, str(outcome.status)
    return outcome.reason is Reason.NOT_SENT, outcome.reason.replace("_", " ")


def _place(attempt: Attempt) -> Position:
    return attempt.started_at, attempt.id


def _row(attempt: Attempt, webhook: Webhook | None, seen: int, is_last: bool) -> Row:
    received, words = result_of(attempt)
    return Row(attempt, received, words, diagnose(attempt).summary, name_of(webhook), 0 < seen < attempt.id, is_last)


def routes(front: Front) -> list[Route]:
    pages = Attempts(front)
    return [
        Route(OF_ACCOUNT, {"GET": pages.of_account}),
        Route(OF_ACCOUNT + "/rows", {"GET": pages.rows}),
        Route(OF_WEBHOOK, {"GET": pages.of_webhook}),
        Route(OF_WEBHOOK + "/rows", {"GET": pages.rows}),
    ]
