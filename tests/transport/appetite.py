"""How much a receiver without end can make the sender take: counted where it was pushed, and in this process's memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gridhook.model import Answered, Outcome
from gridhook.transport import Limits
from tests.transport.conftest import Send
from tests.transport.hostile import Peer, hostile, sends_then

PUSHED = 100_000_000  # bytes after which even this receiver gives up, so that a sender without bounds ends too
MOST_TAKEN = 16_000_000  # the socket buffers of both sides count as taken: together they reach ten megabytes
MOST_GROWN = 32_000_000  # of resident memory
KEPT = 64 * 1024  # the most of an answer that any caller wants
HANG_GUARD_SECONDS = 60.0


async def devour(send: Send, head: bytes, chunk: bytes, limits: Limits) -> tuple[Outcome, list[str]]:
    """What came of a request whose answer is `head` and then `chunk` for ever, and what was taken beyond all bounds."""

    def push(peer: Peer) -> None:
        while peer.server.sent < PUSHED and not peer.server.stopped.is_set():
            peer.send(chunk)

    with hostile(sends_then(head, then=push)) as server:
        before = resident()
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            outcome = await send(server.url(), limits=limits)
            grown = resident() - before
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=HANG_GUARD_SECONDS)
    excess = []
    if server.sent > MOST_TAKEN:
        excess.append(f"took {server.sent} bytes")
    if grown > MOST_GROWN:
        excess.append(f"grew by {grown} bytes")
    if isinstance(outcome, Answered) and len(outcome.body) > KEPT:
        excess.append(f"kept {len(outcome.body)} bytes of a body")
    return outcome, excess


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
