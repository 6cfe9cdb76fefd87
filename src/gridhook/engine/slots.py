"""How much may be in flight: one process's slots, shared out by account and by webhook. Safe to call from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gridhook.engine.pace import Bucket, Ramp, Sign
from gridhook.model import LaneLimits

FIRST_LIMIT = 16  # slots of a lane that has not answered yet
MIXED_FLOOR = 4  # slots that a lane keeps while some of its requests succeed
FAILING_AFTER = 8  # failed attempts in an unbroken row that make a lane a failing one
DOUBT = 8  # answers in a row after which a lane that was silent once is trusted again
SUSPECT_SHARE = 0.5  # of all slots, what lanes that do not answer may hold together
CLAIM_SECONDS = 0.02  # the longest that a lane with a free slot waits for more of them before it claims
QUIET_SECONDS = 10.0  # without a claim: what this process knew of a lane may be out of date
REMEMBERED_LANES = 50_000
RAMP_PER_SECOND = 20.0


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
class _Lane:
    learned: int  # how many at a time the receiver is taken to bear
    cap: int  # what we and the customer allow
    limit: int  # requests that may be in flight now: what follows from both, and from `is_failing`
    limits: LaneLimits | None = None
    known: bool = False  # `limits` is what the customer set
    in_flight: int = 0
    asked_at: float = float("-inf")  # when slots were last taken for a claim, monotonic
    was_quiet: bool = False  # the last claim was the first after a while
    doubt: int = 1  # answers until it is no suspect any more
    suspect: int = 0  # of those in flight, taken while it was one
    since_halved: int = 0  # results since the limit was last halved for an answer
    failures: int = 0  # in a row
    is_failing: bool = False
    bucket: Bucket | None = None
    ramp: Ramp | None = None
    backlog: bool = False  # due rows wait: who comes later must not overtake them. Kept for lanes with a rate only

    def settle(self) -> None:
        """To be called after a change of what `limit` follows from."""
        self.limit = 1 if self.is_failing else min(self.learned, self.cap)


class Slots:
    """Counts requests in flight, and paces the lanes that must not start as many as they could.

    A lane (one webhook) starts with a few slots; each quick receipt gives it one more, up to `webhook` or its own limit; an answer
    that says "overloaded" halves them, and so does each request that brings none in time. Lanes that do not answer share at most
    half of all slots, however many they are. So dead receivers cost a bounded part of the process, and one that answers finds room.

    A lane whose attempts fail in an unbroken row is failing: it makes one request at a time, for the delivery that has waited
    longest, until one succeeds. Then, as after a pause, it ramps up. A row that is broken by a single success starts anew.
    """

    def __init__(
        self,
        *,
        total: int,
        account: int,
        webhook: int,
        ramp_per_second: float = RAMP_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.account = account
        self.webhook = webhook
        self.in_flight = 0
        self.accepting = True
        self._ramp_per_second = ramp_per_second
        self._now = monotonic
        self._suspects = 0
        self._suspect_share = max(1, int(total * SUSPECT_SHARE))
        self._lock = threading.Lock()
        self._accounts: dict[str, int] = {}
        self._lanes: dict[str, _Lane] = {}
        self._failing: set[str] = set()
        self._ramping: set[str] = set()

    # --- taking -------------------------------------------------------------------------------------------------

    def reserve(self, account_id: str, webhook_id: str, limits: LaneLimits | None) -> bool:
        """Take one slot for a delivery that is being published, if the process, the account and the lane each have one.

        limits: of the webhook, as they stand in the database. Never while older deliveries of a paced lane wait: the probe of a
        failing lane is for the oldest, and so are the first places of one that comes back.
        """
        with self._lock:
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            if not lane.known or (limits is not lane.limits and limits != lane.limits):
                self._allow(lane, limits)
            if lane.is_failing or lane.backlog or (lane.ramp is not None and self._still_ramping(webhook_id, lane)):
                return False
            return self._take(account_id, lane, 1) == 1

    def take_many(self, account_id: str, webhook_id: str) -> int:
        """Take all free slots of a lane, for a claim; how many were had. Of a lane whose limits this process does not know: one.

        A claim costs a transaction, whether for one delivery or for thirty: it waits until half of the slots are free, so that one
        half can be claimed while the other is on the wire, but never longer than a moment. A lane with a rate waits that moment
        for as many requests as it may start then.
        """
        with self._lock:
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            now = self._now()
            quiet = now - lane.asked_at >= QUIET_SECONDS and not lane.in_flight
            if quiet:
                lane.known = False
            elif now - lane.asked_at < CLAIM_SECONDS:
                if lane.bucket is not None or lane.ramp is not None:
                    return 0
                if lane.limit - lane.in_flight < max(1, lane.limit // 2):
                    return 0
            self._still_ramping(webhook_id, lane)
            taken = self._take(account_id, lane, self.webhook if lane.known else 1 - lane.in_flight)
            if taken:
                lane.asked_at = now
                lane.was_quiet = quiet
            return taken

    def _take(self, account_id: str, lane: _Lane, wanted: int) -> int:
        if not self.accepting:
            return 0
        account = self._accounts.get(account_id, 0)
        # Spelled out: this runs for each delivery, and `min` of four takes three times as long.
        free = lane.limit - lane.in_flight
        if free > wanted:
            free = wanted
        if free > self.account - account:
            free = self.account - account
        if free > self.total - self.in_flight:
            free = self.total - self.in_flight
        if lane.doubt and free > self._suspect_share - self._suspects:
            free = self._suspect_share - self._suspects
        if lane.ramp is not None or lane.bucket is not None:
            free = self._paced(lane, free)
        if free <= 0:
            return 0
        if lane.doubt:
            lane.suspect += free
            self._suspects += free
        lane.in_flight += free
        self.in_flight += free
        self._accounts[account_id] = account + free
        return free

    def _paced(self, lane: _Lane, free: int) -> int:
        """How many of the free slots the lane's rate and ramp allow; those are spent."""
        now = self._now()
        if lane.bucket is not None:
            free = min(free, lane.bucket.free(now))
            lane.backlog = lane.backlog or free <= 0
        if lane.ramp is not None and (free > 0 or lane.in_flight >= lane.limit):  # not when it was others that took the room
            free = lane.ramp.of(free, now)
        if free > 0:
            for bucket in (lane.bucket, lane.ramp):
                if bucket is not None:
                    bucket.spend(free)
        return free

    # --- giving back --------------------------------------------------------------------------------------------

    def give_back(self, account_id: str, webhook_id: str, count: int = 1) -> None:
        """Slots that were taken for requests that were not started."""
        with self._lock:
            lane = self._lanes[webhook_id]
            self._give_back(account_id, lane, count)
            for bucket in (lane.bucket, lane.ramp):
                if bucket is not None:
                    bucket.refund(count)

    def finish(self, account_id: str, webhook_id: str, sign: Sign) -> Turn | None:
        """Give the slot of a request that ended back, and adapt the lane to what it says about the receiver."""
        with self._lock:
            lane = self._lanes[webhook_id]
            self._give_back(account_id, lane, 1)
            if sign is Sign.NONE:
                return None
            if sign is Sign.SILENT or sign is Sign.TOO_SLOWLY:
                lane.doubt = DOUBT
            elif lane.doubt:
                lane.doubt -= 1
            if sign is Sign.RECEIVED or sign is Sign.SLOWLY or sign is Sign.TOO_SLOWLY:
                lane.failures = 0
                if lane.is_failing:
                    return self._recovered(webhook_id, lane)
            else:
                lane.failures += 1
                if lane.is_failing:
                    return None
                if lane.failures >= FAILING_AFTER:
                    return self._failed(webhook_id, lane)
            self._adapt(lane, sign)
            return None

    def _adapt(self, lane: _Lane, sign: Sign) -> None:
        lane.since_halved += 1
        if sign is Sign.RECEIVED:
            if lane.learned < lane.cap:
                lane.learned += 1
                lane.limit = lane.learned
        elif sign is Sign.SILENT or sign is Sign.TOO_SLOWLY:
            self._halve(lane)
        elif sign is Sign.OVERLOADED and lane.since_halved >= lane.limit:
            # Once per round: all that was in flight together says the same thing.
            self._halve(lane)

    def _halve(self, lane: _Lane) -> None:
        lane.since_halved = 0
        lane.learned = max(min(MIXED_FLOOR, lane.limit), lane.limit // 2)
        lane.settle()

    def _failed(self, webhook_id: str, lane: _Lane) -> Turn:
        lane.is_failing = True
        lane.settle()
        lane.ramp = None
        self._failing.add(webhook_id)
        self._ramping.discard(webhook_id)
        return Turn.FAILS

    def _recovered(self, webhook_id: str, lane: _Lane) -> Turn:
        lane.is_failing = False
        lane.learned = FIRST_LIMIT
        lane.settle()
        self._failing.discard(webhook_id)
        self._start_ramp(webhook_id, lane)
        return Turn.RECOVERS

    def _give_back(self, account_id: str, lane: _Lane, count: int) -> None:
        self.in_flight -= count
        lane.in_flight -= count
        if lane.suspect:
            suspect = min(count, lane.suspect)
            lane.suspect -= suspect
            self._suspects -= suspect
        left = self._accounts[account_id] - count
        if left:
            self._accounts[account_id] = left
        else:
            del self._accounts[account_id]

    # --- what is known of a lane --------------------------------------------------------------------------------

    def allow(self, webhook_id: str, limits: LaneLimits | None) -> None:
        """These are the customer's limits now. None: none were set, only ours hold."""
        with self._lock:
            self._allow(self._lanes.get(webhook_id) or self._new_lane(webhook_id), limits)

    def _allow(self, lane: _Lane, limits: LaneLimits | None) -> None:
        own = limits.max_in_flight if limits is not None else None
        rate = limits.rate_per_second if limits is not None else None
        lane.limits, lane.known = limits, True
        lane.cap = self.webhook if own is None else max(1, min(self.webhook, own))
        lane.settle()
        if rate is None:
            lane.bucket, lane.backlog = None, False
        elif lane.bucket is None:
            lane.bucket = Bucket(rate, self._now(), lane.in_flight)
        elif lane.bucket.rate != rate:
            lane.bucket.change(rate, self._now())

    def ramp(self, webhook_id: str) -> None:
        """This webhook comes back: its lane starts slowly. A failing lane stays one; the success of its probe begins the ramp."""
        with self._lock:
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            if not lane.is_failing:
                self._start_ramp(webhook_id, lane)

    def _start_ramp(self, webhook_id: str, lane: _Lane) -> None:
        lane.ramp = Ramp(self._ramp_per_second, self._now())
        self._ramping.add(webhook_id)

    def _still_ramping(self, webhook_id: str, lane: _Lane) -> bool:
        if lane.ramp is not None and lane.ramp.is_over(self._now()):
            self._end_ramp(webhook_id, lane)
        return lane.ramp is not None

    def _end_ramp(self, webhook_id: str, lane: _Lane) -> None:
        lane.ramp = None
        self._ramping.discard(webhook_id)

    def left(self, webhook_id: str, *, waiting: bool, long: bool = False) -> None:
        """After a claim: whether rows of this lane are due that it did not get, and whether those it got had waited for long.

        A ramp ends with what had waited for it. And one begins where a claim after a quiet time finds a backlog that has waited for
        long: the webhook came back by way of another process, or this one was away.
        """
        with self._lock:
            lane = self._lanes.get(webhook_id)
            if lane is None:
                return
            lane.backlog = waiting and lane.bucket is not None
            if not waiting and lane.ramp is not None:
                self._end_ramp(webhook_id, lane)
            elif waiting and long and lane.was_quiet and lane.ramp is None and not lane.is_failing:
                self._start_ramp(webhook_id, lane)

    def limit(self, webhook_id: str) -> int:
        """Requests of this lane that may be in flight now."""
        return self.state(webhook_id).limit

    def state(self, webhook_id: str) -> LaneState:
        with self._lock:
            lane = self._lanes.get(webhook_id)
            if lane is None:
                return LaneState(0, min(FIRST_LIMIT, self.webhook), None, False, False, 0)
            is_ramping = self._still_ramping(webhook_id, lane)
            now = self._now()
            rates = []
            for bucket in (lane.bucket, lane.ramp):
                if bucket is not None:
                    bucket.free(now)  # a ramp's rate follows the time
                    rates.append(bucket.rate)
            return LaneState(lane.in_flight, lane.limit, min(rates, default=None), lane.is_failing, is_ramping, lane.failures)

    @property
    def failing(self) -> int:
        """Lanes that fail."""
        return len(self._failing)

    @property
    def ramping(self) -> int:
        """Lanes that come back."""
        with self._lock:
            return sum(self._still_ramping(webhook_id, self._lanes[webhook_id]) for webhook_id in list(self._ramping))

    def _new_lane(self, webhook_id: str) -> _Lane:
        if len(self._lanes) >= REMEMBERED_LANES:
            self._forget()
        lane = self._lanes[webhook_id] = _Lane(FIRST_LIMIT, self.webhook, min(FIRST_LIMIT, self.webhook))
        return lane

    def _forget(self) -> None:
        """Lanes with nothing in flight; those that fail or come back are kept while they are the smaller part."""
        kept = {key: lane for key, lane in self._lanes.items() if lane.in_flight or lane.is_failing or lane.ramp is not None}
        if len(kept) > REMEMBERED_LANES // 2:
            kept = {key: lane for key, lane in kept.items() if lane.in_flight}
        self._lanes = kept
        self._failing &= kept.keys()
        self._ramping &= kept.keys()
