"""Parts to test with, ours and yours: `Receiver`, a real HTTP server that records what reaches it and answers as told, and `FakeClock`."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import httptools

from gridhook.model import Instant

CHALLENGE_HEADER = "x-accessgrid-webhook-challenge"
MAX_BODY_BYTES = 64 * 1024 * 1024
HANG_GUARD_SECONDS = 30.0


class FakeClock:
    """A clock that moves when the test says so. Instants are milliseconds since 1970."""

    def __init__(self, now: Instant = 1_780_000_000_000) -> None:
        self._now = now

    def now(self) -> Instant:
        return self._now

    def advance(self, *, ms: int = 0, seconds: float = 0) -> Instant:
        """Move on (or, negative, step back); returns the new instant."""
        self._now += ms + round(seconds * 1000)
        return self._now


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. Header names are lower case, in order, repeats kept. `at`: `time.monotonic()` when it was complete."""

    method: str
    path: str  # with its query, as sent
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float
    connection: int  # counts the receiver's connections from 1: the same number, the same connection

    def header(self, name: str) -> str | None:
        """The first value of this header, None when it is absent."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    @property
    def challenge(self) -> str | None:
        """The token to echo; None for a delivery."""
        return self.header(CHALLENGE_HEADER)

    def json(self) -> Any:
        """Raises `ValueError` when the body is not JSON."""
        return json.loads(self.body)

    @property
    def event_id(self) -> str | None:
        """`id` of the CloudEvent in the body, None when there is none."""
        try:
            value = self.json()
        except ValueError:
            return None
        found = value.get("id") if isinstance(value, dict) else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Reply:
    """How to answer one request."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0.0  # seconds before the first byte
    hang: bool = False  # take the request and say nothing, with the connection open
    reset: bool = False  # take the request and drop the connection (TCP RST) without a word
    close: bool = False  # close the connection after the answer
    raw: bytes | None = None  # exactly these bytes instead of an answer, then close


Answer: TypeAlias = Callable[[Received], Reply]


def echo(request: Received) -> Reply:
    """The answer that completes a handshake: 200, and the token as JSON."""
    body = json.dumps({"challenge": request.challenge}).encode()
    return Reply(200, (("Content-Type", "application/json"),), body)


class Receiver:
    """A webhook receiver on loopback: `async with Receiver() as receiver`, then give `receiver.url` to a webhook.

    answer: decides each delivery's reply; without it, the replies given to `script` in order, then `reply`.
    handshake: answers challenges; None: a challenge is answered like any delivery.
    log_file: each delivery's event id is appended here, one per line, before the answer goes out: what this file
        lacks, nobody was told to be received.
    keep: False counts requests without keeping them, for loads that would not fit into memory.
    tls: serves https with this context.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        handshake: Answer | None = echo,
        log_file: str | Path | None = None,
        keep: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.answer = answer
        self.handshake = handshake
        self.reply = Reply(200)
        self.keep = keep
        self.handshakes: list[Received] = []
        self.deliveries: list[Received] = []
        self.count = 0  # deliveries so far, kept or not
        self.connections = 0  # connections so far
        self._tls = tls
        self._log_file = log_file
        self._log: int | None = None
        self._script: deque[Reply] = deque()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def url(self) -> str:
        """Known once started."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/hook"

    async def start(self) -> None:
        """Raises `OSError` when the port is taken."""
        if self._log_file is not None:
            self._log = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection. Safe to call twice."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.abort()
            await self._server.wait_closed()
            self._server = None
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def script(self, *replies: Reply) -> None:
        """Answer the next deliveries with these, in order; afterwards with `reply` again."""
        self._script.extend(replies)

    async def received(self, count: int = 1, *, within: float = HANG_GUARD_SECONDS) -> list[Received]:
        """Wait until this many deliveries have arrived in all; returns those kept. Raises `TimeoutError` saying how many did."""
        await self._until(lambda: self.count >= count, within, lambda: f"{self.count} of {count} deliveries arrived within {within} s")
        return self.deliveries

    async def shaken(self, count: int = 1, *, within: float = HANG_GUARD_SECONDS) -> list[Received]:
        """The same for handshakes."""
        await self._until(
            lambda: len(self.handshakes) >= count, within, lambda: f"{len(self.handshakes)} of {count} handshakes arrived within {within} s"
        )
        return self.handshakes

    async def _until(self, done: Callable[[], bool], within: float, complaint: Callable[[], str]) -> None:
        if done():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (done, waiter)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(within):
                await waiter
        except TimeoutError:
            raise TimeoutError(complaint()) from None
        finally:
            self._waiters = [e for e in self._waiters if e is not entry]

    def _judge(self, request: Received) -> Reply:
        """Record, then say how to answer."""
        if request.challenge is not None and self.handshake is not None:
            self.handshakes.append(request)
            reply = self.handshake(request)
        else:
            self.count += 1
            if self.keep:
                self.deliveries.append(request)
            if self._log is not None:
                os.write(self._log, f"{request.event_id}\n".encode())
            reply = self.answer(request) if self.answer is not None else self._next()
        for done, waiter in self._waiters:
            if not waiter.done() and done():
                waiter.set_result(None)
        return reply

    def _next(self) -> Reply:
        return self._script.popleft() if self._script else self.reply


class _Connection(asyncio.Protocol):
    """One connection: requests are answered one after the other, in their order."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Received, bool]] = deque()
        self._busy = False
        self._later: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._number = 0

    # --- from asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections += 1
        self._number = self._receiver.connections
        self._receiver._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver._open.discard(self)
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()

    # --- from httptools ---

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if any(name == "expect" for name, _ in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_BODY_BYTES:
            raise ValueError("the body is larger than a receiver keeps")
        self._body.append(part)

    def on_message_complete(self) -> None:
        request = Received(
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            tuple(self._headers),
            b"".join(self._body),
            time.monotonic(),
            self._number,
        )
        keep_alive = self._parser.should_keep_alive()
        if self._busy:
            self._waiting.append((request, keep_alive))
        else:
            self._take(request, keep_alive)

    # --- the answer ---

    def _take(self, request: Received, keep_alive: bool) -> None:
        reply = self._receiver._judge(request)
        if reply.hang:
            self._busy = True
        elif reply.delay > 0:
            self._busy = True
            self._later = asyncio.get_running_loop().call_later(reply.delay, self._finish, reply, keep_alive)
        else:
            self._finish(reply, keep_alive)

    def _finish(self, reply: Reply, keep_alive: bool) -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        if reply.reset:
            self.abort()
            return
        self._transport.write(reply.raw if reply.raw is not None else _encoded(reply))
        if reply.close or reply.raw is not None or not keep_alive:
            self._transport.close()
        elif self._waiting:
            self._take(*self._waiting.popleft())

    def abort(self) -> None:
        # Linger 0: the peer sees a reset, not an orderly end.
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


@functools.lru_cache(maxsize=256)
def _encoded(reply: Reply) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {reply.status} {phrase}"]
    # "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx or 204." RFC 9110 s8.6
    if reply.status >= 200 and reply.status != 204:
        lines.append(f"Content-Length: {len(reply.body)}")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if reply.close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if reply.status in (204, 304) else reply.body)
