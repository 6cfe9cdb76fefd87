"""Small in-memory bounds: caches that forget by count or by time, and a budget per key and period. Per process."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last `size` values that were put; a hit costs one dictionary look-up, the oldest written goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[str, T] = {}
        self.get = self._kept.get

    def put(self, key: str, value: T) -> None:
        if len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value


class TimedCache(Generic[T]):
    """Keeps values for `seconds`, at most `size` of them, oldest out first."""

    def __init__(self, seconds: float, size: int = 10_000) -> None:
        self._seconds = seconds
        self._size = size
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str) -> T | None:
        kept = self._kept.get(key)
        if kept is None or kept[0] < time.monotonic():
            return None
        return kept[1]

    def put(self, key: str, value: T) -> None:
        self._kept[key] = (time.monotonic() + self._seconds, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()


class Budget:
    """At most `count` per key in any `seconds` (a token bucket that refills evenly)."""

    def __init__(self, count: int, seconds: float, size: int = 10_000) -> None:
        self._count = count
        self._rate = count / seconds
        self._size = size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: int = 1) -> float:
        """0.0 when `cost` was taken; else the seconds until it can be. `now`: monotonic seconds.

        What costs more than the whole bucket is let through by a full one, and leaves a debt: it would never get through otherwise.
        """
        tokens, at = self._buckets.get(key, (float(self._count), now))
        tokens = min(float(self._count), tokens + (now - at) * self._rate)
        needed = min(cost, self._count)
        if tokens < needed:
            return (needed - tokens) / self._rate
        self._buckets[key] = (tokens - cost, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._size:
            self._forget(now)
        return 0.0

    def wait(self, key: str, now: float) -> float:
        """What `take` would say to a cost of one; nothing is taken."""
        tokens, at = self._buckets.get(key, (float(self._count), now))
        return max(0.0, (1 - tokens) / self._rate - (now - at))

    def _forget(self, now: float) -> None:
        """Of those that are full again nothing is lost. Only if that is not enough, the oldest: or who names many keys would have
        the others' forgotten."""
        for key in [key for key, (tokens, at) in self._buckets.items() if tokens + (now - at) * self._rate >= self._count]:
            del self._buckets[key]
        while len(self._buckets) > self._size - self._size // 10:  # some at a time: to look at all of them is dear
            self._buckets.popitem(last=False)
