"""The console's scripts, style sheets and pictures: by name, compressed once, kept by browsers until their content changes."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from gridhook.errors import NotFound
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import NO_SNIFF, Headers, Reply
from gridhook.web.routes import Route

_TYPES = {".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8", ".svg": b"image/svg+xml"}
_FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")
_ASK_AGAIN = (b"cache-control", b"no-cache")


@cache
def _found(name: str) -> tuple[bytes, bytes, str]:
    """(content, compressed, version)"""
    content = files("gridhook").joinpath("web", "static", "console", name).read_bytes()
    return content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:12]


@cache
def names() -> frozenset[str]:
    """What may be asked for: nothing that is asked for is ever joined to a path."""
    folder = files("gridhook").joinpath("web", "static", "console")
    return frozenset(file.name for file in folder.iterdir() if file.name[file.name.rfind(".") :] in _TYPES)


def address(name: str) -> str:
    """Where a page finds this file: another address for other content."""
    return f"{ROOT}/static/{name}?v={_found(name)[2]}"


@page("getConsoleFile", "A file of the console")
async def _asset(call: Call) -> Reply:
    name = call.params["file"]
    if name not in names():
        raise NotFound("the console has no such file")
    content, compressed, version = _found(name)
    headers: Headers = [
        (b"content-type", _TYPES[name[name.rfind(".") :]]),
        _FOR_GOOD if call.argument("v") == version else _ASK_AGAIN,
        NO_SNIFF,
        (b"vary", b"accept-encoding"),
    ]
    if "gzip" in (call.header(b"accept-encoding") or ""):
        return Reply(200, compressed, [*headers, (b"content-encoding", b"gzip")])
    return Reply(200, content, headers)


def routes() -> list[Route]:
    return [Route(ROOT + "/static/{file}", {"GET": _asset})]
