"""The sender: vets a request, has it sent, brings the outcome back."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable

from gridhook.model import Outcome, Phase, Reason, Unreachable
from gridhook.rules.addresses import Target, UrlRefused, parse_url
from gridhook.rules.inspection import Inspection, Judged
from gridhook.transport.guard import Guard, Vetted
from gridhook.transport.loop import Ended, SendLoop, unsent
from gridhook.transport.transfer import Job
from gridhook.transport.wire import Done, Limits, Outgoing

RESERVED_DESCRIPTORS = 256  # for the database, the HTTP server and the log


class Sender:
    """Implements `wire.Transport` with libcurl under the event loop. One per process; started and closed on the loop."""

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
        self._waking = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sends = SendLoop(
            ca_file=ca_file,
            idle_seconds=idle_seconds,
            life_seconds=life_seconds,
            max_active=active,
            max_connections=active,
            permits=guard.permits,
            hand_back=self._settle_all,
        )

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sends.start()

    def is_alive(self) -> bool:
        return self._loop is not None and not self._closed and not self._sends.is_dead

    def parse(self, url: str) -> Target:
        """See `wire.Transport.parse`."""
        return parse_url(url, self._guard.policy)

    async def vet(self, target: Target) -> Unreachable | None:
        """See `wire.Transport.vet`. Never raises."""
        vetted = await self._guard.vet(target, Limits().connect_seconds)
        return vetted if isinstance(vetted, Unreachable) else None

    async def explain(self, url: str) -> Inspection:
        """See `wire.Transport.explain`. Never raises."""
        try:
            target = self.parse(url)
        except UrlRefused as fault:
            judged = () if fault.refusal is None else (Judged(fault.refusal.address, fault.refusal),)
            refused = Unreachable(Reason.URL_REFUSED, f"the URL {fault.message}", Phase.DNS)
            return Inspection(url, fault=fault.fault, offender=fault.offender, addresses=judged, refused=refused)
        return await self._guard.explain(target, Limits().connect_seconds, url)

    def submit(self, outgoing: Outgoing, done: Done) -> None:
        """See `wire.Transport.submit`. The request's clocks start here."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("the transport was not started")
        job = Job(outgoing, done, time.monotonic())
        if self._closed or self._sends.is_dead:
            loop.call_soon(self._settle, job, self._not_running(job))
            return
        if outgoing.identity is not None and outgoing.target.scheme != "https":
            detail = "a client certificate can be presented over https only; nothing was sent"
            loop.call_soon(self._settle, job, unsent(job, Reason.URL_REFUSED, detail, job.submitted))
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
            self._sends.stop()
        if self._on_close is not None:
            await self._on_close()

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
        job.addresses = vetted.addresses
        self._sends.submit(job)
        if not self._waking:
            # Once per turn of the event loop, for all that was submitted in it.
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._sends.turn()
        if self._sends.is_dead:
            for job in self._sends.drain_inbox():
                self._settle(job, self._not_running(job))

    def _not_running(self, job: Job) -> Unreachable:
        if self._closed:
            return unsent(job, Reason.INTERRUPTED, "the sender was stopped; nothing was sent", time.monotonic())
        return unsent(job, Reason.INTERNAL, "the sender ended by a defect; nothing was sent", time.monotonic())

    def _settle_all(self, ended: list[Ended]) -> None:
        for job, outcome in ended:
            self._settle(job, outcome)

    def _settle(self, job: Job, outcome: Outcome) -> None:
        try:
            job.done(outcome)
        except Exception as error:
            # One caller's defect must not cost its neighbours their outcomes.
            self._complain("a sender's done() failed", error)

    def _complain(self, message: str, error: Exception) -> None:
        assert self._loop is not None
        self._loop.call_exception_handler({"message": message, "exception": error})


def _descriptors() -> int:
    """How many descriptors the sender may use in all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(soft - RESERVED_DESCRIPTORS, soft // 2, 8)
