"""A name server on loopback that answers as the test says: real packets, UDP and TCP."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from gridhook.transport.nameservers import Server

Behaviour = Callable[[dns.message.Message], dns.message.Message | bytes | None]


class NameServer(asyncio.DatagramProtocol):
    """`zone`: name -> what to answer. Names that it does not know do not exist."""

    def __init__(self) -> None:
        self.zone: dict[str, Behaviour] = {}
        self.asked: list[tuple[str, str]] = []  # (name with its dot, type), in order
        self.over_tcp = 0

    async def __aenter__(self) -> NameServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        self.server = Server("127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def count(self, kind: str = "A") -> int:
        return sum(asked_kind == kind for _, asked_kind in self.asked)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for part in self._answer(data, tcp=False):
            self._transport.sendto(part, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.over_tcp += 1
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        for part in self._answer(await reader.readexactly(length), tcp=True):
            writer.write(struct.pack("!H", len(part)) + part)
        await writer.drain()
        writer.close()

    def _answer(self, data: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        self.asked.append((question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        behaviour = self.zone.get(question.name.to_text().lower().rstrip("."), status(dns.rcode.NXDOMAIN))
        reply = behaviour(query)
        if reply is None:
            return []
        if isinstance(reply, bytes):
            return [reply]
        wire = reply.to_wire(max_size=65535)
        if not tcp and len(wire) > 1232:
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return [wire]


def records(*lines: str, ttl: int = 60) -> Callable[[dns.message.Message], dns.message.Message]:
    """Addresses for the question's name; or whole lines `name type value` for others, put into the answer as they are."""

    def behave(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        question = query.question[0]
        for line in lines:
            name, kind, value = line.split() if " " in line else (question.name.to_text(), "AAAA" if ":" in line else "A", line)
            if kind == "CNAME" or dns.rdatatype.from_text(kind) == question.rdtype:
                found = reply.find_rrset(
                    reply.answer, dns.name.from_text(name), question.rdclass, dns.rdatatype.from_text(kind), create=True
                )
                found.update(dns.rrset.from_text(name, ttl, "IN", kind, value))
        return reply

    return behave


def status(code: dns.rcode.Rcode) -> Behaviour:
    def behave(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.set_rcode(code)
        return reply

    return behave


def silence(query: dns.message.Message) -> None:
    return None


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The n-th A question (and the n-th AAAA question) gets the n-th behaviour; the last one repeats."""
    asked: dict[int, int] = {}

    def behave(query: dns.message.Message) -> dns.message.Message | bytes | None:
        kind = int(query.question[0].rdtype)
        number = asked[kind] = asked.get(kind, -1) + 1
        return behaviours[min(number, len(behaviours) - 1)](query)

    return behave


def by_type(a: Behaviour, aaaa: Behaviour) -> Behaviour:
    return lambda query: (a if query.question[0].rdtype == dns.rdatatype.A else aaaa)(query)
