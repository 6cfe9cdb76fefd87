"""What the process says about itself, what it never says, and what happens when nobody listens."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from gridhook.model import (
    Answered,
    Attempt,
    AttemptKind,
    Delivered,
    Echo,
    Exchange,
    FailureReason,
    GaveUp,
    NewEvent,
    Phase,
    Publication,
    Reason,
    RetryAt,
    Timings,
    Unreachable,
)
from gridhook.telemetry import Bridge, Log, Metrics, bridge_stdlib, redacted

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
CANARY = "canary7f3a"
KEY = "9f" * 32

EVENT = NewEvent(
    "acc_1", "e-1", "ag.access_pass.issued", NOON - 1500, NOON, NOON + 1, b'{"data":{"card_number":"' + CANARY.encode() + b'"}}', b"fp"
)
ANSWER = Answered(
    200,
    b"Set-Cookie: " + CANARY.encode() + b"\r\n",
    CANARY.encode(),
    exchange=Exchange(Timings(1000, 2500, None, 4000, 4250), "8.8.8.8:443", "TLSv1.3", 1),
)
ATTEMPT = Attempt(
    "acc_1", "wh_1", AttemptKind.DELIVERY, 2, NOON, ANSWER, 7, "e-1", EVENT.type, f"https://example.com/h?token={CANARY}#{CANARY}", "cred_1"
)


class Capture:
    """A log whose lines can be read."""

    def __init__(self, level: str = "info") -> None:
        self._stream = io.BytesIO()
        self.log = Log(self._stream, level=level, now=lambda: NOON)

    @property
    def text(self) -> str:
        assert self.log.close()
        return self._stream.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


def test_an_accepted_event_is_one_line():
    capture = Capture()
    capture.log.event_accepted(replace(EVENT, batch="b-1"), Publication("e-1", 3), request_id="req_1")
    assert capture.line == {
        "time": "2026-11-22T12:00:00.000Z",
        "level": "info",
        "msg": "event accepted",
        "account": "acc_1",
        "event": "e-1",
        "type": "ag.access_pass.issued",
        "event_time": "2026-11-22T11:59:58.500Z",
        "bytes": len(EVENT.payload),
        "deliveries": 3,
        "batch": "b-1",
        "request": "req_1",
    }


def test_repeats_and_conflicts_are_told_apart():
    capture = Capture()
    capture.log.event_accepted(EVENT, Publication("e-1", 3, duplicate=True))
    capture.log.event_accepted(EVENT, Publication("e-1", 0, conflict=True))
    repeat, conflict = capture.lines
    assert repeat["duplicate"] is True
    assert (conflict["conflict"], conflict["msg"]) == (True, "event in conflict")


def test_an_attempt_is_one_line_with_its_phases_in_milliseconds():
    capture = Capture()
    capture.log.attempt(ATTEMPT, Delivered(), lag_ms=9)
    assert capture.line == {
        "time": "2026-11-22T12:00:00.000Z",
        "level": "info",
        "msg": "attempt",
        "account": "acc_1",
        "webhook": "wh_1",
        "kind": "delivery",
        "number": 2,
        "started": "2026-11-22T12:00:00.000Z",
        "url": "https://example.com/h",
        "total_ms": 4.25,
        "delivery": 7,
        "event": "e-1",
        "type": "ag.access_pass.issued",
        "result": "delivered",
        "status": 200,
        "body_bytes": len(CANARY),
        "lag_ms": 9,
        "dns_ms": 1.0,
        "connect_ms": 2.5,
        "first_byte_ms": 4.0,
        "remote": "8.8.8.8:443",
        "tls": "TLSv1.3",
        "reconnects": 1,
        "credential": "cred_1",
    }


def test_an_attempt_that_failed_says_why_and_when_the_next_one_is():
    capture = Capture()
    failed = replace(ATTEMPT, outcome=Unreachable(Reason.TLS_ALERT, "bad certificate", Phase.TLS), next_attempt_at=NOON + 30_000)
    capture.log.attempt(failed, RetryAt(NOON + 30_000), recorded=False)
    capture.log.attempt(replace(failed, note="the newest certificate was refused first"), GaveUp(FailureReason.EXHAUSTED))
    retry, last = capture.lines
    assert ("note" in retry, last["note"]) == (False, "the newest certificate was refused first")
    assert (retry["reason"], retry["phase"], retry["detail"]) == ("tls_alert", "tls", "bad certificate")
    assert (retry["result"], retry["next_attempt"], retry["lease_lost"]) == ("retry", "2026-11-22T12:00:30.000Z", True)
    assert (last["result"], last["level"]) == ("exhausted", "warning")


def test_a_verification_is_one_line_with_what_its_echo_was_worth():
    capture = Capture()
    handshake = replace(ATTEMPT, kind=AttemptKind.VERIFICATION, echo=Echo.MATCHED)
    capture.log.verification(handshake, verified=True)
    capture.log.verification(handshake, verified=False, echo=Echo.SUPERSEDED)
    won, late = capture.lines
    assert (won["msg"], won["result"], won["verified"]) == ("verification", "matched", True)
    assert (late["result"], late["verified"]) == ("superseded", False)


def test_wide_lines_hold_no_query_no_payload_no_answer():
    capture = Capture("debug")
    capture.log.event_accepted(EVENT, Publication("e-1", 1))
    capture.log.attempt(ATTEMPT, Delivered())
    capture.log.verification(replace(ATTEMPT, echo=Echo.MISMATCH), verified=False)
    capture.log.attempt(replace(ATTEMPT, outcome=Unreachable(Reason.INTERNAL, f"https://u:{CANARY}@h/?q={CANARY} Bearer {CANARY}")))
    assert len(capture.lines) == 4
    assert CANARY not in capture.text


LEAKS = [
    f"Authorization: Bearer {CANARY}",
    f"{{'Authorization': 'Bearer {CANARY}'}}",
    f'"authorization":"{CANARY}"',
    f"sent bearer {CANARY} to it",
    f"X-PAYLOAD-SIG: {CANARY}",
    f"x-payload-sig={CANARY}",
    f"X-AccessGrid-Webhook-Challenge: {CANARY}",
    f'GET /v1/console/webhooks?page=1&sig_payload={CANARY} HTTP/1.1" 200',
    f"https://example.com/hook?{CANARY}",
    f"https://example.com?a={CANARY}",
    f"postgresql://gridhook:{CANARY}@db.example/gridhook",
    f"password='{CANARY}' host=db",
    f"private_key: {CANARY}",
    f"GET /console/link/{CANARY} HTTP/1.1",
    f"the key {KEY} is wrong",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_secrets_in_others_texts_are_taken_out(text):
    capture = Capture()
    capture.log.error(text, error=text, seen=[text, {"deep": text}], cause=ValueError(text))
    assert capture.line
    assert CANARY not in capture.text
    assert KEY not in capture.text


@pytest.mark.parametrize(
    "text", ["disk full: 0 bytes left", "wh_1 is paused", "Is it down? Yes: 10.0.0.1:5432", "path /v1/console/webhooks"]
)
def test_ordinary_texts_stay_as_they_are(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name", ["authorization", "Authorization", "private_key", "master_key", "X-PAYLOAD-SIG", "sig_payload", "token", "payload"]
)
def test_fields_named_like_a_secret_are_hidden_whatever_they_hold(name):
    capture = Capture()
    capture.log.info("hello", **{name: CANARY})
    assert capture.line[name] == "***"


def test_bytes_are_counted_and_not_shown():
    capture = Capture()
    capture.log.info("hello", blob=CANARY.encode(), count=3, ratio=0.5, done=True, nothing=None)
    line = capture.line
    assert (line["blob"], line["count"], line["ratio"], line["done"], line["nothing"]) == ("10 bytes", 3, 0.5, True, None)


@given(text=st.text(max_size=300))
def test_no_text_breaks_the_redaction(text):
    assert len(redacted(text)) <= 8_003 + 300


@pytest.mark.parametrize("unit", ["a", "a.", "/", "?", "://", "token ", "bearer", "-----BEGIN A", "[", '"', "\\"])
def test_very_long_texts_are_cut(unit):
    assert len(redacted(unit * 200_000)) <= 8_003


def test_a_field_that_cannot_be_written_costs_the_field_and_not_the_line():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    capture = Capture()
    capture.log.info("one", thing=Broken())
    capture.log.info("two", thing="\ud800")
    capture.log.attempt(replace(ATTEMPT, event_type="\ud800"))
    assert [line["msg"] for line in capture.lines] == ["one", "two", "a log line could not be written"]


def test_what_lies_below_the_level_is_not_written():
    capture = Capture("warning")
    capture.log.debug("no")
    capture.log.info("no")
    capture.log.event_accepted(EVENT, Publication("e-1", 1))
    capture.log.attempt(ATTEMPT, Delivered())
    capture.log.warning("yes")
    capture.log.error("yes")
    assert [line["level"] for line in capture.lines] == ["warning", "error"]


def test_lines_of_many_threads_arrive_whole():
    capture = Capture()

    def write() -> None:
        for n in range(500):
            capture.log.info("x" * 200, n=n)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["n"] for line in capture.lines) == sorted(list(range(500)) * 8)


def read_to_the_end(descriptor: int, lines: list[bytes]) -> None:
    with open(descriptor, "rb") as file:
        lines.extend(file)


def test_a_reader_that_stops_reading_holds_nobody_up_and_is_told_later_what_it_missed():
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as output:
        log = Log(output, waiting_lines=200)
        for number in range(5_000):  # far more than a pipe and the waiting room hold; returning at all is the point
            log.attempt(replace(ATTEMPT, number=number), Delivered())
        lost = log.lines_lost
        assert lost > 0
        received: list[bytes] = []
        reader = threading.Thread(target=read_to_the_end, args=(reading, received))
        reader.start()
        assert log.close(timeout_seconds=30)
    reader.join(30)
    lines = [json.loads(line) for line in received]
    attempts = [line["number"] for line in lines if line["msg"] == "attempt"]
    assert attempts == sorted(attempts)
    assert len(attempts) + lost == 5_000
    assert sum(line["lost"] for line in lines if line["msg"].startswith("log lines were lost")) == lost


def test_an_output_that_somebody_made_non_blocking_loses_nothing_while_it_is_read():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received: list[bytes] = []
    with open(writing, "wb", buffering=0) as output:
        log = Log(output)
        for number in range(2_000):
            log.attempt(replace(ATTEMPT, number=number), Delivered())
        reader = threading.Thread(target=read_to_the_end, args=(reading, received))
        reader.start()
        assert log.close(30)
    reader.join(30)
    assert [json.loads(line)["number"] for line in received] == list(range(2_000))


@pytest.mark.parametrize("blocking", [True, False])
def test_an_output_that_nobody_reads_does_not_keep_the_process_from_ending(blocking):
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    with open(writing, "wb", buffering=0) as output:
        log = Log(output)
        for _ in range(2_000):
            log.attempt(ATTEMPT, Delivered())
        assert not log.close(0.1)
        os.close(reading)  # lets go of the thread that is stuck in the write


def test_an_output_whose_reader_is_gone_costs_the_lines_only():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as output:
        log = Log(output)
        for _ in range(10):
            log.attempt(ATTEMPT, Delivered())
        assert not log.close()
        assert log.lines_lost == 10


def test_a_full_disk_costs_the_lines_only():
    with open("/dev/full", "wb", buffering=0) as output:
        log = Log(output)
        log.info("hello")
        assert not log.close()
        assert log.lines_lost == 1


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full", "| true"])
def test_a_process_without_a_usable_standard_output_ends_well(redirection):
    code = "from gridhook.telemetry import Log; log = Log(); [log.info('x' * 500) for _ in range(2000)]; log.close()"
    command = f'set -o pipefail; "{sys.executable}" -c "{code}" {redirection}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.fixture
def bridged() -> Iterator[Capture]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    access = logging.getLogger("uvicorn.access")
    capture = Capture()
    bridge_stdlib(capture.log)
    yield capture
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)
    access.propagate = True


def test_errors_of_libraries_become_json_lines_without_their_secrets(bridged):
    try:
        raise ValueError(f"bad header Authorization: Bearer {CANARY}")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application %s", f"/x?sig_payload={CANARY}")
    assert CANARY not in bridged.text
    line = bridged.line
    assert (line["level"], line["logger"]) == ("error", "uvicorn.error")
    assert line["msg"] == "Exception in ASGI application /x?***"
    assert "ValueError: bad header Authorization: ***" in line["traceback"]


def test_access_lines_of_the_http_server_go_nowhere_and_chatter_stays_out(bridged):
    logging.getLogger("uvicorn.access").info("GET /x?sig_payload=%s", CANARY)
    logging.getLogger("asyncio").debug("Using selector")
    logging.getLogger("any").info("hello %s", "world")
    assert [line["msg"] for line in bridged.lines] == ["hello world"]


def test_a_librarys_broken_logging_call_is_a_line_too():
    capture = Capture()
    Bridge(capture.log).handle(logging.makeLogRecord({"msg": "broken %d", "args": ("call",), "levelno": logging.INFO}))
    assert capture.line["msg"] == "broken %d"


def test_warnings_become_lines(bridged):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # anew, over what catch_warnings has put in its place
        warnings.warn("deprecated", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert bridged.line["level"] == "warning"
    assert "deprecated" in bridged.line["msg"]


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_prometheus_reads_what_was_counted():
    metrics = Metrics()
    metrics.accepted(Publication("e", 1))
    metrics.accepted(Publication("e", 1, duplicate=True))
    metrics.accepted(Publication("e", 0, conflict=True))
    metrics.attempt(ATTEMPT, Delivered(), lag_ms=7)
    metrics.attempt(replace(ATTEMPT, outcome=Answered(204)), RetryAt(NOON))
    metrics.attempt(replace(ATTEMPT, outcome=Unreachable(Reason.TIMEOUT)), GaveUp(FailureReason.EXPIRED))
    metrics.verification(replace(ATTEMPT, kind=AttemptKind.VERIFICATION, echo=Echo.MISMATCH))
    metrics.write_batch(20)
    metrics.write_batch(5_000)
    metrics.gauge("in_flight", "Requests in flight", lambda: 42)
    found = samples(metrics)
    assert [found["gridhook_events_total", result] for result in ("new", "duplicate", "conflict")] == [1, 1, 1]
    assert [found["gridhook_attempts_total", "delivery", result] for result in ("200", "2xx", "timeout")] == [1, 1, 1]
    assert [found["gridhook_verdicts_total", verdict] for verdict in ("delivered", "retry", "expired")] == [1, 1, 1]
    assert found["gridhook_verifications_total", "mismatch"] == 1
    assert found["gridhook_publish_to_receipt_seconds_bucket", "0.005"] == 0
    assert found["gridhook_publish_to_receipt_seconds_bucket", "0.01"] == 1
    assert found[("gridhook_publish_to_receipt_seconds_sum",)] == 0.007
    assert found["gridhook_write_batch_size_bucket", "10.0"] == 0
    assert found["gridhook_write_batch_size_bucket", "20.0"] == 1
    assert found["gridhook_write_batch_size_bucket", "+Inf"] == 2
    assert found[("gridhook_write_batch_size_count",)] == 2
    assert found[("gridhook_in_flight",)] == 42
    assert found[("process_resident_memory_bytes",)] > 0


def test_no_receiver_can_make_a_time_series_of_its_own():
    metrics = Metrics()
    for status in range(1000):
        metrics.attempt(replace(ATTEMPT, outcome=Answered(status)), None)
    results = {labels[2] for labels in map(tuple, samples(metrics)) if labels[0] == "gridhook_attempts_total"}
    assert results == {"200", "201", "1xx", "2xx", "3xx", "4xx", "5xx", "other"}


def test_what_is_tried_again_and_again_is_told_at_once_and_then_every_half_minute_with_a_count(monkeypatch):
    now = [5.0]
    monkeypatch.setattr("gridhook.telemetry.log.time.monotonic", lambda: now[0])
    capture = Capture()
    for at in (5.0, 6.0, 34.9, 35.0, 36.0):
        now[0] = at
        capture.log.outage("part a waits", error=str(at))
    capture.log.outage("part b waits", error="b")
    capture.log.outage_over("it is back", after_ms=31_000)
    capture.log.outage("part a waits", error="anew")
    told = [(line["level"], line["msg"], line.get("error"), line.get("repeated")) for line in capture.lines]
    assert told == [
        ("warning", "part a waits", "5.0", None),
        ("warning", "part a waits", "35.0", 2),
        ("warning", "part b waits", "b", None),
        ("info", "it is back", None, None),
        ("warning", "part a waits", "anew", None),
    ]
