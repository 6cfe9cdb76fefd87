"""Engine moves: claims what is due, sends it, judges, records; runs handshakes, tests and recoveries; lets go what was held; forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gridhook.config import Settings
from gridhook.engine.delivery import Deliverer
from gridhook.engine.dispatcher import Dispatcher
from gridhook.engine.expiry import Warden
from gridhook.engine.janitor import Janitor
from gridhook.engine.lane import LaneState
from gridhook.engine.pruner import Pruner
from gridhook.engine.recovering import Recoverer
from gridhook.engine.sending_tests import TestSends
from gridhook.engine.slots import Slots
from gridhook.engine.verification import Verifier
from gridhook.model import Attempt, Claim, Webhook
from gridhook.store.promises import Store
from gridhook.telemetry import Log, Metrics
from gridhook.transport.wire import Transport
from gridhook.vault import Vault

LAST_SECONDS = 2.0  # for the records of what was cut short at the end
OWED_HANDSHAKES = 10_000  # taken up at a start


class Engine:
    """Everything that runs without being asked. Built around an open store and a started transport."""

    def __init__(self, *, store: Store, transport: Transport, vault: Vault, settings: Settings, log: Log, metrics: Metrics) -> None:
        self._store = store
        self._transport = transport
        self._log = log
        self.slots = Slots(
            total=settings.slots,
            account=settings.account_slots,
            webhook=settings.webhook_slots,
            ramp_per_second=settings.ramp_per_second,
        )
        deliverer = Deliverer(transport=transport, vault=vault, clock=store.clock, settings=settings)
        self.dispatcher = Dispatcher(store=store, deliverer=deliverer, slots=self.slots, settings=settings, log=log, metrics=metrics)
        self.verifier = Verifier(
            store=store,
            transport=transport,
            deliverer=deliverer,
            settings=settings,
            log=log,
            metrics=metrics,
            resuming=self.resuming,
            verified=self._became_verified,
        )
        self.test_sends = TestSends(store=store, deliverer=deliverer, transport=transport, settings=settings, log=log, metrics=metrics)
        self.recoverer = Recoverer(store=store, dispatcher=self.dispatcher, settings=settings, log=log)
        self.janitor = Janitor(store=store, log=log)
        self.warden = Warden(store=store, dispatcher=self.dispatcher, settings=settings, log=log, metrics=metrics)
        self.pruner = Pruner(store=store, settings=settings, log=log, metrics=metrics)
        store.on_commit(metrics.write_batch)
        metrics.gauge("log_lines_lost", "Log lines that standard output did not take", lambda: log.lines_lost)
        metrics.gauge("requests_in_flight", "Deliveries in flight", lambda: self.dispatcher.in_flight)
        metrics.gauge("writes_waiting", "Writes that wait for the database", lambda: store.backlog())
        metrics.gauge("attempts_unrecorded", "Finished attempts that are not written yet", lambda: self.dispatcher.recorder.waiting)
        metrics.gauge("lanes_failing", "Webhooks that get one request at a time until one succeeds", lambda: self.slots.failing)
        metrics.gauge("lanes_ramping", "Webhooks that came back and start slowly", lambda: self.slots.ramping)
        metrics.gauge("recoveries_running", "Recoveries that this process makes steps of", lambda: self.recoverer.running)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.reserve = self.dispatcher.reserve
        self.give_back = self.dispatcher.give_back

    def start(self) -> None:
        for name, run in (
            ("dispatcher", self.dispatcher.run),
            ("janitor", self.janitor.run),
            ("recoverer", self.recoverer.run),
            ("pruner", self.pruner.run),
            ("warden", self.warden.run),
        ):
            task = asyncio.ensure_future(run())
            task.set_name(name)
            task.add_done_callback(self._died)
            self._tasks[name] = task

    async def resume(self, *, alone: bool) -> None:
        """Take up what a former life left: handshakes that are owed, and, when no other process can be at work, leases of the dead."""
        if alone:
            left = await self._store.reclaim(now=self._store.clock.now())
            if left:
                self._log.warning("the last process ended in the middle of requests; they are made again", deliveries=left)
        for account_id, webhook_id in await self._store.unproven(limit=OWED_HANDSHAKES):
            self.verifier.start(account_id, webhook_id)

    def take(self, claims: Sequence[Claim]) -> None:
        self.dispatcher.take(claims)

    def announce(self, lanes: Sequence[tuple[str, str]]) -> None:
        self.dispatcher.announce(lanes)

    def start_verification(self, account_id: str, webhook_id: str, *, wait: Callable[[], float] | None = None) -> None:
        self.verifier.start(account_id, webhook_id, wait=wait)

    async def send_test(self, account_id: str, webhook_id: str, type: str) -> Attempt:
        """One synthetic event, sent now and once. Raises as `TestSends.send`."""
        return await self.test_sends.send(account_id, webhook_id, type)

    def edited(self, webhook: Webhook) -> None:
        """A webhook was changed: its limits hold from the next request on."""
        self.slots.allow(webhook.id, webhook.limits)
        self.dispatcher.announce([(webhook.account_id, webhook.id)])

    def resuming(self, webhook_id: str) -> None:
        """What is held for this webhook is about to become due: whoever sees the first of it must not rush."""
        self.slots.ramp(webhook_id)

    def resumed(self, account_id: str, webhook_id: str) -> None:
        """What was held is due: it goes out oldest first, slowly at first."""
        self.slots.ramp(webhook_id)
        self.dispatcher.announce([(account_id, webhook_id)])
        self.janitor.hurry()

    def _became_verified(self, account_id: str, webhook_id: str, held: bool) -> None:
        if held:
            self.resumed(account_id, webhook_id)
        else:
            self.dispatcher.announce([(account_id, webhook_id)])
            self.janitor.hurry()

    def recover(self) -> None:
        """A recovery was asked for: make its first step now."""
        self.recoverer.hurry()

    def lane_state(self, webhook_id: str) -> LaneState:
        """How this process treats a webhook at the moment."""
        return self.slots.state(webhook_id)

    def parts(self) -> dict[str, bool]:
        """Which parts are alive, by name: what /readyz shows."""
        return {
            "writer": self._store.is_alive(),
            "sender": self._transport.is_alive(),
            "dispatcher": not self._tasks["dispatcher"].done() and self.dispatcher.is_alive() if self._tasks else False,
            **{name: bool(self._tasks) and not self._tasks[name].done() for name in ("janitor", "recoverer", "pruner", "warden")},
        }

    def is_broken(self) -> bool:
        """A part ended by a defect and will not come back: only a new process helps. A database that is away is no such case."""
        return not self._transport.is_alive() or any(task.done() for task in self._tasks.values())

    def is_alive(self) -> bool:
        return all(self.parts().values())

    def _died(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._log.error(f"the {task.get_name()} died of a defect; /readyz is red and this process ends", error=repr(task.exception()))

    async def close(self, seconds: float) -> None:
        """Stop claiming, finish what is in flight within `seconds`, hand the rest back uncounted."""
        self.dispatcher.stop_claiming()
        dispatcher = self._tasks.get("dispatcher")
        if dispatcher is not None:
            await asyncio.gather(dispatcher, return_exceptions=True)
        await self.verifier.close()
        finished = await self.dispatcher.wait_idle(seconds)
        # What still runs ends `interrupted`, is recorded, and goes back to the queue with its number.
        await self._transport.close()
        await self.test_sends.close(LAST_SECONDS)
        if not finished:
            await self.dispatcher.wait_idle(LAST_SECONDS)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.dispatcher.recorder.drain()
        except TimeoutError:
            waiting = self.dispatcher.recorder.waiting
            self._log.error("the database is away: finished attempts are not written, and will be made again", attempts=waiting)
            await self.dispatcher.recorder.let_go()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
