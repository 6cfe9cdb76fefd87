"""The log: one wide JSON line per accepted event, attempt and verification, and plain operational lines, on standard output.

Lines are encoded where they arise and written in batches by a thread of their own, so that a standard output which is full,
slow, blocked or closed never holds up a delivery: lines are then dropped, counted, and the count is logged on recovery.

Never in a line: Authorization, keys and tokens, X-PAYLOAD-SIG, sig_payload, query strings of URLs, payloads, receivers' bodies.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec

from gridhook.clock import SystemClock
from gridhook.model import Answered, Attempt, Delivered, Echo, GaveUp, Instant, NewEvent, Publication, RetryAt, Verdict
from gridhook.rules.instants import rfc3339_millis
from gridhook.telemetry.redaction import bare_url, redacted, shown

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
WAITING_LINES = 20_000  # about 10 MB; what comes on top is dropped and counted
BATCH_LINES = 500  # one write: about 250 kB
OUTAGE_SECONDS = 30.0  # between two lines of one part about the same outage
IDLE_SECONDS = 0.5  # how long a line can wait when nobody calls flush()


class _Accepted(msgspec.Struct, omit_defaults=True, gc=False):
    time: str
    level: str
    msg: str
    account: str
    event: str
    type: str
    event_time: str
    bytes: int
    deliveries: int
    duplicate: bool = False
    conflict: bool = False
    batch: str | None = None
    request: str | None = None


class _Tried(msgspec.Struct, omit_defaults=True, gc=False):
    """Of an attempt or a verification. Durations in milliseconds."""

    time: str
    level: str
    msg: str
    account: str
    webhook: str
    kind: str
    number: int
    started: str
    url: str
    total_ms: float
    delivery: int | None = None
    event: str | None = None
    type: str | None = None
    result: str | None = None  # delivered, retry, or why it failed; of a verification: the echo
    verified: bool | None = None
    status: int | None = None
    reason: str | None = None
    phase: str | None = None
    detail: str | None = None
    body_error: str | None = None
    body_bytes: int | None = None
    truncated: bool = False
    next_attempt: str | None = None
    lag_ms: int | None = None
    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    remote: str | None = None
    tls: str | None = None
    reconnects: int = 0
    credential: str | None = None
    note: str | None = None  # beside the outcome, such as that another certificate was refused first
    lease_lost: bool = False


class Log:
    """Where every line goes. All methods may be called from any thread, none of them blocks but `close`, none raises."""

    def __init__(
        self,
        stream: BinaryIO | None = None,
        *,
        level: str = "info",
        now: Callable[[], Instant] | None = None,
        waiting_lines: int = WAITING_LINES,
    ) -> None:
        """stream: written to as it is, best unbuffered; standard output when None.
        level: the least that is written: debug, info, warning or error."""
        self._stream = _standard_output() if stream is None else stream
        self._torn = False  # the last write ended in the middle of a line
        self._least = LEVELS[level]
        self._now = now or SystemClock().now
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._waiting: deque[bytes] = deque()
        self._waiting_lines = waiting_lines
        self._untold = 0  # lines dropped since the last one that said so; touched under the lock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._give_up_at = float("inf")  # by time.monotonic
        self._thread: threading.Thread | None = None
        self._outages: dict[
            str, tuple[float, int]
        ] = {}  # msg: when it was last written, by time.monotonic; how often it was left out since
        self.lines_lost = 0

    # --- wide lines -----------------------------------------------------------------------------------------------
    def event_accepted(self, event: NewEvent, publication: Publication, request_id: str | None = None) -> None:
        """An event was committed (or found to be a repeat, or in conflict) and its publisher answered."""
        if self._least > 20:
            return
        self._put_wide(
            _Accepted(
                rfc3339_millis(self._now()),
                "info",
                "event accepted" if not publication.conflict else "event in conflict",
                event.account_id,
                event.id,
                event.type,
                rfc3339_millis(event.time_at),
                len(event.payload),
                publication.deliveries,
                publication.duplicate,
                publication.conflict,
                event.batch,
                request_id,
            )
        )

    def attempt(
        self,
        attempt: Attempt,
        verdict: Verdict | None = None,
        lag_ms: int | None = None,
        recorded: bool = True,
    ) -> None:
        """A request for a delivery or a test ended.

        lag_ms: from the event's time to its receipt, of a first attempt that was received.
        recorded: False when the lease had passed to another worker, so that nothing was settled.
        """
        if self._least > 20:
            return
        level = "warning" if isinstance(verdict, GaveUp) else "info"
        self._put_wide(_tried(self._now(), level, "attempt", attempt, _result(verdict), None, lag_ms, not recorded))

    def verification(self, attempt: Attempt, *, verified: bool, echo: Echo | None = None) -> None:
        """A handshake ended. verified: the webhook became verified by it. echo: when it differs from the attempt's."""
        if self._least > 20:
            return
        self._put_wide(_tried(self._now(), "info", "verification", attempt, echo or attempt.echo, verified, None, False))

    # --- operational lines ------------------------------------------------------------------------------------------
    def debug(self, msg: str, **fields: Any) -> None:
        self.line("debug", msg, fields)

    def info(self, msg: str, **fields: Any) -> None:
        self.line("info", msg, fields)

    def warning(self, msg: str, **fields: Any) -> None:
        self.line("warning", msg, fields)

    def error(self, msg: str, **fields: Any) -> None:
        self.line("error", msg, fields)

    def outage(self, msg: str, **fields: Any) -> None:
        """What tries again and again, as while the database is away: a warning at once, then one in `OUTAGE_SECONDS` for the same `msg`.
        What was left out in between is counted in `repeated`."""
        now = time.monotonic()
        at, left_out = self._outages.get(msg, (-OUTAGE_SECONDS, 0))
        if now - at < OUTAGE_SECONDS:
            self._outages[msg] = at, left_out + 1
            return
        self._outages[msg] = now, 0
        self.line("warning", msg, fields | {"repeated": left_out} if left_out else fields)

    def outage_over(self, msg: str, **fields: Any) -> None:
        """It goes again; what fails next is another outage."""
        self._outages.clear()
        self.line("info", msg, fields)

    def line(self, level: str, msg: str, fields: dict[str, Any]) -> None:
        """One plain line. Texts are redacted; fields that are named like a secret are hidden."""
        if self._least > LEVELS[level]:
            return
        head: dict[str, Any] = {"time": rfc3339_millis(self._now()), "level": level, "msg": redacted(msg)}
        try:
            body = self._encode(head | {name: shown(name, value) for name, value in fields.items() if name not in head})
        except Exception as error:  # a field's own __str__, or a lone surrogate: the line matters more than the field
            head["msg"] = head["msg"].encode("ascii", "backslashreplace").decode()
            body = self._encode(head | {"fields_lost": type(error).__name__})
        self._put(body)

    # --- writing ------------------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Have what waits written soon. Does not wait for it."""
        if self._waiting or self._untold:
            if self._thread is None:
                self._start()
            self._wake.set()

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Write what waits, for so long at most. True when all of it is out. Lines that come later are lost."""
        self._give_up_at = time.monotonic() + timeout_seconds
        self._closing = True
        self.flush()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds + 0.1)  # may be stuck in a write for ever: then it is left behind
            if self._thread.is_alive():
                return False
        return not self._waiting and not self._untold

    def _put_wide(self, line: _Accepted | _Tried) -> None:
        try:
            self._put(self._encode(line))
        except (UnicodeEncodeError, msgspec.MsgspecError) as error:  # a lone surrogate, which no JSON text can hold
            self.line("error", "a log line could not be written", {"line": line.msg, "why": type(error).__name__})

    def _put(self, line: bytes) -> None:
        if len(self._waiting) >= self._waiting_lines:
            self._lose(1)
            return
        self._waiting.append(line)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon: a standard output that nobody reads must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name="gridhook-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
            last_round = self._closing
            while self._waiting:
                lines = [self._waiting.popleft() for _ in range(min(BATCH_LINES, len(self._waiting)))]
                if not self._write(lines):
                    break  # not now: whatever piles up meanwhile is bounded; the next round tries again
            if self._untold and not self._waiting:
                self._write([])
            if last_round:
                return

    def _write(self, lines: list[bytes]) -> bool:
        """Put these lines out, with a word about lost ones in front. On failure they are counted as lost."""
        with self._lock:
            untold = self._untold
        if untold:
            words = {
                "time": rfc3339_millis(self._now()),
                "level": "warning",
                "msg": "log lines were lost: the output did not take them",
                "lost": untold,
            }
            lines = [self._encode(words), *lines]
        if not lines:
            return True
        try:
            self._write_all(b"\n" * self._torn + b"\n".join(lines) + b"\n")
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._lose(len(lines) - bool(untold))
            return False
        with self._lock:
            self._untold -= untold
        return True

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._stream.write(rest)
            if written:
                rest = rest[written:]
                self._torn = bool(rest)
            elif time.monotonic() >= self._give_up_at:
                raise BlockingIOError
            else:
                time.sleep(0.02)  # somebody made our output non-blocking, and it is full
        self._stream.flush()

    def _lose(self, count: int) -> None:
        with self._lock:
            self._untold += count
            self.lines_lost += count


def _tried(
    now: Instant,
    level: str,
    msg: str,
    attempt: Attempt,
    result: str | None,
    verified: bool | None,
    lag_ms: int | None,
    lease_lost: bool,
) -> _Tried:
    """Made in one go, in the order of its fields: one is made for each attempt."""
    outcome = attempt.outcome
    exchange = outcome.exchange
    timings = exchange.timings
    status = reason = phase = detail = body_error = body_bytes = None
    truncated = False
    if isinstance(outcome, Answered):
        status, body_error, body_bytes, truncated = outcome.status, outcome.body_error, len(outcome.body), outcome.truncated
    else:
        reason, phase, detail = outcome.reason, outcome.phase, _detail(outcome.detail)
    return _Tried(
        rfc3339_millis(now),
        level,
        msg,
        attempt.account_id,
        attempt.webhook_id,
        str(attempt.kind),  # msgspec takes four times as long for a member of an enumeration
        attempt.number,
        rfc3339_millis(attempt.started_at),
        bare_url(attempt.url),
        timings.total_us / 1000,
        attempt.delivery_id,
        attempt.event_id,
        attempt.event_type,
        result,
        verified,
        status,
        reason,
        phase,
        detail,
        body_error,
        body_bytes,
        truncated,
        None if attempt.next_attempt_at is None else rfc3339_millis(attempt.next_attempt_at),
        lag_ms,
        None if timings.dns_us is None else timings.dns_us / 1000,
        None if timings.connect_us is None else timings.connect_us / 1000,
        None if timings.tls_us is None else timings.tls_us / 1000,
        None if timings.first_byte_us is None else timings.first_byte_us / 1000,
        exchange.remote_address,
        exchange.tls_version,
        exchange.reconnects,
        attempt.credential_id,
        None if attempt.note is None else _detail(attempt.note),
        lease_lost,
    )


def _standard_output() -> BinaryIO:
    """Unbuffered: what a broken standard output did not take must not be tried again, with an error, when the interpreter ends."""
    if sys.__stdout__ is None:  # started without one: descriptor 1 may by now be a database or a socket
        return open(os.devnull, "wb", buffering=0)
    return open(sys.__stdout__.fileno(), "wb", buffering=0, closefd=False)


@lru_cache(maxsize=512)
def _detail(text: str) -> str:
    """Redacted. Kept, because a receiver that is down says the same thing thousands of times."""
    return redacted(text)


def _result(verdict: Verdict | None) -> str | None:
    if verdict is None:
        return None
    if isinstance(verdict, Delivered):
        return "delivered"
    if isinstance(verdict, RetryAt):
        return "retry"
    return verdict.why
