"""Is it well: /healthz for the process, /readyz for its parts, /metrics for Prometheus. Without authentication; no account's data."""

from __future__ import annotations

from typing import Literal

from gridhook.service import Service
from gridhook.telemetry.metrics import CONTENT_TYPE
from gridhook.web.call import Call
from gridhook.web.operations import Access, Answer, operation
from gridhook.web.problems import NO_STORE, Reply, reply
from gridhook.web.routes import Route
from gridhook.web.shapes import Shape
from gridhook.web.shapes.problems import Problem


class Well(Shape):
    status: Literal["ok"]


class Ready(Shape):
    status: Literal["ready"]
    parts: dict[str, Literal["alive", "dead"]]


class NotReady(Shape):
    status: Literal["not ready"]
    message: str
    dead: list[str]
    parts: dict[str, Literal["alive", "dead"]]
    request_id: str


def routes(service: Service) -> list[Route]:
    @operation(
        "isAlive",
        "Health",
        "Does the process answer?",
        "For restarting one that hangs.",
        access=Access.ANYBODY,
        answers={200: Answer("It does.", Well)},
    )
    async def healthz(call: Call) -> Reply:
        return reply(200, Well(status="ok"))

    @operation(
        "isReady",
        "Health",
        "Are all parts of the process alive?",
        "503 names the dead part: this process must get no traffic, and soon a restart.",
        access=Access.ANYBODY,
        answers={200: Answer("They are.", Ready), 503: Answer("A part is dead, or there are too many connections.", (NotReady, Problem))},
    )
    async def readyz(call: Call) -> Reply:
        parts = service.engine.parts()
        dead = [name for name, alive in parts.items() if not alive]
        shown: dict[str, Literal["alive", "dead"]] = {name: "alive" if alive else "dead" for name, alive in parts.items()}
        if dead:
            message = f"not ready: {', '.join(dead)} {'is' if len(dead) == 1 else 'are'} not alive"
            return reply(503, NotReady(status="not ready", message=message, dead=dead, parts=shown, request_id=call.request_id))
        return reply(200, Ready(status="ready", parts=shown))

    @operation(
        "getMetrics",
        "Health",
        "Metrics for Prometheus",
        "Names no account, webhook or URL.",
        access=Access.ANYBODY,
        answers={200: Answer("Prometheus' text format.", str, media="text/plain")},
    )
    async def metrics(call: Call) -> Reply:
        return Reply(200, service.metrics.render(), [(b"content-type", CONTENT_TYPE.encode()), NO_STORE])

    return [Route("/healthz", {"GET": healthz}), Route("/readyz", {"GET": readyz}), Route("/metrics", {"GET": metrics})]
