"""Client certificates against servers that people run: which are taken, which are refused, how that is told, and that none is mixed up."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gridhook.authority import issue, new_authority
from gridhook.config import Settings
from gridhook.model import Answered, Outcome, Phase, Reason, Unreachable
from gridhook.rules.refusals import ASKED_IN_VAIN, is_certificate_refusal
from gridhook.transport import Identity, Limits, Outgoing
from gridhook.transport.guard import Guard, policy_from
from gridhook.transport.resolver import Resolved
from gridhook.transport.sender import Sender
from tests.receivers.real import KINDS, VERSIONS, Kind, TlsVersion, start
from tests.transport.certificates import Authority, Leaf
from tests.transport.hostile import Behaviour, Peer, hostile

NOW = int(time.time() * 1000)
DAY_MS = 86_400_000
GENEROUS = 20.0
PATIENT = Limits(connect_seconds=10.0, total_seconds=15.0)


@dataclass(frozen=True)
class Issued:
    identity: Identity
    leaf: bytes  # PEM
    fingerprint: str
    serial: str


class Issuer:
    """Our own CA, as the product makes it."""

    def __init__(self, name: str = "gridhook", now: int = NOW) -> None:
        self.now = now
        self.authority, self._key = new_authority(name, now=now)
        self.bundle = self.authority.certificate

    def certificate(self, webhook: str, days: int = 365) -> Issued:
        made, key = issue(
            self.authority, self._key, account_id="acc", webhook_id=webhook, certificate_id=f"cert_{webhook}", now=self.now, days=days
        )
        leaf = made.chain[: made.chain.index(b"-----END CERTIFICATE-----") + 26]
        return Issued(Identity(made.id, made.chain, key), leaf, made.fingerprint, made.serial)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def server_leaf(authority: Authority) -> Leaf:
    return authority.leaf("127.0.0.1")


class Anywhere:
    """Every name lives on loopback."""

    def cached(self, host: str) -> Resolved | None:
        return Resolved(host, (IPv4Address("127.0.0.1"),), float("inf"))

    async def resolve(self, host: str, seconds: float) -> Resolved | Unreachable:
        return Resolved(host, (IPv4Address("127.0.0.1"),), float("inf"))


@pytest.fixture
async def sender(settings: Settings) -> AsyncIterator[Sender]:
    made = Sender(Guard(Anywhere(), policy_from(settings)), ca_file=settings.ca_file, idle_seconds=3600, life_seconds=3600, slots=256)
    await made.start()
    yield made
    await made.close()


async def post(sender: Sender, url: str, issued: Issued | None) -> Outcome:
    identity = None if issued is None else issued.identity
    async with asyncio.timeout(GENEROUS):
        return await sender.send(Outgoing(sender.parse(url), (("Content-Type", "application/json"),), b"{}", PATIENT, identity))


everywhere = pytest.mark.parametrize(
    ("kind", "version"), [pytest.param(kind, version, id=f"{kind} TLS {version}") for kind in KINDS for version in VERSIONS]
)


# Which are taken, which are refused


@everywhere
async def test_the_right_certificate_is_taken_and_one_tls_handshake_serves_many_deliveries(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, tmp_path: Path, kind: Kind, version: TlsVersion
) -> None:
    ours = issuer.certificate("wh_ours")
    with start(kind, version, tmp_path / "home", server_leaf=server_leaf, client_ca_bundle=issuer.bundle) as receiver:
        for _ in range(20):
            outcome = await post(sender, receiver.url, ours)
            assert isinstance(outcome, Answered), outcome
            assert outcome.status == 200
            assert outcome.exchange.tls_version == f"TLSv{version}"
        seen = receiver.wait_for(20)
    assert {(one.common_name, one.serial, one.fingerprint, one.authorization) for one in seen} == {
        ("wh_ours", ours.serial, ours.fingerprint, "")
    }
    assert receiver.handshakes == 1


@everywhere
async def test_a_certificate_that_is_refused_is_told_as_such_and_the_right_one_is_taken_at_once(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, tmp_path: Path, kind: Kind, version: TlsVersion
) -> None:
    ours = issuer.certificate("wh_ours")
    past = Issuer("gridhook", NOW - 10 * DAY_MS)
    with start(kind, version, tmp_path / "home", server_leaf=server_leaf, client_ca_bundle=issuer.bundle + past.bundle) as receiver:
        for refused in (Issuer("another").certificate("wh_ours"), past.certificate("wh_ours", days=1)):
            outcome = await post(sender, receiver.url, refused)
            assert is_certificate_refusal(outcome), outcome
            match kind:
                case "nginx":
                    assert isinstance(outcome, Answered)
                case "python":
                    assert isinstance(outcome, Unreachable)
                    assert outcome.reason is Reason.CLIENT_CERTIFICATE_REFUSED
                    assert outcome.phase is Phase.TLS or version == "1.3"
                case "node":  # it hangs up without a word
                    assert isinstance(outcome, Unreachable)
                    assert outcome.reason in (Reason.RESET_AFTER_CLIENT_CERTIFICATE, Reason.CLIENT_CERTIFICATE_REFUSED)
            taken = await post(sender, receiver.url, ours)
            assert isinstance(taken, Answered)
            assert taken.status == 200
        taken_ones = [one for one in receiver.wait_for(2) if one.status == 200]
    assert {one.fingerprint for one in taken_ones} == {ours.fingerprint}


@everywhere
async def test_another_webhook_s_certificate_is_refused_where_one_is_pinned(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, tmp_path: Path, kind: Kind, version: TlsVersion
) -> None:
    ours, theirs = issuer.certificate("wh_ours"), issuer.certificate("wh_theirs")
    home = tmp_path / "home"
    with start(kind, version, home, server_leaf=server_leaf, client_ca_bundle=issuer.bundle, pinned=ours.leaf) as receiver:
        for _ in range(2):
            refused = await post(sender, receiver.url, theirs)
            assert is_certificate_refusal(refused), refused
            taken = await post(sender, receiver.url, ours)
            assert isinstance(taken, Answered), taken
            assert taken.status == 200
        receiver.wait_for(2)
    assert {one.fingerprint for one in receiver.seen if one.status == 200} == {ours.fingerprint}


@everywhere
async def test_a_bearer_webhook_is_told_that_the_receiver_demands_a_certificate(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, tmp_path: Path, kind: Kind, version: TlsVersion
) -> None:
    with start(kind, version, tmp_path / "home", server_leaf=server_leaf, client_ca_bundle=issuer.bundle) as receiver:
        # A certificate that was taken before lends nothing to a request without one.
        taken = await post(sender, receiver.url, issuer.certificate("wh_ours"))
        assert isinstance(taken, Answered)
        outcome = await post(sender, receiver.url, None)
    if kind == "nginx":
        assert isinstance(outcome, Answered)
        assert outcome.status == 400
        assert b"No required SSL certificate was sent" in outcome.body
    else:
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.TLS_ALERT
        assert "client certificate" in outcome.detail


@everywhere
async def test_sessions_resume_on_a_new_connection_and_never_across_certificates(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, tmp_path: Path, kind: Kind, version: TlsVersion
) -> None:
    one, two = issuer.certificate("wh_one"), issuer.certificate("wh_two")
    home = tmp_path / "home"
    with start(kind, version, home, server_leaf=server_leaf, client_ca_bundle=issuer.bundle, keep_alive=False) as receiver:
        for issued in (one, one, two, two, one, two):
            outcome = await post(sender, receiver.url, issued)
            assert isinstance(outcome, Answered), outcome
            assert outcome.status == 200
        seen = sorted(receiver.wait_for(6), key=lambda request: request.connection)
    assert [request.common_name.removeprefix("wh_") for request in seen] == ["one", "one", "two", "two", "one", "two"]
    # Node.js keeps no sessions of TLS 1.2 unless the application does, and libcurl offers no tickets there.
    again = (kind, version) != ("node", "1.2")
    assert [request.resumed for request in seen] == [False, again, False, again, again, again]
    assert receiver.handshakes == 6


# How it is told


def refusing(version: ssl.TLSVersion, leaf: Leaf, bundle: bytes, *, optional: bool = False) -> ssl.SSLContext:
    context = leaf.server()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=bundle.decode())
    return context


def shakes_hands_and_listens_on(context: ssl.SSLContext) -> Behaviour:
    """A server that refuses, and stays until the sender has hung up: its alert cannot be lost in a reset, as it can on loopback."""

    def behave(peer: Peer) -> None:
        plain = peer.conn
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while True:
            if not refused:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    refused = True
                if data := outgoing.read():
                    plain.sendall(data)
            data = plain.recv(65536)
            if not data:
                return
            incoming.write(data)

    return behave


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    ("presented", "alert"), [("stranger's", "unknown_ca"), ("expired", "certificate_expired"), ("none", None)], ids=str
)
async def test_the_alert_is_named_also_when_tls_1_3_brings_it_after_the_request_was_written(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, version: ssl.TLSVersion, presented: str, alert: str | None
) -> None:
    past = Issuer("gridhook", NOW - 10 * DAY_MS)
    issued = {"stranger's": Issuer("another").certificate("wh"), "expired": past.certificate("wh", days=1), "none": None}[presented]
    behave = shakes_hands_and_listens_on(refusing(version, server_leaf, issuer.bundle + past.bundle))
    with hostile(behave) as server:
        outcome = await post(sender, f"https://127.0.0.1:{server.port}/hook", issued)
    assert isinstance(outcome, Unreachable)
    assert outcome.phase is (Phase.TLS if version is ssl.TLSVersion.TLSv1_2 else Phase.HEADERS)
    if alert is not None:
        assert outcome.reason is Reason.CLIENT_CERTIFICATE_REFUSED
        assert f"the alert {alert}, " in outcome.detail
    else:
        name = "handshake_failure" if version is ssl.TLSVersion.TLSv1_2 else "certificate_required"
        assert outcome.reason is Reason.TLS_ALERT
        assert outcome.detail.startswith(f"the receiver demands a client certificate, and none was presented: it sent the alert {name}")


async def test_a_receiver_that_asked_for_the_certificate_and_crashes_is_told_apart_from_one_that_says_no(
    sender: Sender, issuer: Issuer, server_leaf: Leaf
) -> None:
    def behave(peer: Peer) -> None:
        if peer.number == 1:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            peer.request()
            peer.reset()

    context = refusing(ssl.TLSVersion.TLSv1_3, server_leaf, issuer.bundle)
    context.num_tickets = 0  # so that it asks again
    ours = issuer.certificate("wh_ours")
    with hostile(behave, tls=context) as server:
        assert isinstance(await post(sender, server.url(), ours), Answered)
        outcome = await post(sender, server.url(), ours)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET_AFTER_CLIENT_CERTIFICATE
    assert not is_certificate_refusal(outcome, accepted_before=True)


async def test_a_connection_that_ends_in_the_middle_of_an_answer_has_nothing_to_do_with_the_certificate(
    sender: Sender, issuer: Issuer, server_leaf: Leaf
) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 20")

    with hostile(behave, tls=refusing(ssl.TLSVersion.TLSv1_3, server_leaf, issuer.bundle)) as server:
        outcome = await post(sender, server.url(), issuer.certificate("wh_ours"))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_receiver_that_gets_no_certificate_and_hangs_up_silently_is_known_to_have_asked_for_one(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, version: ssl.TLSVersion
) -> None:
    context = refusing(version, server_leaf, issuer.bundle)
    context.verify_mode = ssl.CERT_OPTIONAL  # it looks itself, as Node.js with rejectUnauthorized does

    def behave(peer: Peer) -> None:
        peer.request()

    with hostile(behave, tls=context) as server:
        outcome = await post(sender, server.url(), None)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.detail) == (Reason.RESET, ASKED_IN_VAIN)


# Fails closed


async def test_a_certificate_is_never_brought_to_a_plain_http_url(sender: Sender, issuer: Issuer) -> None:
    with hostile(lambda peer: peer.hang()) as server:
        outcome = await post(sender, server.url(), issuer.certificate("wh_ours"))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.URL_REFUSED
    assert "https only; nothing was sent" in outcome.detail
    assert server.connections == 0


@pytest.mark.parametrize("broken", ["another key", "no key", "no certificate"])
async def test_a_certificate_that_cannot_be_used_gets_no_request_and_is_not_left_out(
    sender: Sender, issuer: Issuer, server_leaf: Leaf, broken: str
) -> None:
    ours, other = issuer.certificate("wh_ours").identity, issuer.certificate("wh_other").identity
    identity = {
        "another key": Identity("c", ours.certificate, other.private_key),
        "no key": Identity("c", ours.certificate, b"garbage"),
        "no certificate": Identity("c", b"garbage", ours.private_key),
    }[broken]

    def behave(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    context = refusing(ssl.TLSVersion.TLSv1_3, server_leaf, issuer.bundle, optional=True)
    with hostile(behave, tls=context) as server:
        outcome = await post(sender, server.url(), Issued(identity, b"", "", ""))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert server.requests == []


# Many


class Listing:
    """A TLS server that says of each request whether its session was resumed, and whose certificate came. One request per connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.seen: list[tuple[bool, str]] = []
        self.context = context

    def behave(self, peer: Peer) -> None:
        assert isinstance(peer.conn, ssl.SSLSocket)
        peer.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        certificate = peer.conn.getpeercert()
        name = str(certificate["subject"][0][0][1]) if certificate else ""
        peer.request()
        self.seen.append((bool(peer.conn.session_reused), name))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        with suppress(OSError, ValueError):  # ValueError: the test is over, and the socket closed under us
            peer.conn.unwrap()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def listing(request: pytest.FixtureRequest, authority: Authority, issuer: Issuer) -> Listing:
    leaf = authority.leaf("127.0.0.1", *(f"h{n}.example.com" for n in range(60)))
    return Listing(refusing(request.param, leaf, issuer.bundle, optional=True))


async def test_a_session_without_a_certificate_is_not_taken_up_with_one_nor_the_other_way_round(
    sender: Sender, issuer: Issuer, listing: Listing
) -> None:
    ours = issuer.certificate("wh_ours")
    with hostile(listing.behave, tls=listing.context) as server:
        for issued in (None, ours, None, ours):
            assert isinstance(await post(sender, server.url(), issued), Answered)
    assert listing.seen == [(False, ""), (False, "wh_ours"), (True, ""), (True, "wh_ours")]


async def test_two_certificates_under_one_id_do_not_share_a_session_or_a_connection(
    sender: Sender, issuer: Issuer, listing: Listing
) -> None:
    """It must not happen; if it does, each request shows the certificate that it was given."""
    one, two = issuer.certificate("wh_one"), issuer.certificate("wh_two")
    alias = Issued(Identity(one.identity.id, two.identity.certificate, two.identity.private_key), b"", "", "")
    with hostile(listing.behave, tls=listing.context) as server:
        for issued in (one, alias, one, alias):
            assert isinstance(await post(sender, server.url(), issued), Answered)
    assert [name for _, name in listing.seen] == ["wh_one", "wh_two"] * 2


@pytest.mark.parametrize("with_certificates", [True, False], ids=["client certificates", "bearer tokens"])
async def test_the_sessions_of_sixty_hosts_are_all_resumed(
    sender: Sender, issuer: Issuer, listing: Listing, with_certificates: bool
) -> None:
    """libcurl alone remembers 25."""
    issued = [issuer.certificate(f"wh_{n}") if with_certificates else None for n in range(60)]
    with hostile(listing.behave, tls=listing.context) as server:
        for _ in range(2):
            for n in range(60):
                assert isinstance(await post(sender, server.url(host=f"h{n}.example.com"), issued[n]), Answered)
    assert [resumed for resumed, _ in listing.seen] == [False] * 60 + [True] * 60


async def test_two_hundred_certificates_on_two_hundred_hosts_stay_warm(
    sender: Sender, issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    leaf = authority.leaf(*(f"h{n}.example.com" for n in range(200)))
    issued = [issuer.certificate(f"wh_{n}") for n in range(200)]
    with start("nginx", "1.3", tmp_path / "home", server_leaf=leaf, client_ca_bundle=issuer.bundle) as receiver:
        for _ in range(3):
            outcomes = await asyncio.gather(
                *(post(sender, f"https://h{n}.example.com:{receiver.port}/hook/{n}", issued[n]) for n in range(200))
            )
            assert {outcome.status for outcome in outcomes if isinstance(outcome, Answered)} == {200}
            assert all(isinstance(outcome, Answered) for outcome in outcomes)
        seen = receiver.wait_for(600)
    assert receiver.handshakes == 200
    assert all(one.common_name == "wh_" + one.path.removeprefix("/hook/") for one in seen)
