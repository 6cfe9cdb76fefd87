"""Which delivery goes out next: finds lanes with due rows, claims what there are free slots for, hands claims to the sender."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Sequence
from itertools import islice

from gridhook.config import Settings
from gridhook.engine.delivery import Deliverer
from gridhook.engine.lane import Turn
from gridhook.engine.pace import sign_of
from gridhook.engine.recorder import Recorder
from gridhook.engine.slots import CLAIM_SECONDS, Slots
from gridhook.errors import GridhookError
from gridhook.model import Claim, Finished, GaveUp, Instant, LaneLimits, RetryAt
from gridhook.store.promises import Claimed, Store, Want
from gridhook.telemetry import Log, Metrics

LANES_PER_CLAIM = 64  # lanes asked about in one transaction
LANES_PER_ROUND = 500  # waiting lanes that are asked whether they have a free slot, between two naps
LANES_PER_LOOK = 1000  # lanes read per look at the database
HELD_BY_OTHERS_MS = 50
LONG_MS = 60_000  # first attempts at events of this age were held back: by a pause, a missing proof, or our own absence
UNRECORDED_LIMIT = 4096  # finished attempts that may wait for the disk before nothing more is sent

LaneKey = tuple[str, str]  # (account_id, webhook_id)


class Dispatcher:
    """Runs on the event loop. The database is the queue; what is kept here are hints of when to look at which lane."""

    def __init__(self, *, store: Store, deliverer: Deliverer, slots: Slots, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._store = store
        self._deliverer = deliverer
        self._slots = slots
        self._settings = settings
        self._log = log
        self.recorder = Recorder(store, log, metrics, self._settled)
        self._due: dict[LaneKey, Instant] = {}
        self._heap: list[tuple[Instant, LaneKey]] = []
        self._waiting_lanes: dict[LaneKey, None] = {}  # due, but without a free slot when last looked at
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._slow_us = settings.attempt_seconds * 1_000_000 / 2
        self._cursor: LaneKey | None = None
        self._next_look = 0.0
        self._stopping = False
        self._ticked = time.monotonic()
        self.in_flight = 0

    # --- what others call ---------------------------------------------------------------------------------------

    def reserve(self, account_id: str, webhook_id: str, limits: LaneLimits | None = None) -> bool:
        """A slot for a delivery that is about to be born leased. Called on the store's writer thread."""
        return self._may_send() and self._slots.reserve(account_id, webhook_id, limits)

    def give_back(self, account_id: str, webhook_id: str) -> None:
        """The opposite of `reserve`, when the transaction did not come to be."""
        self._slots.give_back(account_id, webhook_id)

    def take(self, claims: Sequence[Claim]) -> None:
        """Send what is claimed. Each claim holds a slot already."""
        if claims:
            self.in_flight += len(claims)
            self._idle.clear()
            attempt, finished = self._deliverer.attempt, self._finished
            for claim in claims:
                attempt(claim, finished)

    def announce(self, lanes: Sequence[LaneKey]) -> None:
        """These lanes hold rows that are due now."""
        now = self._store.clock.now()
        for lane in lanes:
            self._note(lane, now)
        if lanes:
            self._wake.set()

    def _may_send(self) -> bool:
        """Not while finished attempts pile up before the disk, and not into a dead sender: it would use up every delivery's attempts."""
        return self.recorder.waiting < UNRECORDED_LIMIT and self._deliverer.can_send()

    def is_alive(self) -> bool:
        return time.monotonic() - self._ticked < 10 + 5 * self._settings.poll_seconds

    # --- what becomes of a claim --------------------------------------------------------------------------------

    def _finished(self, finished: Finished) -> None:
        claim = finished.claim
        turn = self._slots.finish(claim.account_id, claim.webhook_id, sign_of(finished.attempt.outcome, self._slow_us))
        if turn is not None:
            self._tell(turn, claim)
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()
        if self._waiting_lanes and not self._wake.is_set():
            self._wake.set()
        self.recorder.add(finished)

    def _tell(self, turn: Turn, claim: Claim) -> None:
        if turn is Turn.FAILS:
            msg = "a webhook fails in an unbroken row: it gets one request at a time, until one succeeds"
            self._log.warning(msg, account=claim.account_id, webhook=claim.webhook_id)
        else:
            self._log.info("a webhook that failed succeeds again", account=claim.account_id, webhook=claim.webhook_id)

    def _settled(self, finished: Finished, kept: bool) -> None:
        if kept and isinstance(finished.verdict, RetryAt):
            self._note((finished.claim.account_id, finished.claim.webhook_id), finished.verdict.at)
        elif kept and isinstance(finished.verdict, GaveUp):
            self._log.warning(
                "delivery failed for good",
                account_id=finished.claim.account_id,
                webhook_id=finished.claim.webhook_id,
                event_id=finished.claim.event_id,
                why=finished.verdict.why.value,
            )

    def _note(self, lane: LaneKey, at: Instant) -> None:
        known = self._due.get(lane)
        if known is None or at < known:
            self._due[lane] = at
            heapq.heappush(self._heap, (at, lane))
            if self._heap[0][1] == lane:
                self._wake.set()

    # --- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`. A failing database slows it down, and never ends it."""
        pause = 0.1
        away_since: float | None = None
        while not self._stopping:
            self._ticked = time.monotonic()
            try:
                if self._ticked >= self._next_look:
                    await self._look()
                claimed = await self._claim()
                if away_since is not None:
                    self._log.outage_over("the database answers again", after_ms=int((time.monotonic() - away_since) * 1000))
                    away_since, pause = None, 0.1
                if not claimed:
                    await self._sleep()
            except GridhookError as trouble:
                cause = " ".join(str(trouble.__cause__ or "").split())  # in the database's own words, which callers do not hear
                away_since = away_since or self._ticked
                self._next_look = 0.0  # it is over when the database was asked and has answered
                self._log.outage("the dispatcher waits for the database", error=str(trouble), cause=cause or None)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _look(self) -> None:
        """Read from the database which lanes hold queued rows: ours of a former life, other processes', expired leases."""
        lanes = await self._store.lanes(now=self._store.clock.now(), limit=LANES_PER_LOOK, after=self._cursor)
        for lane in lanes:
            self._note((lane.account_id, lane.webhook_id), lane.due_at)
        full = len(lanes) == LANES_PER_LOOK
        self._cursor = (lanes[-1].account_id, lanes[-1].webhook_id) if full else None
        # A full page means that there are more lanes: read on at once, but let claims go between.
        self._next_look = time.monotonic() + (0.0 if full else self._settings.poll_seconds)

    async def _claim(self) -> bool:
        """One round over the lanes that are due; False when there was nothing to ask for."""
        now = self._store.clock.now()
        while self._heap and self._heap[0][0] <= now:
            at, lane = heapq.heappop(self._heap)
            if self._due.get(lane) == at:
                self._waiting_lanes[lane] = None
        if not self._may_send():
            return False
        wants = self._wants()
        if not wants:
            return False
        try:
            claimed = await self._store.claim(wants, lease_ms=self._settings.lease_ms, now=now)
        except BaseException:
            for want in wants:
                self._slots.give_back(want.account_id, want.webhook_id, want.limit)
                self._note((want.account_id, want.webhook_id), now)
            raise
        served = {claim.webhook_id for claim in claimed.claims}
        self._learn(wants, claimed, served, now)
        self._return_unused(wants, claimed.claims)
        for left in claimed.lanes:
            # Due, yet not one row of it to be had, not even to be set aside: another process holds them for a moment. Do not spin on it.
            at = left.due_at if left.webhook_id in claimed.limits else max(left.due_at, now + HELD_BY_OTHERS_MS)
            self._note((left.account_id, left.webhook_id), at)
        self.take(claimed.claims)
        return True

    def _wants(self) -> list[Want]:
        """Slots for lanes that wait, in turn: the line moves on, whether they got any or not."""
        wants: list[Want] = []
        for lane in list(islice(self._waiting_lanes, LANES_PER_ROUND)):
            del self._waiting_lanes[lane]
            count = self._slots.take_many(*lane)
            if count:
                self._due.pop(lane, None)
                wants.append(Want(*lane, count))
                if len(wants) == LANES_PER_CLAIM:
                    break
            else:
                self._waiting_lanes[lane] = None
        return wants

    def _learn(self, wants: Sequence[Want], claimed: Claimed, served: set[str], now: Instant) -> None:
        """What the claim showed of its lanes: their customers' limits, and whether more is due than there were slots for."""
        for webhook_id in served | claimed.limits.keys():
            self._slots.allow(webhook_id, claimed.limits.get(webhook_id))
        waiting = {left.webhook_id for left in claimed.lanes if left.due_at <= now}
        long = {claim.webhook_id for claim in claimed.claims if claim.number == 1 and claim.time_at <= now - LONG_MS}
        for want in wants:
            self._slots.left(want.webhook_id, waiting=want.webhook_id in waiting, long=want.webhook_id in long)

    def _return_unused(self, wants: Sequence[Want], claims: Sequence[Claim]) -> None:
        used: dict[str, int] = {}
        for claim in claims:
            used[claim.webhook_id] = used.get(claim.webhook_id, 0) + 1
        for want in wants:
            unused = want.limit - used.get(want.webhook_id, 0)
            if unused:
                self._slots.give_back(want.account_id, want.webhook_id, unused)

    async def _sleep(self) -> None:
        now = self._store.clock.now()
        until_due = (self._heap[0][0] - now) / 1000 if self._heap else self._settings.poll_seconds
        until_look = self._next_look - time.monotonic()
        seconds = max(0.0, min(until_due, until_look, self._settings.poll_seconds))
        if self._waiting_lanes:
            seconds = min(seconds, CLAIM_SECONDS)  # the next part of the line, or a lane that waited for more slots
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    # --- the end ------------------------------------------------------------------------------------------------

    def stop_claiming(self) -> None:
        """No new claim after this: neither from the queue nor born leased."""
        self._stopping = True
        self._slots.accepting = False
        self._wake.set()

    async def wait_idle(self, seconds: float) -> bool:
        """True when nothing is in flight any more within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
