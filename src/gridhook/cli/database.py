"""Commands that work on the database, beside a running server or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gridhook.config import Settings
from gridhook.service import Service

T = TypeVar("T")


def with_service(work: Callable[[Service], Awaitable[T]], settings: Settings | None = None) -> T:
    """Run `work` on the service of the configured database, with nothing started, and close it again."""
    # Not at the top: `gridhook --help` and `gridhook publish` need none of it.
    from gridhook.app import offline

    chosen = Settings.from_environment() if settings is None else settings

    async def run() -> T:
        async with offline(chosen) as service:
            return await work(service)

    return asyncio.run(run())
