"""How fast a lane may start requests, and what an attempt says about its receiver. Time comes in as monotonic seconds."""

from __future__ import annotations

from enum import Enum

from gridhook.model import Answered, Outcome, Reason
from gridhook.rules.retry import RECEIVED

BURST_SECONDS = 0.2  # a lane that was quiet may start what its rate gives in this time at once, and one request in any case
STEP_SECONDS = 2.0  # a ramp doubles this often
RAMP_END = 50_000.0  # requests per second that no lane reaches: a ramp ends here
IDLE_SECONDS = 60.0  # and when nothing was to be sent for so long

QUICK_US = 1_000_000  # an answer within this says that the receiver has room for one request more
# These say nothing about the receiver.
OURS = frozenset({Reason.INTERRUPTED, Reason.INTERNAL, Reason.CREDENTIAL_UNAVAILABLE, Reason.CREDENTIAL_EXPIRED})


class Sign(Enum):
    """What one attempt says about its receiver."""

    RECEIVED = "received"  # and quickly: there is room for more
    SLOWLY = "slowly"  # received, but no more at a time than now
    TOO_SLOWLY = "too slowly"  # received when half of the time limit was over
    REFUSED = "refused"  # answered, with a status that is about the request
    OVERLOADED = "overloaded"  # answered 429 or 5xx
    SILENT = "silent"  # no answer, or one too late to be of use
    NONE = "none"  # a trouble of ours


def sign_of(outcome: Outcome, slow_us: float) -> Sign:
    """slow_us: from where on an answer is too slow."""
    took_us = outcome.exchange.timings.total_us
    if not isinstance(outcome, Answered):
        return Sign.NONE if outcome.reason in OURS else Sign.SILENT
    if outcome.status in RECEIVED:
        return Sign.RECEIVED if took_us < QUICK_US else Sign.SLOWLY if took_us < slow_us else Sign.TOO_SLOWLY
    if took_us >= slow_us:
        return Sign.SILENT
    return Sign.OVERLOADED if outcome.status == 429 or outcome.status >= 500 else Sign.REFUSED


class Bucket:
    """A token for each request that may start: `rate` per second, saved up for a moment only."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: float, now: float, started: int = 0) -> None:
        """started: requests that the lane has in flight already; they count as just started."""
        self.rate = rate
        self._at = now
        self._tokens = max(0.0, self.burst - started)

    @property
    def burst(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def free(self, now: float) -> int:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return int(self._tokens + 1e-9)

    def spend(self, count: int) -> None:
        self._tokens -= count

    def refund(self, count: int) -> None:
        """What was spent on requests that were not started after all."""
        self._tokens = min(self.burst, self._tokens + count)

    def change(self, rate: float, now: float) -> None:
        """Another rate from now on; what was saved up stays, as far as the new rate allows."""
        self.free(now)
        self.rate = rate
        self._tokens = min(self.burst, self._tokens)


class Ramp(Bucket):
    """A rate that begins low and doubles, until the lane does not need all of it any more."""

    __slots__ = ("_asked_at", "_first", "_roomy_since", "_started_at")

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, now)
        self._tokens = 1.0
        self._first = rate
        self._started_at = now
        self._asked_at = now
        self._roomy_since: float | None = None

    def free(self, now: float) -> int:
        self.rate = self._rate(now)
        return super().free(now)

    def _rate(self, now: float) -> float:
        return min(RAMP_END, self._first * 2.0 ** min(64, int((now - self._started_at) / STEP_SECONDS)))

    def of(self, wanted: int, now: float) -> int:
        """How many of the wanted requests may start; remembers whether that was enough."""
        allowed = self.free(now)
        self._asked_at = now
        if allowed < wanted:
            self._roomy_since = None
        elif self._roomy_since is None:
            self._roomy_since = now
        return min(wanted, allowed)

    def is_over(self, now: float) -> bool:
        """It held nothing back for a whole step, is faster than any lane, or nobody asked for long."""
        roomy = self._roomy_since is not None and now - self._roomy_since >= STEP_SECONDS
        return roomy or self._rate(now) >= RAMP_END or now - self._asked_at >= IDLE_SECONDS
