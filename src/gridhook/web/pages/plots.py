"""Plots of counters over time. Pure: numbers into shapes; `plots.html` draws them, with the same numbers as a table beside each.

All shapes are in units of the plot's own box, from its top left. The box is stretched to the page's width, so whatever must keep
its form (words, times) stands beside it and not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridhook.model import Instant, Window, add_up
from gridhook.web.shapes.health import percentile_ms

WIDTH, HEIGHT = 720, 120
_GAP = 0.2  # of a column's place: what stays empty beside it
_LEAST = 1.5  # units: no count above zero is drawn lower than can be seen
_MARK = 2.5  # height of the mark for retries
_TIMES = 5  # on the axis
NOTHING = Window()


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened from `at` on, until the next."""

    at: Instant
    window: Window = NOTHING

    @property
    def attempts(self) -> int:
        return self.window.succeeded + self.window.failed


@dataclass(frozen=True, slots=True)
class Bar:
    """kind: good, bad or retry."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Columns:
    """A column for each bucket: failures at the bottom, receipts above; a mark where the retries among both reach."""

    buckets: tuple[Bucket, ...]
    bars: tuple[Bar, ...]
    highest: int  # the top of the axis: a round number
    total: Window
    times: tuple[Instant, ...]
    step: int  # ms of a bucket
    until: Instant
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """paths: (what it is called, its class, its SVG path). rows: for the table: (start, then a number or None for each path)."""

    paths: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[Instant, tuple[float | None, ...]], ...]
    highest: int  # ms
    times: tuple[Instant, ...]
    step: int
    until: Instant
    width: int = WIDTH
    height: int = HEIGHT


def buckets(minutes: Sequence[tuple[Instant, Window]], *, since: Instant, until: Instant, step: int) -> list[Bucket]:
    """Minutes put together, `step` ms to a bucket; the first begins at `since`, the last ends at `until` or later. Minutes outside are
    left out."""
    found: dict[int, list[Window]] = {}
    for at, window in minutes:
        if since <= at < until:
            found.setdefault((at - since) // step, []).append(window)
    return [Bucket(since + number * step, add_up(found.get(number, ()))) for number in range(-(-(until - since) // step))]


def columns(found: Sequence[Bucket], step: int) -> Columns:
    highest = round_up(max((one.attempts for one in found), default=0))
    place = WIDTH / max(1, len(found))
    bars: list[Bar] = []
    for number, one in enumerate(found):
        x, width = round(place * (number + _GAP / 2), 2), round(place * (1 - _GAP), 2)
        bottom = float(HEIGHT)
        for count, kind in ((one.window.failed, "bad"), (one.window.succeeded, "good")):
            if count:
                height = max(_LEAST, count / highest * HEIGHT)
                top = max(0.0, bottom - height)
                bars.append(Bar(x, round(top, 2), width, round(bottom - top, 2), kind))
                bottom = top
        if one.window.retries:
            y = max(0.0, HEIGHT - one.window.retries / highest * HEIGHT - _MARK / 2)
            bars.append(Bar(x, round(min(y, HEIGHT - _MARK), 2), width, _MARK, "retry"))
    return Columns(tuple(found), tuple(bars), highest, add_up([one.window for one in found]), _times(found, step), step, _end(found, step))


def line(found: Sequence[Bucket], step: int, shares: Sequence[float] = (0.5, 0.95)) -> Line:
    """How long requests took: the share of them that was not slower, estimated from the counters' histogram. A gap where none was made."""
    rows = tuple((one.at, tuple(percentile_ms(share, one.window.latencies) for share in shares)) for one in found)
    highest = round_up(max((value for _, values in rows for value in values if value is not None), default=0))
    paths = tuple(
        (f"p{share * 100:g}", "line" if number == 0 else "line second", _path([values[number] for _, values in rows], highest))
        for number, share in enumerate(shares)
    )
    return Line(paths, rows, highest, _times(found, step), step, _end(found, step))


def round_up(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 ...: the top of an axis."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if value <= digit * power:
                return digit * power
        power *= 10


def _path(values: Sequence[float | None], highest: int) -> str:
    """A stroke for each unbroken row of values; a dash for one that stands alone."""
    place = WIDTH / max(1, len(values))
    steps: list[str] = []
    previous: float | None = None
    for number, value in enumerate(values):
        if value is not None:
            x, y = round(place * (number + 0.5), 2), round(HEIGHT - value / highest * HEIGHT, 2)
            alone = previous is None and (number + 1 == len(values) or values[number + 1] is None)
            if alone:
                steps.append(f"M{round(x - place / 3, 2)} {y}h{round(place / 1.5, 2)}")
            else:
                steps.append(f"{'M' if previous is None else 'L'}{x} {y}")
        previous = value
    return "".join(steps)


def _times(found: Sequence[Bucket], step: int) -> tuple[Instant, ...]:
    """Evenly spread along the axis, its two ends among them."""
    if not found:
        return ()
    start, end = found[0].at, _end(found, step)
    return tuple(start + (end - start) * number // (_TIMES - 1) for number in range(_TIMES))


def _end(found: Sequence[Bucket], step: int) -> Instant:
    return found[-1].at + step if found else 0
