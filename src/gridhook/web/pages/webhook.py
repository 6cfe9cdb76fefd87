"""A webhook at a glance: how it stands, how it has been doing, what waits; and the switch that pauses it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gridhook.model import Answered, Attempt, AttemptKind, Certificate, DeliveryState, Instant, Webhook, Window
from gridhook.rules.certificates import CertificateState
from gridhook.rules.diagnosis import Diagnosis, diagnose
from gridhook.rules.retry import RECEIVED
from gridhook.service.webhooks import Detail
from gridhook.store.promises import MOST_COUNTED, Undelivered
from gridhook.store.rows import result_of
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import plots
from gridhook.web.pages.families import families
from gridhook.web.pages.front import Front
from gridhook.web.pages.templates import DAY, HOUR, MINUTE
from gridhook.web.pages.trying import chosen_test, sent_test
from gridhook.web.pages.verifying import watch
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route
from gridhook.web.shapes.health import percentile_ms

LAST = 5  # attempts shown
# What the address says, what the choice is called, how long, and how wide a column is.
_SPANS = (("hour", "Last hour", HOUR, MINUTE), ("6h", "6 hours", 6 * HOUR, 5 * MINUTE), ("day", "Day", DAY, 15 * MINUTE))


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt as a line. `words`: what it brought, a status or a reason."""

    id: int
    at: Instant
    what: str
    event_id: str | None
    number: int
    kind: AttemptKind
    succeeded: bool
    words: str
    total_ms: float


@dataclass(frozen=True, slots=True)
class Waits:
    """Deliveries that did not arrive (yet) for one reason. `query`: of the list that shows them."""

    counted: Undelivered
    words: str
    query: str
    at_least: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """Counters of a stretch of time; None where nothing was attempted."""

    rate: float | None
    p50: float | None
    p95: float | None
    retries: int
    attempts: int


class WebhookPages:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeWebhook", "A webhook at a glance")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        test, sent, now = await asyncio.gather(
            chosen_test(self._front, view, webhook, call.argument("type")),
            sent_test(self._front, view, webhook, call.argument("sent")),
            self._now(view, webhook, call),
        )
        verification = None if webhook.is_verified else await watch(self._front, webhook)
        return await self._front.show(
            view, "webhook.html", families=families(), test=test, sent=sent, watch=verification, is_news=False, is_fragment=False, **now
        )

    @page("seeWebhookNow", "How a webhook stands at this moment")
    async def now(self, call: Call) -> Reply:
        """For htmx: the part of the page that moves."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        return self._front.fragment(view, "webhook_now.html", is_fragment=True, **await self._now(view, webhook, call))

    @page("pauseWebhook", "Pause a webhook")
    async def pause(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        await self._front.service.webhooks.pause(view.account.id, webhook.id)
        self._front.note(view, "paused the webhook", webhook=webhook.id)
        words = "Paused. Events are held for this webhook from now on, each until it is too old to be delivered."
        return await self._front.done(view, _address(view, webhook), notice=words)

    @page("resumeWebhook", "Resume a webhook")
    async def resume(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        await self._front.service.webhooks.resume(view.account.id, webhook.id)
        self._front.note(view, "resumed the webhook", webhook=webhook.id)
        words = "Resumed. What was held goes out now, oldest first, slowly at first."
        if not webhook.is_verified:
            words = "Resumed. Deliveries begin once the webhook is verified."
        return await self._front.done(view, _address(view, webhook), notice=words)

    async def _now(self, view: View, webhook: Webhook, call: Call) -> dict[str, Any]:
        service, key = self._front.service, (view.account.id, webhook.id)
        span, _, length, step = next((one for one in _SPANS if one[0] == call.argument("span")), _SPANS[0])
        now = service.clock.now()
        since = now - now % step + step - length
        detail, undelivered, newest, minutes = await asyncio.gather(
            service.webhooks.detail(*key, most=MOST_COUNTED),
            service.store.undelivered(*key, most=MOST_COUNTED),
            service.store.attempts(*key, limit=LAST),
            service.store.minutes(*key, since=since),
        )
        drawn = plots.buckets(minutes, since=since, until=now + 1, step=step)
        health = detail.health
        return {
            "webhook": detail.webhook,
            "detail": detail,
            "health": health,
            "certificate": _presented(detail),
            "failure": _failure(newest.attempts) if health.failing_since else None,
            "hour": _pace(health.hour),
            "day": _pace(health.day),
            "span": span,
            "spans": [(name, label) for name, label, _, _ in _SPANS],
            "throughput": plots.columns(drawn, step),
            "latency": plots.line(drawn, step),
            "waits": [_waits(one) for one in undelivered],
            "newest": [_tried(one) for one in newest.attempts],
            "here": _address(view, webhook),
        }


def _address(view: View, webhook: Webhook) -> str:
    return ONE.format(account_id=view.account.id, webhook_id=webhook.id)


def _presented(detail: Detail) -> Certificate | None:
    return next((one.certificate for one in detail.certificates if one.state is CertificateState.PRESENTED), None)


def _failure(newest: Sequence[Attempt]) -> Diagnosis | None:
    """What the newest failed delivery met; None when it is not among the newest attempts."""
    return next((diagnose(one) for one in newest if one.kind is AttemptKind.DELIVERY and not _succeeded(one)), None)


def _succeeded(attempt: Attempt) -> bool:
    return isinstance(attempt.outcome, Answered) and attempt.outcome.status in RECEIVED


def _pace(window: Window) -> Pace:
    attempts = window.succeeded + window.failed
    return Pace(
        window.succeeded / attempts if attempts else None,
        percentile_ms(0.5, window.latencies),
        percentile_ms(0.95, window.latencies),
        window.retries,
        attempts,
    )


def _waits(counted: Undelivered) -> Waits:
    asked = {"state": counted.state.value, "result": counted.last_result or ""}
    result = (counted.last_result or "").replace("_", " ")
    if counted.state is DeliveryState.FAILED:
        words = f"last result {result}" if result else "never attempted"
    else:
        words = f"tried before: {result}" if result else "not tried yet"
    query = urlencode({name: value for name, value in asked.items() if value})
    return Waits(counted, words, query, counted.count >= MOST_COUNTED)


def _tried(attempt: Attempt) -> Tried:
    verified = attempt.kind is AttemptKind.VERIFICATION
    succeeded = _succeeded(attempt) and (not verified or attempt.echo in ("matched", "trusted_host"))
    words = result_of(attempt.outcome)
    if verified and not succeeded and _succeeded(attempt):
        words = f"{words}: {attempt.echo}"  # a handshake fails with a 200, too: say why
    return Tried(
        attempt.id,
        attempt.started_at,
        "Verification" if verified else attempt.event_type or "",
        attempt.event_id,
        attempt.number,
        attempt.kind,
        succeeded,
        words.replace("_", " "),
        attempt.outcome.exchange.timings.total_us / 1000,
    )


def routes(front: Front) -> list[Route]:
    pages = WebhookPages(front)
    return [
        Route(ONE, {"GET": pages.index}),
        Route(ONE + "/now", {"GET": pages.now}),
        Route(ONE + "/pause", {"POST": pages.pause}),
        Route(ONE + "/resume", {"POST": pages.resume}),
    ]
