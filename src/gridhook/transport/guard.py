"""Who may be connected to: the addresses of a target, every one judged, before a packet leaves.

The sender connects to what `vet` returned and to nothing else, and asks `permits` again when a socket opens and before the first
byte: the answer was judged, and the judged answer is what is used, with no second lookup in between for a name to change its mind.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, zip_longest
from typing import TypeAlias

from gridhook.config import Settings
from gridhook.limits import Remembered
from gridhook.model import Exchange, Phase, Reason, Timings, Unreachable, Value
from gridhook.rules.addresses import AddressPolicy, Refusal, Target, admission, refusal
from gridhook.rules.inspection import Inspection, Judged
from gridhook.transport.nameservers import parse_servers
from gridhook.transport.resolver import DnsResolver, Resolved, Resolver

Address: TypeAlias = IPv4Address | IPv6Address

MAX_TRIED = 4
JUDGED_NAMES = 10_000


class Vetted(Value, frozen=True):
    """A target with the addresses it may be reached at, as text, in the order to try, at most four. `dns_us` None: no lookup was needed."""

    target: Target
    addresses: tuple[str, ...]
    dns_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was decided about one answer of DNS: holds for that very answer only, never for the next one."""

    answer: Resolved
    addresses: tuple[str, ...]
    refused: Unreachable | None


class Guard:
    """Judges by `policy` what `resolver` finds. Literal addresses take the same road as names."""

    def __init__(self, resolver: Resolver, policy: AddressPolicy) -> None:
        self._resolver = resolver
        self.policy = policy
        self._judged: OrderedDict[str, _Judged] = OrderedDict()
        self._literals: Remembered[Vetted | Unreachable] = Remembered(JUDGED_NAMES)  # by URL: the policy is fixed, so is the verdict

    def vet_now(self, target: Target) -> Vetted | Unreachable | None:
        """The verdict when it needs no lookup, else None."""
        if target.literal is not None:
            known = self._literals.get(target.url)
            if known is None:
                refused = refusal(target.literal, self.policy)
                known = Vetted(target, (str(target.literal),)) if refused is None else _refused(str(refused))
                self._literals.put(target.url, known)
            return known
        answer = self._resolver.cached(target.host)
        return None if answer is None else self._verdict(target, answer, None)

    async def vet(self, target: Target, seconds: float) -> Vetted | Unreachable:
        """The verdict, after one lookup of at most `seconds` if it takes one. Never raises."""
        known = self.vet_now(target)
        if known is not None:
            return known
        answer, took_us = await self._look_up(target, seconds)
        return answer if isinstance(answer, Unreachable) else self._verdict(target, answer, took_us)

    async def explain(self, target: Target, seconds: float, url: str) -> Inspection:
        """The same verdict, and how it came about. `url`: the target as it was asked for. Never raises."""
        if target.literal is not None:
            judged = Judged(target.literal, refusal(target.literal, self.policy), admission(target.literal, self.policy))
            return Inspection(url, target, addresses=(judged,), refused=_refusal_of(self.vet_now(target)))
        at_hand = self._resolver.cached(target.host)
        answer, took_us = (at_hand, None) if at_hand is not None else await self._look_up(target, seconds)
        if isinstance(answer, Unreachable):
            return Inspection(url, target, lookup_us=took_us, refused=answer)
        return Inspection(
            url,
            target,
            addresses=tuple(
                Judged(address, refusal(address, self.policy, target.host), admission(address, self.policy, target.host))
                for address in answer.addresses
            ),
            aliases=answer.aliases,
            ttl_seconds=answer.ttl,
            lookup_us=took_us,
            refused=_refusal_of(self._verdict(target, answer, took_us)),
        )

    def permits(self, ip: Address, target: Target) -> bool:
        """Whether a socket to `ip` may be used for `target`. A second lock, by the same rule: it does not trust the client library."""
        if target.literal is not None:
            return ip == target.literal and refusal(ip, self.policy) is None
        return refusal(ip, self.policy, target.host) is None

    async def _look_up(self, target: Target, seconds: float) -> tuple[Resolved | Unreachable, int]:
        """What DNS says, and the microseconds that it took."""
        started = time.perf_counter()
        answer = await self._resolver.resolve(target.host, seconds)
        took_us = int((time.perf_counter() - started) * 1_000_000)
        return (_timed(answer, took_us) if isinstance(answer, Unreachable) else answer), took_us

    def _verdict(self, target: Target, answer: Resolved, took_us: int | None) -> Vetted | Unreachable:
        judged = self._judged.get(target.host)
        if judged is None or judged.answer is not answer:
            judged = self._judge(target.host, answer)
        if judged.refused is not None:
            return _timed(judged.refused, took_us)
        return Vetted(target, judged.addresses, took_us)

    def _judge(self, host: str, answer: Resolved) -> _Judged:
        refusals = [why for address in answer.addresses if (why := refusal(address, self.policy, host)) is not None]
        refused = _refused(_explain(host, answer.addresses, refusals)) if refusals else None
        judged = self._judged[host] = _Judged(answer, () if refused else _in_turn(answer.addresses), refused)
        self._judged.move_to_end(host)
        while len(self._judged) > JUDGED_NAMES:
            self._judged.popitem(last=False)
        return judged


def open_resolver(settings: Settings) -> DnsResolver:
    """Real DNS, by the settings. Raises `Misconfigured`. Close it on the way out."""
    servers = parse_servers(settings.dns_servers)
    return DnsResolver(servers, seconds=settings.dns_seconds, cache_seconds=settings.dns_cache_seconds)


def policy_from(settings: Settings) -> AddressPolicy:
    """What the operator opened and closed. Raises `Misconfigured`."""
    return AddressPolicy.from_texts(
        extra_refuse=settings.refuse_networks,
        nat64_prefixes=settings.nat64_prefixes,
        allow_networks=settings.allow_networks,
        allow_hosts=settings.allow_hosts,
        allow_ports=settings.allow_ports,
    )


def _in_turn(addresses: tuple[Address, ...]) -> tuple[str, ...]:
    """The families alternate, so that a machine without one of them reaches the other within four tries. IPv4 first: where a
    server has no working IPv6 it often has an IPv6 address all the same."""
    v4 = [address for address in addresses if address.version == 4]
    v6 = [address for address in addresses if address.version == 6]
    return tuple(str(address) for address in chain.from_iterable(zip_longest(v4, v6)) if address is not None)[:MAX_TRIED]


def _explain(host: str, addresses: tuple[Address, ...], refusals: list[Refusal]) -> str:
    text = f"{host} resolves to an address that is never connected to: {refusals[0]}"
    if len(refusals) == len(addresses):
        return text
    if all(refused.address.version == 6 for refused in refusals) and any(address.version == 4 for address in addresses):
        return f"{text}; only IPv6 (AAAA) records are at fault, and one is enough to refuse: correct or remove them"
    return f"{text}; {len(refusals)} of its {len(addresses)} addresses are at fault, and one is enough to refuse: remove it from DNS"


def _refusal_of(verdict: Vetted | Unreachable | None) -> Unreachable | None:
    return verdict if isinstance(verdict, Unreachable) else None


def _refused(detail: str) -> Unreachable:
    return Unreachable(Reason.ADDRESS_REFUSED, detail, Phase.DNS)


def _timed(outcome: Unreachable, took_us: int | None) -> Unreachable:
    return Unreachable(outcome.reason, outcome.detail, outcome.phase, Exchange(Timings(dns_us=took_us, total_us=took_us or 0)))
