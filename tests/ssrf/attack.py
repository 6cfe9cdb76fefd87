"""Inside the universe: a caller is told to POST to every case, and everything that moved is written down as JSON.

    python -m tests.ssrf.attack transport|road|api [--sabotaged]

road: a whole gridhook makes a handshake with every URL, then deliveries. api: webhooks are asked for over HTTP.
--sabotaged: the address rule is `ipaddress.is_global`, as in many a recipe; the check must notice.
Exits with 77 and a reason on stderr when no namespace can be made here.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from gridhook.config import Settings
from gridhook.errors import Invalid
from gridhook.rules.addresses import Address, AddressPolicy, Refusal, parse_url
from gridhook.telemetry import Log
from tests.web.world import World, running

from .callers import BareTransport, Caller, WholeRoad
from .corpus import Case, Shot, shots
from .registration import register
from .universe import NAMESERVER, Impossible, Watch, enter, use_nameserver
from .world import Everyone, NameServer, certificate_for

IMPOSSIBLE = 77
PLAIN_PORTS = {80}
TLS_PORTS = {443, 3000, 4443, 8443, 65535}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one POST led to. `outcome`: a status, or the reason why there is none; `invalid` when the URL itself was refused.

    verified: whether a handshake took place that proved the webhook; None where there was none.
    """

    id: str
    way: str
    round: int  # 0: the handshake; then: deliveries
    outcome: str
    detail: str
    verified: bool | None
    packets: list[tuple[str, str, int]]
    hits: list[dict[str, object]]


def is_global(ip: Address, policy: AddressPolicy, host: str | None = None) -> Refusal | None:
    return None if ip.is_global else Refusal(ip, str(ip), "not global")


async def attack(directory: Path, whole_road: bool) -> list[Seen]:
    volley = shots()
    context, ca_file = certificate_for(_hosts(volley), directory)
    names, everyone, watch = NameServer(), Everyone(), Watch()
    await names.start()
    await everyone.start(PLAIN_PORTS, TLS_PORTS, context)
    seen = []
    # Cases share a caller, as customers do: a connection kept from one case must not serve another.
    callers: dict[str, Caller] = {}
    for shot in volley:
        names.knows(_host(shot), shot.answers)
        everyone.response = shot.case.response
        key = json.dumps(dict(shot.case.policy))
        if key not in callers:
            settings = _settings(shot.case, ca_file)
            callers[key] = WholeRoad(settings, directory / str(len(callers))) if whole_road else BareTransport(settings)
            await callers[key].start()
        caller = callers[key]
        for number in range(max(2, len(shot.answers) + 1)):
            watch.since_last_look()
            everyone.hits.clear()
            outcome, detail, verified = await (caller.next() if number else caller.first(shot.url))
            packets = [(packet.kind, str(packet.address), packet.port) for packet in sorted(watch.since_last_look(), key=str)]
            seen.append(Seen(shot.case.id, shot.way, number, outcome, detail, verified, packets, [asdict(hit) for hit in everyone.hits]))
        await caller.done()
    for caller in callers.values():
        await caller.close()
    await everyone.left_alone()
    return seen


async def ask(directory: Path) -> list[dict[str, object]]:
    """Every URL is asked for over the API, by a caller at 127.0.0.1 whose own packets are left out."""
    context, ca_file = certificate_for(_hosts(shots()), directory)
    names, everyone, watch = NameServer(), Everyone(), Watch()
    await names.start()
    await everyone.start(PLAIN_PORTS, TLS_PORTS, context)
    answered = []
    async with AsyncExitStack() as stack:
        worlds: dict[str, World] = {}
        for shot in shots():
            names.knows(_host(shot), shot.answers)
            everyone.response = shot.case.response
            key = json.dumps(dict(shot.case.policy))
            if key not in worlds:
                settings = _settings(shot.case, ca_file)
                changes = {name: getattr(settings, name) for name in ("ca_file", "refuse_networks", "nat64_prefixes")}
                running_world = running(directory / str(len(worlds)), Log(io.BytesIO()), allow_networks=(), **changes)
                worlds[key] = await stack.enter_async_context(running_world)
            world = worlds[key]
            watch.since_last_look()
            one = await register(world, shot)
            ours = ("tcp", *world.server.address)
            moved = [(packet.kind, str(packet.address), packet.port) for packet in sorted(watch.since_last_look(), key=str)]
            answered.append({**one, "packets": [packet for packet in moved if packet != ours]})
    await everyone.left_alone()
    return answered


def _settings(case: Case, ca_file: str) -> Settings:
    return Settings(
        ca_file=ca_file,
        api_per_second=0,
        checks_per_minute=100_000,
        refuse_networks=tuple(case.policy.get("extra_refuse", ())),
        nat64_prefixes=tuple(case.policy.get("nat64_prefixes", ())),
    )


def _host(shot: Shot) -> str:
    try:
        return parse_url(shot.url, AddressPolicy()).host
    except Invalid:
        # A client less strict than ours would ask for what it takes to be the host: let it find what the case has ready.
        return shot.url.partition("://")[2].partition("/")[0].rstrip(".").lower()


def _hosts(volley: list[Shot]) -> set[str]:
    hosts = set()
    for shot in volley:
        try:
            hosts.add(parse_url(shot.url, AddressPolicy()).host)
        except Invalid:
            continue
    return hosts


def main() -> int:
    try:
        enter()
    except Impossible as impossible:
        print(impossible, file=sys.stderr)
        return IMPOSSIBLE
    with tempfile.TemporaryDirectory() as name:
        resolv_conf = Path(name) / "resolv.conf"
        resolv_conf.write_text(f"search example.com\nnameserver {NAMESERVER}\n")
        use_nameserver(str(resolv_conf))
        with ExitStack() as sabotage:
            if "--sabotaged" in sys.argv:
                for module in ("gridhook.transport.guard", "gridhook.rules.urls"):
                    sabotage.enter_context(mock.patch(f"{module}.refusal", is_global))
            if "api" in sys.argv:
                seen = asyncio.run(ask(Path(name)))
            else:
                seen = [asdict(one) for one in asyncio.run(attack(Path(name), whole_road="road" in sys.argv))]
    json.dump(seen, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
