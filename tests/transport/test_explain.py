"""Checking a URL tells what a delivery to it would meet, and sends nothing there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.rcode
import msgspec
import pytest

from gridhook.config import Settings
from gridhook.errors import Invalid
from gridhook.model import Reason, Unreachable
from gridhook.rules.inspection import Inspection, operator_remedies, remedies, shown
from gridhook.transport import Outgoing, open_transport
from gridhook.transport.wire import Limits, Transport
from tests.ssrf.corpus import Shot, shots
from tests.ssrf.registration import is_to_be_refused
from tests.transport.certificates import Authority
from tests.transport.hostile import hostile, keeps_alive
from tests.transport.nameserver import NameServer, in_turn, records, silence, status

Open = Callable[..., Transport]


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def guarded(names: NameServer, authority: Authority, tmp_path: Path) -> AsyncIterator[Open]:
    """A real transport that asks the test's name server; public addresses only, unless settings say otherwise."""
    opened: list[Transport] = []

    def open_(**settings: Any) -> Transport:
        defaults: dict[str, Any] = {
            "data_dir": str(tmp_path),
            "ca_file": str(authority.path),
            "dns_servers": (f"127.0.0.1#{names.server.port}",),
        }
        opened.append(open_transport(Settings(**defaults | settings)))
        return opened[-1]

    yield open_
    for transport in opened:
        await transport.close()


def addresses(inspection: Inspection) -> dict[str, str]:
    """Of each address: what refuses it, what opened it, or "public"."""
    return {str(one.address): str(one.refusal or one.admission or "public") for one in inspection.addresses}


def reason_of(inspection: Inspection) -> Reason:
    assert inspection.refused is not None
    return inspection.refused.reason


async def test_a_public_receiver_is_shown_with_every_address_and_the_way_that_dns_took(names, guarded):
    names.zone["a.example"] = records(
        "a.example. CNAME edge.cdn.example.", "edge.cdn.example. A 93.184.216.34", "edge.cdn.example. AAAA 2606:4700::1", ttl=300
    )
    found = await guarded().explain("https://A.example:8443/in?x=1")
    assert found.is_allowed
    assert (found.target.url, found.target.host, found.target.port) == ("https://a.example:8443/in?x=1", "a.example", 8443)
    assert addresses(found) == {"93.184.216.34": "public", "2606:4700::1": "public"}
    assert (found.aliases, found.ttl_seconds) == (("edge.cdn.example",), 300)
    assert remedies(found) == operator_remedies(found) == ()


async def test_each_address_is_named_with_the_range_that_refuses_it_and_one_is_enough(names, guarded):
    names.zone["a.example"] = records("93.184.216.34", "10.0.0.5", "fd12::1")
    found = await guarded().explain("https://a.example/")
    assert reason_of(found) is Reason.ADDRESS_REFUSED
    assert addresses(found) == {
        "93.184.216.34": "public",
        "10.0.0.5": "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)",
        "fd12::1": "fd12::1 is in fc00::/7, unique local: private (RFC 4193)",
    }
    assert any("publish an A or AAAA record" in sentence for sentence in remedies(found))
    assert any("Remove from DNS: 10.0.0.5, fd12::1" in sentence for sentence in remedies(found))
    assert "GRIDHOOK_ALLOW_NETWORKS=10.0.0.5/32,fd12::1/128" in operator_remedies(found)[0]
    assert "GRIDHOOK_ALLOW_HOSTS=a.example" in operator_remedies(found)[0]


async def test_a_literal_that_is_not_public_is_judged_like_what_a_name_leads_to(guarded):
    found = await guarded().explain("http://[::ffff:169.254.169.254]/latest/meta-data")
    assert reason_of(found) is Reason.URL_REFUSED
    assert "carries 169.254.169.254" in addresses(found)["::ffff:a9fe:a9fe"]
    assert "Do not" in operator_remedies(found)[0]


@pytest.mark.parametrize(
    ("settings", "opened_by"),
    [
        ({"allow_networks": ("10.0.0.5/32",)}, "GRIDHOOK_ALLOW_NETWORKS=10.0.0.5/32"),
        ({"allow_networks": ("192.168.0.0/16", "10.0.0.0/9")}, "GRIDHOOK_ALLOW_NETWORKS=10.0.0.0/9"),
        ({"allow_hosts": ("a.example",)}, "GRIDHOOK_ALLOW_HOSTS=a.example"),
    ],
)
async def test_an_operator_sees_which_of_the_settings_opened_an_address_and_a_customer_does_not(names, guarded, settings, opened_by):
    names.zone["a.example"] = records("10.0.0.5", "93.184.216.34")
    found = await guarded(**settings).explain("https://a.example/")
    assert found.is_allowed
    assert addresses(found) == {"10.0.0.5": opened_by, "93.184.216.34": "public"}
    assert opened_by in json.dumps(shown(found, to_operator=True))
    assert "GRIDHOOK_" not in json.dumps(shown(found))


async def test_what_the_operator_refuses_is_said_to_be_refused_by_the_operator(names, guarded):
    names.zone["a.example"] = records("93.184.216.34")
    found = await guarded(refuse_networks=("93.184.216.0/24",), allow_networks=("93.184.216.34/32",)).explain("https://a.example/")
    assert "refused by this service's operator" in addresses(found)["93.184.216.34"]
    assert "GRIDHOOK_REFUSE_NETWORKS holds 93.184.216.0/24" in operator_remedies(found)[0]


async def test_a_customer_learns_no_inner_name_from_a_name_that_leads_inside(names, guarded):
    names.zone["intranet.example"] = records("intranet.example. CNAME lb-7.corp.example.", "lb-7.corp.example. A 10.0.0.5")
    found = await guarded().explain("https://intranet.example/")
    assert "lb-7.corp.example" in json.dumps(shown(found, to_operator=True))
    assert "lb-7.corp.example" not in json.dumps(shown(found))
    assert "10.0.0.5" in json.dumps(shown(found))  # whoever published it by mistake must see it


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(dns.rcode.NXDOMAIN), Reason.DNS_ERROR),
        (status(dns.rcode.SERVFAIL), Reason.DNS_ERROR),
        (records(), Reason.DNS_EMPTY),
        (silence, Reason.DNS_TIMEOUT),
    ],
)
async def test_what_is_wrong_in_dns_is_told_with_what_to_do(names, guarded, answer, reason):
    names.zone["a.example"] = answer
    found = await guarded(dns_seconds=0.3).explain("https://a.example/")
    assert (reason_of(found), found.addresses) == (reason, ())
    assert remedies(found)
    assert shown(found)["target"]["host"] == "a.example"


@pytest.mark.parametrize(
    ("url", "remedy", "for_operators"),
    [
        ("ftp://a.example/", "Correct the URL", ""),
        ("https://me:secret@a.example/", "Correct the URL", ""),
        ("https://a.example:22/", "https port 443", "GRIDHOOK_ALLOW_PORTS=80,443,22"),
        ("http://localhost:9000/", "public DNS knows", "GRIDHOOK_ALLOW_HOSTS=localhost"),
        ("http://web_app/", "Correct the URL", ""),
        ("http://receiver/", "public DNS knows", "GRIDHOOK_ALLOW_HOSTS=receiver"),
        ("http://192.168.1.10/", "publish an A or AAAA record", "GRIDHOOK_ALLOW_NETWORKS=192.168.1.10/32"),
    ],
)
async def test_a_url_that_is_refused_for_itself_says_what_to_write_or_to_open_and_asks_no_dns(names, guarded, url, remedy, for_operators):
    found = await guarded().explain(url)
    assert reason_of(found) is Reason.URL_REFUSED
    assert found.refused.detail.startswith("the URL ")
    assert remedy in " ".join(remedies(found))
    assert for_operators in " ".join(operator_remedies(found))
    assert names.asked == []


async def test_what_an_operator_is_told_to_set_opens_the_url(names, guarded):
    names.zone["a.example"] = records("10.0.0.5", "fd12::1")
    for url in ("https://a.example/", "http://192.168.1.10/", "http://receiver/", "https://93.184.216.34:22/"):
        names.zone["receiver"] = records("172.18.0.5")
        told = operator_remedies(await guarded().explain(url))[0]
        (setting, value), *_ = (word.strip(".,").split("=") for word in told.split() if word.startswith("GRIDHOOK_"))
        kind = int if setting.endswith("PORTS") else str
        opened = {setting.removeprefix("GRIDHOOK_").lower(): tuple(map(kind, value.split(",")))}
        assert (await guarded(**opened).explain(url)).is_allowed, (url, opened)


@pytest.mark.parametrize(
    "url", ["", "\0", "http://\ud800/", "http://[::1%25lo]/", "https://" + "a" * 70_000, "https://xn--a.example/", "http://\u202e.example/"]
)
async def test_whatever_is_asked_is_answered_in_json(guarded, url):
    found = await guarded().explain(url)
    assert not found.is_allowed
    assert msgspec.json.decode(msgspec.json.encode(shown(found)))["remedies"]


async def test_nothing_is_sent_to_a_url_that_is_checked_whether_allowed_or_refused(names, guarded):
    with hostile(keeps_alive()) as server:
        names.zone["a.example"] = records("127.0.0.1")
        shut, open_ = guarded(), guarded(allow_networks=("127.0.0.0/8",))
        for url in (server.url(), server.url(host="a.example")):
            assert not (await shut.explain(url)).is_allowed
            assert (await open_.explain(url)).is_allowed
        with socket.create_connection((server.address, server.port)):
            # The listener hands out connections in the order in which they came: ours is the first.
            while not server.connections:
                await asyncio.sleep(0.01)
        assert server.connections == 1


async def test_a_refusal_is_word_for_word_the_one_that_a_delivery_ends_with(names, guarded):
    transport = guarded()
    await transport.start()
    for number, texts in enumerate((["10.0.0.5"], ["93.184.216.34", "::1"], ["93.184.216.34", "127.0.0.1"], ["100.100.100.200"])):
        names.zone[f"n{number}.example"] = records(*texts)
        found = await transport.explain(f"https://n{number}.example/")
        ended = await transport.send(Outgoing(transport.parse(f"https://n{number}.example/"), (), b"{}", Limits()))
        assert isinstance(ended, Unreachable)
        assert (found.refused.reason, found.refused.detail) == (ended.reason, ended.detail)


async def test_a_change_in_dns_shows_in_the_next_check_once_its_time_is_over(names, guarded):
    names.zone["a.example"] = in_turn(records("10.0.0.5", ttl=0), records("93.184.216.34", ttl=60), records("10.0.0.6", ttl=60))
    transport = guarded()
    assert addresses(await transport.explain("https://a.example/")).keys() == {"10.0.0.5"}
    assert addresses(await transport.explain("https://a.example/")).keys() == {"93.184.216.34"}
    again = await transport.explain("https://a.example/")
    assert addresses(again).keys() == {"93.184.216.34"}
    assert again.lookup_us is None
    assert any("at hand" in note for note in shown(again)["notes"])


async def test_on_every_url_of_the_corpus_it_says_what_the_guard_says(names, guarded):
    wrong: list[str] = []
    allowed = 0
    transports: dict[str, Transport] = {}
    for shot in shots():
        policy = dict(shot.case.policy)
        key = json.dumps(policy)
        if key not in transports:
            policy["refuse_networks"] = tuple(policy.pop("extra_refuse", ()))
            transports[key] = guarded(**{name: tuple(value) for name, value in policy.items()})
        found, said = await _both(transports[key], names, shot)
        allowed += found.is_allowed
        explained = None if found.refused is None else found.refused.detail
        if explained != said:
            wrong.append(f"{shot.url}: explained as {explained!r}, judged as {said!r}")
        if is_to_be_refused(shot) and found.is_allowed:
            wrong.append(f"{shot.url}: allowed although {shot.case.why}")
    assert wrong == []
    assert allowed > 50


async def _both(transport: Transport, names: NameServer, shot: Shot) -> tuple[Inspection, str | None]:
    """The inspection, and why a request is refused (None: it is not)."""
    try:
        target = transport.parse(shot.url)
    except Invalid as invalid:
        return await transport.explain(shot.url), f"the URL {invalid.message}"
    names.zone[target.host] = records(*(str(ip) for ip in (shot.answers or ((),))[0]), ttl=0)
    found = await transport.explain(shot.url)
    refused = await transport.vet(target)
    return found, None if refused is None else refused.detail
