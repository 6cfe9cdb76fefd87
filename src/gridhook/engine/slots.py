"""How much may be in flight: one process's slots, shared out by account and by webhook. Safe to call from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gridhook.engine.lane import Lane, LaneState, Turn
from gridhook.engine.pace import Ramp, Sign
from gridhook.model import LaneLimits

SUSPECT_SHARE = 0.5  # of all slots, what lanes that do not answer may hold together
AWAY_SECONDS = 5.0  # a lane that failed for less than this,
AWAY_FAILURES = 32  # and fewer times in a row, starts again at once, not slowly
CLAIM_SECONDS = 0.02  # the longest that a lane with a free slot waits for more of them before it claims
HALVED_FROM = 32  # slots of a lane that are claimed in two halves
QUIET_SECONDS = 10.0  # without a claim: what this process knew of a lane may be out of date
REMEMBERED_LANES = 50_000
RAMP_PER_SECOND = 20.0


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
        self._lanes: dict[str, Lane] = {}
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
                lane.allow(limits, self._now())
            if lane.is_failing or lane.backlog or (lane.ramp is not None and self._still_ramping(webhook_id, lane)):
                return False
            return self._take(account_id, lane, 1) == 1

    def take_many(self, account_id: str, webhook_id: str) -> int:
        """Take all free slots of a lane, for a claim; how many were had. Of a lane whose limits this process does not know: one.

        A claim costs a transaction, whether for one delivery or for thirty: it waits until half of the slots are free, and of many it
        takes no more than half, so that one half is claimed while the other is on the wire (with all at once, the database rests
        while we send, and we rest while it writes); but it never waits longer than a moment. A lane with a rate waits that moment for
        as many requests as it may start then.
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
            wanted = lane.limit // 2 if lane.limit >= HALVED_FROM else lane.limit
            taken = self._take(account_id, lane, wanted if lane.known else 1 - lane.in_flight)
            if taken:
                lane.asked_at = now
                lane.was_quiet = quiet
            return taken

    def _take(self, account_id: str, lane: Lane, wanted: int) -> int:
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
            free = lane.paced(free, self._now())
        if free <= 0:
            return 0
        if lane.doubt:
            lane.suspect += free
            self._suspects += free
        lane.in_flight += free
        self.in_flight += free
        self._accounts[account_id] = account + free
        return free

    # --- giving back --------------------------------------------------------------------------------------------

    def give_back(self, account_id: str, webhook_id: str, count: int = 1) -> None:
        """Slots that were taken for requests that were not started."""
        with self._lock:
            lane = self._lanes[webhook_id]
            self._give_back(account_id, lane, count)
            lane.refund(count)

    def finish(self, account_id: str, webhook_id: str, sign: Sign) -> Turn | None:
        """Give the slot of a request that ended back, and adapt the lane to what it says about the receiver."""
        with self._lock:
            lane = self._lanes[webhook_id]
            self._give_back(account_id, lane, 1)
            failures = lane.failures
            turn = lane.judge(sign)
            if turn is None:
                return None
            if turn is Turn.FAILS:
                lane.failed_at = self._now()
                lane.was_ramping = lane.ramp is not None
                self._end_ramp(webhook_id, lane)
                self._failing.add(webhook_id)
            else:
                self._failing.discard(webhook_id)
                # A receiver that refuses much and takes some fails now and then for a moment: it was never away.
                if lane.was_ramping or failures >= AWAY_FAILURES or self._now() - lane.failed_at >= AWAY_SECONDS:
                    self._start_ramp(webhook_id, lane)
            return turn

    def _give_back(self, account_id: str, lane: Lane, count: int) -> None:
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
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            lane.allow(limits, self._now())

    def ramp(self, webhook_id: str) -> None:
        """This webhook comes back: its lane starts slowly. A failing lane stays one; the success of its probe begins the ramp."""
        with self._lock:
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            if not lane.is_failing:
                self._start_ramp(webhook_id, lane)

    def _start_ramp(self, webhook_id: str, lane: Lane) -> None:
        if lane.bucket is not None and lane.bucket.rate <= self._ramp_per_second:
            return  # it cannot rush
        lane.ramp = Ramp(self._ramp_per_second, self._now())
        self._ramping.add(webhook_id)

    def _still_ramping(self, webhook_id: str, lane: Lane) -> bool:
        if lane.ramp is not None and lane.ramp.is_over(self._now()):
            self._end_ramp(webhook_id, lane)
        return lane.ramp is not None

    def _end_ramp(self, webhook_id: str, lane: Lane) -> None:
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
                return Lane(self.webhook).state(self._now())
            self._still_ramping(webhook_id, lane)
            return lane.state(self._now())

    @property
    def failing(self) -> int:
        """Lanes that fail."""
        return len(self._failing)

    @property
    def ramping(self) -> int:
        """Lanes that come back."""
        with self._lock:
            return sum(self._still_ramping(webhook_id, self._lanes[webhook_id]) for webhook_id in list(self._ramping))

    def by_account(self) -> dict[str, int]:
        """How many are taken, of accounts that have any."""
        with self._lock:
            return {id: count for id, count in self._accounts.items() if count}

    def _new_lane(self, webhook_id: str) -> Lane:
        if len(self._lanes) >= REMEMBERED_LANES:
            self._forget()
        lane = self._lanes[webhook_id] = Lane(self.webhook)
        return lane

    def _forget(self) -> None:
        """Lanes with nothing in flight; those that fail or come back are kept while they are the smaller part."""
        kept = {key: lane for key, lane in self._lanes.items() if lane.in_flight or lane.is_failing or lane.ramp is not None}
        if len(kept) > REMEMBERED_LANES // 2:
            kept = {key: lane for key, lane in kept.items() if lane.in_flight}
        self._lanes = kept
        self._failing &= kept.keys()
        self._ramping &= kept.keys()
