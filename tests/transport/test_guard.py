"""Every address of a target is judged before a packet leaves, at every attempt anew."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.model import Phase, Reason, Unreachable
from gridhook.rules.addresses import AddressPolicy, Target, is_public, parse_url
from gridhook.transport.guard import Guard, Vetted, open_resolver, policy_from
from gridhook.transport.resolver import DnsResolver
from tests.transport.nameserver import NameServer, in_turn, records, silence

NEVER = 30.0  # seconds: a hang guard


@pytest.fixture
async def names():
    async with NameServer() as server:
        yield server


@pytest.fixture
async def resolver(names: NameServer):
    made = DnsResolver((names.server,), seconds=NEVER)
    yield made
    await made.close()


@pytest.fixture
def guard(resolver: DnsResolver) -> Guard:
    return Guard(resolver, AddressPolicy())


def target(url: str, **texts) -> Target:
    return parse_url(url, AddressPolicy.from_texts(**texts))


async def reached(guard: Guard, url: str) -> list[str]:
    vetted = await guard.vet(parse_url(url, guard.policy), NEVER)
    assert isinstance(vetted, Vetted), vetted
    return list(vetted.addresses)


async def refused(guard: Guard, url: str) -> str:
    outcome = await guard.vet(parse_url(url, guard.policy), NEVER)
    assert isinstance(outcome, Unreachable), outcome
    assert (outcome.reason, outcome.phase) == (Reason.ADDRESS_REFUSED, Phase.DNS)
    return outcome.detail


async def test_a_public_receiver_is_vetted_with_what_the_lookup_took(names, guard):
    names.zone["a.example"] = records("93.184.216.34")
    vetted = await guard.vet(target("https://a.example/hook"), NEVER)
    assert isinstance(vetted, Vetted)
    assert vetted.addresses == ("93.184.216.34",)
    assert vetted.dns_us is not None
    assert vetted.dns_us > 0


async def test_an_answer_at_hand_is_judged_without_waiting(names, guard):
    names.zone["a.example"] = records("93.184.216.34")
    asked_for = target("https://a.example/hook")
    assert guard.vet_now(asked_for) is None
    await guard.vet(asked_for, NEVER)
    other_path = target("https://a.example/other")
    assert guard.vet_now(other_path) == Vetted(other_path, ("93.184.216.34",), None)
    assert names.count() == 1


async def test_one_private_address_among_public_ones_refuses_the_attempt_and_is_named(names, guard):
    names.zone["a.example"] = records("93.184.216.34", "10.0.0.5")
    assert await refused(guard, "https://a.example/") == (
        "a.example resolves to an address that is never connected to: 10.0.0.5 is in 10.0.0.0/8, private (RFC 1918); "
        "1 of its 2 addresses are at fault, and one is enough to refuse: remove it from DNS"
    )


async def test_when_only_ipv6_offends_the_customer_is_told_to_look_at_aaaa(names, guard):
    names.zone["a.example"] = records("93.184.216.34", "fd12::1")
    assert "fd12::1 is in fc00::/7" in await refused(guard, "https://a.example/")
    assert "only IPv6 (AAAA) records are at fault" in await refused(guard, "https://a.example/")


async def test_a_literal_takes_the_same_road_as_a_name(names, guard):
    assert await reached(guard, "https://93.184.216.34/") == ["93.184.216.34"]
    inside = target("https://10.0.0.5/", allow_networks=["10.0.0.5"])  # registered while the operator allowed it
    outcome = guard.vet_now(inside)
    assert isinstance(outcome, Unreachable)
    assert outcome.detail == "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)"
    assert names.asked == []


async def test_a_name_that_turns_private_is_refused_at_the_very_next_attempt(names, guard):
    names.zone["a.example"] = in_turn(records("93.184.216.34", ttl=0), records("169.254.169.254", ttl=0), records("93.184.216.34", ttl=0))
    assert await reached(guard, "https://a.example/") == ["93.184.216.34"]
    assert "169.254.169.254/32, cloud metadata" in await refused(guard, "https://a.example/")
    assert await reached(guard, "https://a.example/") == ["93.184.216.34"]


async def test_a_name_that_flips_at_random_never_gets_a_refused_address_through(names, guard):
    chance = random.Random(7)
    pool = ("93.184.216.34", "1.1.1.1 2606:4700::1", "127.0.0.1", "93.184.216.34 ::1", "93.184.216.34 ::ffff:10.0.0.1", "10.0.0.5")
    answers = [records(*texts.split(), ttl=0) for texts in pool]
    names.zone["a.example"] = lambda query: chance.choice(answers)(query)
    asked_for = target("https://a.example/")
    outcomes = [await guard.vet(asked_for, NEVER) for _ in range(500)]
    vetted = [address for outcome in outcomes if isinstance(outcome, Vetted) for address in outcome.addresses]
    assert vetted
    assert all(is_public(ip_address(address)) for address in vetted)
    assert all(isinstance(outcome, Vetted) or outcome.reason is Reason.ADDRESS_REFUSED for outcome in outcomes)


async def test_at_most_four_addresses_are_tried_and_the_families_alternate(names, guard):
    names.zone["a.example"] = records("93.184.216.34", "93.184.216.35", "93.184.216.36", "93.184.216.37", "2606:4700::1")
    found = await reached(guard, "https://a.example/")
    assert [":" in address for address in found] == [False, True, False, False]


async def test_a_failed_lookup_keeps_its_own_reason_and_time(names, resolver):
    names.zone["a.example"] = silence
    outcome = await Guard(resolver, AddressPolicy()).vet(target("https://a.example/"), 0.05)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.DNS_TIMEOUT
    assert outcome.exchange.timings.dns_us is not None
    assert outcome.exchange.timings.dns_us >= 40_000


async def test_a_compose_service_that_the_operator_lists_is_reached_and_its_neighbour_is_not(names, resolver):
    names.zone["web_app"] = names.zone["b.example"] = records("172.18.0.5")
    guard = Guard(resolver, AddressPolicy.from_texts(allow_hosts=["web_app"]))
    assert await reached(guard, "http://web_app:8000/hook") == ["172.18.0.5"]
    assert "172.16.0.0/12, private" in await refused(guard, "http://b.example/")


async def test_localhost_is_reached_when_the_operator_lists_it(resolver):
    guard = Guard(resolver, AddressPolicy.from_texts(allow_hosts=["localhost"]))
    assert await reached(guard, "http://localhost:8080/") == ["127.0.0.1", "::1"]


async def test_what_a_socket_is_about_to_reach_is_judged_by_the_same_rule(guard):
    name, literal = target("https://a.example/"), target("https://93.184.216.34/")
    assert guard.permits(ip_address("93.184.216.34"), name)
    assert not guard.permits(ip_address("127.0.0.1"), name)
    assert not guard.permits(ip_address("::ffff:127.0.0.1"), name)
    assert guard.permits(ip_address("93.184.216.34"), literal)
    assert not guard.permits(ip_address("1.1.1.1"), literal)


async def test_the_settings_reach_the_guard(names):
    settings = Settings(
        dns_servers=(f"127.0.0.1#{names.server.port}",), allow_networks=("10.0.0.0/8",), refuse_networks=("93.184.216.0/24",)
    )
    resolver = open_resolver(settings)
    guard = Guard(resolver, policy_from(settings))
    names.zone["in.example"], names.zone["own.example"] = records("10.0.0.5"), records("93.184.216.34")
    assert await reached(guard, "https://in.example/") == ["10.0.0.5"]
    assert "refused by this service's operator" in await refused(guard, "https://own.example/")
    await resolver.close()


def test_a_setting_that_cannot_be_meant_stops_the_start():
    with pytest.raises(Misconfigured, match="GRIDHOOK_ALLOW_NETWORKS"):
        policy_from(Settings(allow_networks=("169.254.0.0/16",)))
    with pytest.raises(Misconfigured, match="GRIDHOOK_DNS_SERVERS"):
        open_resolver(Settings(dns_servers=("dns.example",)))
