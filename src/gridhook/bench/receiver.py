"""The bench's receiver: a process that answers 200 and remembers which ids came when, and how often, to each path below `/hook`.

`python -m gridhook.bench.receiver PORT [CERTIFICATE CLIENT_CA]`; steered and read through `/-/` paths of the same port.
With two PEM files it listens for TLS too, on every address of this machine, and checks a client certificate when it is shown one. It
prints its ports.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from array import array
from typing import Any
from urllib.parse import parse_qs

import httptools
import msgspec
import uvloop

CHALLENGE = b"x-accessgrid-webhook-challenge"
HOOK = b"/hook"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Seen(msgspec.Struct):
    """The part of a CloudEvent that the receiver reads."""

    id: str


class Memory:
    """What was received: ids in order of first arrival, and how many came again."""

    def __init__(self) -> None:
        self.clear()
        self.handshake = True
        self.mute = False  # challenges are taken and never answered
        self.delay = 0.0

    def clear(self) -> None:
        self.order: list[str] = []
        self.counts: dict[str, int] = {}
        self.times = array("q")
        self.repeats = 0
        self.handshakes = self.resumed = self.certified = 0  # of TLS: all, those that resumed a session, those that showed a certificate

    def add(self, url: bytes, body: bytes) -> None:
        now = time.monotonic_ns()
        event_id = decode(body).id
        if url != HOOK:
            event_id += url.removeprefix(HOOK).decode()  # one of many webhooks: the same event comes to each
        count = self.counts.get(event_id, 0)
        self.counts[event_id] = count + 1
        if count:
            self.repeats += 1
        else:
            self.order.append(event_id)
            self.times.append(now)


decode = msgspec.json.Decoder(Seen).decode
memory = Memory()


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            memory.handshakes += 1
            memory.resumed += bool(tls.session_reused)
            memory.certified += bool(tls.getpeercert())

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""
        self.body = b""
        self.challenge = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == len(CHALLENGE) and name.lower() == CHALLENGE:
            self.challenge = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.url.startswith(b"/-/"):
            self._answer(control(self.url.decode()))
        elif self.challenge:
            if memory.mute:
                return
            if memory.handshake:
                self._answer(b'{"challenge":"' + self.challenge + b'"}')
            else:
                self.transport.write(b"HTTP/1.1 503 Not Ready\r\nContent-Length: 0\r\n\r\n")
        else:
            memory.add(self.url, self.body)
            if memory.delay:
                self.loop.call_later(memory.delay, self.transport.write, OK)
            else:
                self.transport.write(OK)

    def _answer(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def control(url: str) -> bytes:
    path, _, query = url.partition("?")
    said = {name: values[-1] for name, values in parse_qs(query).items()}
    match path:
        case "/-/set":
            if "handshake" in said:
                memory.handshake = said["handshake"] == "1"
            if "mute" in said:
                memory.mute = said["mute"] == "1"
            if "delay" in said:
                memory.delay = float(said["delay"])
        case "/-/clear":
            memory.clear()
        case "/-/dump":
            return msgspec.json.encode(
                {"ids": memory.order, "times": list(memory.times), "counts": memory.counts, "repeats": memory.repeats}
            )
        case _:
            pass
    return msgspec.json.encode(
        {
            "received": len(memory.order),
            "repeats": memory.repeats,
            "handshakes": memory.handshakes,
            "resumed": memory.resumed,
            "certified": memory.certified,
        }
    )


def tls(certificate: str, client_ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def main(port: int, *files: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    ports = [server.sockets[0].getsockname()[1]]
    if files:
        encrypted = await loop.create_server(Connection, "0.0.0.0", 0, backlog=1024, ssl=tls(*files))
        ports.append(encrypted.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0, *sys.argv[2:]))
