"""What is measured. Each scenario runs on a rig of its own and returns its figures; a lost event fails it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gridhook.bench.encrypted import hosts, mtls
from gridhook.bench.harness import EVENT_TYPE, example_data, rig
from gridhook.bench.pages import pages
from gridhook.bench.result import STALL_SECONDS, Progress, Result, compare


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def _load(name: str, title: str, batch: int, directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    result = Result(name)
    with rig(directory, database_url) as made:
        made.wait_verified(made.add_webhook())
        warm = made.publish("warm", connections=32, seconds=1.0, batch=batch)
        made.wait_received(len(warm.ids), STALL_SECONDS)
        made.control("clear")
        cpu = made.server.cpu_seconds()
        elapsed = [0.0]

        def during() -> None:
            elapsed[0] += 0.05
            made.server.sample()
            progress(title, min(1.0, elapsed[0] / seconds))

        sent = made.publish("load", during, seconds=seconds, batch=batch, connections=64 if batch == 1 else 16)
        made.wait_received(len(sent.ids), STALL_SECONDS, lambda _: (made.server.sample(), None)[1], progress)
        cpu = made.server.cpu_seconds() - cpu
        dump = compare(result, made, sent)
        took = (max(dump["times"]) - sent.began_ns) / 1e9
        result.figures = {
            "events_per_second": len(sent.ids) / took,
            "accepted_per_second": len(sent.ids) / ((sent.ended_ns - sent.began_ns) / 1e9),
            "refused": sum(sent.refused.values()),
            "server_cpu_us_per_event": cpu / max(1, len(sent.ids)) * 1e6,
            "server_peak_mb": made.server.peak_rss / 2**20,
            "warmed_with": len(warm.ids),
        }
    return result


def singles(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    return _load("singles", "single-event publishes", 1, directory, database_url, seconds, progress)


def batches(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    return _load("batches", "100 events per publish", 100, directory, database_url, seconds, progress)


def steady(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """1,000 events a second: from just before the publish request is written until the receiver has the event."""
    result = Result("steady")
    with rig(directory, database_url) as made:
        made.wait_verified(made.add_webhook())
        warm = made.publish("warm", connections=32, seconds=1.0, rate=500.0)
        made.wait_received(len(warm.ids), STALL_SECONDS)
        made.control("clear")
        elapsed = [0.0]

        def during() -> None:
            elapsed[0] += 0.05
            made.server.sample()
            progress("steady 1,000/s", min(1.0, elapsed[0] / seconds))

        sent = made.publish("steady", during, seconds=seconds, rate=1000.0)
        made.wait_received(len(sent.ids), STALL_SECONDS, progress=progress)
        dump = compare(result, made, sent)
        received = dict(zip(dump["ids"], dump["times"], strict=True))
        late = [(received[i] - at) / 1e6 for i, at in zip(sent.ids, sent.times, strict=True) if i in received]
        result.figures = {
            "events_per_second": len(sent.ids) / ((sent.ended_ns - sent.began_ns) / 1e9),
            "p50_ms": statistics.median(late),
            "p95_ms": _percentile(late, 0.95),
            "p99_ms": _percentile(late, 0.99),
            "max_ms": max(late),
            "server_peak_mb": made.server.peak_rss / 2**20,
        }
    return result


def drain(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """A backlog held for a pending webhook is let go at once; beside it, a bare libcurl loop to the same receiver."""
    result = Result("drain")
    events = int(max(20_000, seconds * 4000))
    # How fast it can be let go, not how gently it is: a webhook that comes back ramps up otherwise.
    with rig(directory, database_url, ramp_per_second=10**6) as made:
        made.control("set?handshake=0")
        webhook = made.add_webhook()
        sent = made.publish("held", lambda: progress("filling the backlog", 0.0), seconds=600.0, events=events, batch=100, connections=8)
        bodies = directory / "bodies.json"
        envelope = (
            '{"specversion":"1.0","id":"bare-%d","source":"/accessgrid/customer","type":"' + EVENT_TYPE + '",'
            '"datacontenttype":"application/json","dataschema":"' + made.settings.base_url + "/schemas/webhooks/" + EVENT_TYPE + '/1.json",'
            '"time":"2026-11-22T10:00:00.000Z","data":' + bytes(example_data()).decode() + "}"
        )
        bodies.write_text(json.dumps([envelope.replace("%d", str(i)) for i in range(20_000)]))

        def bare() -> float:
            command = [sys.executable, "-m", "gridhook.bench.bare", f"http://127.0.0.1:{made.receiver_port}/hook", str(bodies), "64"]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        before = bare()
        made.control("clear")
        made.control("set?handshake=1")
        cpu = made.server.cpu_seconds()
        made.call("POST", f"/v1/console/webhooks/{webhook}/verify")

        def during(received: int) -> None:
            made.server.sample()
            progress("draining", received / max(1, len(sent.ids)))

        made.wait_received(len(sent.ids), STALL_SECONDS, during, progress)
        cpu = made.server.cpu_seconds() - cpu
        dump = compare(result, made, sent)
        rate = len(dump["ids"]) / ((max(dump["times"]) - min(dump["times"])) / 1e9)
        limit = (before + bare()) / 2
        result.figures = {
            "events_per_second": rate,
            "bare_libcurl_per_second": limit,
            "ratio_to_bare": rate / limit,
            "backlog": len(sent.ids),
            "server_cpu_us_per_event": cpu / max(1, len(sent.ids)) * 1e6,
            "server_peak_mb": made.server.peak_rss / 2**20,
        }
    return result


def slow(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """Publishers at full speed, a receiver that takes a second for each answer: rows wait, memory does not grow."""
    result = Result("slow receiver")
    with rig(directory, database_url) as made:
        made.wait_verified(made.add_webhook())
        made.control("set?delay=1")
        elapsed = [0.0]
        sizes: list[int] = []

        def during() -> None:
            elapsed[0] += 0.05
            sizes.append(made.server.sample())
            progress("slow receiver", min(1.0, elapsed[0] / seconds))

        sent = made.publish("slow", during, seconds=seconds, batch=100, connections=16)
        made.control("set?delay=0")
        made.wait_received(
            len(sent.ids),
            STALL_SECONDS,
            lambda received: progress("slow receiver, catching up", received / max(1, len(sent.ids))),
            progress,
        )
        compare(result, made, sent)
        half = len(sizes) // 2
        result.figures = {
            "accepted_per_second": len(sent.ids) / ((sent.ended_ns - sent.began_ns) / 1e9),
            "refused": sum(sent.refused.values()),
            "server_mb_at_half": sizes[half] / 2**20,
            "server_peak_mb": made.server.peak_rss / 2**20,
        }
    return result


SCENARIOS: dict[str, Callable[[Path, str, float, Progress], Result]] = {
    "singles": singles,
    "batches": batches,
    "steady": steady,
    "drain": drain,
    "slow": slow,
    "mtls": mtls,
    "hosts": hosts,
    "pages": pages,
}

TARGETS: dict[tuple[str, str], tuple[str, float]] = {
    ("singles", "events_per_second"): (">=", 5000),
    ("batches", "events_per_second"): (">=", 10000),
    ("steady", "p50_ms"): ("<=", 10),
    ("steady", "p99_ms"): ("<=", 50),
    ("drain", "ratio_to_bare"): (">=", 0.35),
    ("singles", "server_peak_mb"): ("<=", 150),
    ("batches", "server_peak_mb"): ("<=", 150),
    ("slow", "server_peak_mb"): ("<=", 150),
    ("mtls", "ratio_to_bearer"): (">=", 0.6),
    ("hosts", "connections_per_host"): ("<=", 1.5),
    ("hosts", "kb_per_idle_webhook"): ("<=", 64),
    ("pages", "slowest_p95_ms"): ("<=", 50),
    ("pages", "heaviest_kb"): ("<=", 100),
    ("pages", "server_peak_mb"): ("<=", 150),
}
