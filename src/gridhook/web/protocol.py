"""HTTP/1.1 on one connection: uvicorn's httptools protocol with the limits it lacks, and h11 for what httptools cannot read.

httptools drops the body of a request that offers an upgrade (`Upgrade: h2c`, as the JDK's client sends over plain http). We never
upgrade, so RFC 9110 s7.8 lets us ignore the offer; but the parser cannot be told to. Such a connection goes to h11 for good.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import h11
import httptools
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn._types import ASGI3Application, ASGISendEvent
    from uvicorn.server import ServerState

from gridhook.web.problems import problem
from gridhook.web.shortcut import MOST_BYTES, AnswersPublishing, Shortcut, account_of, head

MAX_HEAD_BYTES = 64 * 1024


class Progress(Enum):
    """What a connection waits for from its client."""

    IDLE = "idle"  # nothing: its request is being answered
    KEPT = "kept"  # its next request, if it has one
    HEAD = "head"
    BODY = "body"


WORDS = {
    400: ("unreadable", "this is not a request in HTTP/1.1, with one Host and no transfer coding but chunked"),
    408: ("timeout", "the request did not arrive in time"),
    431: ("head-too-large", f"the request's head has more than {MAX_HEAD_BYTES} bytes"),
}
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _Watched:
    """Tells, from one look to the next, whether a connection still waits for the same thing, and for how long."""

    _seen: tuple[object, ...] = ()
    _since = 0.0

    def progress(self) -> tuple[Progress, object]:
        """What is waited for, and of which request."""
        raise NotImplementedError

    def refuse(self, status: int) -> None:
        raise NotImplementedError

    def watch(self, now: float, limits: Mapping[Progress, float]) -> None:
        seen = self.progress()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= limits.get(seen[0], float("inf")):
            self.refuse(408)


class OneWrite:
    """Sends an answer of our application: a head with its content-length, then the whole body; or, of a stream, pieces until the
    connection is closed.

    uvicorn writes head and body each by itself, and uvloop hands each to the kernel at once: two system calls, and a publisher
    that is woken twice. In one piece it is one call, of some 5 us of the 240 that an event costs this thread.
    """

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head = b""

    async def send(self, message: ASGISendEvent) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected or cycle.response_complete:
            return
        if message["type"] == "http.response.start":
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
            headers = [*cycle.default_headers, *message["headers"]]
            if (b"connection", b"close") in headers:
                cycle.keep_alive = False
            elif not cycle.keep_alive:
                headers.append((b"connection", b"close"))
            self._head = head(message["status"], headers)
        elif message["type"] == "http.response.body" and message.get("more_body"):
            cycle.transport.write(self._head + message["body"])
            self._head = b""
        elif message["type"] == "http.response.body":
            cycle.transport.write(self._head + message["body"] if cycle.scope["method"] != "HEAD" else self._head)
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            cycle.on_response()


class Protocol(_Watched, HttpToolsProtocol):
    """The usual connection."""

    # uvicorn's own attributes are nearly as many as an object can hold without a dictionary of its own (30): ours stand beside them.
    __slots__ = ("_chunk_bytes", "_handing_over", "_head_bytes", "_progress", "_requests", "_seen", "_since", "publishes")

    def __init__(self, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._progress = Progress.HEAD  # a client that connects and says nothing is as slow as one that stops in the middle
        self._requests = 0
        self._head_bytes = 0
        self._chunk_bytes = 0
        self._handing_over = False
        self._seen: tuple[object, ...] = ()
        self._since = 0.0
        self.publishes: AnswersPublishing | None = None  # the application, when it takes publish requests by the short way

    def progress(self) -> tuple[Progress, object]:
        if self._progress is Progress.IDLE and (self.cycle is None or self.cycle.response_complete):
            return Progress.KEPT, self._requests
        return self._progress, self._requests

    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The argument says where the head ended; everything behind it is body, or the next request.
            if self._handing_over:
                self._hand_over(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.refuse(431 if self._head_bytes > MAX_HEAD_BYTES else 400)
            return
        if self._progress is Progress.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(431)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._progress = Progress.HEAD
        self._requests += 1

    def on_headers_complete(self) -> None:
        # Counted exactly only when the pieces that it came in could be too much together.
        if self._head_bytes + self._chunk_bytes > MAX_HEAD_BYTES:
            self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ValueError("head too large")
        self._head_bytes = 0
        self._progress = Progress.BODY
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ValueError("not HTTP/1.1")
        # What a proxy before us might read otherwise than we do. The parser lets it through; h11 does not.
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                raise ValueError("an unknown transfer coding, RFC 9112 s6.1")
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            raise ValueError("not one Host, RFC 9112 s3.2")
        if self.parser.should_upgrade():
            self._handing_over = True
            return
        shortcut = self._shortcut()
        if shortcut is not None:
            self.cycle = shortcut  # type: ignore[assignment]  # it has all that uvicorn's protocol looks for
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope
        self.url, self.headers[:], self.expect_100_continue = url, headers, expects
        super().on_headers_complete()

    def _shortcut(self) -> Shortcut | None:
        """For a publish request that asks for nothing special, on a connection that has nothing else to do."""
        app = self.publishes
        account_id = account_of(self.url)
        if app is None or account_id is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        length = b""
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                return None
        if not length.isdigit() or len(length) > 9 or int(length) > MOST_BYTES:
            return None
        return Shortcut(
            app,
            account_id,
            self.headers,
            self.parser.should_keep_alive() and self.parser.get_http_version() == "1.1",
            self.transport,
            self.flow,
            self.server_state,
            self.on_response_complete,
        )

    def on_response_complete(self) -> None:
        # uvicorn's, but for its timer: `watch` looks after connections that rest, without a timer made and cancelled per request.
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.send = OneWrite(cycle).send  # type: ignore[method-assign]  # uvicorn makes the cycle itself, and has no other way in
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        if not self._handing_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress = Progress.IDLE
        if not self._handing_over:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400)

    def refuse(self, status: int) -> None:
        """Answer the request that cannot be read, unless it was answered already, and close the connection."""
        cycle = self.cycle
        if status == 408 and self._progress is Progress.IDLE:
            self.transport.close()  # it rested for too long
            return
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # An earlier request of this connection is still being answered: let it be, and close behind it.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        _end(self.transport, status, silently=self._progress is Progress.BODY and cycle is not None and cycle.response_started)

    def _hand_over(self, rest: bytes) -> None:
        """Give the connection to h11, with this request's head as the parser understood it and whatever came behind it."""
        if self.cycle is not None and not self.cycle.response_complete:
            # An earlier request of this connection is still being answered. Ours is dropped unanswered, with the connection:
            # "a client that pipelines requests SHOULD retry unanswered requests if the connection closes" RFC 9112 s9.3.2.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            head += [name, b": ", value, b"\r\n"]
        head.append(b"\r\n")
        self.connections.discard(self)
        protocol = FallbackProtocol(self.config, self.server_state, self.app_state, self.loop)
        protocol.app = self.app
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(b"".join(head) + rest)


class FallbackProtocol(_Watched, H11Protocol):
    """A connection whose client offered an upgrade: slower, and right. The offer is passed over."""

    def progress(self) -> tuple[Progress, object]:
        if self.conn.their_state is h11.SEND_BODY:
            return Progress.BODY, id(self.scope)
        waiting = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        return (Progress.HEAD if waiting else Progress.IDLE), id(self.scope)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except UnicodeDecodeError:  # a path that is not ASCII
            self.refuse(400)

    def _should_upgrade(self) -> bool:
        return False

    def send_400_response(self, msg: str) -> None:
        # Called while h11's error is being handled; it alone knows whether the head was too large.
        error = sys.exc_info()[1]
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self.refuse(hint if hint in WORDS else 400)

    def refuse(self, status: int) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        in_body = self.conn.their_state is h11.SEND_BODY
        _end(self.transport, status, silently=in_body and cycle is not None and cycle.response_started)


def _end(transport: asyncio.Transport, status: int, *, silently: bool) -> None:
    """The last words on a connection whose client cannot be understood or is too slow."""
    if transport is None or transport.is_closing():
        return
    if not silently:
        slug, message = WORDS[status]
        request_id = f"req_{secrets.token_hex(8)}"
        body = problem(status, slug, message, request_id)
        head: list[Any] = [
            b"HTTP/1.1 %d %s\r\n" % (status, _REASONS[status]),
            b"content-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n",
            b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (request_id.encode(), len(body)),
        ]
        transport.write(b"".join(head) + body)
    transport.close()
