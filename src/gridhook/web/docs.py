"""The API's description: /openapi.json for programs, /docs for people. The page's parts ship with us; it asks no other host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import msgspec

from gridhook.config import Settings
from gridhook.errors import NotFound
from gridhook.web import files
from gridhook.web.call import Call
from gridhook.web.files import File
from gridhook.web.operations import Access, Answer, operation
from gridhook.web.pages import slashes
from gridhook.web.problems import JSON, Headers, Reply
from gridhook.web.routes import Route

TAG = "Documents"
_AN_HOUR = (b"cache-control", b"public, max-age=3600")
_ASK_AGAIN = (b"cache-control", b"no-cache")
_HTML = b"text/html; charset=utf-8"
_SCRIPT = b"text/javascript; charset=utf-8"
_STYLE = b"text/css; charset=utf-8"
_PAGE = "index.html"
# By name, and nothing else: what is asked for is never joined to a path.
_PARTS = {"swagger-ui-bundle.js": _SCRIPT, "start.js": _SCRIPT, "swagger-ui.css": _STYLE, "page.css": _STYLE}
# No inline script or style sheet, no other host. img-src data: is for the pictures inside swagger-ui.css.
_POLICY: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
]


def routes(settings: Settings, all_routes: Callable[[], Sequence[Route]]) -> list[Route]:
    @cache
    def description() -> File:
        """Made when first asked for: it takes a tenth of a second, and a library that nothing else needs."""
        from gridhook.web.openapi import document

        return File.of(msgspec.json.encode(document(all_routes(), settings.base_url)), JSON)

    @operation(
        "getDescription",
        TAG,
        "Read this description",
        "OpenAPI 3.1, as JSON.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={200: Answer("This document.", dict[str, Any], headers=("ETag",)), 304: files.UNCHANGED},
    )
    async def openapi(call: Call) -> Reply:
        return files.serve(await asyncio.to_thread(description), _ASK_AGAIN, call)

    @operation(
        "browse",
        TAG,
        "Read this description as a page",
        "For a browser.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={200: Answer("The page.", str, headers=("ETag",), media="text/html"), 304: files.UNCHANGED},
    )
    async def page(call: Call) -> Reply:
        return files.serve(_part(_PAGE, _HTML), _ASK_AGAIN, call, _POLICY)

    @operation(
        "getPart",
        TAG,
        "Read a part of the page",
        "Its scripts and style sheets.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={200: Answer("The part.", media="text/*", headers=("ETag",)), 304: files.UNCHANGED},
        refusals={404: "The page has no such part."},
    )
    async def part(call: Call) -> Reply:
        content_type = _PARTS.get(call.params["file"])
        if content_type is None:
            raise NotFound("the page has no such part")
        return files.serve(_part(call.params["file"], content_type), _AN_HOUR, call)

    return [
        Route("/openapi.json", {"GET": openapi, "OPTIONS": files.preflight}),
        Route("/docs", {"GET": page}),
        Route("/docs/", {"GET": slashes.leave}),
        Route("/docs/{file}", {"GET": part}),
    ]


def _part(name: str, content_type: bytes) -> File:
    """Read anew each time: two megabytes that hardly anybody asks for are not kept in memory."""
    return File.of(package_files("gridhook").joinpath("web", "static", "docs", name).read_bytes(), (b"content-type", content_type))
