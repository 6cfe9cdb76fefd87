"""The token that proves a claim is still ours, and the states by name."""

from __future__ import annotations

import os
from itertools import count

from gridhook.model import DeliveryState

HELD, QUEUED, DELIVERED, FAILED = (state.value for state in DeliveryState)

_process = os.urandom(8)
_counter = count(1)


def _be_another_process() -> None:
    global _process
    _process = os.urandom(8)


def shard() -> int:
    """A number of this process's, for counters that it shares with no other: see `account_minutes`."""
    return int.from_bytes(_process[:4], "big")


os.register_at_fork(after_in_child=_be_another_process)  # a child that counted on as its parent would repeat its tokens


def new_lease() -> bytes:
    """Eight random bytes of this process and eight that count: unique without asking, and it tells whose it is."""
    return _process + next(_counter).to_bytes(8, "big")
