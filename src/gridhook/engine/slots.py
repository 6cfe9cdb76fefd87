"""How much may be in flight: one process's slots, shared out by account and by webhook. Safe to call from any thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass

FIRST_LIMIT = 16  # slots of a lane that has not answered yet
SUSPECT_SHARE = 0.5  # of all slots, what lanes that do not answer may hold together
CLAIM_SECONDS = 0.02  # the longest that a lane with a free slot waits for more of them before it claims
REMEMBERED_LANES = 50_000


@dataclass(slots=True)
class _Lane:
    limit: int
    answers: bool = False  # the last request was answered in good time
    in_flight: int = 0
    asked_at: float = 0.0  # when slots were last taken for a claim, monotonic
    suspect: int = 0  # of these, taken while the lane did not answer


class Slots:
    """Counts requests in flight.

    A lane (one webhook) starts with a few slots; each quick answer gives it one more, up to `webhook`; each request that brings
    none, or brings it late, halves them, down to one probe. Lanes that do not answer share at most half of all slots, however many they
    are. So dead receivers cost a bounded part of the process, and one that answers finds room.
    """

    def __init__(self, *, total: int, account: int, webhook: int) -> None:
        self.total = total
        self.account = account
        self.webhook = webhook
        self.in_flight = 0
        self.accepting = True
        self._suspects = 0
        self._suspect_share = max(1, int(total * SUSPECT_SHARE))
        self._lock = threading.Lock()
        self._accounts: dict[str, int] = {}
        self._lanes: dict[str, _Lane] = {}

    def reserve(self, account_id: str, webhook_id: str) -> bool:
        """Take one slot, if the process, the account and the lane each have one."""
        return self.take(account_id, webhook_id, 1) == 1

    def take(self, account_id: str, webhook_id: str, wanted: int) -> int:
        """Take up to `wanted` slots; how many were had."""
        with self._lock:
            return self._take(account_id, webhook_id, wanted, 1)

    def take_many(self, account_id: str, webhook_id: str, now: float) -> int:
        """Take all free slots of a lane, for a claim. now: monotonic seconds.

        A claim costs a transaction, whether for one delivery or for thirty: it waits until half of the slots are free, so that one
        half can be claimed while the other is on the wire, but never longer than a moment.
        """
        with self._lock:
            lane = self._lanes.get(webhook_id) or self._new_lane(webhook_id)
            least = 1 if now - lane.asked_at >= CLAIM_SECONDS else max(1, lane.limit // 2)
            taken = self._take(account_id, webhook_id, self.webhook, least)
            if taken:
                lane.asked_at = now
            return taken

    def _take(self, account_id: str, webhook_id: str, wanted: int, least: int) -> int:
        if not self.accepting:
            return 0
        lane = self._lanes.get(webhook_id)
        if lane is None:
            lane = self._new_lane(webhook_id)
        if lane.limit - lane.in_flight < least:
            return 0
        account = self._accounts.get(account_id, 0)
        free = min(wanted, self.total - self.in_flight, self.account - account, lane.limit - lane.in_flight)
        if not lane.answers:
            free = min(free, self._suspect_share - self._suspects)
        if free <= 0:
            return 0
        if not lane.answers:
            lane.suspect += free
            self._suspects += free
        lane.in_flight += free
        self.in_flight += free
        self._accounts[account_id] = account + free
        return free

    def give_back(self, account_id: str, webhook_id: str, count: int = 1) -> None:
        with self._lock:
            self._give_back(account_id, webhook_id, count)

    def finish(self, account_id: str, webhook_id: str, *, answered: bool, quickly: bool = True) -> None:
        """Give one slot back and adapt the lane's limit to what came of it.

        answered: in good time, whatever the status. quickly: so quickly that one request more at a time will do no harm.
        """
        with self._lock:
            self._give_back(account_id, webhook_id, 1)
            lane = self._lanes.get(webhook_id)
            if lane is None:
                lane = self._new_lane(webhook_id)
            lane.answers = answered
            if not answered:
                lane.limit = max(1, lane.limit // 2)
            elif quickly and lane.limit < self.webhook:
                lane.limit += 1

    def limit(self, webhook_id: str) -> int:
        lane = self._lanes.get(webhook_id)
        return lane.limit if lane else min(FIRST_LIMIT, self.webhook)

    def _give_back(self, account_id: str, webhook_id: str, count: int) -> None:
        self.in_flight -= count
        lane = self._lanes[webhook_id]
        lane.in_flight -= count
        suspect = min(count, lane.suspect)
        lane.suspect -= suspect
        self._suspects -= suspect
        left = self._accounts[account_id] - count
        if left:
            self._accounts[account_id] = left
        else:
            del self._accounts[account_id]

    def _new_lane(self, webhook_id: str) -> _Lane:
        if len(self._lanes) >= REMEMBERED_LANES:
            self._lanes = {key: lane for key, lane in self._lanes.items() if lane.in_flight}
        lane = self._lanes[webhook_id] = _Lane(min(FIRST_LIMIT, self.webhook))
        return lane
