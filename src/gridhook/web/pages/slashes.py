"""Addresses that people type with a slash at the end: on to the page without it."""

from __future__ import annotations

from collections.abc import Sequence

from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.problems import NO_STORE, Reply
from gridhook.web.routes import Route


@page("leaveSlash", "A page's address with a slash too many")
async def leave(call: Call) -> Reply:
    """The path is one of ours, below a fixed word: without its last slash it leads to no other host."""
    path = call.raw_path[:-1].encode("latin-1")
    return Reply(308, b"", [(b"location", path + b"?" + call.query if call.query else path), NO_STORE])


def routes(root: str, pages: Sequence[Route]) -> list[Route]:
    """For addresses as deep as these pages' are, of which a fixed word always comes before a parameter."""
    deepest = max(len(route.segments) for route in pages) - len(root.split("/"))
    steps = ["".join(f"/{{step{number}}}" for number in range(depth)) for depth in range(deepest + 1)]
    return [Route(f"{root}{step}/", {"GET": leave}) for step in steps]
