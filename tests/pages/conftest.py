"""One browser for all tests of the console, on one event loop; a gridhook and signed-in people for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from gridhook.telemetry import Log
from gridhook.testing import Receiver
from tests.pages.chromium import CHROMIUM, WITHOUT
from tests.pages.stage import Stage
from tests.web.world import running

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A browser is bound to the event loop that it was started on.
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(WITHOUT)
    async with async_playwright() as playwright:
        # The sandbox needs rights that containers and root do not have; what is opened here is ours.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, quiet_log: Log, browser: Browser) -> AsyncIterator[Stage]:
    async with running(tmp_path, quiet_log, public_url="") as world:
        stage = Stage(world, browser)
        try:
            yield stage
        finally:
            for context in stage.contexts:
                await context.close()
        assert stage.troubles == []


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """A customer's server: echoes challenges, answers 200."""
    async with Receiver() as receiver:
        yield receiver
