"""Which route answers a path. A path has one route; a route has one handler per method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gridhook.web.call import Handler
from gridhook.web.problems import Headers, Refusal


@dataclass(frozen=True, slots=True)
class Route:
    """path: `/v1/x/{name}`; a parameter is one segment, decoded. handlers: by method; HEAD is answered by GET's."""

    path: str
    handlers: Mapping[str, Handler]
    pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = re.split(r"\{(\w+)\}", self.path)
        text = "".join(re.escape(part) if at % 2 == 0 else f"(?P<{part}>[^/]+)" for at, part in enumerate(parts))
        object.__setattr__(self, "pattern", re.compile(text))

    @property
    def allow(self) -> bytes:
        methods = set(self.handlers) | {"OPTIONS"} | ({"HEAD"} if "GET" in self.handlers else set())
        return ", ".join(sorted(methods)).encode()

    def handler(self, method: str) -> Handler | None:
        """None for OPTIONS, which every route answers alike unless it has its own. Raises `Refusal` (405)."""
        found = self.handlers.get("GET" if method == "HEAD" else method)
        if found is None and method != "OPTIONS":
            allow: Headers = [(b"allow", self.allow)]
            raise Refusal(405, "method-not-allowed", f"{self.path} takes {self.allow.decode()}, not {method}", allow)
        return found


class Routes:
    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)

    def find(self, path: str) -> tuple[Route, dict[str, str]]:
        """Raises `Refusal` (404). Nothing is redirected: a path with a slash too many is another path."""
        for route in self.all:
            if match := route.pattern.fullmatch(path):
                return route, match.groupdict()
        raise Refusal(404, "no-such-route", "there is no such path here; see the API documentation for those that exist")
