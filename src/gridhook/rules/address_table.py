"""Which addresses are not public: one row per block, with its source. Data only; `addresses` judges by it.

IPv4 is public unless a row says otherwise. IPv6 is the other way round: only 2000::/3 is handed out as global unicast (RFC 4291
s2.4, IANA "IPv6 Address Space"), so three rows refuse the rest of the space whole, whatever is later defined in it.

"Globally reachable" in the IANA registries is not our question. 192.0.0.9 is globally reachable and still answered by the nearest
*local* server; a multicast or metadata address is in no registry at all. Each row therefore states its own reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

TABLE_DATE = "2026-11-22"
"""When the rows were last compared with the registries (their copies, with dates, are in the tests)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A block we never connect to. `sealed`: a wider allow-network or an allowed host name does not open it."""

    network: IPv4Network | IPv6Network
    why: str
    source: str
    sealed: bool = False

    def __str__(self) -> str:
        return f"{self.network}, {self.why} ({self.source})"


def _row(network: str, why: str, source: str, sealed: bool = False) -> Row:
    return Row(ip_network(network), why, source, sealed)


IPV4_ROWS: tuple[Row, ...] = (
    _row("0.0.0.0/8", "this network: reaches this machine", "RFC 791, RFC 1122"),
    _row("10.0.0.0/8", "private", "RFC 1918"),
    _row("100.64.0.0/10", "shared by carrier-grade NAT", "RFC 6598"),
    _row("127.0.0.0/8", "loopback", "RFC 1122"),
    _row("169.254.0.0/16", "link-local", "RFC 3927", sealed=True),
    _row("172.16.0.0/12", "private", "RFC 1918"),
    _row("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
    _row("192.0.2.0/24", "documentation", "RFC 5737"),
    _row("192.31.196.0/24", "AS112 anycast", "RFC 7535"),
    _row("192.52.193.0/24", "AMT anycast", "RFC 7450"),
    _row("192.88.99.0/24", "6to4 relay anycast, deprecated", "RFC 7526"),
    _row("192.168.0.0/16", "private", "RFC 1918"),
    _row("192.175.48.0/24", "AS112 anycast", "RFC 7534"),
    _row("198.18.0.0/15", "benchmarking", "RFC 2544"),
    _row("198.51.100.0/24", "documentation", "RFC 5737"),
    _row("203.0.113.0/24", "documentation", "RFC 5737"),
    _row("224.0.0.0/4", "multicast", "RFC 5771"),
    _row("240.0.0.0/4", "reserved", "RFC 1112"),
    _row("255.255.255.255/32", "broadcast", "RFC 919"),
    # Cloud metadata: one request to these hands out the machine's own credentials.
    _row("100.100.100.200/32", "cloud metadata", "Alibaba Cloud", sealed=True),
    _row("168.63.129.16/32", "cloud host services", "Azure WireServer", sealed=True),
    _row("169.254.169.254/32", "cloud metadata", "AWS, Azure, Google Cloud and others", sealed=True),
    _row("192.0.0.192/32", "cloud metadata", "Oracle Cloud", sealed=True),
)

IPV6_ROWS: tuple[Row, ...] = (
    _row("::/3", "outside the global unicast space 2000::/3", "RFC 4291"),
    _row("4000::/2", "outside the global unicast space 2000::/3", "RFC 4291"),
    _row("8000::/1", "outside the global unicast space 2000::/3", "RFC 4291"),
    _row("::/8", "reserved, holds every embedding of IPv4", "RFC 4291"),
    _row("::/128", "unspecified: reaches this machine", "RFC 4291"),
    _row("::1/128", "loopback", "RFC 4291"),
    _row("::/96", "IPv4-compatible, deprecated", "RFC 4291 s2.5.5.1"),
    _row("::ffff:0:0/96", "IPv4-mapped: the socket goes to the IPv4 address", "RFC 4291 s2.5.5.2"),
    _row("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"),
    _row("64:ff9b::/96", "NAT64", "RFC 6052"),
    _row("64:ff9b:1::/48", "local NAT64", "RFC 8215"),
    _row("100::/64", "discarded", "RFC 6666"),
    _row("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    _row("2001::/23", "IETF protocol assignments", "RFC 2928"),
    _row("2001::/32", "Teredo: carries IPv4 addresses", "RFC 4380"),
    _row("2001:2::/48", "benchmarking", "RFC 5180"),
    _row("2001:10::/28", "ORCHID, deprecated: not a locator", "RFC 4843"),
    _row("2001:20::/28", "ORCHIDv2: not a locator", "RFC 7343"),
    _row("2001:30::/28", "drone identifiers: not a locator", "RFC 9374"),
    _row("2001:db8::/32", "documentation", "RFC 3849"),
    _row("2002::/16", "6to4: carries an IPv4 address", "RFC 3056"),
    _row("2620:4f:8000::/48", "AS112 anycast", "RFC 7534"),
    _row("3fff::/20", "documentation", "RFC 9637"),
    _row("5f00::/16", "segment routing identifiers", "RFC 9602"),
    _row("fc00::/7", "unique local: private", "RFC 4193"),
    _row("fe80::/10", "link-local", "RFC 4291", sealed=True),
    _row("fec0::/10", "site-local, deprecated", "RFC 3879"),
    _row("ff00::/8", "multicast", "RFC 4291"),
    _row("fd00:42::42/128", "cloud metadata", "Scaleway", sealed=True),
    _row("fd00:c1::a9fe:a9fe/128", "cloud metadata", "Oracle Cloud", sealed=True),
    _row("fd00:ec2::23/128", "cloud credentials", "AWS EKS", sealed=True),
    _row("fd00:ec2::254/128", "cloud metadata", "AWS", sealed=True),
    _row("fd20:ce::254/128", "cloud metadata", "Google Cloud", sealed=True),
)

# RFC 5214: an interface identifier of 00-00-5E-FE or 02-00-5E-FE and an IPv4 address, under any /64. No block: a pattern.
ISATAP_MARKS = (0x0000_5EFE, 0x0200_5EFE)

# WHATWG Fetch, "bad port": services of other protocols that can be made to act on the bytes of an HTTP request.
_BAD_PORTS = """
    1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137 139 143
    161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045
    4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
# What is left open inside networks on the assumption that nobody strange can connect. Ports on which people do run HTTP
# receivers (3000, 5000, 8000-8888, 9000, 9443) are not here. In turn: Kerberos, SMB, directories, remote desktops and shells;
# databases and caches; brokers and coordination; Docker, etcd, Kubernetes.
_SERVICE_PORTS = """
    88 445 464 3268 3269 3389 5900 5985 5986
    1433 1434 1521 3306 5432 5433 5984 6379 6380 7687 9042 9160 9200 9300 11211 27017 27018 27019
    1883 2181 4222 4369 5671 5672 8883 9092 9093 15672 25672 61613 61614 61616
    2375 2376 2377 2379 2380 6443 10250 10255 10256 10257 10259
"""
REFUSED_PORTS = frozenset(int(port) for port in (_BAD_PORTS + _SERVICE_PORTS).split())

# Names that public DNS does not hold, or that mean something inside a network only. A second fence: the address rule is the first.
REFUSED_SUFFIXES: tuple[tuple[str, str], ...] = (
    ("localhost", "RFC 6761"),
    ("invalid", "RFC 6761"),
    ("local", "RFC 6762, multicast DNS"),
    ("internal", "ICANN, reserved for private use"),
    ("home.arpa", "RFC 8375, home networks"),
    ("onion", "RFC 7686, Tor"),
    ("alt", "RFC 9476, not DNS"),
    ("localdomain", "never delegated"),
    ("svc", "never delegated, Kubernetes services"),
    ("lan", "never delegated"),
    ("corp", "never delegated, ICANN name collision"),
    ("home", "never delegated, ICANN name collision"),
    ("mail", "never delegated, ICANN name collision"),
)
