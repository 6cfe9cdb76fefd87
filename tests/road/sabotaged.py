"""Runs gridhook with one promise broken, so that the tests can show that they would notice.

`python sabotaged.py NAME serve`. Nothing of this is reachable in the product.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gridhook.cli import main
from gridhook.store import queries, road
from gridhook.store.publishing import Publish
from gridhook.store.writer import Operation, Writer


def answer_before_commit() -> None:
    """Publishers hear 202 while the transaction is still open."""

    honest = Writer._transaction

    def transaction(self: Writer, group: Sequence[Operation]) -> Sequence[object]:
        if not any(isinstance(operation, Publish) for operation in group):
            return honest(self, group)
        connection = self._connection
        assert connection is not None
        connection.begin()
        results = self._work(connection, group)
        self._answer(group, results)
        time.sleep(0.05)
        connection.commit()
        return results

    Writer._transaction = transaction  # type: ignore[method-assign]


def forget_lost_attempts() -> None:
    """A delivery whose worker died is claimed again, and the request that the worker had begun is never logged."""
    claim = road.claim

    class Deaf:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def many(self, name: str, rows: Any) -> int:
            return 0 if name == "insert_attempt" else int(self._connection.many(name, rows))

    road.claim = lambda connection, *arguments: claim(Deaf(connection), *arguments)


def reword(statement: str, old: str, new: str) -> None:
    """Change a named statement as it is loaded."""
    compile_ = queries._compile

    def changed(name: str, body: str, dialect: queries.Dialect) -> queries.Query:
        if name == statement:
            assert old in body, f"{name} reads otherwise now: mend the sabotage"
            body = body.replace(old, new)
        return compile_(name, body, dialect)

    queries._compile = changed


def claim_what_is_leased() -> None:
    """Claims take rows whose lease still runs."""
    reword("due", "d.due_at <= :now", "d.due_at <= :now + 1000000000")


def record_without_the_lease() -> None:
    """Whoever finishes a delivery settles it, whether it is still theirs or not."""
    reword("still_leased", "AND d.lease = s.lease", "")


SABOTAGES: dict[str, Callable[[], None]] = {
    "answer-before-commit": answer_before_commit,
    "forget-lost-attempts": forget_lost_attempts,
    "claim-what-is-leased": claim_what_is_leased,
    "record-without-the-lease": record_without_the_lease,
}

if __name__ == "__main__":
    SABOTAGES[sys.argv.pop(1)]()
    main()
