"""The sender: vets a request on the event loop, sends it from its own thread, brings the outcome back to the loop."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import lru_cache

from gridhook.model import Outcome, Phase, Reason, Unreachable
from gridhook.rules.addresses import Target, parse_url
from gridhook.transport.guard import Guard, Vetted
from gridhook.transport.loop import Ended, SendLoop, unsent
from gridhook.transport.transfer import Job
from gridhook.transport.wire import Address, Done, Limits, Outgoing

MAX_ADDRESSES = 4  # vetted addresses tried for one request
RESERVED_DESCRIPTORS = 256  # for the database, the HTTP server and the log


class Sender:
    """Implements `wire.Transport` with libcurl on a thread of its own. One per process; started and closed on the event loop."""

    def __init__(
        self,
        guard: Guard,
        *,
        ca_file: str,
        idle_seconds: int,
        life_seconds: int,
        slots: int,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """slots: requests in flight; a few more are let through for handshakes and tests.

        Descriptors stay bounded: never more than half of the process' limit for requests, as many for idle connections.
        """
        self._guard = guard
        self._on_close = on_close
        active = min(slots + 64, _descriptors() // 2)
        self._lookups: set[asyncio.Task[None]] = set()
        self._landed: deque[list[Ended]] = deque()
        self._landing = False
        self._waking = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = SendLoop(
            ca_file=ca_file,
            idle_seconds=idle_seconds,
            life_seconds=life_seconds,
            max_active=active,
            max_connections=active,
            permits=guard.permits,
            hand_back=self._land,
        )

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def is_alive(self) -> bool:
        return not self._closed and self._thread.is_alive()

    def parse(self, url: str) -> Target:
        """See `wire.Transport.parse`."""
        return parse_url(url, self._guard.policy)

    async def vet(self, target: Target) -> Unreachable | None:
        """See `wire.Transport.vet`. Never raises."""
        vetted = await self._guard.vet(target, Limits().connect_seconds)
        return vetted if isinstance(vetted, Unreachable) else None

    def submit(self, outgoing: Outgoing, done: Done) -> None:
        """See `wire.Transport.submit`. The request's clocks start here."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("the transport was not started")
        job = Job(outgoing, done, time.monotonic())
        if self._closed or self._thread.is_dead:
            loop.call_soon(self._settle, job, self._not_running(job))
            return
        try:
            vetted = self._guard.vet_now(outgoing.target)
        except Exception as error:
            self._complain("the address guard failed", error)
            loop.call_soon(self._settle, job, unsent(job, Reason.INTERNAL, "the address could not be vetted", job.submitted))
            return
        if vetted is None:
            task = loop.create_task(self._look_up(job))
            self._lookups.add(task)
            task.add_done_callback(lambda ended: self._looked_up(ended, job))
        else:
            self._vetted(job, vetted)

    async def send(self, outgoing: Outgoing) -> Outcome:
        """The outcome of one request. Cancelling the caller does not recall the request: it may be on the wire."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.submit(outgoing, done)
        return await future

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in list(self._lookups):
            task.cancel()
        if self._lookups:
            await asyncio.gather(*self._lookups, return_exceptions=True)
            await asyncio.sleep(0)  # their callbacks
        if self._loop is not None:
            self._thread.stop()
            await asyncio.to_thread(self._thread.join)
            self._deliver()
        if self._on_close is not None:
            await self._on_close()

    # ------------------------------------------------------- on the event loop

    async def _look_up(self, job: Job) -> None:
        limits = job.outgoing.limits
        try:
            vetted = await self._guard.vet(job.outgoing.target, min(limits.connect_seconds, limits.total_seconds))
        except Exception as error:
            self._complain("the address guard failed", error)
            self._settle(job, unsent(job, Reason.INTERNAL, "the address could not be vetted", time.monotonic(), Phase.DNS))
            return
        self._vetted(job, vetted)

    def _looked_up(self, task: asyncio.Task[None], job: Job) -> None:
        self._lookups.discard(task)
        if task.cancelled():
            # Here, not in the task: one that is cancelled before its first step runs no line of its own.
            detail = "the sender was stopped while the name was being resolved; nothing was sent"
            self._settle(job, unsent(job, Reason.INTERRUPTED, detail, time.monotonic(), Phase.DNS))

    def _vetted(self, job: Job, vetted: Vetted | Unreachable) -> None:
        assert self._loop is not None
        if isinstance(vetted, Unreachable):
            self._loop.call_soon(self._settle, job, vetted)
            return
        job.dns_us = vetted.dns_us
        job.addresses = _texts(vetted.addresses)
        self._thread.submit(job)
        if not self._waking:
            # Once per turn of the loop: a wake-up for each request would have both threads fight for the interpreter.
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        if self._thread.is_dead:
            # It ended between the submit and now; whatever it did not see is ours to answer.
            for job in self._thread.drain_inbox():
                self._settle(job, self._not_running(job))
            return
        self._thread.wake()

    def _not_running(self, job: Job) -> Unreachable:
        if self._closed:
            return unsent(job, Reason.INTERRUPTED, "the sender was stopped; nothing was sent", time.monotonic())
        return unsent(job, Reason.INTERNAL, "the sender's thread ended by a defect; nothing was sent", time.monotonic())

    def _deliver(self) -> None:
        self._landing = False
        while self._landed:
            for job, outcome in self._landed.popleft():
                self._settle(job, outcome)
        if self._thread.is_dead:
            for job in self._thread.drain_inbox():
                self._settle(job, self._not_running(job))

    def _settle(self, job: Job, outcome: Outcome) -> None:
        try:
            job.done(outcome)
        except Exception as error:
            # One caller's defect must not cost its neighbours their outcomes.
            self._complain("a sender's done() failed", error)

    def _complain(self, message: str, error: Exception) -> None:
        assert self._loop is not None
        self._loop.call_exception_handler({"message": message, "exception": error})

    # --------------------------------------------------- on the sender's thread

    def _land(self, ended: list[Ended]) -> None:
        self._landed.append(ended)
        if self._landing:
            return
        self._landing = True
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop was closed without close(): nobody is left to be told.
            self._landing = False


@lru_cache(maxsize=4096)
def _texts(addresses: tuple[Address, ...]) -> tuple[str, ...]:
    return tuple(str(ip) for ip in addresses[:MAX_ADDRESSES])


def _descriptors() -> int:
    """How many descriptors the sender may use in all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(soft - RESERVED_DESCRIPTORS, soft // 2, 8)
