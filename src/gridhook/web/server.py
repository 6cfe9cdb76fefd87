"""The HTTP server: sockets, limits on what is slow or too much, and an orderly end. uvicorn inside our own event loop and signals."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import time
from email.utils import formatdate

from uvicorn import Config
from uvicorn.server import ServerState

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.web.call import App, EndsStreams, Receive, Scope, Send
from gridhook.web.problems import JSON, NO_STORE, problem
from gridhook.web.protocol import MAX_HEAD_BYTES, FallbackProtocol, Progress, Protocol
from gridhook.web.shortcut import AnswersPublishing

HEAD_SECONDS = 10.0  # for a request's head to arrive: what is slower is an attack or a dead network
BODY_SECONDS = 30.0
IDLE_SECONDS = 75  # longer than the pools of usual clients, so that it is they who close
MAX_CONNECTIONS = 10_000
BACKLOG = 2048
SWEEP_SECONDS = 1.0


class Server:
    """Serves the application on `settings.listen`. `start`, then `stop_accepting`, then `wait_closed`."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        *,
        max_connections: int | None = None,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        """max_connections: more are answered 503; None: 10,000, or half of the open-file limit if that is less."""
        self._app = app
        self._host, self._port = _address(settings.listen)
        self._max_connections = max_connections or min(MAX_CONNECTIONS, max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
        self._limits = {Progress.HEAD: head_seconds, Progress.BODY: body_seconds, Progress.KEPT: idle_seconds}
        self._sweep_seconds = sweep_seconds
        self._state = ServerState()
        self._config = Config(
            app,
            interface="asgi3",
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the real port when 0 was asked for."""
        assert self._listener is not None
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Listen. Raises `Misconfigured` when the address cannot be had."""
        self._config.load()
        self._refresh_date()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._accepted, self._host, self._port, backlog=BACKLOG)
        except OSError as error:
            reason = error.strerror or error
            raise Misconfigured(f"GRIDHOOK_LISTEN={self._host}:{self._port}: cannot listen there: {reason}") from None
        self._sweeper = asyncio.ensure_future(self._sweep())

    def stop_accepting(self) -> None:
        """No new connection, no further request on those there are; running requests go on. Idle connections are closed."""
        if self._listener is not None:
            self._listener.close()
        if isinstance(self._app, EndsStreams):
            self._app.end_streams()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def wait_closed(self, deadline: float) -> None:
        """Until running requests are answered, `deadline` seconds at most; then connections are cut.

        A request whose answer could not be sent is not undone: what it committed stands, and its publisher may ask again.
        """
        ends = time.monotonic() + deadline
        while (self._state.tasks or self._state.connections) and time.monotonic() < ends:
            if self._state.tasks:
                await asyncio.wait(set(self._state.tasks), timeout=ends - time.monotonic())
            for connection in list(self._state.connections):
                connection.shutdown()
            await asyncio.sleep(0.01)  # for the closing connections to tell us that they are closed
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper

    def _accepted(self) -> Protocol:
        protocol = Protocol(self._config, self._state)
        if len(self._state.connections) >= self._max_connections:
            protocol.app = _too_busy
        elif isinstance(self._app, AnswersPublishing):
            protocol.publishes = self._app
        return protocol

    async def _sweep(self) -> None:
        """Once a second: the Date header, and whoever has stayed at the same head or body for too long."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            self._refresh_date()
            now = time.monotonic()
            for connection in list(self._state.connections):
                if isinstance(connection, Protocol | FallbackProtocol):
                    connection.watch(now, self._limits)

    def _refresh_date(self) -> None:
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode()), *self._config.encoded_headers]


async def _too_busy(scope: Scope, receive: Receive, send: Send) -> None:
    request_id = f"req_{secrets.token_hex(8)}"
    body = problem(503, "unavailable", "this server has as many connections as it may; try again shortly", request_id)
    headers = [
        JSON,
        NO_STORE,
        (b"retry-after", b"1"),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)
