"""Counts and distributions for Prometheus. Counting is an addition to a plain integer; the text is made when it is asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gridhook.model import Answered, Attempt, Delivered, Outcome, Publication, RetryAt, Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0)
BATCH = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


_RECEIVED = {200: "200", 201: "201"}


class Histogram:
    """Counts per bucket, `bounds` being upper ends, inclusive. To be fed from one thread."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, doc: str) -> HistogramMetricFamily:
        buckets, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((str(bound) if bound != float("inf") else "+Inf", total))
        return HistogramMetricFamily(name, doc, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):
    """This process's numbers. Counting methods are called on the event loop's thread, `write_batch` on the writer's."""

    def __init__(self) -> None:
        # Not `Counter`: what it adds goes by way of Python, and takes ten times as long.
        self._events: defaultdict[str, int] = defaultdict(int)
        self._attempts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._verdicts: defaultdict[str, int] = defaultdict(int)
        self._verifications: defaultdict[str, int] = defaultdict(int)
        self._pruned: defaultdict[str, int] = defaultdict(int)
        self._lag = Histogram(SECONDS)
        self._duration = Histogram(SECONDS)
        self._batch = Histogram(BATCH)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def accepted(self, publication: Publication) -> None:
        """One event was answered: new, a repeat, or in conflict."""
        self._events["conflict" if publication.conflict else "duplicate" if publication.duplicate else "new"] += 1

    def attempt(self, attempt: Attempt, verdict: Verdict | None, lag_ms: int | None = None) -> None:
        """One request ended. lag_ms: from the event's time to its receipt."""
        self._attempts[attempt.kind, result_of(attempt.outcome)] += 1
        self._duration.observe(attempt.outcome.exchange.timings.total_us / 1e6)
        if verdict is not None:
            self._verdicts["delivered" if isinstance(verdict, Delivered) else "retry" if isinstance(verdict, RetryAt) else verdict.why] += 1
        if lag_ms is not None:
            self._lag.observe(lag_ms / 1000)

    def verification(self, attempt: Attempt) -> None:
        """One handshake ended."""
        self._attempts[attempt.kind, result_of(attempt.outcome)] += 1
        self._verifications[attempt.echo or "no_answer"] += 1

    def pruned(self, **rows: int) -> None:
        """Retention took these away, by kind."""
        for kind, count in rows.items():
            self._pruned[kind] += count

    def write_batch(self, writes: int) -> None:
        """So many writes shared one transaction."""
        self._batch.observe(writes)

    def gauge(self, name: str, doc: str, value: Callable[[], float]) -> None:
        """Register a number to be read at each `render`: requests in flight, writes that wait, log lines lost. Name without prefix."""
        self._gauges[name] = doc, value

    def render(self) -> bytes:
        """All of it in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield _counter("gridhook_events", "Events answered, by what became of them", ("result",), _by_one(self._events))
        yield _counter("gridhook_attempts", "Requests made, by kind and result", ("kind", "result"), dict(self._attempts))
        yield _counter("gridhook_verdicts", "What followed from attempts at deliveries", ("verdict",), _by_one(self._verdicts))
        yield _counter("gridhook_verifications", "Handshakes, by what the echo was worth", ("echo",), _by_one(self._verifications))
        yield _counter(
            "gridhook_pruned_rows", "What retention took away; bodies: emptied, their rows stay", ("kind",), _by_one(self._pruned)
        )
        yield self._lag.family(
            "gridhook_publish_to_receipt_seconds", "From an event's time to its receipt, when the first attempt brought it"
        )
        yield self._duration.family("gridhook_attempt_seconds", "Length of requests")
        yield self._batch.family("gridhook_write_batch_size", "Writes that shared one transaction")
        for name, (doc, value) in self._gauges.items():
            yield GaugeMetricFamily(f"gridhook_{name}", doc, value=value())


def result_of(outcome: Outcome) -> str:
    """200 and 201 by themselves, other statuses by their class, else the reason: a closed list, whatever receivers answer."""
    if isinstance(outcome, Answered):
        status = outcome.status
        if status in _RECEIVED:
            return _RECEIVED[status]
        return f"{status // 100}xx" if 100 <= status < 600 else "other"
    return outcome.reason


def _by_one(counts: defaultdict[str, int]) -> dict[tuple[str, ...], int]:
    return {(label,): count for label, count in dict(counts).items()}


def _counter(
    name: str, doc: str, labels: tuple[str, ...], counts: dict[tuple[str, str], int] | dict[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, doc, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family
