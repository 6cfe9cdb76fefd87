"""One HTTP request as our routes see it, and the reading of its body within a limit."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable
from urllib.parse import parse_qsl

from gridhook.errors import TooLarge
from gridhook.web.problems import Reply

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_QUERY_FIELDS = 100

_INTEGER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ROW_ID = re.compile(r"[0-9]{1,19}", re.ASCII)


@runtime_checkable
class EndsStreams(Protocol):
    """An application with answers that have no end of their own."""

    def end_streams(self) -> None:
        """End them all, and every one that is asked for from now on."""
        ...


class ClientGone(Exception):
    """The connection ended before the request was complete: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose head was read. Header names are lower case; of a repeated field the last one counts."""

    method: str
    path: str
    raw_path: str  # as in the request line, still percent-encoded, without the query
    query: bytes
    headers: Mapping[bytes, bytes] = field(repr=False)
    receive: Receive = field(repr=False)
    request_id: str
    params: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def argument(self, name: str) -> str | None:
        """A query parameter's first value. Values that are not UTF-8 come with replacement characters."""
        try:
            pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            return None
        return next((value for key, value in pairs if key == name), None)

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number from the query, clamped; anything that is not one counts as absent."""
        text = self.argument(name)
        if text is None or not _INTEGER.fullmatch(text.strip()):
            return default
        return max(least, min(most, int(text)))

    async def body(self, limit: int) -> bytes:
        return await read_body(self.receive, self.headers, limit)


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """All of the body. Raises `TooLarge` as soon as it is known to exceed `limit` bytes, `ClientGone` when it breaks off."""
    length = headers.get(b"content-length")
    if length is not None and (len(length) > 15 or int(length) > limit):
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message["body"]
    if not message["more_body"]:
        return within(body, limit)
    parts = [body]
    size = len(body)
    while message["more_body"]:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message["body"])
        size += len(message["body"])
    return within(b"".join(parts), limit)


def within(body: bytes, limit: int) -> bytes:
    """The body. Raises `TooLarge` when it exceeds `limit` bytes."""
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body has more than {limit} bytes, the most that is read here")


def is_id(text: str) -> bool:
    """Whether this can be the id of anything of ours: what cannot be is not looked up."""
    return _ID.fullmatch(text) is not None


def row_id(text: str) -> int | None:
    """The number of an attempt or a delivery; None for what cannot be one."""
    return int(text) if _ROW_ID.fullmatch(text) and int(text) < 2**63 else None
