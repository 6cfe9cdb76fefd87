"""Which addresses a name has: asked from DNS as an absolute name, within a time limit, remembered no longer than the answer allows.

Not the C library's resolver: that one hides TTLs and CNAME chains, appends search domains (`metadata` would become an internal
host), reads odd numbers as addresses, and blocks a thread per name, so that a few slow names make everyone wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol, TypeAlias, TypeVar

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gridhook.model import Phase, Reason, Unreachable
from gridhook.transport.nameservers import FixedServers, Server, SystemServers

_Kept = TypeVar("_Kept")
Address: TypeAlias = IPv4Address | IPv6Address

MAX_CNAMES = 8
MAX_ADDRESSES = 64
CACHE_NAMES = 10_000
FAILURE_SECONDS = 1.0  # a name that cannot be resolved is not asked again for this long: a dead webhook's backlog is no DNS flood
GRACE_SECONDS = 0.5  # once one of A and AAAA is here, how long the other may still take: some name servers never answer AAAA
FIRST_TRY_SECONDS = 0.4  # then the next server, or the same once more: UDP loses packets
UDP_BYTES = 1232  # DNS flag day 2020: larger answers come by TCP instead of in fragments

_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of `host`, IPv4 first, as DNS ordered them. `fresh_until` is on the monotonic clock, in seconds.

    aliases: the names that its CNAME records led through, in order. ttl: as DNS gave it, in seconds; None without DNS.
    """

    host: str
    addresses: tuple[Address, ...]
    fresh_until: float
    aliases: tuple[str, ...] = ()
    ttl: int | None = None


class Resolver(Protocol):
    def cached(self, host: str) -> Resolved | None:
        """A fresh answer at hand, or None when it takes a lookup."""
        ...

    async def resolve(self, host: str, seconds: float) -> Resolved | Unreachable:
        """The addresses of `host` (an A-label without the root dot), at least one, or why there are none. Never raises."""
        ...


class DnsResolver:
    """Asks the given servers, or those of /etc/resolv.conf (read again when it changes). Only for the event loop's thread.

    seconds: limit on one resolution, whatever the caller would wait.
    cache_seconds: longest reuse of an answer, where its TTL allows; 0 asks every time.
    """

    def __init__(
        self, servers: tuple[Server, ...] = (), *, seconds: float = 2.0, cache_seconds: float = 30.0, resolv_conf: str = "/etc/resolv.conf"
    ) -> None:
        self._servers = SystemServers(resolv_conf) if not servers else FixedServers(servers)
        self._seconds = seconds
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, Resolved] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, Unreachable]] = OrderedDict()
        # One flight per name: a name that hangs holds two sockets for as long as the limit, however many wait for it.
        self._flights: dict[str, asyncio.Task[Resolved | Unreachable]] = {}

    def cached(self, host: str) -> Resolved | None:
        known = self._cache.get(host)
        return known if known is not None and time.monotonic() < known.fresh_until else None

    async def resolve(self, host: str, seconds: float) -> Resolved | Unreachable:
        if known := self.cached(host):
            return known
        if (failure := self._failures.get(host)) and time.monotonic() < failure[0]:
            return failure[1]
        flight = self._flights.get(host)
        if flight is None:
            flight = self._flights[host] = asyncio.create_task(self._fly(host), name=f"resolve {host}")
        # `wait` neither cancels the flight when this caller's time is up, nor raises.
        done, _ = await asyncio.wait((flight,), timeout=max(0.0, seconds))
        return flight.result() if done and not flight.cancelled() else _late(host, seconds)

    async def close(self) -> None:
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, host: str) -> Resolved | Unreachable:
        try:
            found = await self._look_up(host)
            if isinstance(found, Resolved):
                if found.fresh_until > time.monotonic():
                    _remember(self._cache, host, found)
            else:
                _remember(self._failures, host, (time.monotonic() + FAILURE_SECONDS, found))
            return found
        finally:
            del self._flights[host]

    async def _look_up(self, host: str) -> Resolved | Unreachable:
        if host == "localhost" or host.endswith(".localhost"):
            # RFC 6761 s6.3: always loopback, never asked. Whether it may be connected to is the guard's question.
            return Resolved(host, _LOOPBACK, time.monotonic() + self._cache_seconds)
        try:
            name = dns.name.from_text(host + ".")
        except (dns.exception.DNSException, UnicodeError):
            return _failed(Reason.DNS_ERROR, f"{host} cannot be asked from DNS")
        started = time.monotonic()
        deadline = started + self._seconds
        asked = [asyncio.create_task(self._ask(name, kind, deadline)) for kind in (dns.rdatatype.A, dns.rdatatype.AAAA)]
        try:
            done, late = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            if late and any(task.result().addresses for task in done):
                await asyncio.wait(late, timeout=GRACE_SECONDS)
            elif late:
                await asyncio.wait(late)
            answers = [task.result() if task.done() else _LATE for task in asked]
        finally:
            for task in asked:
                task.cancel()
        addresses = tuple(dict.fromkeys(address for answer in answers for address in answer.addresses))
        if any(answer.trouble == "chain" for answer in answers):
            return _failed(Reason.DNS_ERROR, f"{host} is an alias (CNAME) through more than {MAX_CNAMES} names")
        if len(addresses) > MAX_ADDRESSES:
            return _failed(Reason.DNS_ERROR, f"{host} has {len(addresses)} addresses; at most {MAX_ADDRESSES} are considered")
        if addresses:
            ttl = min(answer.ttl for answer in answers if answer.addresses)
            aliases = max((answer.aliases for answer in answers if answer.addresses), key=len)
            return Resolved(host, addresses, started + min(float(ttl), self._cache_seconds), aliases, ttl)
        troubles = {answer.trouble for answer in answers}
        if "nxdomain" in troubles:
            return _failed(Reason.DNS_ERROR, f"{host} does not exist in DNS")
        if "broken" in troubles:
            return _failed(Reason.DNS_ERROR, f"DNS gave no usable answer for {host}; check the domain's name servers")
        if "late" in troubles:
            return _late(host, self._seconds)
        return _failed(Reason.DNS_EMPTY, f"{host} has no address in DNS (neither an A nor an AAAA record)")

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, deadline: float) -> _Answer:
        """One record type, from server after server until one gives an answer or the time is up. Never raises."""
        worst = _LATE
        for number, server in self._servers.rounds():
            left = deadline - time.monotonic()
            if left <= 0:
                return worst
            query = dns.message.make_query(name, kind, use_edns=0, payload=UDP_BYTES)
            try:
                response, _ = await dns.asyncquery.udp_with_fallback(
                    query,
                    server.address,
                    timeout=min(left, FIRST_TRY_SECONDS * 2**number),
                    port=server.port,
                    ignore_unexpected=True,  # a spoofed or stray packet must not end the wait for the real one
                    ignore_errors=True,
                )
            except dns.exception.Timeout:
                continue
            except (dns.exception.DNSException, OSError, EOFError, ValueError):
                # One place where the library's and the socket's complaints end. A failing server is not asked in a tight loop.
                worst = _BROKEN
                await asyncio.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
                continue
            answer = _read(response, kind)
            if answer.trouble != "broken":
                return answer
            worst = answer
            if number:
                return worst  # every server was asked and said no: they will say it again
        return worst


@dataclass(frozen=True, slots=True)
class _Answer:
    """`trouble`: "" (an answer, maybe without addresses), nxdomain, chain, broken, late."""

    addresses: tuple[Address, ...] = ()
    ttl: int = 0
    trouble: str = ""
    aliases: tuple[str, ...] = ()


_LATE = _Answer(trouble="late")
_BROKEN = _Answer(trouble="broken")


def _read(response: dns.message.Message, kind: dns.rdatatype.RdataType) -> _Answer:
    """What a response says about the question's name: only records on its own CNAME chain count, whatever else was put in."""
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return _BROKEN  # SERVFAIL, REFUSED, ...
    question = response.question[0]
    name, ttl = question.name, 2**31
    aliases: list[str] = []
    for _ in range(MAX_CNAMES + 1):
        records = response.get_rrset(response.answer, name, question.rdclass, kind)
        if records is not None:
            ttl = min(ttl, records.ttl)
            return _Answer(tuple(ip_address(record.to_text()) for record in records), ttl, aliases=tuple(aliases))
        alias = response.get_rrset(response.answer, name, question.rdclass, dns.rdatatype.CNAME)
        if alias is None:
            return _Answer(trouble="nxdomain" if response.rcode() == dns.rcode.NXDOMAIN else "")
        ttl = min(ttl, alias.ttl)
        name = alias[0].target
        aliases.append(name.to_text(omit_final_dot=True).lower())
    return _Answer(trouble="chain")


def _remember(store: OrderedDict[str, _Kept], host: str, value: _Kept) -> None:
    store[host] = value
    store.move_to_end(host)
    while len(store) > CACHE_NAMES:
        store.popitem(last=False)


def _failed(reason: Reason, detail: str) -> Unreachable:
    return Unreachable(reason, detail, Phase.DNS)


def _late(host: str, seconds: float) -> Unreachable:
    return _failed(Reason.DNS_TIMEOUT, f"DNS gave no answer for {host} within {seconds:.1f} s; check the domain's name servers")
