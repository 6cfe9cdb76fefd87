"""Puts the rooms together: settings in, a running gridhook out."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.model import Sealed
from gridhook.service import Service
from gridhook.store import open_store
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics, bridge_stdlib
from gridhook.transport import open_transport
from gridhook.vault import Vault

CANARY = "vault_canary"
GARBAGE = 20_000  # container objects between two looks of the garbage collector


class Gridhook:
    """One process: `async with open_gridhook(settings) as gridhook`."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, log: Log | None = None) -> None:
        self.settings = settings
        self.log = log or Log(level=settings.log_level)
        self.metrics = Metrics()
        # The key before the database: a database sealed under a key that nobody has is of no use.
        self.vault = Vault.load(settings, create=settings.database_kind == "sqlite")
        self.store: Store = open_store(settings, clock=clock)
        self.transport = open_transport(settings)
        self.engine = Engine(
            store=self.store, transport=self.transport, vault=self.vault, settings=settings, log=self.log, metrics=self.metrics
        )
        self.service = Service(
            store=self.store,
            engine=self.engine,
            transport=self.transport,
            vault=self.vault,
            settings=settings,
            log=self.log,
            metrics=self.metrics,
        )

    async def open(self) -> None:
        """Open the database and check that our keys open what is in it. Starts nothing."""
        await self.store.open()
        await check_vault(self.store, self.vault)

    async def start(self) -> None:
        await self.open()
        await self.transport.start()
        self.engine.start()

    async def close(self) -> None:
        """Finish or hand back what is in flight, then close the database. Nothing accepted is lost by it."""
        await self.engine.close()
        await self.store.close()
        self.log.close()


async def check_vault(store: Store, vault: Vault) -> None:
    """Raises `Misconfigured` when a stored secret is sealed under a key that we do not have, or that has other bytes."""
    vault.check_ids(await store.sealed_key_ids())
    for key_id in vault.key_ids:
        vault.check_canary(Sealed(await store.set_meta_once(f"{CANARY}|{key_id}", vault.canary(key_id).blob)))


@asynccontextmanager
async def open_gridhook(settings: Settings, *, clock: Clock | None = None, log: Log | None = None) -> AsyncIterator[Gridhook]:
    """A running gridhook without its HTTP server: to embed, and for tests."""
    gridhook = Gridhook(settings, clock=clock, log=log)
    try:
        await gridhook.start()
        yield gridhook
    finally:
        await gridhook.close()


@asynccontextmanager
async def offline(settings: Settings) -> AsyncIterator[Service]:
    """The service on its database, with nothing running: for commands that change or show something and end."""
    gridhook = Gridhook(settings)
    try:
        await gridhook.open()
        yield gridhook.service
    finally:
        await gridhook.store.close()


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; then stop accepting, drain, and return."""
    from gridhook.web import build_app
    from gridhook.web.server import Server

    gridhook = Gridhook(settings)
    bridge_stdlib(gridhook.log, settings.log_level)
    # Before the first await: a stop requested while we start must not be forgotten.
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await gridhook.start()
        server = Server(build_app(gridhook.service, settings), settings)
        await server.start()
        # What start-up made stays for good: the collector need not walk it again. The road's values are out of its sight
        # anyway (model.Value), so it may come less often: it cost a twentieth of the road.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE, 20, 50)
        gridhook.log.info(
            "listening", address=settings.listen, database=gridhook.settings.database_kind, data_dir=str(Path(settings.data_dir))
        )
        await stop.wait()
        gridhook.log.info("stopping", in_flight=gridhook.engine.dispatcher.in_flight)
        server.stop_accepting()
        gridhook.engine.dispatcher.stop_claiming()
        await server.wait_closed(settings.drain_seconds)
    finally:
        gridhook.log.info("stopped")
        await gridhook.close()
