"""What the store asks of a database connection: named statements, transactions, and what an error of it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]
"""A row as the driver gives it; `rows.py` makes values of it."""


class Fault(Enum):
    """What a driver's exception means for those who wait."""

    GONE = "gone"  # the connection is of no more use; what a COMMIT did is unknown
    FULL = "full"  # no room, no lock, no write now: the connection stands, the transaction does not
    AGAIN = "again"  # chosen as the victim of a deadlock: the same transaction can succeed at once
    TAKEN = "taken"  # a key that must be unique is not
    REFUSED = "refused"  # this very input cannot be stored
    DEFECT = "defect"  # not the database's


class Connection(Protocol):
    """One connection, used by one thread at a time."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None:
        """Ends the transaction if one is open. Never raises: a connection that cannot roll back is found gone at its next use."""
        ...

    def rows(self, name: str, /, **params: Any) -> list[Row]: ...
    def change(self, name: str, /, **params: Any) -> int:
        """Rows changed."""
        ...

    def many(self, name: str, rows: Sequence[Row]) -> int:
        """The statement once per row, in as few round trips as can be; rows changed in all."""
        ...

    def settle(self, rows: Sequence[Row]) -> set[int]:
        """Statement `settle` for deliveries that are each named once; the ids of those whose lease was still theirs."""
        ...

    def due(self, account_id: str, webhook_id: str, now: int, limit: int) -> list[Row]:
        """Statement `due`: (id, lease, lease_started_at, attempts, expires_at, event id, type, time_at, payload), oldest first."""
        ...

    def ids(self, kind: str, count: int) -> list[int]:
        """`count` fresh ids of `events`, `deliveries` or `attempts`, ascending. Inside a transaction."""
        ...

    def close(self) -> None: ...
    def sever(self) -> None:
        """From any thread: who waits for the database's answer is told that it is gone. Never raises."""
        ...


class Driver(Protocol):
    """How to reach one database. can_freeze: whether it may leave who asks without an answer."""

    can_freeze: bool

    def connect(self, *, read_only: bool = False) -> Connection: ...
    def is_frozen(self) -> bool:
        """Whether the database takes connections and answers nothing on them. May block for some seconds; never raises."""
        ...

    def fault(self, error: BaseException) -> Fault: ...
    def idle(self, connection: Connection) -> None:
        """Called on the writer's thread between two groups: room for upkeep that must be short."""
        ...

    def close(self) -> None: ...


Params: TypeAlias = Mapping[str, Any]
