"""Is it well: /healthz for the process, /readyz for its parts, /metrics for Prometheus. Without authentication; no account's data."""

from __future__ import annotations

from gridhook.service import Service
from gridhook.telemetry.metrics import CONTENT_TYPE
from gridhook.web.call import Call
from gridhook.web.problems import NO_STORE, Reply, reply
from gridhook.web.routes import Route


def routes(service: Service) -> list[Route]:
    async def healthz(call: Call) -> Reply:
        """200 as long as the process answers: for restarting one that hangs."""
        return reply(200, {"status": "ok"})

    async def readyz(call: Call) -> Reply:
        """503 naming the dead part: this process must get no traffic, and soon a restart."""
        parts = service.engine.parts()
        dead = [name for name, alive in parts.items() if not alive]
        shown = {name: "alive" if alive else "dead" for name, alive in parts.items()}
        if dead:
            message = f"not ready: {', '.join(dead)} {'is' if len(dead) == 1 else 'are'} not alive"
            return reply(503, {"status": "not ready", "message": message, "dead": dead, "parts": shown, "request_id": call.request_id})
        return reply(200, {"status": "ready", "parts": shown})

    async def metrics(call: Call) -> Reply:
        return Reply(200, service.metrics.render(), [(b"content-type", CONTENT_TYPE.encode()), NO_STORE])

    return [Route("/healthz", {"GET": healthz}), Route("/readyz", {"GET": readyz}), Route("/metrics", {"GET": metrics})]
