"""The table of refused blocks against the IANA registries, and the rule against an independent formulation of it."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.rules.address_table import IPV4_ROWS, IPV6_ROWS
from gridhook.rules.addresses import PUBLIC_ONLY, is_public, refusal

REGISTRIES = Path(__file__).parent / "iana_special_registries.csv"


def registry_blocks():
    lines = (line for line in REGISTRIES.read_text("ascii").splitlines() if not line.startswith("#"))
    return [ip_network(row[0]) for row in csv.reader(lines)]


def uncovered(blocks: Iterable[IPv4Network | IPv6Network]):
    def covered(block: IPv4Network | IPv6Network) -> bool:
        if isinstance(block, IPv4Network):
            return any(block.subnet_of(row.network) for row in IPV4_ROWS if isinstance(row.network, IPv4Network))
        return any(block.subnet_of(row.network) for row in IPV6_ROWS if isinstance(row.network, IPv6Network))

    return [block for block in blocks if not covered(block)]


def test_every_block_of_the_iana_registries_is_refused_whole():
    assert len(registry_blocks()) == 51
    assert uncovered(registry_blocks()) == []


def test_a_block_that_iana_adds_tomorrow_is_noticed():
    added = [ip_network("2a0e:ffff::/32"), ip_network("203.1.2.0/24")]
    assert uncovered([*registry_blocks(), *added]) == added


# The same question put differently: numbers and intervals from the registries, no prefix arithmetic, none of the table's rows.
_BESIDES = ("224.0.0.0-239.255.255.255", "168.63.129.16-168.63.129.16")
_REFUSED_V4 = [(int(block[0]), int(block[-1])) for block in registry_blocks() if block.version == 4] + [
    (int(IPv4Address(first)), int(IPv4Address(last))) for first, last in (text.split("-") for text in _BESIDES)
]
_REFUSED_V6 = [(int(block[0]), int(block[-1])) for block in registry_blocks() if block.version == 6]


def is_public_said_differently(ip: IPv4Address | IPv6Address) -> bool:
    number = int(ip)
    if ip.version == 4:
        return not any(first <= number <= last for first, last in _REFUSED_V4)
    groups = ip.exploded.split(":")
    if groups[0][0] not in "23":
        return False
    if groups[4] in ("0000", "0200") and groups[5] == "5efe":
        return False
    return not any(first <= number <= last for first, last in _REFUSED_V6)


def edges() -> list[IPv4Address | IPv6Address]:
    """The first and last address of every block, and their neighbours outside."""
    found = set()
    for row in (*IPV4_ROWS, *IPV6_ROWS):
        kind = IPv4Address if row.network.version == 4 else IPv6Address
        first, last = int(row.network[0]), int(row.network[-1])
        for number in (first - 1, first, last, last + 1):
            if 0 <= number < 2**row.network.max_prefixlen:
                found.add(kind(number))
    return sorted(found, key=lambda ip: (ip.version, ip))


@pytest.mark.parametrize("ip", edges(), ids=str)
def test_every_block_begins_and_ends_where_its_source_says(ip):
    assert is_public(ip) == is_public_said_differently(ip)


@given(st.ip_addresses())
def test_any_address_is_judged_as_the_registries_say(ip):
    assert is_public(ip) == is_public_said_differently(ip)


@given(st.integers(0, 2**125 - 1), st.sampled_from([None, 0x00005EFE, 0x02005EFE]))
def test_any_address_of_the_global_unicast_space_is_judged_as_the_registries_say(low, mark):
    number = (1 << 125) + low
    if mark is not None:
        number = number >> 64 << 64 | mark << 32 | number & 0xFFFF_FFFF
    ip = IPv6Address(number)
    assert is_public(ip) == is_public_said_differently(ip)


def test_a_hundred_thousand_addresses_drawn_from_a_seed_are_judged_alike():
    chance = random.Random(20261122)
    corners = edges()
    differ = []
    for number in range(100_000):
        kind = number % 4
        ip: IPv4Address | IPv6Address
        if kind == 0:
            ip = IPv4Address(chance.getrandbits(32))
        elif kind == 1:
            ip = IPv6Address(1 << 125 | chance.getrandbits(125))
        elif kind == 2:
            ip = IPv6Address(chance.getrandbits(128))
        else:  # near a boundary, where an off-by-one would hide
            near = chance.choice(corners)
            moved = int(near) + chance.choice((-1, 1)) * chance.getrandbits(chance.randrange(1, 24))
            ip = type(near)(moved % 2**near.max_prefixlen)
        if is_public(ip) != is_public_said_differently(ip):
            differ.append(ip)
    assert differ == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.5", "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)"),
        ("169.254.169.254", "169.254.169.254 is in 169.254.169.254/32, cloud metadata (AWS, Azure, Google Cloud and others)"),
        ("100.100.100.200", "100.100.100.200 is in 100.100.100.200/32, cloud metadata (Alibaba Cloud)"),
        ("4000::1", "4000::1 is in 4000::/2, outside the global unicast space 2000::/3 (RFC 4291)"),
        ("2606:4700::5efe:7f00:1", "2606:4700::5efe:7f00:1 is in 2606:4700::/64, ISATAP: carries 127.0.0.1 (RFC 5214)"),
        ("fe80::1%eth0", "fe80::1%eth0 is in fe80::/10, bound to one link by a zone id (RFC 4007)"),
        ("::ffff:169.254.169.254", "::ffff:a9fe:a9fe is in ::ffff:0:0/96, IPv4-mapped: the socket goes to the IPv4 address"),
    ],
)
def test_a_refusal_names_the_address_the_range_and_the_reason(text, said):
    assert str(refusal(ip_address(text), PUBLIC_ONLY)).startswith(said)
