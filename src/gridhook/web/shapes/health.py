"""How a webhook has been doing: counters, and what can be read from them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gridhook.model import LATENCY_BOUNDS_MS, Health, Instant, Window
from gridhook.web.shapes import Shape, Time, time_of

SLOWEST_MS = float(LATENCY_BOUNDS_MS[-1])


class Latency(Shape):
    """Milliseconds from the start of a request to its end, failed ones included."""

    mean: float | None
    p50: Annotated[float | None, Meta(description="Estimated from a histogram; what is slower than 10 s counts as 10 s.")]
    p95: Annotated[float | None, Meta(description="Likewise.")]


class Stretch(Shape):
    """Attempts at deliveries over a stretch of time; tests and handshakes are not counted."""

    succeeded: int
    failed: int
    retries: Annotated[int, Meta(description="Of both, those that were not the first attempt of their delivery.")]
    success_rate: Annotated[float | None, Meta(description="0 to 1; null when nothing was attempted.")]
    latency_ms: Latency


class HealthSummary(Shape):
    """The health of a webhook as a list shows it."""

    failing_since: Annotated[
        Time | None, Meta(description="When the unbroken row of failures began; null while the last attempt succeeded.")
    ]
    consecutive_failures: int
    success_rate_hour: float | None
    success_rate_day: float | None


class HealthShown(Shape):
    """The health of a webhook in whole."""

    failing_since: Annotated[
        Time | None, Meta(description="When the unbroken row of failures began; null while the last attempt succeeded.")
    ]
    consecutive_failures: int
    last_success_at: Time | None
    last_failure_at: Time | None
    last_result: Annotated[str | None, Meta(description="Of the last attempt: a status such as 503, or a reason.")]
    succeeded: Annotated[int, Meta(description="Since the webhook was made.")]
    failed: Annotated[int, Meta(description="Since the webhook was made.")]
    hour: Stretch
    day: Stretch


class Minute(Shape):
    """What was attempted within one minute."""

    at: Annotated[Time, Meta(description="The minute's beginning.")]
    succeeded: int
    failed: int
    retries: int
    latency_ms: Latency


class Minutes(Shape):
    """Oldest first; minutes in which nothing was attempted are left out."""

    since: Time
    minutes: list[Minute]


def summary(health: Health) -> HealthSummary:
    return HealthSummary(
        failing_since=time_of(health.failing_since),
        consecutive_failures=health.consecutive_failures,
        success_rate_hour=_success_rate(health.hour),
        success_rate_day=_success_rate(health.day),
    )


def whole(health: Health) -> HealthShown:
    return HealthShown(
        failing_since=time_of(health.failing_since),
        consecutive_failures=health.consecutive_failures,
        last_success_at=time_of(health.last_success_at),
        last_failure_at=time_of(health.last_failure_at),
        last_result=health.last_result,
        succeeded=health.succeeded,
        failed=health.failed,
        hour=_stretch(health.hour),
        day=_stretch(health.day),
    )


def minute(at: Instant, window: Window) -> Minute:
    shown = time_of(at)
    assert shown is not None
    return Minute(at=shown, succeeded=window.succeeded, failed=window.failed, retries=window.retries, latency_ms=_latency(window))


def percentile_ms(share: float, counts: tuple[int, ...]) -> float | None:
    """What `share` of the requests were not slower than, evenly spread within their bucket; None when there were none.

    The last bucket has no upper end: what lies in it counts as its lower one.
    """
    total = sum(counts)
    if total == 0:
        return None
    wanted, seen, lower = share * total, 0, 0.0
    for count, upper in zip(counts, LATENCY_BOUNDS_MS, strict=False):
        if count and seen + count >= wanted:
            return round(lower + (upper - lower) * max(0.0, wanted - seen) / count, 1)
        seen, lower = seen + count, float(upper)
    return SLOWEST_MS


def _stretch(window: Window) -> Stretch:
    return Stretch(
        succeeded=window.succeeded,
        failed=window.failed,
        retries=window.retries,
        success_rate=_success_rate(window),
        latency_ms=_latency(window),
    )


def _latency(window: Window) -> Latency:
    attempts = window.succeeded + window.failed
    return Latency(
        mean=round(window.latency_ms / attempts, 1) if attempts else None,
        p50=percentile_ms(0.5, window.latencies),
        p95=percentile_ms(0.95, window.latencies),
    )


def _success_rate(window: Window) -> float | None:
    attempts = window.succeeded + window.failed
    return round(window.succeeded / attempts, 4) if attempts else None
