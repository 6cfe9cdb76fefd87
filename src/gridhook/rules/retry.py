"""What follows from an attempt: delivered, tried again, or given up. Pure: time and chance come in as arguments.

Source: AccessGrid webhook guide, "Attempt / Delay after previous": success is 200 or 201; seven attempts, the later six after
30 s, 2 min, 5 min, 15 min, 30 min and 1 h; none once the event is older than six hours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from gridhook.model import Answered, Delivered, FailureReason, GaveUp, Instant, Outcome, Reason, RetryAt, Unreachable, Verdict
from gridhook.rules.header_fields import first

RECEIVED = frozenset({200, 201})
DELIVERED = Delivered()
ASKS_TO_WAIT = frozenset({429, 503})  # the statuses whose Retry-After is honoured

LAST_CALL_MS = 30_000
"""How long before the window's end a lengthened retry is due at the latest. Due at the very end, it would be found expired."""

MAX_RETRY_AFTER_SECONDS = 7 * 86_400  # more than any window asks for; keeps absurd numbers out of the arithmetic

_SECONDS = re.compile(rb"[0-9]+")
_LONGEST_DATE = 64  # bytes; an HTTP-date has 29


def is_received(outcome: Outcome) -> bool:
    """Whether this is what we call delivered."""
    return isinstance(outcome, Answered) and outcome.status in RECEIVED


def judge(
    outcome: Outcome,
    number: int,
    expires_at: Instant,
    now: Instant,
    *,
    delays_seconds: Sequence[int],
    jitter: float = 0.0,
    chance: float = 0.0,
    honour_retry_after: bool = True,
) -> Verdict:
    """What follows from this outcome.

    number: of the attempt that just ended, from 1.
    expires_at: the event's time plus the retry window. A retry whose plain time lies after it is not made: the delivery is
        `expired`. When the schedule has no further delay it is `exhausted`.
    delays_seconds: before attempts 2, 3, ...
    jitter: how much later than planned, as a share of the delay; never earlier.
    chance: in [0, 1), drawn by the caller; spreads retries so that a receiver coming back up is not met by every waiting
        delivery at once.
    honour_retry_after: let Retry-After on 429 and 503 lengthen the delay, never shorten it.

    Neither jitter nor Retry-After costs a delivery an attempt that the plain schedule would have made: at most they move it to
    shortly before the window's end.
    An attempt that our own stop interrupted does not count: it is due again at once, under the same number.
    """
    if is_received(outcome):
        return DELIVERED
    if isinstance(outcome, Unreachable) and outcome.reason is Reason.INTERRUPTED:
        return RetryAt(now) if now <= expires_at else GaveUp(FailureReason.EXPIRED)
    if number > len(delays_seconds):
        return GaveUp(FailureReason.EXHAUSTED)
    delay_ms = delays_seconds[number - 1] * 1000
    plain_at = now + delay_ms
    if plain_at > expires_at:
        return GaveUp(FailureReason.EXPIRED)
    if honour_retry_after and isinstance(outcome, Answered) and outcome.status in ASKS_TO_WAIT:
        asked = retry_after_seconds(outcome.headers, now)
        if asked is not None:
            delay_ms = max(delay_ms, asked * 1000)
    later_at = now + int(delay_ms * (1 + jitter * chance))
    return RetryAt(max(plain_at, min(later_at, expires_at - LAST_CALL_MS)))


def retry_after_seconds(headers: bytes, now: Instant) -> int | None:
    """How long the receiver asks us to wait, in whole seconds rounded up; None when it does not say so in a usable way.

    headers: the raw header section. Of several fields the first is read.
    RFC 9110 s10.2.3: a number of seconds, or an HTTP-date. A date in the past, a negative or broken value count as not said;
    more than a week counts as a week.
    """
    value = first(headers, "Retry-After")
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        digits = value.lstrip(b"0")[:12]
        return min(int(digits or b"0"), MAX_RETRY_AFTER_SECONDS)
    if len(value) > _LONGEST_DATE or not value.isascii():
        return None
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        # asctime, one of RFC 9110's three formats, names no zone: HTTP-dates are in UTC.
        at = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if at <= now:
        return None
    return min(-((now - at) // 1000), MAX_RETRY_AFTER_SECONDS)
