"""What a scenario returns: figures, and which of the accepted events arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gridhook.bench.harness import Rig
from gridhook.bench.publisher import Sent

STALL_SECONDS = 20.0

Progress = Callable[[str, float], None]
"""(what is going on, share done in 0..1)"""


@dataclass
class Result:
    name: str
    figures: dict[str, float] = field(default_factory=dict)
    accepted: int = 0
    lost: int = 0  # neither arrived nor held by the server any more
    owed: int = 0  # not arrived when the bench's patience ended, but still held by the server
    repeated: int = 0


def compare(result: Result, made: Rig, *sents: Sent) -> dict[str, Any]:
    """Which accepted ids did not arrive, which of them the server still holds, and how many arrived more than once."""
    held = {event for event, _ in made.owed()}  # before the receiver is asked: what arrives in between must not seem lost
    dump = made.control("dump")
    accepted = {i for sent in sents for i in sent.ids}
    missing = accepted - set(dump["ids"])
    result.accepted += len(accepted)
    result.lost += len(missing - held)
    result.owed += len(missing & held)
    result.repeated += int(dump["repeats"])
    return dump
