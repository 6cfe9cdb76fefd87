"""Commands that work on the database, beside a running server or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.service import Service

T = TypeVar("T")


def with_service(work: Callable[[Service], Awaitable[T]], settings: Settings | None = None, *, make: bool = False) -> T:
    """Run `work` on the service of the configured database, with nothing started, and close it again.

    make: an embedded database that does not exist yet is made. Without it that is an error: most often the command runs in another
        directory than the server, and an empty answer would mislead.
    """
    # Not at the top: `gridhook --help` and `gridhook publish` need none of it.
    from gridhook.app import offline
    from gridhook.store import sqlite_path

    chosen = Settings.from_environment() if settings is None else settings

    if not make and chosen.database_kind == "sqlite" and not sqlite_path(chosen).exists():
        raise Misconfigured(
            f"there is no gridhook database at {sqlite_path(chosen).absolute()}: run this where the server runs, or set GRIDHOOK_DATA_DIR"
        )

    async def run() -> T:
        async with offline(chosen) as service:
            return await work(service)

    return asyncio.run(run())
