"""Web shows: the HTTP API for customers' engineers and SDKs, publishing for the platform, schemas, health."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
import traceback
from collections.abc import AsyncGenerator, Mapping

from gridhook.config import Settings
from gridhook.errors import GridhookError
from gridhook.service import Service
from gridhook.web import auth, authorities, docs, health, pages, publishing, schemas, vendor
from gridhook.web.call import Call, ClientGone, Receive, Scope, Send
from gridhook.web.console import certificates, editing, keys, log, recovering, trying
from gridhook.web.pages.front import Front
from gridhook.web.pages.streams import Streams
from gridhook.web.problems import Reply, defect, is_ours, refused
from gridhook.web.routes import Routes

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PUBLISH_PREFIX = "/v1/accounts/"


class Web:
    """The ASGI application."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._log = service.log
        self._publishing = publishing.Publishing(service, settings)
        self._streams = Streams(service.store, service.people)
        self._front = Front(service, settings)
        authenticate = auth.Authenticator(service, settings)
        self.routes = Routes(
            [
                *vendor.routes(service, authenticate),
                *editing.routes(service, authenticate),
                *keys.routes(service, authenticate),
                *certificates.routes(service, authenticate),
                *trying.routes(service, authenticate),
                *log.routes(service, authenticate),
                *recovering.routes(service, authenticate),
                *publishing.routes(self._publishing),
                *schemas.routes(settings),
                *authorities.routes(service),
                *health.routes(service),
                *docs.routes(settings, lambda: self.routes.all),
                *pages.routes(self._front, self._streams),
            ]
        )
        # Unique per process and cheap: a random part drawn once, then a count.
        self._our_id = f"req_{secrets.token_hex(8)}"
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(headers)
        try:
            answer = await self._routed(scope, headers, receive, request_id)
        except ClientGone:
            return
        except Exception as error:
            answer = self._refusal(error, request_id, scope["path"])
        if answer.chunks is not None:
            await _stream(answer, answer.chunks, scope["method"], request_id, receive, send)
        else:
            await _send(answer, scope["method"], headers, request_id, send)

    def end_streams(self) -> None:
        """End every answer that has no end of its own: the server wants to stop."""
        self._streams.end()

    async def publish(self, account_id: str, headers: dict[bytes, bytes], body: bytes) -> tuple[Reply, list[tuple[bytes, bytes]]]:
        """Publishing past ASGI and the table of routes: see `shortcut`."""
        request_id = self._request_id(headers)
        try:
            answer = await self._publishing(account_id, headers, body, request_id)
        except Exception as error:
            answer = self._refusal(error, request_id, f"{_PUBLISH_PREFIX}{account_id}/events")
        length = (b"content-length", b"%d" % len(answer.body))
        return answer, [(b"x-request-id", request_id.encode()), *answer.headers, length]

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._our_id}{next(self._count):08x}"

    def _refusal(self, error: Exception, request_id: str, path: str) -> Reply:
        if not isinstance(error, GridhookError) or is_ours(error):
            self._note_defect(error, request_id, path)
            return self._front.broken(request_id) if pages.is_below(path) else defect(request_id)
        if pages.is_below(path):
            return self._front.outside(error, request_id)
        return refused(error, request_id, challenge=publishing.CHALLENGE if path.startswith(_PUBLISH_PREFIX) else auth.CHALLENGE)

    async def _routed(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, request_id: str) -> Reply:
        raw_path = scope["raw_path"].decode("latin-1")
        route, params = self.routes.find(raw_path)
        handler = route.handler(scope["method"])
        if handler is None:
            return Reply(204, b"", [(b"allow", route.allow)])
        return await handler(
            Call(
                method=scope["method"],
                path=scope["path"],
                raw_path=raw_path,
                query=scope["query_string"],
                headers=headers,
                receive=receive,
                request_id=request_id,
                params=params,
            )
        )

    def _note_defect(self, error: Exception, request_id: str, path: str) -> None:
        """Logged once, here. The log takes secrets out of the traceback."""
        trace = "".join(traceback.format_exception(error))
        self._log.error("a request met a defect of ours", request=request_id, path=path, error=repr(error), traceback=trace)


def build_app(service: Service, settings: Settings) -> Web:
    """The application around a running service. The server is `gridhook.web.server.Server`."""
    return Web(service, settings)


async def _stream(answer: Reply, chunks: AsyncGenerator[bytes, None], method: str, request_id: str, receive: Receive, send: Send) -> None:
    """Chunk by chunk, until they end or the client goes away."""
    gone = asyncio.ensure_future(_gone(receive))
    try:
        headers = [(b"x-request-id", request_id.encode()), *answer.headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while True:
            following = asyncio.ensure_future(anext(chunks, None))
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
                break
            chunk = following.result()
            if chunk is None or method == "HEAD":
                break
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        await chunks.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(answer: Reply, method: str, request: Mapping[bytes, bytes], request_id: str, send: Send) -> None:
    headers = [(b"x-request-id", request_id.encode()), *answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if b"expect" in request and (answer.status >= 400 or method != "POST"):
        # The body may not have been asked for, so it is not known whether it will come: what follows cannot be told apart.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
