"""What a probe found, in words and as a mark."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from gridhook.model import Value


class Mark(StrEnum):
    PASS = "pass"
    NOTE = "note"  # worth knowing; nothing is wrong
    WARN = "warn"  # works, and will hurt one day
    FAIL = "fail"  # events will be lost, repeated for nothing, or forged
    SKIPPED = "skipped"  # an earlier finding makes it meaningless


class Result(Value, frozen=True):
    """`advice`: what the receiver should have done, empty when it did. `took_ms`: of the slowest request; None when none was made."""

    mark: Mark
    sent: str = ""
    came_back: str = ""
    advice: str = ""
    took_ms: float | None = None


class Finding(Value, frozen=True):
    """A result with the probe that brought it. `expected`: what a robust receiver does. All text is printable ASCII."""

    probe: str
    title: str
    mark: Mark
    expected: str
    sent: str = ""
    came_back: str = ""
    advice: str = ""
    took_ms: float | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document
