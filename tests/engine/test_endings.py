"""Parts that are told to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gridhook.app import open_gridhook
from gridhook.config import Settings
from gridhook.telemetry import Log

HANG_GUARD_SECONDS = 10


@pytest.mark.parametrize("name", ["janitor", "pruner", "recoverer"])
async def test_a_part_that_is_told_to_end_as_it_is_woken_ends(tmp_path: Path, quiet_log: Log, name: str) -> None:
    async with open_gridhook(Settings(data_dir=str(tmp_path)), log=quiet_log) as gridhook:
        part = getattr(gridhook.engine, name)
        task = asyncio.ensure_future(part.run())
        await asyncio.sleep(0.2)  # it has looked, and sleeps
        part.hurry()
        task.cancel()
        await asyncio.wait({task}, timeout=HANG_GUARD_SECONDS)
        ended = task.cancelled()
        task.cancel()
    assert ended
