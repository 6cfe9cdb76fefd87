"""The event types' JSON Schemas at the addresses that events carry as `dataschema`. For anybody: no authentication, any origin."""

from __future__ import annotations

import hashlib
from functools import partial

from gridhook.config import Settings
from gridhook.errors import NotFound
from gridhook.rules.catalogue import EventType, catalogue
from gridhook.web.call import Call
from gridhook.web.problems import JSON, Headers, Reply
from gridhook.web.problems import reply as json_reply
from gridhook.web.routes import Route

# A published version never changes in meaning, so a copy is good for ever.
_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
_AN_HOUR = (b"cache-control", b"public, max-age=3600")
_SCHEMA = (b"content-type", b"application/schema+json")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_PREFLIGHT: Headers = [
    (b"allow", b"GET, HEAD, OPTIONS"),
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
]


def routes(settings: Settings) -> list[Route]:
    base = settings.base_url
    files = {(entry.type, f"{entry.version}.json"): _file(entry, base) for entry in catalogue().schemas.values()}
    index = _index(base)
    return [
        Route("/schemas/webhooks", {"GET": partial(_cached, index, _AN_HOUR, JSON), "OPTIONS": _preflight}),
        Route("/schemas/webhooks/{type}/{file}", {"GET": partial(_schema, files), "OPTIONS": _preflight}),
    ]


async def _schema(files: dict[tuple[str, str], tuple[bytes, bytes]], call: Call) -> Reply:
    found = files.get((call.params["type"], call.params["file"]))
    if found is None:
        raise NotFound("there is no such schema; /schemas/webhooks lists all of them")
    return await _cached(found, _FOR_EVER, _SCHEMA, call)


async def _cached(file: tuple[bytes, bytes], cache: tuple[bytes, bytes], content_type: tuple[bytes, bytes], call: Call) -> Reply:
    body, etag = file
    headers: Headers = [cache, (b"etag", etag), _ANY_ORIGIN]
    if _matches(call.headers.get(b"if-none-match"), etag):
        return Reply(304, b"", headers)
    return Reply(200, body, [content_type, (b"x-content-type-options", b"nosniff"), *headers])


async def _preflight(call: Call) -> Reply:
    return Reply(204, b"", _PREFLIGHT)


def _matches(condition: bytes | None, etag: bytes) -> bool:
    """RFC 9110 s13.1.2: any of the list, compared weakly, or `*`."""
    if condition is None:
        return False
    return condition.strip() == b"*" or etag in {part.strip().removeprefix(b"W/") for part in condition.split(b",")}


def _file(entry: EventType, base_url: str) -> tuple[bytes, bytes]:
    body = entry.served(base_url)
    return body, _etag(body)


def _index(base_url: str) -> tuple[bytes, bytes]:
    types = [
        {
            "type": entry.type,
            "family": entry.family,
            "title": entry.title,
            "description": entry.description,
            "version": entry.version,
            "dataschema": base_url + entry.path,
        }
        for entry in catalogue().types.values()
    ]
    body = json_reply(200, {"types": types}).body
    return body, _etag(body)


def _etag(body: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
