"""libcurl's multi-socket interface under the event loop, with its own clock for every deadline.

libcurl's descriptors live in an epoll of their own, and the event loop watches that one descriptor: a turn takes whatever is ready.
There is no thread: each of libcurl's callbacks would have to wait for the interpreter's lock, and cost more than the request (ADR 5).
"""

from __future__ import annotations

import asyncio
import select
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any

import pycurl
from pycurl import CSELECT_IN, CSELECT_OUT, POLL_IN, POLL_OUT, POLL_REMOVE

from gridhook.model import Exchange, Outcome, Phase, Reason, Timings, Unreachable
from gridhook.transport import faults
from gridhook.transport.broom import new_broom
from gridhook.transport.floods import LONG_TURN, LOOK_SECONDS, is_flood
from gridhook.transport.kernel import peer_spoke_last, unread_bytes
from gridhook.transport.sessions import Sessions
from gridhook.transport.transfer import Job, Permits, Serving, Transfer

Ended = tuple[Job, Outcome]

EVENTS_PER_TURN = 256  # then the event loop gets its turn
IDLE_SLACK = 1.5  # seconds from the idle limit to the closing: libcurl counts whole ones, and looks but once in each
SHORTEST_SWEEP = 0.02  # seconds between two looks at the deadlines
CLOSED_BY_PEER = EPOLLRDHUP | EPOLLHUP | EPOLLERR
READS = EPOLLIN | EPOLLRDHUP
MASK_BITS = 16  # more than any of epoll's masks that we ask for takes
REMEMBERED = 4096  # last good addresses, and TLS versions of connections


class SendLoop:
    """Owns the multi handle, the connection pool and all transfers. Lives on the event loop's thread."""

    __slots__ = (
        "_active",
        "_alarm",
        "_alarm_at",
        "_broom",
        "_ca_file",
        "_ended",
        "_epoll",
        "_free",
        "_hand_back",
        "_idle_seconds",
        "_inbox",
        "_last_good",
        "_life_seconds",
        "_look_at",
        "_loop",
        "_made",
        "_max_active",
        "_max_connections",
        "_multi",
        "_parked",
        "_permits",
        "_serving",
        "_sessions",
        "_spoke",
        "_sweep_at",
        "_sweeping",
        "_tidy_at",
        "_timer_at",
        "_timers",
        "_versions",
        "_watched",
        "is_dead",
    )

    def __init__(
        self,
        *,
        ca_file: str,
        idle_seconds: int,
        life_seconds: int,
        max_active: int,
        max_connections: int,
        permits: Permits,
        hand_back: Callable[[list[Ended]], None],
    ) -> None:
        """max_active: requests on the wire at once; more wait, on their own clock. hand_back: told what ended, turn by turn."""
        self._ca_file = ca_file
        self._idle_seconds = idle_seconds
        self._life_seconds = life_seconds
        self._max_active = max_active
        self._max_connections = max_connections
        self._permits = permits
        self._hand_back = hand_back
        self._inbox: deque[Job] = deque()
        self._ended: list[Ended] = []
        self._active: set[Transfer] = set()
        self._free: dict[str, list[Transfer]] = {}
        self._made = 0
        self._versions: dict[str, str] = {}
        self._last_good: dict[str, str] = {}
        self.is_dead = False  # ended by a defect, or stopped: nothing that is queued now would ever be looked at
        self._timers: deque[int] = deque(maxlen=1)  # what libcurl last said of when it wants to be called, in ms; < 0: not at all
        self._timer_at = float("inf")  # that, on our clock
        self._sweep_at = float("inf")  # when the next deadline is to be looked at
        self._look_at = 0.0  # when floods are to be looked for
        self._tidy_at = 0.0  # when idle handles and connections are to be looked at
        self._broom = new_broom(idle_seconds)
        self._sweeping = False  # the broom is with libcurl
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._epoll = select.epoll()
        # Descriptors that were put into the epoll, which forgets them when they are closed: how many sockets had been opened then,
        # and the mask. While none was opened since, the number still means that socket, and the epoll need not be told again.
        self._watched: dict[int, int] = {}
        self._parked: set[int] = set()  # of these, those of no request: kept-alive connections
        self._spoke: set[int] = set()  # watched descriptors on which bytes came
        self._serving = Serving()
        self._sessions = Sessions()

    def start(self) -> None:
        """Begin to serve, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        # C calls C: libcurl sets its timer twice per request, and a function of ours would cost each time more than libcurl's.
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._timers.append)
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._max_connections)
        self._loop.add_reader(self._epoll.fileno(), self.turn)

    def submit(self, job: Job) -> None:
        """Queue a job; `turn` must follow, once for any number of them."""
        self._inbox.append(job)

    def stop(self) -> None:
        """Every request ends as interrupted; all descriptors are let go."""
        if not self.is_dead:
            self._end_all(faults.CLOSING, Reason.INTERRUPTED, "the sender was stopped before the request was sent")
            self._let_go()
        self._epoll.close()

    # --------------------------------------------------------------- a turn

    def turn(self) -> None:
        """Serve what is ready, take up what is queued, end what is over, and have the alarm set for what is next."""
        if self.is_dead:
            return
        try:
            self._serve()
            self._set_alarm()
        except BaseException:
            # A defect of ours. Whoever waits must hear of it, and readiness must turn red; the process' owner restarts it.
            traceback.print_exc()
            self._end_all(faults.DEFECT, Reason.INTERNAL, "the sender ended by a defect")
            self._let_go()

    def _serve(self) -> None:
        multi = self._multi
        serving = self._serving
        began = time.monotonic()
        for fd, mask in self._epoll.poll(0.0, EVENTS_PER_TURN):
            if fd in self._parked:
                # A kept-alive connection that its peer closed, or spoke on unasked: libcurl finds out when it wants to use it.
                self._parked.discard(fd)
                self._watched.pop(fd, None)
                with suppress(OSError):  # closed by libcurl earlier in this turn
                    self._epoll.unregister(fd)
                continue
            actions = 0
            if mask != EPOLLOUT:
                actions = CSELECT_IN
                if mask & CLOSED_BY_PEER:
                    serving.spoke = self._said_something(fd)
                else:
                    self._spoke.add(fd)
                    serving.spoke = True
            if mask & EPOLLOUT:
                actions |= CSELECT_OUT
            multi.socket_action(fd, actions)
            serving.spoke = False
            if time.monotonic() - began > LONG_TURN:
                break  # whatever is ready stays ready
        now = time.monotonic()
        inbox = self._inbox
        while inbox and len(self._active) < self._max_active:
            self._take_up(inbox.popleft(), now)
        self._note_timer()
        if now >= self._timer_at:
            self._timer_at = float("inf")
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()
        if now - began > LONG_TURN:
            self._end_floods(now, now)
        elif now >= self._look_at:
            self._end_floods(now, now - LOOK_SECONDS)
        if now >= self._sweep_at:
            self._sweep(now)
        if now >= self._tidy_at:
            self._tidy(now)
        self._note_timer()
        if self._ended:
            ended, self._ended = self._ended, []
            self._hand_back(ended)

    def _note_timer(self) -> None:
        if self._timers:
            timeout_ms = self._timers.pop()
            # 0 is "now": already in the turn that it comes from. Never early: libcurl would not say it again.
            self._timer_at = float("inf") if timeout_ms < 0 else 0.0 if timeout_ms == 0 else time.monotonic() + timeout_ms / 1000

    def _end_floods(self, now: float, begun_before: float) -> None:
        self._look_at = now + LOOK_SECONDS
        for transfer in list(self._active):
            if transfer.began > begun_before:
                continue
            fd = transfer.curl.getinfo(pycurl.ACTIVESOCKET)
            if fd in self._spoke and is_flood(transfer, fd):
                transfer.fault = faults.FLOOD
                self._finish(transfer, faults.DEADLINE, "", now)

    def _set_alarm(self) -> None:
        due = min(self._sweep_at, self._timer_at)
        if self._free:
            due = min(due, self._tidy_at)
        if due >= self._alarm_at:
            return  # the alarm that is set rings before; it looks again
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self._loop.call_later(max(0.0, due - time.monotonic()), self._rung)

    def _rung(self) -> None:
        self._alarm = None
        self._alarm_at = float("inf")
        self.turn()

    def _on_socket(self, what: int, fd: int, multi: Any, data: Any) -> None:
        if what == POLL_REMOVE:
            # Most often the request is over and the connection stays: it is left in the epoll, for its next request.
            self._spoke.discard(fd)
            if fd in self._watched:
                self._parked.add(fd)
            return
        mask = (READS if what & POLL_IN else 0) | (EPOLLOUT if what & POLL_OUT else 0)
        self._parked.discard(fd)
        watch = self._serving.opened << MASK_BITS | mask
        known = self._watched.get(fd)
        if known == watch:
            return
        self._watched[fd] = watch
        if known is not None:
            try:
                self._epoll.modify(fd, mask)
                return
            except FileNotFoundError:
                pass  # libcurl closed it, which took it out of the epoll, and a new connection has its number
        self._epoll.register(fd, mask)

    def _said_something(self, fd: int) -> bool:
        """Whether the peer, which has closed, had begun to answer: libcurl forgets an incomplete status line and would send again."""
        try:
            # libcurl may have read bytes without an event of ours, right after it wrote; the kernel knows.
            return fd in self._spoke or unread_bytes(fd) > 0 or peer_spoke_last(fd)
        except OSError:
            return False

    # ---------------------------------------------------------- one transfer

    def _take_up(self, job: Job, now: float) -> None:
        try:
            limits = job.outgoing.limits
            if now >= job.submitted + min(limits.total_seconds, limits.connect_seconds):
                self._ended.append((job, unsent(job, Reason.CONNECT_TIMEOUT, "no time was left to connect", now)))
                return
            if len(job.addresses) > 1:
                good = self._last_good.get(job.outgoing.target.authority)
                if good in job.addresses and good != job.addresses[0]:
                    # The pool's warm connections are there.
                    job.addresses = (good, *(a for a in job.addresses if a != good))
            transfer = self._handle_for(job)
        except Exception:
            traceback.print_exc()
            self._ended.append((job, unsent(job, Reason.INTERNAL, "the request could not be set up", now)))
            return
        self._start(transfer, job, now)

    def _start(self, transfer: Transfer, job: Job, now: float) -> None:
        try:
            transfer.load(job, now)
            self._multi.add_handle(transfer.curl)
        except Exception:
            # Of this request only: a header that cannot be sent, no memory for a handle.
            traceback.print_exc()
            self._ended.append((job, unsent(job, Reason.INTERNAL, "the request could not be set up", now)))
            transfer.curl.close()
            self._made -= 1
            return
        self._active.add(transfer)
        self._expect(transfer.deadline)

    def _handle_for(self, job: Job) -> Transfer:
        """A handle that last served the same URL, if there is one: hardly an option differs then."""
        identity = job.outgoing.identity
        key = job.outgoing.target.url if identity is None else f"{identity.id} {job.outgoing.target.url}"
        same = self._free.get(key)
        if same:
            transfer = same.pop()
            if not same:
                del self._free[key]
            return transfer
        if self._made >= self._max_active and self._free:
            other = next(iter(self._free))
            spare = self._free[other]
            transfer = spare.pop()
            if not spare:
                del self._free[other]
            if transfer.identity is None:
                return transfer
            # Never hand one customer's certificate to another's request, not even by an option that was left set.
            transfer.curl.close()
            self._made -= 1
        self._made += 1
        return Transfer(
            self._ca_file,
            self._idle_seconds,
            self._life_seconds,
            self._permits,
            self._versions,
            self._serving,
            self._sessions,
            self._expect,
        )

    def _expect(self, deadline: float) -> None:
        self._sweep_at = min(self._sweep_at, deadline)

    def _collect(self) -> None:
        while True:
            waiting, good, bad = self._multi.info_read()
            now = time.monotonic()
            for curl in good:
                if curl is self._broom:
                    self._take_back_broom()
                else:
                    self._finish(curl.transfer, 0, "", now)
            for curl, code, text in bad:
                if curl is self._broom:
                    self._take_back_broom()
                else:
                    self._finish(curl.transfer, code, text, now)
            if not waiting:
                return

    def _take_back_broom(self) -> None:
        self._multi.remove_handle(self._broom)
        self._sweeping = False

    def _finish(self, transfer: Transfer, code: int, text: str, now: float) -> None:
        self._multi.remove_handle(transfer.curl)
        job = transfer.job
        assert job is not None
        self._active.discard(transfer)
        try:
            self._conclude(transfer, job, code, text, now)
        except BaseException as defect:
            # Of this request only, most likely: the others live on. Whatever it is, this one's caller must not wait for ever.
            detail = "what came of the request could not be read, by a defect of ours; it may have been received"
            self._ended.append((job, unsent(job, Reason.INTERNAL, detail, now, Phase.HEADERS)))
            transfer.curl.close()
            self._made -= 1
            if not isinstance(defect, Exception):
                raise
            traceback.print_exc()

    def _conclude(self, transfer: Transfer, job: Job, code: int, text: str, now: float) -> None:
        if code:
            next_address = transfer.may_try_next(code)
            if (next_address or transfer.stale_again) and now < transfer.total_deadline:
                if next_address:
                    job.tried += 1
                transfer.release()
                self._start(transfer, job, now)
                return
        elif len(job.addresses) > 1:
            _remember(self._last_good, job.outgoing.target.authority, transfer.address)
        if transfer.handshake is not None:
            while len(self._versions) > REMEMBERED:
                del self._versions[next(iter(self._versions))]
        outcome = transfer.outcome(code, text, now)
        transfer.release()
        key = transfer.url if transfer.identity is None else f"{transfer.identity.id} {transfer.url}"
        transfer.idle_since = now
        self._free.setdefault(key, []).append(transfer)
        self._ended.append((job, outcome))

    def _sweep(self, now: float) -> None:
        """End what is over its deadline. A look at all (never more than there are slots) is cheaper than a heap, which would keep
        fifteen seconds' worth of finished requests."""
        earliest = float("inf")
        for transfer in list(self._active):
            if transfer.deadline <= now:
                self._finish(transfer, faults.DEADLINE, "", now)
            elif transfer.deadline < earliest:
                earliest = transfer.deadline
        for transfer in self._active:
            earliest = min(earliest, transfer.deadline)
        if len(self._active) >= self._max_active:
            self._drop_overdue(now)
            earliest = min(earliest, now + 0.25)
        self._sweep_at = max(earliest, now + SHORTEST_SWEEP)

    def _tidy(self, now: float) -> None:
        """Close what rested as long as a connection may: handles (27 KB each; none has a connection that it could go on with) and
        connections (up to 200 KB over TLS), which libcurl looks at only when a request begins."""
        rested = now - self._idle_seconds - IDLE_SLACK
        oldest = now
        for key, spare in list(self._free.items()):
            kept = [transfer for transfer in spare if transfer.idle_since > rested]
            for transfer in spare[: len(spare) - len(kept)]:  # the longest idle stand first
                transfer.curl.close()
                self._made -= 1
            if kept:
                self._free[key] = kept
                oldest = min(oldest, kept[0].idle_since)
            else:
                del self._free[key]
        self._tidy_at = max(now, oldest + self._idle_seconds) + IDLE_SLACK
        if not self._sweeping:
            try:
                self._multi.add_handle(self._broom)
                self._sweeping = True
            except pycurl.error:
                traceback.print_exc()  # of no request: connections rest a little longer, until another begins

    def _drop_overdue(self, now: float) -> None:
        """What waits for a place waits on its own clock."""
        for _ in range(len(self._inbox)):
            overdue = now >= self._inbox[0].submitted + self._inbox[0].outgoing.limits.connect_seconds
            job = self._inbox.popleft()
            if overdue:
                self._ended.append((job, unsent(job, Reason.CONNECT_TIMEOUT, "no free place to send from within the connect limit", now)))
            else:
                self._inbox.append(job)

    def _end_all(self, code: int, reason: Reason, detail: str) -> None:
        """Whatever runs or waits ends; never raises, for it is the last thing that the thread does."""
        now = time.monotonic()
        for transfer in list(self._active):
            job = transfer.job
            assert job is not None
            try:
                self._multi.remove_handle(transfer.curl)
                outcome = transfer.outcome(code, "", now)
            except Exception:
                traceback.print_exc()
                outcome = unsent(job, reason, detail, now)
            self._ended.append((job, outcome))
        self._active.clear()
        while self._inbox:
            job = self._inbox.popleft()
            self._ended.append((job, unsent(job, reason, detail, now)))
        ended, self._ended = self._ended, []
        if ended:
            self._hand_back(ended)

    def _let_go(self) -> None:
        self.is_dead = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for spare in self._free.values():
            for transfer in spare:
                transfer.curl.close()
        self._free.clear()
        if self._sweeping:
            with suppress(pycurl.error):
                self._multi.remove_handle(self._broom)
        self._broom.close()
        self._multi.close()

    def drain_inbox(self) -> list[Job]:
        """Jobs that were queued and will not be looked at."""
        jobs = list(self._inbox)
        self._inbox.clear()
        return jobs


def unsent(job: Job, reason: Reason, detail: str, now: float, phase: Phase = Phase.CONNECT) -> Unreachable:
    """The outcome of a job that never reached the wire."""
    return Unreachable(reason, detail, phase, Exchange(Timings(dns_us=job.dns_us, total_us=job.total_us(now))))


def _remember(memory: dict[str, str], key: str, value: str) -> None:
    """Keep the newest `REMEMBERED` entries."""
    if memory.get(key) == value:
        return
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
