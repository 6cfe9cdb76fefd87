"""The short way of a publish request: from the parser to the application and back in one write, without ASGI in between.

uvicorn's cycle, its scope and its messages cost as much as reading and judging an event. A request whose body is announced, not too
large, and that asks for nothing special takes this way; every other takes the usual one, to the same application code.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gridhook.web.problems import Reply

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MOST_BYTES = 256 * 1024  # of a body that is held in memory before anybody looks at the request

Header = tuple[bytes, bytes]

_TARGET = re.compile(rb"/v1/accounts/([!-$&-.0->@-~]+)/events")  # printable ASCII without % / ?


@runtime_checkable
class AnswersPublishing(Protocol):
    """An application that can be asked past ASGI."""

    async def publish(self, account_id: str, headers: dict[bytes, bytes], body: bytes) -> tuple[Reply, list[Header]]:
        """The answer to POST /v1/accounts/{account_id}/events, with all of its header fields. Never raises."""
        ...


def account_of(url: bytes) -> str | None:
    """The account that a target in origin form publishes for; None when it is no such target, or one that must be decoded first."""
    found = _TARGET.fullmatch(url)
    return None if found is None else found[1].decode()


class Shortcut:
    """One request. For uvicorn's protocol it is the cycle: what it reads and sets there is here, under the same names."""

    __slots__ = (
        "_account_id",
        "_app",
        "_flow",
        "_headers",
        "_on_response",
        "_state",
        "_task",
        "_transport",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
    )

    def __init__(
        self,
        app: AnswersPublishing,
        account_id: str,
        headers: list[Header],
        keep_alive: bool,
        transport: asyncio.Transport,
        flow: FlowControl,
        state: ServerState,
        on_response: Callable[[], None],
    ) -> None:
        self._app = app
        self._account_id = account_id
        self._headers = headers
        self._transport = transport
        self._flow = flow
        self._state = state
        self._on_response = on_response
        self._task: asyncio.Task[None] | None = None
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    @property
    def message_event(self) -> Shortcut:
        """What uvicorn sets when there is news. Not an attribute: each request would be a ring that only the garbage collector frees."""
        return self

    def set(self) -> None:
        """There is more of the body, all of it, or the client is gone."""
        if self.more_body:
            self._flow.resume_reading()  # uvicorn waits for a reader above 64 KiB; ours takes the whole
        elif self._task is None and not self.disconnected:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._state.tasks.add(self._task)

    async def _run(self) -> None:
        try:
            reply, headers = await self._app.publish(self._account_id, dict(self._headers), bytes(self.body))
            if self._flow.write_paused and not self.disconnected:
                await self._flow.drain()
            if self.disconnected:
                return
            if not self.keep_alive:
                headers.append((b"connection", b"close"))
            self.response_started = self.response_complete = True
            self._transport.write(head(reply.status, [*self._state.default_headers, *headers]) + reply.body)
            if not self.keep_alive:
                self._transport.close()
            self._on_response()
        finally:
            if self._task is not None:
                self._state.tasks.discard(self._task)


def head(status: int, headers: list[Header]) -> bytes:
    """The head of an answer. Raises `RuntimeError` when a header would break out of its line."""
    parts = [STATUS_LINE[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    text = b"".join(parts)
    if text.count(b"\n") != len(headers) + 2 or text.count(b"\r") != len(headers) + 2:
        raise RuntimeError("a header holds a line break")
    return text
