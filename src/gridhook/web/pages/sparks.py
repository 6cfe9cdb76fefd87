"""A small plot beside a webhook: what succeeded and what failed in each hour of a day. Pure; a template draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridhook.model import Instant
from gridhook.web.pages.templates import HOUR

COLUMNS = 24
STEP = 5  # units from one column to the next, of which the column fills all but one
HEIGHT = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units from the top left. `kind`: good or bad."""

    x: int
    y: float
    width: int
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Spark:
    bars: tuple[Bar, ...]
    succeeded: int
    failed: int
    width: int = COLUMNS * STEP
    height: int = HEIGHT

    def path(self, kind: str) -> str:
        """All bars of that kind as one SVG path: a list of webhooks holds more than a thousand of them."""
        return "".join(f"M{bar.x} {bar.y:g}h{bar.width}v{bar.height:g}h-{bar.width}z" for bar in self.bars if bar.kind == kind)


def spark(hours: Sequence[tuple[Instant, int, int]], since: Instant) -> Spark:
    """hours: (start, succeeded, failed), those without attempts left out. since: the start of the first of the 24 columns.

    Failures stand at the bottom, where each is seen however few they are: no share is drawn lower than a visible line.
    """
    highest = max((succeeded + failed for _, succeeded, failed in hours), default=0)
    bars = []
    for start, succeeded, failed in hours:
        x = (start - since) // HOUR * STEP
        bottom = float(HEIGHT)
        for count, kind in ((failed, "bad"), (succeeded, "good")):
            if count:
                height = max(1.5, round(count / highest * (HEIGHT - 1.5), 1))
                bottom = max(0.0, round(bottom - height, 1))
                bars.append(Bar(x, bottom, STEP - 1, height, kind))
    return Spark(tuple(bars), sum(one[1] for one in hours), sum(one[2] for one in hours))
