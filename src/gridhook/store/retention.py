"""Forgetting, in small steps. What is old is looked for on a reader's connection; the writer is given only names of rows to take away."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from gridhook.model import Instant
from gridhook.store.database import Connection, Row
from gridhook.store.promises import Pruned, Retention

MINUTES_KEPT_MS = 8 * 24 * 3600 * 1000  # a week is shown, and a day more for those who come late
BLOCK = 10_000  # ids that a process takes at once: within a block they rise with time, between blocks only roughly
LOOKED_AT = 5_000  # rows of a table that one step looks at
YOUNG_BLOCKS = 64  # in a row, without anything old: what comes after them is young too, unless more processes than that write
OPEN_BLOCKS = 1_000
EMPTY_BLOCKS = 64  # passed over while nothing was in them, that are looked at again: another process may have taken one and not used it yet
END = 2**62

_TAKE, _WAIT = 1, 2  # what the `ages_of_` statements say is to be done with an old row; else nothing


def _block_end(id: int) -> int:
    return id + (-id) % BLOCK


class Sweep:
    """Walks a table by ids, from its low end to where everything is young; then again, for what had to stay the last time.

    No index on time is kept for it: ids rise with time within a block, so the first young row of a block ends that block. A slow
    process may sit on an early block for weeks; that is why one young block does not end the sweep.
    """

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self._at = 0
        self._young = 0  # blocks in a row that held nothing old

    def look(self, connection: Connection, before: Instant, limit: int) -> tuple[list[Row], bool]:
        """Up to `limit` rows to take away, and whether this sweep has more to look at."""
        found: list[Row] = []
        looked = 0
        while looked < LOOKED_AT and len(found) < limit:
            size = 1 if self._young else limit  # one row tells that another block is young
            rows = connection.rows(self._statement, after=self._at, end=END, limit=size)
            for row in rows:
                id, at, what = row[:3]
                if id <= self._at:
                    continue  # of a block that was left at its first young row
                looked += 1
                if at >= before:
                    self._at = _block_end(id)
                    self._young += 1
                else:
                    self._at = id
                    self._young = 0
                    if what == _TAKE:
                        found.append(row)
                if len(found) == limit or self._young == YOUNG_BLOCKS:
                    break
            if self._young == YOUNG_BLOCKS or (len(rows) < size and len(found) < limit):
                self._at = self._young = 0
                return found, False
        return found, True


class Drops:
    """Walks a table by ids to empty rows that stay. Unlike a `Sweep` it must not come back to them: it remembers how far it came in
    each block that is not finished, and looks at finished ones only once in the life of the process."""

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self._open: dict[int, int] = {}  # end of a block -> the last id that is done
        self._begun = 0  # the end of the last block that was ever opened
        self._empty: list[int] = []  # ends of blocks before it that held nothing when they were passed
        self._turn: list[int] = []  # open blocks that are still to be visited this time
        self._again: list[int] = []  # empty ones, likewise
        self._young = 0

    def look(self, connection: Connection, before: Instant, limit: int) -> tuple[list[Row], bool]:
        """As `Sweep.look`."""
        found: list[Row] = []
        looked = 0
        while looked < LOOKED_AT and len(found) < limit:
            if not self._turn and not self._next_block(connection):
                self._turn = sorted(self._open)
                self._again = list(self._empty)
                self._young = 0
                return found, False
            end = self._turn[0]
            size = limit - len(found)
            rows = connection.rows(self._statement, after=self._open[end], end=end, limit=size)
            looked += len(rows) + 1
            if self._visit(end, rows, before, found) and len(rows) == size:
                continue
            self._turn.pop(0)
            if self._open[end] == end:
                del self._open[end]
        return found, True

    def _visit(self, end: int, rows: Iterable[Row], before: Instant, found: list[Row]) -> bool:
        """Whether the block may hold more that is old."""
        for row in rows:
            id, at, what = row[:3]
            if at >= before:
                self._young += 1
                return False
            self._young = 0
            if what == _WAIT:
                return False
            if what == _TAKE:
                found.append(row)
            self._open[end] = id
        return True

    def _next_block(self, connection: Connection) -> bool:
        while self._again:
            end = self._again.pop()
            if connection.rows(self._statement, after=end - BLOCK, end=end, limit=1):
                self._empty.remove(end)
                self._open[end] = end - BLOCK
                self._turn = [end]
                return True
        if self._young >= YOUNG_BLOCKS:
            return False
        for row in connection.rows(self._statement, after=self._begun, end=END, limit=1):
            end = _block_end(row[0])
            self._empty += range(max(self._begun, end - EMPTY_BLOCKS * BLOCK) + BLOCK, end, BLOCK)
            del self._empty[:-EMPTY_BLOCKS]
            self._open[end] = end - BLOCK
            self._begun = end
            self._turn = [end]
            if len(self._open) > OPEN_BLOCKS:  # begun long ago and never filled: by processes that are gone
                del self._open[min(self._open)]
            return True
        return False


@dataclass(frozen=True, slots=True)
class Old:
    """What one step takes away: rows of the `ages_of_` statements."""

    attempts: list[Row]
    deliveries: list[Row]
    events: list[Row]
    payloads: list[Row]
    answers: list[Row]
    more: bool


@dataclass(slots=True)
class Forgetting:
    """Where the sweeps stand, in this process."""

    attempts: Sweep = field(default_factory=lambda: Sweep("ages_of_attempts"))
    deliveries: Sweep = field(default_factory=lambda: Sweep("ages_of_deliveries"))
    events: Sweep = field(default_factory=lambda: Sweep("ages_of_events"))
    payloads: Drops = field(default_factory=lambda: Drops("ages_of_payloads"))
    answers: Drops = field(default_factory=lambda: Drops("ages_of_answers"))

    def look(self, connection: Connection, retention: Retention, limit: int) -> Old:
        attempts, more_attempts = self.attempts.look(connection, retention.attempts_before, limit)
        deliveries, more_deliveries = self.deliveries.look(connection, retention.events_before, limit)
        # Events go with their last delivery. Those that never had one are looked for when no delivery is in the way.
        events, more_events = ([], True) if deliveries else self.events.look(connection, retention.events_before, limit)
        payloads: list[Row] = []
        answers: list[Row] = []
        more_payloads = more_answers = False
        if retention.bodies_before > retention.events_before:
            payloads, more_payloads = self.payloads.look(connection, retention.bodies_before, limit)
        if retention.bodies_before > retention.attempts_before:
            answers, more_answers = self.answers.look(connection, retention.bodies_before, limit)
        more = more_attempts or more_deliveries or more_events or more_payloads or more_answers
        return Old(attempts, deliveries, events, payloads, answers, more)


def forget(connection: Connection, old: Old, retention: Retention, minutes_before: Instant, limit: int) -> Pruned:
    """Takes away what was found, as far as it still may go."""
    attempts = connection.change("prune_attempts", ids=_ids(old.attempts)) if old.attempts else 0
    deliveries = connection.change("prune_deliveries", ids=_ids(old.deliveries)) if old.deliveries else 0
    # Deliveries first, then events: `redeliver` locks them in this order too.
    seqs = sorted({row[3] for row in old.deliveries} | {row[0] for row in old.events})
    if seqs or old.payloads:
        connection.rows("lock_events", ids=json.dumps(sorted({*seqs, *(row[0] for row in old.payloads)})))
    events = connection.change("prune_events", ids=json.dumps(seqs)) if seqs else 0
    bodies = connection.change("drop_payloads", ids=_ids(old.payloads), nothing=b"") if old.payloads else 0
    bodies += connection.change("drop_answers", ids=_ids(old.answers), nothing=b"") if old.answers else 0
    minutes = connection.change("prune_minutes", before=minutes_before) + connection.change("prune_account_minutes", before=minutes_before)
    recoveries = connection.change("prune_recoveries", before=retention.events_before, limit=limit)
    return Pruned(events, deliveries, attempts, bodies, old.more or minutes > 0 or recoveries == limit)


def _ids(rows: Iterable[Row]) -> str:
    return json.dumps([row[0] for row in rows])
