"""Inside the universe: the real transport is told to POST to every case, and everything that moved is written down as JSON.

    python -m tests.ssrf.attack [--sabotaged]

--sabotaged: the address rule is `ipaddress.is_global`, as in many a recipe. The check must notice.
Exits with 77 and a reason on stderr when no namespace can be made here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from gridhook.config import Settings
from gridhook.errors import Invalid
from gridhook.model import Answered
from gridhook.rules.addresses import Address, AddressPolicy, Refusal, parse_url
from gridhook.transport import Limits, Outgoing, Transport, open_transport

from .corpus import Case, cases, flipping
from .universe import NAMESERVER, Impossible, Watch, enter, use_nameserver
from .world import Answers, Everyone, NameServer, certificate_for

IMPOSSIBLE = 77
LIMITS = Limits(connect_seconds=2.0, total_seconds=5.0)
HANG_GUARD_SECONDS = 30
PLAIN_PORTS = {80}
TLS_PORTS = {443, 3000, 4443, 8443, 65535}


@dataclass(frozen=True, slots=True)
class Shot:
    """One URL to try. Addresses of the corpus are tried as a literal and as what a name resolves to."""

    case: Case
    way: str  # url, literal, named
    url: str
    answers: Answers


@dataclass(frozen=True, slots=True)
class Seen:
    """What one POST led to. `outcome`: a status, or the reason why there is none; `invalid` when the URL itself was refused."""

    id: str
    way: str
    round: int  # 0: as for the handshake; then: as for deliveries
    outcome: str
    detail: str
    packets: list[tuple[str, str, int]]
    hits: list[dict[str, object]]


def shots() -> list[Shot]:
    found = []
    for case in (*cases(), flipping()):
        if case.ip is None:
            found.append(Shot(case, "url", case.url, case.answers))
        else:
            host = f"[{case.ip}]" if case.ip.version == 6 else str(case.ip)
            found.append(Shot(case, "literal", f"http://{host}/hook", ()))
            found.append(Shot(case, "named", f"https://{case.id.lower()}.example.com/hook", ((case.ip,),)))
    return found


def is_global(ip: Address, policy: AddressPolicy, host: str | None = None) -> Refusal | None:
    return None if ip.is_global else Refusal(ip, str(ip), "not global")


async def attack(directory: Path) -> list[Seen]:
    volley = shots()
    context, ca_file = certificate_for(_hosts(volley), directory)
    names, everyone, watch = NameServer(), Everyone(), Watch()
    await names.start()
    await everyone.start(PLAIN_PORTS, TLS_PORTS, context)
    seen = []
    async with AsyncExitStack() as stack:
        # Cases share a transport, as customers do: a connection kept from one case must not serve another.
        transports: dict[str, Transport] = {}
        for shot in volley:
            names.knows(_host(shot), shot.answers)
            everyone.response = shot.case.response
            key = json.dumps(dict(shot.case.policy))
            if key not in transports:
                transports[key] = open_transport(_settings(shot.case, ca_file))
                await transports[key].start()
                stack.push_async_callback(transports[key].close)
            for number in range(max(2, len(shot.answers) + 1)):
                watch.since_last_look()
                everyone.hits.clear()
                outcome, detail = await _post(transports[key], shot)
                packets = [(packet.kind, str(packet.address), packet.port) for packet in sorted(watch.since_last_look(), key=str)]
                seen.append(Seen(shot.case.id, shot.way, number, outcome, detail, packets, [asdict(hit) for hit in everyone.hits]))
    return seen


async def _post(transport: Transport, shot: Shot) -> tuple[str, str]:
    try:
        target = transport.parse(shot.url)
    except Invalid as refused:
        return "invalid", str(refused)
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        outcome = await transport.send(Outgoing(target, (("Content-Type", "application/json"),), b"{}", LIMITS))
    if isinstance(outcome, Answered):
        return str(outcome.status), ""
    return outcome.reason.value, outcome.detail


def _settings(case: Case, ca_file: str) -> Settings:
    return Settings(
        ca_file=ca_file,
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
            seen = asyncio.run(attack(Path(name)))
    json.dump([asdict(one) for one in seen], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
