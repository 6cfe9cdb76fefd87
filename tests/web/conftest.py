"""The world that most web tests live in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gridhook.telemetry import Log
from tests.web.world import World, running


@pytest.fixture
async def world(tmp_path: Path, quiet_log: Log) -> AsyncIterator[World]:
    async with running(tmp_path, quiet_log) as world:
        yield world
