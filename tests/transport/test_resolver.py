"""Names become addresses: asked absolutely, within a time limit, remembered no longer than allowed, one slow name alone."""

from __future__ import annotations

import asyncio
import time

import dns.rcode
import pytest
import uvloop

from gridhook.errors import Misconfigured
from gridhook.model import Reason, Unreachable
from gridhook.transport import resolver as resolver_module
from gridhook.transport.nameservers import Server, SystemServers, parse_servers
from gridhook.transport.resolver import DnsResolver, Resolved
from tests.transport.nameserver import NameServer, by_type, in_turn, records, silence, status

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


async def addresses(resolver: DnsResolver, host: str) -> list[str]:
    found = await resolver.resolve(host, NEVER)
    assert isinstance(found, Resolved), found
    return [str(address) for address in found.addresses]


async def failure(resolver: DnsResolver, host: str, seconds: float = NEVER) -> Unreachable:
    found = await resolver.resolve(host, seconds)
    assert isinstance(found, Unreachable), found
    return found


async def test_both_families_are_found(names, resolver):
    names.zone["a.example"] = records("2606:4700::1", "93.184.216.34")
    assert await addresses(resolver, "a.example") == ["93.184.216.34", "2606:4700::1"]


async def test_a_receiver_with_ipv6_only_is_found(names, resolver):
    names.zone["six.example"] = records("2606:4700::1")
    assert await addresses(resolver, "six.example") == ["2606:4700::1"]


async def test_names_are_asked_as_they_stand_without_search_domains(names, resolver):
    assert (await failure(resolver, "metadata")).reason is Reason.DNS_ERROR
    assert {name for name, _ in names.asked} == {"metadata."}


async def test_an_alias_is_followed_through_eight_names_and_not_through_nine(names, resolver):
    chain = [f"n{number}.example. CNAME n{number + 1}.example." for number in range(9)]
    names.zone["n1.example"] = records(*chain[1:], "n9.example. A 93.184.216.34")
    names.zone["n0.example"] = records(*chain, "n9.example. A 93.184.216.34")
    assert await addresses(resolver, "n1.example") == ["93.184.216.34"]
    assert "more than 8 names" in (await failure(resolver, "n0.example")).detail


async def test_an_alias_in_a_circle_ends(names, resolver):
    names.zone["a.example"] = records("a.example. CNAME b.example.", "b.example. CNAME a.example.")
    assert (await failure(resolver, "a.example")).reason is Reason.DNS_ERROR


async def test_records_for_other_names_in_the_answer_do_not_count(names, resolver):
    names.zone["a.example"] = records("93.184.216.34", "b.example. A 10.0.0.1")
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]


async def test_sixty_five_addresses_are_too_many_and_a_long_answer_comes_by_tcp(names, resolver):
    names.zone["many.example"] = records(*(f"93.184.216.{number}" for number in range(65)))
    names.zone["full.example"] = records(*(f"93.184.216.{number}" for number in range(64)))
    assert "has 65 addresses" in (await failure(resolver, "many.example")).detail
    assert len(await addresses(resolver, "full.example")) == 64
    names.zone["long.example"] = records(*(f"2606:4700::{number + 1}" for number in range(50)))
    assert len(await addresses(resolver, "long.example")) == 50
    assert names.over_tcp > 0


@pytest.mark.parametrize(
    ("behaviour", "reason", "text"),
    [
        (status(dns.rcode.NXDOMAIN), Reason.DNS_ERROR, "x.example does not exist in DNS"),
        (status(dns.rcode.SERVFAIL), Reason.DNS_ERROR, "DNS gave no usable answer for x.example; check the domain's name servers"),
        (status(dns.rcode.REFUSED), Reason.DNS_ERROR, "DNS gave no usable answer for x.example; check the domain's name servers"),
        (records(), Reason.DNS_EMPTY, "x.example has no address in DNS (neither an A nor an AAAA record)"),
        (records("x.example. CNAME y.example."), Reason.DNS_EMPTY, "x.example has no address in DNS (neither an A nor an AAAA record)"),
    ],
)
async def test_each_way_to_have_no_address_has_its_own_reason_without_our_servers_in_it(names, resolver, behaviour, reason, text):
    names.zone["x.example"] = behaviour
    failed = await failure(resolver, "x.example")
    assert (failed.reason, failed.detail) == (reason, text)


async def test_a_name_server_that_says_nothing_is_given_up_at_the_limit(names):
    names.zone["slow.example"] = silence
    resolver = DnsResolver((names.server,), seconds=0.3)
    failed = await failure(resolver, "slow.example")
    assert failed.reason is Reason.DNS_TIMEOUT
    assert "slow.example within 0.3 s" in failed.detail
    await resolver.close()


async def test_a_lost_packet_is_asked_for_again(names, resolver):
    names.zone["a.example"] = in_turn(silence, records("93.184.216.34"))
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]
    assert names.count() == 2


async def test_noise_and_forged_answers_are_waited_past(names, resolver):
    def forged(query):
        return b"\x00\x00" + records("10.0.0.1")(query).to_wire()[2:]

    names.zone["a.example"] = in_turn(forged, lambda query: b"noise", records("93.184.216.34"))
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]


async def test_when_one_server_is_silent_and_one_is_broken_the_next_is_asked(names):
    async with NameServer() as silent, NameServer() as broken:
        silent.zone["a.example"] = silence
        broken.zone["a.example"] = status(dns.rcode.SERVFAIL)
        names.zone["a.example"] = records("93.184.216.34")
        resolver = DnsResolver((silent.server, broken.server, names.server), seconds=NEVER)
        assert await addresses(resolver, "a.example") == ["93.184.216.34"]
        await resolver.close()


async def test_a_name_server_that_never_answers_aaaa_does_not_hide_the_a_record(names, resolver):
    names.zone["a.example"] = by_type(records("93.184.216.34"), silence)
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]


async def test_an_answer_is_reused_while_its_ttl_lasts(names, resolver):
    names.zone["a.example"] = records("93.184.216.34")
    assert resolver.cached("a.example") is None
    found = await resolver.resolve("a.example", NEVER)
    assert resolver.cached("a.example") is found
    assert await resolver.resolve("a.example", NEVER) is found
    assert names.count() == 1


async def test_the_shortest_ttl_of_the_chain_counts_and_none_counts_longer_than_the_setting(names, resolver):
    names.zone["a.example"] = records("93.184.216.34", ttl=86_400)
    found = await resolver.resolve("a.example", NEVER)
    assert isinstance(found, Resolved)
    assert found.fresh_until <= time.monotonic() + 30
    chain, end = records("b.example. CNAME c.example.", ttl=2), records("c.example. A 93.184.216.34")

    def both(query):
        reply = chain(query)
        reply.answer += end(query).answer
        return reply

    names.zone["b.example"] = both
    found = await resolver.resolve("b.example", NEVER)
    assert isinstance(found, Resolved)
    assert found.fresh_until <= time.monotonic() + 2


@pytest.mark.parametrize(("ttl", "cache_seconds"), [(0, 30), (60, 0)])
async def test_without_a_ttl_or_with_the_cache_off_every_attempt_asks(names, ttl, cache_seconds):
    resolver = DnsResolver((names.server,), seconds=NEVER, cache_seconds=cache_seconds)
    names.zone["a.example"] = in_turn(records("93.184.216.34", ttl=ttl), records("1.1.1.1", ttl=ttl))
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]
    assert resolver.cached("a.example") is None
    assert await addresses(resolver, "a.example") == ["1.1.1.1"]
    await resolver.close()


async def test_the_memory_for_answers_is_bounded(names, resolver, monkeypatch):
    monkeypatch.setattr(resolver_module, "CACHE_NAMES", 3)
    for number in range(5):
        names.zone[f"n{number}.example"] = records("93.184.216.34")
        await resolver.resolve(f"n{number}.example", NEVER)
    assert [number for number in range(5) if resolver.cached(f"n{number}.example")] == [2, 3, 4]


async def test_fifty_that_wait_for_one_name_ask_once(names, resolver):
    names.zone["a.example"] = records("93.184.216.34", ttl=0)
    found = await asyncio.gather(*(resolver.resolve("a.example", NEVER) for _ in range(50)))
    assert all(one is found[0] for one in found)
    assert names.asked == [("a.example.", "A"), ("a.example.", "AAAA")]


async def test_a_dead_name_is_not_asked_for_by_every_delivery_of_its_backlog(names, resolver):
    for _ in range(20):
        await failure(resolver, "gone.example")
    assert names.count() == 1


async def test_names_that_hang_do_not_hold_up_others(names, resolver):
    for number in range(50):
        names.zone[f"slow{number}.example"] = silence
    names.zone["quick.example"] = records("93.184.216.34")
    hanging = [asyncio.create_task(resolver.resolve(f"slow{number}.example", NEVER)) for number in range(50)]
    await asyncio.sleep(0)
    assert await addresses(resolver, "quick.example") == ["93.184.216.34"]
    assert not any(task.done() for task in hanging)
    await resolver.close()
    assert {(await task).reason for task in hanging} == {Reason.DNS_TIMEOUT}


async def test_a_caller_with_less_time_leaves_and_the_answer_serves_the_next(names, resolver):
    names.zone["a.example"] = in_turn(silence, records("93.184.216.34"))
    failed = await failure(resolver, "a.example", seconds=0.01)
    assert failed.reason is Reason.DNS_TIMEOUT
    assert await addresses(resolver, "a.example") == ["93.184.216.34"]
    assert names.count() == 2


async def test_localhost_is_this_machine_and_nobody_is_asked(names, resolver):
    assert await addresses(resolver, "localhost") == ["127.0.0.1", "::1"]
    assert names.asked == []


def test_it_works_on_the_event_loop_that_the_server_uses():
    async def story() -> list[str]:
        async with NameServer() as names:
            resolver = DnsResolver((names.server,), seconds=NEVER)
            names.zone["a.example"] = records("93.184.216.34", "2606:4700::1")
            names.zone["long.example"] = records(*(f"2606:4700::{number + 1}" for number in range(50)))
            found = await addresses(resolver, "a.example")
            assert len(await addresses(resolver, "long.example")) == 50
            await resolver.close()
            return found

    assert uvloop.run(story()) == ["93.184.216.34", "2606:4700::1"]


def test_the_machines_name_servers_are_read_again_when_they_change(tmp_path):
    path = tmp_path / "resolv.conf"
    servers = SystemServers(str(path))
    assert servers.current() == (Server("127.0.0.1", 53),)
    path.write_text("# one\nsearch corp.example\nnameserver 10.0.0.2\noptions ndots:5\nnameserver fe80::1%eth0\nnameserver nonsense\n")
    assert servers.current() == (Server("10.0.0.2", 53), Server("fe80::1%eth0", 53))
    path.write_text("nameserver 127.0.0.11\n")
    assert servers.current() == (Server("127.0.0.11", 53),)
    path.unlink()
    assert servers.current() == (Server("127.0.0.1", 53),)


def test_name_servers_are_set_by_address_and_port():
    assert parse_servers(("10.0.0.2", "::1#5353")) == (Server("10.0.0.2", 53), Server("::1", 5353))


@pytest.mark.parametrize("text", ["dns.example", "10.0.0.2#0", "10.0.0.2#65536", "10.0.0.2:53", "10.0.0.2#٥"])
def test_a_name_server_that_cannot_be_meant_stops_the_start(text):
    with pytest.raises(Misconfigured, match="GRIDHOOK_DNS_SERVERS"):
        parse_servers((text,))
