"""Bytes that are the same for everybody: sent with an ETag, to any origin, and not sent again to who has them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gridhook.web.call import Call
from gridhook.web.operations import Access, Answer, Parameter, operation
from gridhook.web.problems import NO_SNIFF, Headers, Reply

CONDITION = Parameter("If-None-Match", "An ETag that you have: 304 if it is still the one.", place="header", example='"9f86d081884c7d65"')
UNCHANGED = Answer("You have it already.", headers=("ETag",), has_body=False)

_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_PREFLIGHT: Headers = [
    (b"allow", b"GET, HEAD, OPTIONS"),
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
]


@dataclass(frozen=True, slots=True)
class File:
    body: bytes = field(repr=False)
    content_type: tuple[bytes, bytes]
    etag: bytes

    @classmethod
    def of(cls, body: bytes, content_type: tuple[bytes, bytes]) -> File:
        return cls(body, content_type, b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode())


def serve(file: File, cache: tuple[bytes, bytes], call: Call, more: Headers | None = None) -> Reply:
    headers: Headers = [cache, (b"etag", file.etag), _ANY_ORIGIN, *(more or [])]
    if _matches(call.headers.get(b"if-none-match"), file.etag):
        return Reply(304, b"", headers)
    return Reply(200, file.body, [file.content_type, NO_SNIFF, *headers])


@operation(
    "preflight",
    "Documents",
    "May a page of another origin read this?",
    "The preflight of CORS: any origin may.",
    access=Access.ANYBODY,
    answers={204: Answer("It may.", has_body=False)},
)
async def preflight(call: Call) -> Reply:
    return Reply(204, b"", _PREFLIGHT)


def _matches(condition: bytes | None, etag: bytes) -> bool:
    """RFC 9110 s13.1.2: any of the list, compared weakly, or `*`."""
    if condition is None:
        return False
    return condition.strip() == b"*" or etag in {part.strip().removeprefix(b"W/") for part in condition.split(b",")}
