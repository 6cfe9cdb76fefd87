"""What time it is. Instants are whole milliseconds since 1970-01-01T00:00:00Z: one 64-bit integer in memory and in both databases."""

from __future__ import annotations

import time
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
