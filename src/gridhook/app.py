"""Puts the rooms together: settings in, a running gridhook out."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine import Engine
from gridhook.errors import Misconfigured, Unavailable
from gridhook.model import Sealed
from gridhook.service import Service
from gridhook.store import open_store, sqlite_path
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics, bridge_stdlib
from gridhook.transport import open_transport
from gridhook.vault import SealBroken, Vault, key_id_of

CANARY = "vault_canary"
DAMAGED_SHOWN = 20
COUNTERS_MOVED = "counters of ids lay behind their rows, as after a partial restore, and were moved past them"
WATCH_SECONDS = 1.0
GARBAGE = 20_000  # container objects between two looks of the garbage collector


class Gridhook:
    """One process: `async with open_gridhook(settings) as gridhook`."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, log: Log | None = None) -> None:
        self.settings = settings
        self.log = log or Log(level=settings.log_level)
        self.metrics = Metrics()
        self._lock: int | None = None
        self._serving = False
        self._damaged: list[str] = []
        # The key before the database: a database sealed under a key that nobody has is of no use.
        self.vault = load_vault(settings)
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

    async def open(self) -> dict[str, int]:
        """Open the database and check that our keys open what is in it. Starts nothing. Returns what `Store.open` does."""
        behind = await self.store.open()
        self._damaged = await check_vault(self.store, self.vault)
        return behind

    async def start(self) -> None:
        alone = self.settings.database_kind == "sqlite"
        if alone:
            self._lock = lock_database(sqlite_path(self.settings))
        behind = await self.open()
        if behind:
            self.log.warning(COUNTERS_MOVED, lay_behind_by=behind)
        for row in self._damaged[:DAMAGED_SHOWN]:
            self.log.error("a stored secret is damaged; see `gridhook doctor`", row=row, damaged=len(self._damaged))
        await self.transport.start()
        await self.engine.resume(alone=alone)
        self.engine.start()
        self._serving = True

    async def close(self, seconds: float | None = None) -> None:
        """Finish what is in flight within `seconds` (else GRIDHOOK_DRAIN_SECONDS), hand the rest back, close the database."""
        await self.engine.close(self.settings.drain_seconds if seconds is None else seconds)
        await self.store.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._serving:
            self.log.info("stopped")
        self.log.close()


def load_vault(settings: Settings) -> Vault:
    """The master keys. Made together with a new embedded database, and never in the place of a key that was lost: that would turn
    "restore it" into "which one is it". Raises `Misconfigured`."""
    return Vault.load(settings, create=settings.database_kind == "sqlite" and not sqlite_path(settings).exists())


def lock_database(path: Path) -> int:
    """A lock that ends with the process, however it ends. Raises `Misconfigured` when another server holds it: two of them on one
    embedded database would each take the other's requests for those of a dead process."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Misconfigured(
            f"another gridhook serves from {path}: stop it first, or give this one a data directory or a database of its own"
        ) from None
    return descriptor


async def check_vault(store: Store, vault: Vault) -> list[str]:
    """Which stored secrets are damaged, by the rows that they stand in: whoever needs one of them goes without, and nobody else.

    Raises `Misconfigured` when a stored secret is sealed under a key that we do not have, or that has other bytes.
    """
    key_ids, damaged = set(), []
    for row, sealed in await store.sealed():
        try:
            key_ids.add(key_id_of(sealed))
        except SealBroken:
            damaged.append(row)
    vault.check_ids(key_ids)
    for key_id in vault.key_ids:
        vault.check_canary(Sealed(await store.set_meta_once(f"{CANARY}|{key_id}", vault.canary(key_id).blob)))
    return damaged


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
        behind = await gridhook.open()
        if behind:  # standard output is the command's
            sys.stderr.write(f"warning: {COUNTERS_MOVED}: {', '.join(behind)}\n")
        yield gridhook.service
    finally:
        await gridhook.store.close()


async def _stopped_or_broken(stop: asyncio.Event, engine: Engine) -> bool:
    """Wait for the end; True when it comes because a part of us died."""
    while not stop.is_set():
        if engine.is_broken():
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await stop.wait()
    return False


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; then stop accepting, drain, and return.

    Raises `Unavailable` when a part died of a defect: better a process that ends and is started again than one that looks well.
    """
    from gridhook.web import build_app
    from gridhook.web.server import Server

    gridhook = Gridhook(settings)
    bridge_stdlib(gridhook.log, settings.log_level)
    # Before the first await: a stop requested while we start must not be forgotten.
    stop = asyncio.Event()
    deadline = 0.0
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
        broken = await _stopped_or_broken(stop, gridhook.engine)
        gridhook.log.info("stopping", in_flight=gridhook.engine.dispatcher.in_flight)
        deadline = time.monotonic() + settings.drain_seconds
        server.stop_accepting()
        gridhook.engine.dispatcher.stop_claiming()
        await server.wait_closed(settings.drain_seconds)
    finally:
        await gridhook.close(max(0.0, deadline - time.monotonic()))
    if broken:
        raise Unavailable("a part of this process died of a defect (see the log); start it again: nothing that was accepted is lost")
