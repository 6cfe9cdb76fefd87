"""TLS that is wrong in one way each, client certificates that are refused, and names that never share a connection."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509

from gridhook.config import Settings
from gridhook.model import Answered, Outcome, Phase, Reason, Unreachable
from gridhook.transport import Identity, Outgoing
from gridhook.transport.guard import Guard, policy_from
from gridhook.transport.resolver import Resolved
from gridhook.transport.sender import Sender
from tests.transport.certificates import Authority
from tests.transport.conftest import SHORT, Send
from tests.transport.hostile import Behaviour, Peer, hostile, keeps_alive, sends_then

GENEROUS = 10.0
DAY = datetime.timedelta(days=1)


class Phonebook:
    """Answers for names from a table: what DNS would say."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = {name.replace("_", "."): text.split() for name, text in addresses.items()}

    def cached(self, host: str) -> Resolved | None:
        known = self.addresses.get(host)
        return None if known is None else Resolved(host, tuple(IPv4Address(text) for text in known), float("inf"))

    async def resolve(self, host: str, seconds: float) -> Resolved | Unreachable:
        return self.cached(host) or Unreachable(Reason.DNS_ERROR, "no such name", Phase.DNS)


@pytest.fixture
def phonebook() -> Phonebook:
    return Phonebook(a_example_com="127.0.0.1", b_example_com="127.0.0.1")


@pytest.fixture
async def named(settings: Settings, phonebook: Phonebook) -> AsyncIterator[Sender]:
    sender = Sender(Guard(phonebook, policy_from(settings)), ca_file=settings.ca_file, idle_seconds=15, life_seconds=60, slots=64)
    await sender.start()
    yield sender
    await sender.close()


async def post(sender: Sender, url: str, identity: Identity | None = None) -> Outcome:
    async with asyncio.timeout(GENEROUS):
        return await sender.send(Outgoing(sender.parse(url), (("Content-Type", "application/json"),), b"{}", SHORT, identity))


async def outcome_of(send: Send, behaviour: Behaviour, tls: ssl.SSLContext | None, identity: Identity | None = None) -> Outcome:
    with hostile(behaviour, tls=tls) as server:
        async with asyncio.timeout(GENEROUS):
            return await send(f"https://127.0.0.1:{server.port}/hook", identity=identity)


async def test_a_good_certificate_is_accepted_and_the_tls_version_recorded_also_on_a_warm_connection(
    send: Send, authority: Authority
) -> None:
    with hostile(keeps_alive(), tls=authority.leaf("127.0.0.1").server()) as server:
        first = await send(server.url())
        second = await send(server.url())
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert first.exchange.tls_version == second.exchange.tls_version == "TLSv1.3"
    assert first.exchange.timings.tls_us
    assert first.exchange.timings.connect_us is not None
    assert second.exchange.timings.tls_us is None
    assert second.exchange.timings.connect_us is None
    assert server.connections == 1


async def test_tls_1_2_is_enough(send: Send, authority: Authority) -> None:
    context = authority.leaf("127.0.0.1").server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    outcome = await outcome_of(send, keeps_alive(), context)
    assert isinstance(outcome, Answered)
    assert outcome.exchange.tls_version == "TLSv1.2"


async def test_only_http_1_1_is_offered(send: Send, authority: Authority) -> None:
    context = authority.leaf("127.0.0.1").server()
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    def behave(peer: Peer) -> None:
        assert isinstance(peer.conn, ssl.SSLSocket)
        chosen.append(peer.conn.selected_alpn_protocol())
        keeps_alive()(peer)

    assert isinstance(await outcome_of(send, behave, context), Answered)
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize(
    ("wrong", "reason", "code", "said"),
    [
        pytest.param("expired", Reason.TLS_CERTIFICATE_EXPIRED, 10, "expired", id="expired"),
        pytest.param("early", Reason.TLS_CERTIFICATE_NOT_YET_VALID, 9, "not valid yet", id="not yet valid"),
        pytest.param("self-signed", Reason.TLS_CERTIFICATE_SELF_SIGNED, 18, "self-signed", id="self-signed"),
        pytest.param("stranger", Reason.TLS_CERTIFICATE_UNKNOWN_CA, 20, "issuer is not known", id="unknown CA"),
        pytest.param("name", Reason.TLS_CERTIFICATE_WRONG_NAME, 62, "another name than 127.0.0.1", id="wrong name"),
        pytest.param("client's", Reason.TLS_CERTIFICATE, 26, "not meant for servers", id="not meant for servers"),
    ],
)
async def test_a_certificate_that_proves_nothing_gets_no_request(
    send: Send, authority: Authority, tmp_path: Path, wrong: str, reason: Reason, code: int, said: str
) -> None:
    match wrong:
        case "expired":
            leaf = authority.leaf("127.0.0.1", start=-3 * DAY, end=-DAY)
        case "early":
            leaf = authority.leaf("127.0.0.1", start=DAY, end=2 * DAY)
        case "self-signed":
            leaf = authority.leaf("127.0.0.1", self_signed=True)
        case "stranger":
            leaf = Authority(tmp_path, "Stranger").leaf("127.0.0.1")
        case "client's":
            leaf = authority.leaf("127.0.0.1", for_client=True)
        case _:
            leaf = authority.leaf("other.example.com", "127.0.0.2")
    with hostile(keeps_alive(), tls=leaf.server()) as server:
        async with asyncio.timeout(GENEROUS):
            outcome = await send(server.url())
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (reason, Phase.TLS)
    assert said in outcome.detail
    assert f"(code {code})" in outcome.detail
    bad = x509.load_pem_x509_certificate(leaf.certificate)
    assert f"subject {bad.subject.rfc4514_string()}, issuer {bad.issuer.rfc4514_string()}" in outcome.detail
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (bad.not_valid_before_utc, bad.not_valid_after_utc))
    assert f"valid from {start}, until {end}" in outcome.detail
    assert server.requests == []


def tls_1_1(authority: Authority) -> ssl.SSLContext:
    context = authority.leaf("127.0.0.1").server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    # By options, not by minimum_version and maximum_version: Python warns of those two.
    context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    return context


def sends_raw(data: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.conn.recv(65536)
        peer.send(data)
        peer.hang()

    return behave


async def test_a_receiver_with_tls_1_1_only_is_told_so(send: Send, authority: Authority) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_2|TLSv1_3|OP_NO"):
        context = tls_1_1(authority)
    outcome = await outcome_of(send, keeps_alive(), context)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TLS_PROTOCOL, Phase.TLS)


async def test_plain_http_on_a_tls_port_is_no_tls(send: Send) -> None:
    outcome = await outcome_of(send, sends_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), None)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TLS_PROTOCOL, Phase.TLS)
    assert "does not speak TLS" in outcome.detail


async def test_a_handshake_that_hangs_ends_within_the_connect_limit(send: Send) -> None:
    outcome = await outcome_of(send, lambda peer: peer.hang(), None)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TLS_TIMEOUT, Phase.TLS)


async def test_a_handshake_that_is_refused_names_the_alert(send: Send) -> None:
    alert = struct.pack("!BHHBB", 21, 0x0303, 2, 2, 40)  # fatal, handshake_failure
    outcome = await outcome_of(send, sends_raw(alert), None)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TLS_ALERT, Phase.TLS)
    assert "handshake_failure" in outcome.detail


async def test_a_connection_closed_during_the_handshake_is_a_reset(send: Send) -> None:
    for behaviour in (Peer.reset, lambda peer: None):
        outcome = await outcome_of(send, behaviour, None)
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.RESET
        assert outcome.phase in (Phase.CONNECT, Phase.TLS)  # a reset may overtake our first byte


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
async def test_a_client_certificate_that_is_missing_is_an_alert_not_a_reset(
    send: Send, authority: Authority, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 says it only after the request was written."""
    context = authority.leaf("127.0.0.1").server()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.path)
    outcome = await outcome_of(send, keeps_alive(), context)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.TLS_ALERT
    assert "client certificate" in outcome.detail


async def test_two_identities_never_share_a_connection(send: Send, authority: Authority) -> None:
    context = authority.leaf("127.0.0.1").server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.path)
    seen: list[object] = []

    def behave(peer: Peer) -> None:
        assert isinstance(peer.conn, ssl.SSLSocket)
        certificate = peer.conn.getpeercert()
        assert certificate is not None
        while peer.request():
            seen.append(certificate["subject"][0][0][1])
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    first, second = (authority.leaf(name, for_client=True) for name in ("one", "two"))
    one, two = Identity("c1", first.certificate, first.key), Identity("c2", second.certificate, second.key)
    with hostile(behave, tls=context) as server:
        for identity in (one, two, one, two, one):
            assert isinstance(await send(server.url(), identity=identity), Answered)
        refused = await send(server.url())
    assert seen == ["one", "two", "one", "two", "one"]
    assert isinstance(refused, Unreachable)  # without an identity none is shown, whatever lies in the pool
    assert refused.reason is Reason.TLS_ALERT
    assert server.connections == 3


async def test_a_connection_proven_for_one_name_never_serves_another(named: Sender, authority: Authority) -> None:
    """Both names live at one address; the certificate speaks for the first only."""
    with hostile(keeps_alive(), tls=authority.leaf("a.example.com").server()) as server:
        proven = await post(named, server.url(host="a.example.com"))
        other = await post(named, server.url(host="b.example.com"))
        again = await post(named, server.url(host="a.example.com"))
    assert isinstance(proven, Answered)
    assert isinstance(again, Answered)
    assert isinstance(other, Unreachable)
    assert other.reason is Reason.TLS_CERTIFICATE_WRONG_NAME
    assert "another name than b.example.com" in other.detail
    assert len(server.requests) == 2
    assert server.connections == 2


async def test_names_at_one_address_have_their_own_certificates_by_sni_and_their_own_connections(
    named: Sender, authority: Authority
) -> None:
    context = authority.leaf("a.example.com").server()
    second = authority.leaf("b.example.com").server()
    asked: list[str] = []

    def choose(conn: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(str(name))
        if name == "b.example.com":
            conn.context = second

    context.sni_callback = choose
    with hostile(keeps_alive(), tls=context) as server:
        for host in ("a.example.com", "b.example.com") * 2:
            assert isinstance(await post(named, server.url(host=host)), Answered)
    assert asked == ["a.example.com", "b.example.com"]
    assert server.connections == 2
    assert f"Host: b.example.com:{server.port}".encode() in server.requests[1]


async def test_plain_http_names_at_one_address_do_not_share_a_connection_either(named: Sender) -> None:
    with hostile(keeps_alive()) as server:
        for host in ("a.example.com", "b.example.com") * 2:
            assert isinstance(await post(named, server.url(host=host)), Answered)
    assert server.connections == 2


async def test_a_name_that_moved_is_not_served_by_the_connection_to_its_old_address(named: Sender, phonebook: Phonebook) -> None:
    """The pool's key holds the vetted address."""
    with hostile(keeps_alive()) as old, hostile(keeps_alive(), address="127.0.0.2", port=old.port) as new:
        assert isinstance(await post(named, old.url(host="a.example.com")), Answered)
        phonebook.addresses["a.example.com"] = ["127.0.0.2"]
        moved = await post(named, old.url(host="a.example.com"))
        assert isinstance(moved, Answered)
        assert moved.exchange.remote_address == f"127.0.0.2:{old.port}"
    assert (len(old.requests), len(new.requests)) == (1, 1)


async def test_the_next_vetted_address_is_tried_when_one_cannot_be_connected(named: Sender, phonebook: Phonebook) -> None:
    with hostile(keeps_alive(), address="127.0.0.3") as server:
        phonebook.addresses["a.example.com"] = ["127.0.0.2", "127.0.0.4", "127.0.0.3"]
        for _ in range(3):
            outcome = await post(named, server.url(host="a.example.com"))
            assert isinstance(outcome, Answered)
            assert outcome.exchange.remote_address == f"127.0.0.3:{server.port}"
    assert server.connections == 1  # the address that worked is preferred, so that the pool stays warm


async def test_an_address_that_took_the_request_is_the_last_one_tried(named: Sender, phonebook: Phonebook) -> None:
    takes_it = sends_then(then=Peer.reset)
    with hostile(takes_it, address="127.0.0.2") as bad, hostile(keeps_alive(), address="127.0.0.3", port=bad.port) as good:
        phonebook.addresses["a.example.com"] = ["127.0.0.2", "127.0.0.3"]
        outcome = await post(named, bad.url(host="a.example.com"))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET
    assert good.connections == 0


async def test_one_address_that_swallows_packets_leaves_time_for_the_next(named: Sender, phonebook: Phonebook) -> None:
    with hostile(keeps_alive(), address="127.0.0.3") as server, socket.socket() as listener:
        listener.bind(("127.0.0.2", server.port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.2", server.port))
        phonebook.addresses["a.example.com"] = ["127.0.0.2", "127.0.0.3"]
        outcome = await post(named, server.url(host="a.example.com"))
        for filler in fillers:
            filler.close()
    assert isinstance(outcome, Answered)


async def test_no_socket_opens_to_an_address_that_the_guard_does_not_permit(settings: Settings, phonebook: Phonebook) -> None:
    """The second lock, should the first one err."""

    class Lenient(Guard):
        def permits(self, ip: object, target: object) -> bool:
            return False

    sender = Sender(Lenient(phonebook, policy_from(settings)), ca_file=settings.ca_file, idle_seconds=15, life_seconds=60, slots=4)
    await sender.start()
    with hostile(keeps_alive()) as server:
        outcome = await post(sender, server.url())
    await sender.close()
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.ADDRESS_REFUSED
    assert server.connections == 0


async def test_a_proxy_in_the_environment_is_ignored(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(keeps_alive()) as server, hostile(keeps_alive()) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert isinstance(await send(server.url()), Answered)
    assert (proxy.connections, server.connections) == (0, 1)


async def test_a_handle_of_one_https_host_can_serve_another(settings: Settings, phonebook: Phonebook, authority: Authority) -> None:
    """When there are as many handles as slots, one of another host's is taken: with the sessions of the host that it goes to now."""
    sender = Sender(Guard(phonebook, policy_from(settings)), ca_file=settings.ca_file, idle_seconds=15, life_seconds=60, slots=-63)
    await sender.start()
    with hostile(keeps_alive(), tls=authority.leaf("a.example.com", "b.example.com").server()) as server:
        for host in ("a.example.com", "b.example.com") * 2:
            assert isinstance(await post(sender, server.url(host=host)), Answered)
    await sender.close()
