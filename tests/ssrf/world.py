"""Who lives in the universe: a name server that answers as the case says, and a receiver at every address, on every port in use."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .corpus import Answers
from .universe import NAMESERVER


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """The n-th question for a name gets the n-th answer, the last one repeats; TTL 0, so that nothing is worth keeping."""

    answers: dict[str, Answers] = field(default_factory=dict)
    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    _transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(NAMESERVER, 53))

    def knows(self, host: str, answers: Answers) -> None:
        self.answers = {host: answers}
        self.asked.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is no subclass of it in 3.11

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(dns.message.from_wire(data)).to_wire(), addr)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        steps = self.answers.get(question.name.to_text(omit_final_dot=True).lower())
        if steps is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            return reply
        key = (question.name.to_text(), int(question.rdtype))
        step = steps[min(self.asked[key], len(steps) - 1)]
        self.asked[key] += 1
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        addresses = [str(address) for address in step if address.version == version]
        if addresses:
            reply.answer.append(dns.rrset.from_text(question.name, 0, "IN", question.rdtype, *addresses))
        return reply


@dataclass(frozen=True, slots=True)
class Hit:
    """A request that arrived: at which address and port, for which Host."""

    address: str
    port: int
    host: str
    path: str


@dataclass
class Everyone:
    """One listener per port, for every address there is. Answers 200 and what it was sent (so that it passes a handshake), or as the
    case says."""

    response: tuple[int, str] | None = None
    hits: list[Hit] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, plain: set[int], tls: set[int], context: ssl.SSLContext) -> None:
        for port in plain | tls:
            # Bound to no address, so it has them all. asyncio makes its IPv6 sockets V6ONLY: two are needed.
            await asyncio.start_server(self._serve, ["::", "0.0.0.0"], port, ssl=context if port in tls else None)

    async def left_alone(self) -> None:
        """Until every connection was closed by its other end."""
        while self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = cast("asyncio.Task[None]", asyncio.current_task())
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                name = writer.get_extra_info("sockname")
                self.hits.append(Hit(str(ip_address(name[0])), name[1], fields.get("host", ""), lines[0].split(" ")[1]))
                status, location = self.response or (200, "")
                extra = f"Location: {location}\r\n" if location else ""
                writer.write(f"HTTP/1.1 {status} Said\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


def certificate_for(hosts: set[str], directory: Path) -> tuple[ssl.SSLContext, str]:
    """A server context valid for every one of the hosts, and the path of the CA file that proves it."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Universe CA")])
    builder = x509.CertificateBuilder().not_valid_before(now - day).not_valid_after(now + day)
    ca = (
        builder.subject_name(issuer)
        .issuer_name(issuer)
        .public_key(ca_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.IPAddress(ip_address(host)) if _is_address(host) else x509.DNSName(host) for host in sorted(hosts)]
    leaf = (
        builder.subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_file, chain = directory / "ca.pem", directory / "leaf.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, str(ca_file)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
