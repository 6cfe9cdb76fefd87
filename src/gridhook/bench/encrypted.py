"""What is measured over TLS: client certificates beside bearer keys, many hosts kept warm, and what an idle webhook costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gridhook.bench.harness import START_SECONDS, Rig, rig, wait_for
from gridhook.bench.result import STALL_SECONDS, Progress, Result, compare

HOSTS = 200
IDLE = 300  # more webhooks, for a figure that stands out of the noise
ORDER = ("bearer_token", "mtls", "mtls", "bearer_token")  # so that a machine that slows down treats both alike


def mtls(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """A backlog held for one webhook is let go at once, over TLS: with a bearer key and with a client certificate, each twice."""
    result = Result("mtls")
    events = int(max(10_000, seconds * 2000))
    rates: dict[str, list[float]] = {method: [] for method in ORDER}
    costs: dict[str, list[float]] = {method: [] for method in ORDER}
    handshakes = 0
    # At full speed from the first one on: what is compared is not how carefully we start.
    with rig(directory, database_url, tls_addresses=["127.0.0.1"], ramp_per_second=10**6, verify_interval_seconds=0) as made:
        for turn, method in enumerate(ORDER):
            made.control("set?handshake=0")
            webhook = made.add_webhook(f"https://127.0.0.1:{made.tls_port}/hook", method)
            sent = made.publish(
                f"{method}{turn}",
                lambda turn=turn: progress("filling the backlog", turn / len(ORDER)),  # type: ignore[misc]
                seconds=600.0,
                events=events,
                batch=100,
                connections=8,
            )
            made.control("clear")
            made.control("set?handshake=1")
            cpu = made.server.cpu_seconds()
            made.call("POST", f"/v1/console/webhooks/{webhook}/verify")
            made.wait_received(len(sent.ids), STALL_SECONDS, lambda _: progress("draining over TLS", 0.0), progress)
            costs[method].append((made.server.cpu_seconds() - cpu) / len(sent.ids) * 1e6)
            stats = made.control("stats")
            dump = compare(result, made, sent)
            rates[method].append(len(dump["ids"]) / ((max(dump["times"]) - min(dump["times"])) / 1e9))
            if method == "mtls":
                handshakes += stats["handshakes"]
                if stats["certified"] != stats["handshakes"]:
                    raise RuntimeError("a connection came without a certificate")
            made.call("DELETE", f"/v1/console/webhooks/{webhook}")
        result.figures = {
            "mtls_per_second": sum(rates["mtls"]) / 2,
            "bearer_https_per_second": sum(rates["bearer_token"]) / 2,
            "ratio_to_bearer": sum(rates["mtls"]) / sum(rates["bearer_token"]),
            "mtls_cpu_us_per_event": sum(costs["mtls"]) / 2,
            "bearer_cpu_us_per_event": sum(costs["bearer_token"]) / 2,
            "mtls_handshakes": handshakes,
        }
    return result


def hosts(directory: Path, database_url: str, seconds: float, progress: Progress) -> Result:
    """Five events a second to each of 200 webhooks with a client certificate, on 200 hosts, then ten at once; then the memory that more of
    them need, with their connections open and when these are closed."""
    result = Result("hosts")
    addresses = [f"127.0.{n // 250 + 1}.{n % 250 + 1}" for n in range(HOSTS + 2 * IDLE)]
    many: dict[str, Any] = {"new_urls_per_minute": 100_000, "max_webhooks": 1000}
    with rig(directory, database_url, tls_addresses=addresses, **many) as made:
        _add(made, addresses[:HOSTS], progress)
        _deliver(made, result, progress, "warm", events=1, connections=1, seconds=60.0)
        made.control("clear")
        cpu = made.server.cpu_seconds()
        deliveries = _deliver(made, result, progress, "hosts", seconds=max(8.0, seconds), rate=5.0)
        cpu = made.server.cpu_seconds() - cpu
        steady = made.control("stats")
        made.control("clear")
        burst = _deliver(made, result, progress, "burst", events=10, batch=10, connections=1, seconds=60.0)
        result.figures = {
            "deliveries": deliveries,
            "new_connections": steady["handshakes"],
            "connections_per_host": 1 + steady["handshakes"] / HOSTS,
            "server_cpu_us_per_event": cpu / deliveries * 1e6,
            "burst_deliveries": burst,
            "burst_new_connections": made.control("stats")["handshakes"],
        }
    with rig(directory / "open", database_url, tls_addresses=addresses, **many) as made:
        result.figures["kb_per_open_connection"] = _memory(made, addresses, progress, 0.0)
    with rig(directory / "idle", database_url, tls_addresses=addresses, idle_connection_seconds=1, **many) as made:
        result.figures["kb_per_idle_webhook"] = _memory(made, addresses, progress, 4.0)
    return result


def _memory(made: Rig, addresses: list[str], progress: Progress, rest_seconds: float) -> float:
    """What each of `IDLE` verified webhooks adds to a server that has as many."""
    sizes = []
    for part in (addresses[:IDLE], addresses[IDLE : 2 * IDLE]):
        _add(made, part, progress)
        time.sleep(rest_seconds)  # wholly silent
        sizes.append(made.server.sample())
    return (sizes[1] - sizes[0]) / IDLE / 1024


def _deliver(made: Rig, result: Result, progress: Progress, name: str, **plan: Any) -> int:
    """Publish, and wait until each of the 200 webhooks has what was accepted; how many deliveries that were."""
    before = made.control("stats")
    expected = len(made.publish(name, **plan).ids) * HOSTS
    made.wait_received(before["received"] + expected, STALL_SECONDS, progress=progress)
    held = len(made.owed())  # before the receiver is asked: what arrives in between must not seem lost
    now = made.control("stats")
    missing = before["received"] + expected - now["received"]
    result.accepted += expected
    result.lost += max(0, missing - held)
    result.owed += min(missing, held)
    result.repeated += now["repeats"] - before["repeats"]
    return expected


def _add(made: Rig, addresses: list[str], progress: Progress) -> None:
    """Webhooks at these addresses, each verified with its certificate."""
    before = made.control("stats")["handshakes"]
    for n, address in enumerate(addresses):
        made.add_webhook(f"https://{address}:{made.tls_port}/hook/{address}", "mtls")
        progress("registering webhooks", n / len(addresses))
    wait_for(lambda: bool(made.control("stats")["handshakes"] >= before + len(addresses)), START_SECONDS, "every handshake")
    time.sleep(1.0)
