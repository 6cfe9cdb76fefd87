"""One webhook's lane in this process: how much its receiver bears, what its customer allows, and how it has been doing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gridhook.engine.pace import Bucket, Ramp, Sign
from gridhook.model import LaneLimits

FIRST_LIMIT = 16  # slots of a lane that has not answered yet
MIXED_FLOOR = 4  # slots that a lane keeps while some of its requests succeed
FAILING_AFTER = 8  # failed attempts in an unbroken row that make a lane a failing one
DOUBT = 8  # answers in a row after which a lane that was silent once is trusted again


class Turn(Enum):
    """What became of a lane with an attempt's end."""

    FAILS = "fails"
    RECOVERS = "recovers"


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane stands in this process, to be shown."""

    in_flight: int
    limit: int  # requests that may be in flight now, all things considered
    rate_per_second: float | None  # requests that may start per second now; None: as many as there are slots
    is_failing: bool  # one request at a time, until one succeeds
    is_ramping: bool  # it came back a moment ago
    consecutive_failures: int  # seen by this process


@dataclass(slots=True)
class Lane:
    """Made with its `most`; the rest is learned. Not safe for threads by itself: `Slots` holds its lock around each call."""

    most: int  # requests in flight that we allow any lane
    cap: int = 0  # that we and the customer allow
    learned: int = FIRST_LIMIT  # that the receiver is taken to bear
    limit: int = 0  # what follows from these, and from `is_failing`
    limits: LaneLimits | None = None
    known: bool = False  # `limits` is what the customer set
    in_flight: int = 0
    asked_at: float = float("-inf")  # when slots were last taken for a claim, monotonic
    was_quiet: bool = False  # that claim was the first after a while
    doubt: int = 1  # answers until it is no suspect any more
    suspect: int = 0  # of those in flight, taken while it was one
    since_halved: int = 0  # results since `learned` was last halved
    failures: int = 0  # in a row
    is_failing: bool = False
    failed_at: float = 0.0  # since when, monotonic
    was_ramping: bool = False  # it had not come back wholly when it failed
    bucket: Bucket | None = None
    ramp: Ramp | None = None
    backlog: bool = False  # due rows wait: who comes later must not overtake them. Kept for lanes with a rate only

    def __post_init__(self) -> None:
        self.cap = self.most
        self._settle()

    def _settle(self) -> None:
        self.limit = 1 if self.is_failing else min(self.learned, self.cap)

    # --- what is allowed ----------------------------------------------------------------------------------------

    def allow(self, limits: LaneLimits | None, now: float) -> None:
        own = limits.max_in_flight if limits is not None else None
        rate = limits.rate_per_second if limits is not None else None
        self.limits, self.known = limits, True
        self.cap = self.most if own is None else max(1, min(self.most, own))
        self._settle()
        if rate is None:
            self.bucket, self.backlog = None, False
        elif self.bucket is None:
            self.bucket = Bucket(rate, now, self.in_flight)
        elif self.bucket.rate != rate:
            self.bucket.change(rate, now)

    def paced(self, free: int, now: float) -> int:
        """How many of so many free slots rate and ramp allow to be used now; those are spent."""
        if self.bucket is not None:
            free = min(free, self.bucket.free(now))
            self.backlog = self.backlog or free <= 0
        if self.ramp is not None and (free > 0 or self.in_flight >= self.limit):  # not when it was others that took the room
            free = self.ramp.of(free, now)
        if free > 0:
            for bucket in (self.bucket, self.ramp):
                if bucket is not None:
                    bucket.spend(free)
        return free

    def refund(self, count: int) -> None:
        """So many requests were not started after all."""
        for bucket in (self.bucket, self.ramp):
            if bucket is not None:
                bucket.refund(count)

    # --- what attempts say --------------------------------------------------------------------------------------

    def judge(self, sign: Sign) -> Turn | None:
        """Adapt to what the end of an attempt says about the receiver."""
        if sign is Sign.RECEIVED and not self.is_failing:  # most of them
            self.failures = 0
            self.since_halved += 1
            if self.doubt:
                self.doubt -= 1
            if self.learned < self.cap:
                self.learned += 1
                self.limit = self.learned
            return None
        if sign is Sign.NONE:
            return None
        if sign is Sign.SILENT or sign is Sign.TOO_SLOWLY:
            self.doubt = DOUBT
        elif self.doubt:
            self.doubt -= 1
        if sign is Sign.RECEIVED or sign is Sign.SLOWLY or sign is Sign.TOO_SLOWLY:
            self.failures = 0
            if self.is_failing:
                self.is_failing = False
                self.learned = FIRST_LIMIT
                self._settle()
                return Turn.RECOVERS
        else:
            self.failures += 1
            if self.is_failing:
                return None
            if self.failures >= FAILING_AFTER:
                self.is_failing = True
                self._settle()
                return Turn.FAILS
        self._adapt(sign)
        return None

    def _adapt(self, sign: Sign) -> None:
        self.since_halved += 1
        if sign is Sign.SILENT or sign is Sign.TOO_SLOWLY:
            self._halve()
        elif sign is Sign.OVERLOADED and self.since_halved >= self.limit:
            # Once per round: all that was in flight together says the same thing.
            self._halve()

    def _halve(self) -> None:
        self.since_halved = 0
        self.learned = max(min(MIXED_FLOOR, self.limit), self.limit // 2)
        self._settle()

    # --- to be shown --------------------------------------------------------------------------------------------

    def state(self, now: float) -> LaneState:
        rates = []
        for bucket in (self.bucket, self.ramp):
            if bucket is not None:
                bucket.free(now)  # a ramp's rate follows the time
                rates.append(bucket.rate)
        return LaneState(self.in_flight, self.limit, min(rates, default=None), self.is_failing, self.ramp is not None, self.failures)
