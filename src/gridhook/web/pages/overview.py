"""An account at a glance: what fails first, then how it has been going, then what will need somebody."""

from __future__ import annotations

from gridhook.model import Instant, add_up
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import plots
from gridhook.web.pages.front import Front
from gridhook.web.pages.templates import DAY, HOUR, MINUTE
from gridhook.web.pages.views import BASE, WARN_BEFORE_MS
from gridhook.web.problems import Reply
from gridhook.web.routes import Route
from gridhook.web.shapes.health import percentile_ms

STEP = 30 * MINUTE  # of a column
LISTED = 5


class Overview:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeOverview", "An account at a glance")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        store, now = self._front.service.store, self._front.service.clock.now()
        since = first_of_day(now)
        standing = await store.standing(view.account.id, expiring_before=now + WARN_BEFORE_MS, limit=LISTED)
        minutes = await store.minutes(view.account.id, None, since=since) if standing.webhooks else []
        day = plots.buckets(minutes, since=since, until=now + 1, step=STEP)
        hour = add_up([window for at, window in minutes if at > now - HOUR])
        attempts = hour.succeeded + hour.failed
        return await self._front.show(
            view,
            "overview.html",
            standing=standing,
            pending=[one for one in standing.waiting if one.verified_at is None and one.paused_at is None],
            paused=[one for one in standing.waiting if one.paused_at is not None],
            listed=LISTED,
            hour=hour,
            rate=hour.succeeded / attempts if attempts else None,
            p50=percentile_ms(0.5, hour.latencies),
            p95=percentile_ms(0.95, hour.latencies),
            throughput=plots.columns(day, STEP),
            latency=plots.line(day, STEP),
            was_used=bool(minutes),
        )


def first_of_day(now: Instant) -> Instant:
    """Where a plot of the last day begins, so that its columns begin at round times and the last one holds this moment."""
    return now - now % STEP + STEP - DAY


def routes(front: Front) -> list[Route]:
    return [Route(BASE, {"GET": Overview(front).index})]
