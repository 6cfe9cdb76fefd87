"""What time it is. Instants are whole milliseconds since 1970-01-01T00:00:00Z: one 64-bit integer in memory and in both databases."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from gridhook.model import Instant


class Clock(Protocol):
    def now(self) -> Instant:
        """The current instant. May step when the operator sets the clock; durations are measured with `time.monotonic`."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> Instant:
        return time.time_ns() // 1_000_000


def rfc3339(at: Instant) -> str:
    """`2026-11-22T10:00:00Z`, with three decimals only when they are not zero."""
    whole, millis = divmod(at, 1000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"
