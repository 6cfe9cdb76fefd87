"""Every refusal on every HTTP surface: one JSON object, readable by AccessGrid's SDKs (`message`) and by RFC 9457 clients alike.

The content type is `application/json` and not `application/problem+json`: some SDKs look at it before they read the message.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from gridhook.errors import (
    Conflict,
    Forbidden,
    GridhookError,
    Invalid,
    NotFound,
    Stale,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unreadable,
)
from gridhook.web.shapes.problems import Problem

Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")
NO_SNIFF = (b"x-content-type-options", b"nosniff")
TYPE_PREFIX = "urn:gridhook:problem:"
DEFECT = "something went wrong on our side; the request was not acted on, or may be repeated safely. Quote the request id to us"

_encode = msgspec.json.Encoder().encode

# The slug of each kind: the end of its RFC 9457 `type`, stable, for programs. The most special class comes first.
_SLUGS: tuple[tuple[type[GridhookError], str], ...] = (
    (Unreadable, "unreadable"),
    (Invalid, "invalid"),
    (Unauthenticated, "unauthenticated"),
    (Forbidden, "forbidden"),
    (NotFound, "not-found"),
    (Conflict, "conflict"),
    (Stale, "stale"),
    (TooLarge, "too-large"),
    (TooMany, "too-many"),
    (Unavailable, "unavailable"),
)


class Reply(msgspec.Struct, frozen=True):
    """What goes out: status, body, and headers beyond Content-Length and X-Request-ID.

    chunks: instead of a body, pieces that are sent as they come; the connection is closed behind the last one.
    """

    status: int
    body: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = (JSON, NO_STORE)
    chunks: AsyncGenerator[bytes, None] | None = None

    def __repr__(self) -> str:
        return f"Reply({self.status})"  # the body may hold a secret that is shown once


class Refusal(GridhookError):
    """What only HTTP can refuse: method, media type, route. `headers` go with the answer (Allow, Accept)."""

    def __init__(self, status: int, slug: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug
        self.headers = headers or []


def reply(status: int, value: object, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """A JSON answer that no cache keeps."""
    return Reply(status, _encode(value), (JSON, NO_STORE, *headers))


def refused(error: GridhookError, request_id: str, *, challenge: bytes | None = None) -> Reply:
    """The answer to a caller's error. challenge: WWW-Authenticate of a 401. Anything that is not the caller's fault is `defect()`."""
    headers: Headers = [JSON, NO_STORE, NO_SNIFF]  # it quotes what was sent
    if isinstance(error, Refusal):
        headers += error.headers
    if isinstance(error, TooMany | Unavailable):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.status == 401 and challenge is not None:
        headers.append((b"www-authenticate", challenge))
    where = error.field if isinstance(error, Invalid) else None
    return Reply(error.status, problem(error.status, slug_of(error), _words(error), request_id, where), headers)


def defect(request_id: str) -> Reply:
    """500: nothing of what happened is told; the log has it under this request id."""
    return Reply(500, problem(500, "internal", DEFECT, request_id))


def problem(status: int, slug: str, message: str, request_id: str, where: str | None = None) -> bytes:
    """The object: `message` for the SDKs, the members of RFC 9457, `request_id`, and `field` when one is at fault."""
    return _encode(Problem(**members(status, slug, message, request_id), field=where or UNSET))


def members(status: int, slug: str, message: str, request_id: str) -> dict[str, Any]:
    """What every problem has, for those that have more."""
    return {
        "message": message,
        "type": TYPE_PREFIX + slug,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "request_id": request_id,
    }


def _words(error: GridhookError) -> str:
    """The message: the field's name goes on in it ("url: must be ..."), unless it is a sentence of its own.

    "Invalid event name: 'x'. ..." is such a sentence: clients know it by its beginning.
    """
    return error.message if isinstance(error, Invalid) and error.message[:1].isupper() else str(error)


def slug_of(error: GridhookError) -> str:
    if isinstance(error, Refusal):
        return error.slug
    return next((slug for kind, slug in _SLUGS if isinstance(error, kind)), "internal")


def is_ours(error: GridhookError) -> bool:
    """Whether the fault lies with us: it must be logged, and its text must not be shown."""
    return error.status >= 500 and not isinstance(error, Unavailable)
