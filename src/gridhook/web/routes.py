"""Which route answers a path. A path has one route; a route has one handler per method, and every handler says what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from gridhook.web.call import Handler
from gridhook.web.operations import Access, Operation, operation_of
from gridhook.web.problems import Headers, Refusal


@dataclass(frozen=True, slots=True)
class Route:
    """path: `/v1/x/{name}`; a parameter is one segment, decoded. handlers: by method; HEAD is answered by GET's.

    Raises `TypeError` for a handler without an `@operation`.
    """

    path: str
    handlers: Mapping[str, Handler]
    operations: Mapping[str, Operation] = field(init=False, repr=False)
    segments: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", {method: operation_of(handler) for method, handler in self.handlers.items()})
        object.__setattr__(self, "segments", tuple(self.path.split("/")))

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    @property
    def is_page(self) -> bool:
        """Whether it belongs to the console, not to the API."""
        return any(told.access is Access.BROWSER for told in self.operations.values())

    @property
    def allow(self) -> bytes:
        methods = set(self.handlers) | {"OPTIONS"} | ({"HEAD"} if "GET" in self.handlers else set())
        return ", ".join(sorted(methods)).encode()

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The parameters, when a path of these segments is this route's."""
        params = {}
        for ours, given in zip(self.segments, segments, strict=True):
            if ours.startswith("{") and given:
                params[ours[1:-1]] = given
            elif ours != given:
                return None
        return params

    def handler(self, method: str) -> Handler | None:
        """None for OPTIONS, which every route answers alike unless it has its own. Raises `Refusal` (405)."""
        found = self.handlers.get("GET" if method == "HEAD" else method)
        if found is None and method != "OPTIONS":
            allow: Headers = [(b"allow", self.allow)]
            raise Refusal(405, "method-not-allowed", f"{self.path} takes {self.allow.decode()}, not {method}", allow)
        return found


class Routes:
    def __init__(self, routes: Sequence[Route]) -> None:
        """Routes of the same path, which may come from several modules, become one. Of two that fit a path, the one with
        fewer parameters answers."""
        handlers: dict[str, dict[str, Handler]] = {}
        for route in routes:
            handlers.setdefault(route.path, {}).update(route.handlers)
        self.all = tuple(Route(path, found) for path, found in handlers.items())
        self._by_length: dict[int, list[Route]] = {}
        # Fixed words before parameters: /webhooks/check is no webhook.
        for route in sorted(self.all, key=lambda route: len(route.parameters)):
            self._by_length.setdefault(len(route.segments), []).append(route)

    @property
    def api(self) -> tuple[Route, ...]:
        """Those that programs call; the others are the console's pages."""
        return tuple(route for route in self.all if not route.is_page)

    def find(self, raw_path: str) -> tuple[Route, dict[str, str]]:
        """raw_path: as in the request line. A segment is decoded after it was cut out: the ids of events may hold a slash (%2F).

        Raises `Refusal` (404). Nothing is redirected but pages (pages/slashes.py): a path with a slash too many is another path.
        """
        segments = [unquote(segment) for segment in raw_path.split("/")]
        for route in self._by_length.get(len(segments), ()):
            params = route.match(segments)
            if params is not None:
                return route, params
        raise Refusal(404, "no-such-route", "there is no such path here; see the API documentation for those that exist")
