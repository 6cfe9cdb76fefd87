"""Receivers that break HTTP, drip, flood or hang: every attempt ends in time, within the byte caps, with the right outcome."""

from __future__ import annotations

import asyncio
import gzip
import resource
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gridhook.model import Answered, Outcome, Phase, Reason, Unreachable
from tests.transport.appetite import devour
from tests.transport.conftest import SHORT, Send
from tests.transport.hostile import OK, Behaviour, Hostile, Peer, answers, hostile, keeps_alive, sends_then

GENEROUS = 10.0  # seconds; a hang guard, not a measure
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def outcome_of(send: Send, behaviour: Behaviour, **options: object) -> tuple[Outcome, Hostile]:
    with hostile(behaviour) as server:
        async with asyncio.timeout(GENEROUS):
            outcome = await send(server.url(), **options)
    return outcome, server


def drips(head: bytes, data: bytes) -> Behaviour:
    return sends_then(head, then=lambda peer: peer.drip(data))


def floods(head: bytes, chunk: bytes) -> Behaviour:
    return sends_then(head, then=lambda peer: peer.flood(chunk))


def resets(*parts: bytes) -> Behaviour:
    return sends_then(*parts, then=Peer.reset)


# ------------------------------------------------------------------ too slow


@pytest.mark.parametrize(
    ("behaviour", "phase"),
    [
        pytest.param(drips(b"", b"HTTP/1.1 200 OK\r\nX-Drip: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), Phase.HEADERS, id="dripped headers"),
        pytest.param(drips(HEAD, b"X-A: b\r\n"), Phase.HEADERS, id="dripped fields"),
        pytest.param(sends_then(then=Peer.hang), Phase.HEADERS, id="silence"),
        pytest.param(sends_then(*[b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 3, then=Peer.hang), Phase.HEADERS, id="early hints, then silence"),
    ],
)
async def test_a_receiver_that_never_completes_its_headers_ends_as_a_timeout(send: Send, behaviour: Behaviour, phase: Phase) -> None:
    outcome, server = await outcome_of(send, behaviour)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TIMEOUT, phase)
    assert "may still have processed" in outcome.detail
    assert outcome.exchange.remote_address == f"127.0.0.1:{server.port}"
    assert outcome.exchange.timings.total_us >= 1_000_000
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(drips(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"), id="dripped body"),
        pytest.param(sends_then(HEAD + b"Content-Length: 5\r\n\r\nab", then=Peer.hang), id="stalled body"),
        pytest.param(drips(CHUNKED, b"1\r\nx\r\n"), id="dripped chunks"),
        pytest.param(sends_then(CHUNKED + b"2\r\nok\r\n0\r\n", then=lambda peer: peer.drip(b"X-T: a\r\n")), id="dripped trailers"),
    ],
)
async def test_a_body_that_never_ends_in_time_keeps_the_status_that_came(send: Send, behaviour: Behaviour) -> None:
    outcome, _ = await outcome_of(send, behaviour)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200
    assert outcome.body_error is not None
    assert "time was over" in outcome.body_error


async def test_a_receiver_that_does_not_take_the_request_ends_as_a_timeout_while_sending(send: Send) -> None:
    outcome, server = await outcome_of(send, lambda peer: (peer.server.stopped.wait(GENEROUS), None)[1], body=b"x" * 20_000_000)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TIMEOUT, Phase.REQUEST)
    assert server.requests == []


async def test_connecting_and_reading_have_two_separate_clocks(send: Send) -> None:
    """As the handshake asks: so long to connect, then so long to answer."""
    limits = replace(SHORT, connect_seconds=8.0, read_seconds=0.4, total_seconds=9.0)
    outcome, _ = await outcome_of(send, sends_then(then=Peer.hang), limits=limits)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.TIMEOUT, Phase.HEADERS)
    assert 400_000 <= outcome.exchange.timings.total_us < 8_000_000


async def test_a_port_that_swallows_packets_ends_within_the_connect_limit(send: Send) -> None:
    """A listener whose backlog is full answers no SYN."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with asyncio.timeout(GENEROUS):
            outcome = await send(f"http://127.0.0.1:{port}/", limits=replace(SHORT, connect_seconds=0.4, total_seconds=5.0))
        for filler in fillers:
            filler.close()
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.CONNECT_TIMEOUT, Phase.CONNECT)
    assert outcome.exchange.timings.total_us < 5_000_000


# ------------------------------------------------------------------ too much


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="100-continue flood"),
        pytest.param(answers(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK), id="17 early hints"),
    ],
)
async def test_a_flood_of_interim_answers_is_no_answer(send: Send, behaviour: Behaviour) -> None:
    outcome, _ = await outcome_of(send, behaviour)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.PROTOCOL_ERROR
    assert "interim" in outcome.detail


async def test_sixteen_interim_answers_are_borne_and_never_taken_for_the_answer(send: Send) -> None:
    outcome, _ = await outcome_of(send, answers(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 16 + OK))
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.headers, outcome.body) == (200, b"Content-Length: 2\r\n", b"ok")


ENDLESS_BODIES = [
    pytest.param(HEAD + b"\r\n", b"x" * 65536, id="close-delimited"),
    pytest.param(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", id="chunked"),
    pytest.param(HEAD + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536, id="announced"),
]
PATIENT = replace(SHORT, total_seconds=20.0, connect_seconds=20.0)


@pytest.mark.parametrize(("head", "chunk"), ENDLESS_BODIES)
async def test_an_endless_body_is_cut_and_its_connection_closed(send: Send, head: bytes, chunk: bytes) -> None:
    outcome, excess = await devour(send, head, chunk, PATIENT)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200
    assert outcome.truncated
    assert outcome.body == b"x" * 16384
    assert excess == []  # the sender stopped at its cap instead of draining until the deadline


@pytest.mark.parametrize(("head", "chunk"), ENDLESS_BODIES)
async def test_the_check_of_the_byte_caps_notices_a_sender_that_reads_without_bounds(send: Send, head: bytes, chunk: bytes) -> None:
    _, excess = await devour(send, head, chunk, replace(PATIENT, body_read_bytes=1 << 40, body_kept_bytes=1 << 40))
    # Growth shows only when the interpreter has no free memory left from earlier tests, and may be another's; the other two are certain.
    assert {line.split(" ")[0] for line in excess} - {"grew"} == {"took", "kept"}
    _, excess = await devour(send, head, chunk, replace(PATIENT, body_read_bytes=1 << 40))  # keeps little, and yet reads on and on
    assert {line.split(" ")[0] for line in excess} - {"grew"} == {"took"}


async def test_a_gzip_bomb_stays_as_small_as_it_is_on_the_wire(send: Send) -> None:
    bomb = gzip.compress(b"\0" * 30_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, server = await outcome_of(send, answers(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb), bomb))
    assert isinstance(outcome, Answered)
    assert outcome.body == bomb[:16384]
    assert outcome.truncated
    assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000


async def test_a_body_of_exactly_the_kept_size_is_whole_and_one_more_byte_is_not(send: Send) -> None:
    for size, truncated in ((16384, False), (16385, True)):
        outcome, _ = await outcome_of(send, answers(HEAD + b"Content-Length: %d\r\n\r\n" % size, b"x" * size))
        assert isinstance(outcome, Answered)
        assert (len(outcome.body), outcome.truncated, outcome.body_error) == (16384, truncated, None)


@pytest.mark.parametrize(
    ("head", "chunk"),
    [
        pytest.param(HEAD + b"X-Big: ", b"a" * 65536, id="endless field"),
        pytest.param(HEAD, b"X-A: b\r\n" * 1000, id="endless fields"),
        pytest.param(b"HTTP/1.1 200 ", b"a" * 65536, id="endless status line"),
    ],
)
async def test_an_endless_header_section_is_refused(send: Send, head: bytes, chunk: bytes) -> None:
    outcome, excess = await devour(send, head, chunk, PATIENT)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.HEADERS_TOO_LARGE, Phase.HEADERS)
    assert excess == []


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answers(HEAD + b"X-Big: " + b"a" * 40_000 + b"\r\n\r\n"), id="40 kB field"),
        pytest.param(answers(HEAD + b"X-A: b\r\n" * 101 + b"\r\n"), id="101 fields"),
    ],
)
async def test_a_header_section_over_the_cap_is_refused(send: Send, behaviour: Behaviour) -> None:
    with hostile(behaviour) as server:
        async with asyncio.timeout(GENEROUS):
            outcome = await send(server.url(), limits=PATIENT)
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.HEADERS_TOO_LARGE, Phase.HEADERS)


async def test_a_hundred_fields_are_accepted(send: Send) -> None:
    outcome, _ = await outcome_of(send, answers(HEAD + b"X-A: b\r\n" * 99 + b"Content-Length: 0\r\n\r\n"))
    assert isinstance(outcome, Answered)
    assert outcome.headers.count(b"\r\n") == 100


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(floods(CHUNKED + b"2\r\nok\r\n0\r\n", b"X-T: a\r\n" * 1000), id="endless trailers"),
        pytest.param(floods(CHUNKED + b"2\r\nok\r\n0\r\nX-T: ", b"a" * 65536), id="endless trailer line"),
    ],
)
async def test_rubbish_without_end_behind_the_headers_keeps_the_status(send: Send, behaviour: Behaviour) -> None:
    with hostile(behaviour) as server:
        async with asyncio.timeout(GENEROUS):
            outcome = await send(server.url())
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200
    assert outcome.body_error


async def test_an_endless_chunk_extension_is_cut_although_it_is_neither_header_nor_body(send: Send) -> None:
    """On a new connection and on one that served others before, over which much has come by now."""
    outcome, excess = await devour(send, CHUNKED + b"2;", b"a" * 65536, PATIENT)
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.body_error) == (200, "far more bytes came than an answer may have")
    assert not [line for line in excess if not line.startswith("took")]  # found by a look now and then, so it takes some

    def turns_bad(peer: Peer) -> None:
        large = HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000
        for _ in range(40):
            peer.request()
            peer.send(large)
        peer.request()
        peer.send(CHUNKED + b"2;")
        peer.flood(b"a" * 65536)

    with hostile(turns_bad) as server:
        async with asyncio.timeout(30):
            outcomes = [await send(server.url(), limits=PATIENT) for _ in range(41)]
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
    assert [getattr(one, "body_error", "unreachable") for one in outcomes] == [None] * 40 + ["far more bytes came than an answer may have"]
    assert server.connections == 1


async def test_a_long_answer_in_chunks_of_one_byte_is_no_flood(send: Send) -> None:
    def slowly(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for _ in range(60):
            peer.send(b"1\r\nx\r\n" * 1000)
            peer.server.stopped.wait(0.01)
        peer.send(b"0\r\n\r\n")

    outcome, _ = await outcome_of(send, slowly, limits=PATIENT)
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.body_error, outcome.truncated) == (200, None, True)


# -------------------------------------------------------------- not HTTP/1.1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HELLO\r\n\r\n", id="no HTTP at all"),
        pytest.param(b"<html>hi</html>", id="HTTP/0.9"),
        pytest.param(b"HTTP/1.1 20O OK\r\n\r\n", id="letter O in the status"),
        pytest.param(b"HTTP/1.1 9999 OK\r\n\r\n", id="four digits"),
        pytest.param(b"HTTP/1.1 -200 OK\r\n\r\n", id="negative"),
        pytest.param(b"HTTP/1.1 099 OK\r\n\r\n", id="below 100"),
        pytest.param(b"HTTP/2 200\r\n\r\n", id="another version"),
        pytest.param(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80", id="HTTP/2 frames"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(HEAD + b"X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n", id="NUL in a field"),
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nokokok", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: -5\r\n\r\nok", id="negative length"),
        pytest.param(HEAD + b"Content-Length: abc\r\n\r\nok", id="length in letters"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="transfer coding not asked for"),
    ],
)
async def test_what_is_not_an_http_answer_is_no_answer(send: Send, answer: bytes) -> None:
    outcome, _ = await outcome_of(send, answers(answer))
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.PROTOCOL_ERROR, Phase.HEADERS)
    assert outcome.detail


@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        pytest.param(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 999, b"Content-Length: 0\r\n", b"", id="999"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nbye", 200, b"", b"bye", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"Content-Length: 0\r\n", b"", id="no phrase"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"Content-Length: 2\n", b"ok", id="bare LF"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nbody", 204, b"", b"", id="204 with a body"),
        pytest.param(HEAD + b"X: \xff\xfe\r\nContent-Length: 0\r\n\r\n", 200, b"X: \xff\xfe\r\nContent-Length: 0\r\n", b"", id="0xFF"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\n\0\xff\xed", 200, b"Content-Length: 3\r\n", b"\0\xff\xed", id="binary body"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxxx",
            101,
            b"Upgrade: x\r\nConnection: upgrade\r\n",
            b"",
            id="101",
        ),
    ],
)
async def test_an_odd_but_complete_answer_is_recorded_as_it_came(
    send: Send, answer: bytes, status: int, headers: bytes, body: bytes
) -> None:
    outcome, _ = await outcome_of(send, answers(answer))
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.headers, outcome.body, outcome.truncated) == (status, headers, body, False)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", id="101"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nbody", id="204 with a body"),
        pytest.param(HEAD + b"Content-Length: 2\r\n\r\nok" + OK, id="a second answer nobody asked for"),
    ],
)
async def test_a_connection_that_says_more_than_was_asked_is_not_kept(send: Send, answer: bytes) -> None:
    """What lies in its buffer would be taken for the next delivery's answer."""
    with hostile(answers(answer)) as server:
        async with asyncio.timeout(GENEROUS):
            await send(server.url())
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
            await send(server.url())
    assert server.connections == 2


async def test_a_folded_field_is_kept_as_bytes(send: Send) -> None:
    outcome, _ = await outcome_of(send, answers(HEAD + b"X-Fold: a\r\n  b\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(outcome, Answered)
    assert b"X-Fold: a" in outcome.headers


async def test_a_redirect_is_recorded_and_not_followed(send: Send) -> None:
    with hostile(keeps_alive()) as other:
        location = other.url("/" + "x" * 20_000).encode()
        for status in (301, 302, 303, 307, 308):
            outcome, server = await outcome_of(
                send, answers(b"HTTP/1.1 %d Elsewhere\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location))
            )
            assert isinstance(outcome, Answered)
            assert outcome.status == status
            assert len(server.requests) == 1
        assert other.connections == 0


# ----------------------------------------------------------------- broken off


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(resets(), id="reset before the answer"),
        pytest.param(resets(b"HTTP/1.1 200 OK\r\nX-"), id="reset in the headers"),
        pytest.param(answers(), id="closed before the answer"),
        pytest.param(answers(HEAD + b"X-A: b\r\n"), id="closed in the headers"),
        pytest.param(lambda peer: peer.reset(), id="reset at once"),
    ],
)
async def test_a_connection_that_ends_before_the_headers_do_is_a_reset_and_sent_once(send: Send, behaviour: Behaviour) -> None:
    outcome, server = await outcome_of(send, behaviour)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET
    assert outcome.exchange.reconnects == 0
    assert server.connections == 1


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        pytest.param(resets(HEAD + b"Content-Length: 100\r\n\r\nabc"), "broke", id="reset in the body"),
        pytest.param(answers(HEAD + b"Content-Length: 100\r\n\r\nabc"), "whole body", id="short body"),
        pytest.param(answers(CHUNKED + b"5\r\nab"), "", id="short chunk"),
        pytest.param(answers(CHUNKED + b"FFFFFFFFFFFFFFFFFFFF\r\nab"), "chunked", id="chunk of 2^80 bytes"),
        pytest.param(answers(CHUNKED + b"xyz\r\nab"), "chunked", id="chunk size in letters"),
    ],
)
async def test_a_body_that_breaks_does_not_take_the_status_back(send: Send, behaviour: Behaviour, said: str) -> None:
    outcome, server = await outcome_of(send, behaviour)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200
    assert outcome.body_error is not None
    assert said in outcome.body_error
    assert len(server.requests) == 1


async def test_chunked_beats_a_length_that_contradicts_it(send: Send) -> None:
    """ "Transfer-Encoding overrides the Content-Length" RFC 9112 s6.3."""
    outcome, _ = await outcome_of(send, answers(HEAD + b"Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    assert isinstance(outcome, Answered)
    assert (outcome.status, outcome.body) == (200, b"ok")


async def test_an_answer_that_comes_before_the_request_was_read_stands(send: Send) -> None:
    outcome, _ = await outcome_of(send, answers(OK, read=False), body=b"x" * 100_000)
    assert isinstance(outcome, Answered)
    assert outcome.status == 200


# ------------------------------------------------------------------ together


async def test_two_hundred_hostile_receivers_do_not_delay_a_good_one_and_hold_little_memory(send: Send) -> None:
    kinds: list[Callable[[], Behaviour]] = [
        lambda: floods(HEAD + b"\r\n", b"x" * 65536),
        lambda: floods(CHUNKED + b"2;", b"a" * 4096),
        lambda: drips(b"", b"HTTP/1.1 200 OK\r\n"),
        lambda: sends_then(then=Peer.hang),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        hostile(kinds[0]()) as a,
        hostile(kinds[1]()) as b,
        hostile(kinds[2]()) as c,
        hostile(kinds[3]()) as d,
        hostile(keeps_alive()) as good,
    ):
        async with asyncio.timeout(60):
            bad = [asyncio.ensure_future(send(server.url(), limits=replace(SHORT, total_seconds=3.0))) for server in (a, b, c, d) * 50]
            await asyncio.sleep(0)
            started = time.monotonic()
            fine = await asyncio.gather(
                *(send(good.url(), limits=replace(SHORT, total_seconds=30.0, connect_seconds=30.0)) for _ in range(20))
            )
            fine_took = time.monotonic() - started
            ended = await asyncio.gather(*bad)
    assert all(isinstance(outcome, Answered) and outcome.status == 200 for outcome in fine)
    assert fine_took < 30
    assert all(isinstance(outcome, (Answered, Unreachable)) for outcome in ended)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
