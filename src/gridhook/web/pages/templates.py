"""Templates into text. Everything that goes into one is escaped, unless it was made by a template."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gridhook.model import LATENCY_BOUNDS_MS, Instant
from gridhook.rules.instants import rfc3339
from gridhook.store.promises import MOST_COUNTED
from gridhook.web.pages import assets

if TYPE_CHECKING:
    from jinja2 import Environment

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
_STATUSES = frozenset(HTTPStatus)


def render(name: str, **context: Any) -> str:
    return _environment().get_template(name).render(context)


@cache
def _environment() -> Environment:
    """Made for the first page: a server whose console nobody opens does not pay for it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gridhook.web"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is a defect, not an empty place
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = assets.address
    environment.filters.update(
        utc=utc,
        rfc3339=rfc3339,
        lasting=lasting,
        within=within,
        ago=ago,
        number=number,
        percent=percent,
        date=date,
        phrase=phrase,
        counted=counted,
    )
    return environment


def utc(at: Instant) -> str:
    """`2026-11-22 23:11:10 UTC`"""
    return f"{rfc3339(at)[:10]} {rfc3339(at)[11:19]} UTC"


def date(at: Instant) -> str:
    """`2026-11-22`"""
    return rfc3339(at)[:10]


def lasting(ms: float) -> str:
    """A stretch of time in its two largest units: `5 h 12 min`, `8 s`, `120 ms`, `0.4 ms`."""
    if ms < 10:
        return f"{ms:.1f} ms".replace(".0 ms", " ms")
    if ms < SECOND:
        return f"{ms:.0f} ms"
    for unit, word, below, low in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", SECOND, "s")):
        if ms >= unit:
            rest = int(ms % unit // below)
            return f"{int(ms // unit)} {word}" + (f" {rest} {low}" if rest else "")
    return f"{int(ms // SECOND)} s"


def within(ms: float) -> str:
    """A percentile of latencies. Of those that are slower than the histogram reaches, no more is known."""
    return f"{lasting(ms)} or more" if ms >= LATENCY_BOUNDS_MS[-1] else lasting(ms)


def ago(at: Instant, now: Instant) -> str:
    """`3 min ago`, `in 5 h 12 min`, `just now`"""
    away = now - at
    if abs(away) < 2 * SECOND:
        return "just now"
    if away > HOUR:
        away -= away % (DAY if away >= 2 * DAY else HOUR if away >= 2 * HOUR else MINUTE)
    elif away > MINUTE:
        away -= away % MINUTE
    return f"{lasting(away)} ago" if away > 0 else f"in {lasting(-away)}"


def number(value: float) -> str:
    """`12,345`"""
    return f"{value:,.0f}"


def counted(count: int) -> str:
    """`12`; `10,000 or more` where counting stopped."""
    return f"{count:,} or more" if count >= MOST_COUNTED else f"{count:,}"


def percent(share: float) -> str:
    """Of 1. Never `100 %` when something failed, never `0 %` when something succeeded."""
    value = 100 * share
    if 99.9 < value < 100:
        return "99.9 %"
    if 0 < value < 0.1:
        return "0.1 %"
    return f"{value:.1f} %".replace(".0 %", " %")


def phrase(status: int) -> str:
    """Of a status, as it stands in a status line: `Not Found`; empty for one that has none."""
    return HTTPStatus(status).phrase if status in _STATUSES else ""
