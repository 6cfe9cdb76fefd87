"""Whether we connect to an address: the table, and what an operator has opened or closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

from gridhook.errors import Misconfigured
from gridhook.rules.address_table import IPV4_ROWS, IPV6_ROWS, ISATAP_MARKS, Row
from gridhook.rules.hostnames import BadName, LiteralName, ascii_host

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class RefusedBy(StrEnum):
    """What stands against an address, hence what an operator would have to change."""

    TABLE = "table"  # it is not public: a network or a host name may open it
    SEALED = "sealed"  # metadata, link-local: only a network of this one address opens it
    OPERATOR = "operator"  # GRIDHOOK_REFUSE_NETWORKS
    ZONE = "zone"  # a zone id: nothing opens it


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address is not connected to. `str()` is for the customer: "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)"."""

    address: Address
    network: str
    why: str
    by: RefusedBy = RefusedBy.TABLE

    def __str__(self) -> str:
        return f"{self.address} is in {self.network}, {self.why}"


@dataclass(frozen=True, slots=True)
class Admission:
    """The operator's entry that opened an address. `str()` is as it would be set: "GRIDHOOK_ALLOW_NETWORKS=10.0.0.0/8"."""

    setting: str
    entry: Network | str

    def __str__(self) -> str:
        return f"{self.setting}={self.entry}"


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator changed about who may be reached. The default: public addresses only.

    extra_refuse: refused before everything else; nothing opens these.
    nat64_prefixes: /96 prefixes of the operator's own NAT64, decoded and judged as IPv4.
    allow_networks: opened although not public. Sealed rows of the table (link-local, cloud metadata) open only to a network of
        one address, that address.
    allow_hosts: names whose addresses are opened although not public, sealed rows excepted; also excused from the name rules.
    allow_ports: when not empty, the only ports that a URL may use.
    """

    extra_refuse: tuple[Network, ...] = ()
    nat64_prefixes: tuple[IPv6Network, ...] = ()
    allow_networks: tuple[Network, ...] = ()
    allow_hosts: frozenset[str] = frozenset()
    allow_ports: frozenset[int] = frozenset()

    @classmethod
    def from_texts(
        cls,
        *,
        extra_refuse: Iterable[str] = (),
        nat64_prefixes: Iterable[str] = (),
        allow_networks: Iterable[str] = (),
        allow_hosts: Iterable[str] = (),
        allow_ports: Iterable[int] = (),
    ) -> AddressPolicy:
        """Raises `Misconfigured` naming the setting, the entry and the remedy."""
        return cls(
            extra_refuse=tuple(_network("GRIDHOOK_REFUSE_NETWORKS", text) for text in extra_refuse),
            nat64_prefixes=tuple(_nat64_prefix(text) for text in nat64_prefixes),
            allow_networks=tuple(_allowed_network(text) for text in allow_networks),
            allow_hosts=frozenset(_allowed_host(text) for text in allow_hosts),
            allow_ports=frozenset(_allowed_port(port) for port in allow_ports),
        )


PUBLIC_ONLY = AddressPolicy()


def refusal(ip: Address, policy: AddressPolicy, host: str | None = None) -> Refusal | None:
    """Why we do not connect to `ip`, or None when we may. `host`: the name that resolved to it, None for a literal.

    An IPv6 address is judged together with every IPv4 address it can carry, so that no spelling of a sealed address is opened by
    a network drawn around the spelling.
    """
    ruled = _ruling(ip, policy, host)
    return ruled if isinstance(ruled, Refusal) else None


def admission(ip: Address, policy: AddressPolicy, host: str | None = None) -> Admission | None:
    """What opened an address that is not public; None when it needs no opening, or is refused."""
    ruled = _ruling(ip, policy, host)
    return ruled if isinstance(ruled, Admission) and not is_public(ip) else None


def _ruling(ip: Address, policy: AddressPolicy, host: str | None) -> Refusal | Admission | None:
    """The rule that decides about an address: what refuses it, what an operator opened it with, or None when it is merely public."""
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return Refusal(ip, "fe80::/10", "bound to one link by a zone id (RFC 4007)", RefusedBy.ZONE)
    carried = tuple(_carried(ip)) if isinstance(ip, IPv6Address) else ()
    for address in (ip, *carried):
        for network in policy.extra_refuse:
            if address in network:
                return Refusal(ip, str(network), "refused by this service's operator", RefusedBy.OPERATOR)
    for network in policy.allow_networks:
        if network.num_addresses == 1 and network.network_address == ip:
            return Admission("GRIDHOOK_ALLOW_NETWORKS", network)
    if isinstance(ip, IPv6Address):
        for prefix in policy.nat64_prefixes:
            if ip in prefix:
                inner = _ruling(IPv4Address(int(ip) & 0xFFFF_FFFF), policy, host)
                if isinstance(inner, Refusal):
                    return Refusal(ip, str(prefix), f"NAT64 of {inner.address}, which is in {inner.network}, {inner.why}", inner.by)
                return inner or Admission("GRIDHOOK_NAT64_PREFIXES", prefix)
    row = _row_of(ip)
    for address in (ip, *carried):
        inside = _row_of(address)
        if inside is not None and inside.sealed:
            return _refused(ip, row or inside, None if address == ip else address, RefusedBy.SEALED)
    for network in policy.allow_networks:
        if ip in network:
            return Admission("GRIDHOOK_ALLOW_NETWORKS", network)
    if host is not None and host in policy.allow_hosts:
        return Admission("GRIDHOOK_ALLOW_HOSTS", host)
    if row is not None:
        return _refused(ip, row, None, RefusedBy.TABLE)
    if isinstance(ip, IPv6Address) and _is_isatap(ip):
        return Refusal(ip, str(IPv6Network((int(ip) >> 64 << 64, 64))), f"ISATAP: carries {carried[0]} (RFC 5214)")
    return None


def is_public(ip: Address) -> bool:
    """By the table alone, without any operator's exceptions."""
    return refusal(ip, PUBLIC_ONLY) is None


def _refused(ip: Address, row: Row, carried: Address | None, by: RefusedBy) -> Refusal:
    what = f"{row.why} ({row.source})"
    return Refusal(ip, str(row.network), what if carried is None else f"{what}, and carries {carried}", by)


def _by_length(rows: Iterable[Row]) -> tuple[tuple[int, int, Row], ...]:
    """(mask, network, row), longest prefix first: the narrowest row is the one that explains."""
    ordered = sorted(rows, key=lambda row: -row.network.prefixlen)
    return tuple((int(row.network.netmask), int(row.network.network_address), row) for row in ordered)


_INDEX = {4: _by_length(IPV4_ROWS), 6: _by_length(IPV6_ROWS)}


@lru_cache(maxsize=4096)
def _row_of(ip: Address) -> Row | None:
    number = int(ip)
    for mask, network, row in _INDEX[ip.version]:
        if number & mask == network:
            return row
    return None


def _is_isatap(ip: IPv6Address) -> bool:
    return (int(ip) >> 32) & 0xFFFF_FFFF in ISATAP_MARKS


def _carried(ip: IPv6Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that `ip` may stand for on some host: a wrong guess only refuses more."""
    number = int(ip)
    if number >> 120 == 0 or _is_isatap(ip):  # ::/8: mapped, compatible, translated, NAT64 with 96 bits of prefix
        yield IPv4Address(number & 0xFFFF_FFFF)
    if number >> 80 == 0x0064_FF9B_0001:  # RFC 8215: the operator's choice of layout; RFC 6052 s2.2 lists them, bits 64-71 skipped
        yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)  # /48
        yield IPv4Address((number >> 64 & 0xFF) << 24 | number >> 32 & 0xFF_FFFF)  # /56
        yield IPv4Address(number >> 24 & 0xFFFF_FFFF)  # /64
    elif number >> 112 == 0x2002:  # 6to4
        yield IPv4Address(number >> 80 & 0xFFFF_FFFF)
    elif number >> 96 == 0x2001_0000:  # Teredo: the server, and the client with its bits inverted
        yield IPv4Address(number >> 64 & 0xFFFF_FFFF)
        yield IPv4Address(~number & 0xFFFF_FFFF)


def _network(setting: str, text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise Misconfigured(f"{setting}: {error}; write a network as 10.1.0.0/16 or fd12:3456::/48") from None


def _allowed_network(text: str) -> Network:
    network = _network("GRIDHOOK_ALLOW_NETWORKS", text)
    for row in (*IPV4_ROWS, *IPV6_ROWS):
        # A network around a sealed block is fine and leaves it shut; one drawn inside it would be a setting without effect.
        if row.sealed and network.version == row.network.version and network.num_addresses > 1:
            first, last = int(network.network_address), int(network.broadcast_address)
            if int(row.network.network_address) <= first and last <= int(row.network.broadcast_address):
                one = f"/{network.max_prefixlen}"
                raise Misconfigured(f"GRIDHOOK_ALLOW_NETWORKS: {network} lies in {row}: name each address you need on its own, with {one}")
    return network


def _nat64_prefix(text: str) -> IPv6Network:
    network = _network("GRIDHOOK_NAT64_PREFIXES", text)
    if not isinstance(network, IPv6Network) or network.prefixlen != 96:
        raise Misconfigured(f"GRIDHOOK_NAT64_PREFIXES: {network} is not an IPv6 /96, the only layout that is decoded (RFC 6052 s2.2)")
    return network


def _allowed_host(text: str) -> str:
    try:
        return ascii_host(text.strip(), underscores=True)
    except LiteralName as literal:
        raise Misconfigured(
            f"GRIDHOOK_ALLOW_HOSTS: {text!r} is an address; put it in GRIDHOOK_ALLOW_NETWORKS as {literal.network}"
        ) from None
    except BadName as error:
        raise Misconfigured(f"GRIDHOOK_ALLOW_HOSTS: {text!r} {error}; write a host name alone, without scheme or port") from None


def _allowed_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise Misconfigured(f"GRIDHOOK_ALLOW_PORTS: {port} is not a port; ports are 1 to 65535")
    return port
