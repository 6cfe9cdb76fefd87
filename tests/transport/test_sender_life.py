"""The sender itself: what is sent byte for byte, its end in good and bad times, and what it leaves in memory."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.model import Answered, Outcome, Phase, Reason, Unreachable
from gridhook.transport import Limits, Outgoing, Transport, open_transport
from gridhook.transport.sender import Sender
from gridhook.transport.transfer import Transfer
from tests.transport.conftest import SHORT, Send
from tests.transport.hostile import Hostile, Peer, hostile, keeps_alive, sends_then

GENEROUS = 10.0
PATIENT = replace(SHORT, connect_seconds=9.0, total_seconds=9.0)


async def heard(server: Hostile, count: int) -> None:
    for _ in range(count):
        assert await asyncio.to_thread(server.heard.acquire, timeout=GENEROUS)


async def test_the_request_holds_the_given_headers_and_nothing_that_libcurl_would_add(send: Send) -> None:
    with hostile(keeps_alive()) as server:
        await send(server.url("/a/../b?c=%20d"), body=b"\x00\xff{}", headers={"Authorization": "Bearer k", "X-Empty": ""})
    assert server.requests == [
        b"POST /a/../b?c=%20d HTTP/1.1\r\nHost: 127.0.0.1:" + str(server.port).encode() + b"\r\n"
        b"Accept-Encoding: identity\r\nAuthorization: Bearer k\r\nX-Empty:\r\nContent-Length: 4\r\n\r\n\x00\xff{}"
    ]


async def test_a_large_body_waits_for_no_100_continue(send: Send) -> None:
    with hostile(keeps_alive()) as server:
        assert isinstance(await send(server.url(), body=b"x" * 2_000_000, limits=PATIENT), Answered)
    assert b"expect" not in server.requests[0][:1000].lower()


async def test_one_request_does_not_inherit_anything_from_the_one_before(send: Send) -> None:
    with hostile(keeps_alive()) as server:
        await send(server.url(), headers={"Authorization": "Bearer secret"}, body=b"long body of the first")
        await send(server.url(), headers={"X-Other": "1"}, body=b"b")
        await send(server.url("/c"), headers={"X-Other": "1"}, body=b"")
    assert b"secret" not in server.requests[1] + server.requests[2]
    assert server.requests[1].endswith(b"Content-Length: 1\r\n\r\nb")
    assert server.requests[2].endswith(b"Content-Length: 0\r\n\r\n")


async def test_a_header_with_a_line_break_is_never_sent(send: Send, capfd: pytest.CaptureFixture[str]) -> None:
    with hostile(keeps_alive()) as server:
        outcome = await send(server.url(), headers={"X": "a\r\nEvil: b"})
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.INTERNAL
        assert isinstance(await send(server.url()), Answered)  # and the sender lives on
    assert len(server.requests) == 1
    assert "Evil" not in capfd.readouterr().err


async def test_a_port_where_nothing_listens_is_refused(send: Send) -> None:
    with hostile(keeps_alive()) as server:
        url = server.url()
    outcome = await send(url)
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.CONNECT_REFUSED, Phase.CONNECT)


async def test_ipv6_receivers_are_reached(send: Send) -> None:
    with hostile(keeps_alive(), address="::1") as server:
        outcome = await send(server.url())
    assert isinstance(outcome, Answered)
    assert outcome.exchange.remote_address == f"[::1]:{server.port}"


async def test_an_address_that_may_not_be_reached_gets_no_connection(settings: Settings) -> None:
    """The literal is judged again by the guard, whatever was accepted when the webhook was made."""
    lenient, strict = open_transport(settings), open_transport(settings.replace(allow_networks=()))
    await strict.start()
    with hostile(keeps_alive()) as server:
        outcome = await strict.send(Outgoing(lenient.parse(server.url()), (), b"{}", SHORT))
    await strict.close()
    await lenient.close()
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.ADDRESS_REFUSED
    assert server.connections == 0


async def test_stopping_ends_what_is_under_way_as_interrupted(transport: Transport) -> None:
    with hostile(sends_then(then=Peer.hang)) as silent:
        running = [asyncio.ensure_future(transport.send(Outgoing(transport.parse(silent.url()), (), b"{}", PATIENT))) for _ in range(5)]
        async with asyncio.timeout(GENEROUS):
            await heard(silent, 5)
            await transport.close()
            outcomes = await asyncio.gather(*running)
    for outcome in outcomes:
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.INTERRUPTED
        assert outcome.phase is Phase.HEADERS
    assert not transport.is_alive()
    after = await transport.send(Outgoing(transport.parse(silent.url()), (), b"{}", PATIENT))
    assert isinstance(after, Unreachable)
    assert after.reason is Reason.INTERRUPTED


async def test_stopping_ends_a_lookup_as_interrupted(settings: Settings) -> None:
    """Nothing listens where the resolver is asked; the lookup would take its whole time."""
    with hostile(Peer.hang):
        transport = open_transport(settings.replace(allow_hosts=("slow.example.com",), dns_servers=("127.0.0.1#9",), dns_seconds=9.0))
        await transport.start()
        running = asyncio.ensure_future(transport.send(Outgoing(transport.parse("https://slow.example.com/"), (), b"{}", PATIENT)))
        await asyncio.sleep(0)
        async with asyncio.timeout(GENEROUS):
            await transport.close()
            outcome = await running
    assert isinstance(outcome, Unreachable)
    assert (outcome.reason, outcome.phase) == (Reason.INTERRUPTED, Phase.DNS)


async def test_one_caller_that_fails_does_not_cost_the_others_their_outcome(transport: Transport) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    outcomes: list[Outcome] = []
    all_in = asyncio.Event()
    failed = threading.Semaphore(0)

    def fails(outcome: Outcome) -> None:
        failed.release()
        raise KeyError("defect of a caller")

    def notes(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 3:
            all_in.set()

    with hostile(keeps_alive()) as server:
        for done in (notes, fails, notes, fails, notes):
            transport.submit(Outgoing(transport.parse(server.url()), (), b"{}", PATIENT), done)
        async with asyncio.timeout(GENEROUS):
            await all_in.wait()
            assert await asyncio.to_thread(failed.acquire, timeout=GENEROUS)
            assert await asyncio.to_thread(failed.acquire, timeout=GENEROUS)
    assert len(complaints) == 2
    assert all(isinstance(outcome, Answered) for outcome in outcomes)


async def test_a_sender_that_dies_of_a_defect_answers_everyone_and_is_seen_to_be_dead(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    transport = open_transport(settings)
    assert isinstance(transport, Sender)
    await transport.start()
    assert transport.is_alive()
    with hostile(sends_then(then=Peer.hang)) as silent:
        target = transport.parse(silent.url())
        running = [asyncio.ensure_future(transport.send(Outgoing(target, (), b"{}", PATIENT))) for _ in range(3)]
        async with asyncio.timeout(GENEROUS):
            await heard(silent, 3)
            transport._sends._look_at = None  # type: ignore[assignment]  # the defect
            transport._sends.turn()
            outcomes = await asyncio.gather(*running)
            late = await transport.send(Outgoing(target, (), b"{}", PATIENT))
    for outcome in (*outcomes, late):
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.INTERNAL
    assert not transport.is_alive()
    await transport.close()
    assert "NoneType" in capfd.readouterr().err


async def test_a_defect_in_reading_one_answer_costs_that_request_its_outcome_and_nobody_else_anything(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good answers and requests that end at their deadline alike: each of the two roads to the end of a request."""
    read = Transfer.outcome

    def fails_for_some(self: Transfer, code: int, text: str, now: float) -> Outcome:
        if self.url.endswith("/defect"):
            raise KeyError("defect of ours")
        return read(self, code, text, now)

    monkeypatch.setattr(Transfer, "outcome", fails_for_some)

    def behave(peer: Peer) -> None:
        while request := peer.request():
            if b"x-hang" in request.lower():
                peer.hang()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def sent(url: str, *headers: tuple[str, str], limits: Limits = PATIENT) -> asyncio.Future[Outcome]:
        return asyncio.ensure_future(transport.send(Outgoing(transport.parse(url), headers, b"{}", limits)))

    with hostile(behave) as server:
        for _ in range(3):  # a handle that was thrown away is missed by nobody
            bad = [sent(server.url("/defect")), sent(server.url("/defect"), ("X-Hang", "1"), limits=SHORT)]
            fine = [sent(server.url("/fine")) for _ in range(3)]
            async with asyncio.timeout(GENEROUS):
                for outcome in await asyncio.gather(*bad):
                    assert isinstance(outcome, Unreachable)
                    assert outcome.reason is Reason.INTERNAL
                    assert "may have been received" in outcome.detail
                assert all(isinstance(outcome, Answered) for outcome in await asyncio.gather(*fine))
    assert transport.is_alive()
    assert "defect of ours" in capfd.readouterr().err


async def test_a_sender_that_dies_at_one_answer_tells_that_request_too(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What not even the one request's own guard holds back: here, an exception that is not to be caught."""

    def interrupts(self: Transfer, code: int, text: str, now: float) -> Outcome:
        monkeypatch.undo()
        raise GeneratorExit

    with hostile(keeps_alive()) as server, hostile(sends_then(then=Peer.hang)) as silent:
        waiting = asyncio.ensure_future(transport.send(Outgoing(transport.parse(silent.url()), (), b"{}", PATIENT)))
        async with asyncio.timeout(GENEROUS):
            await heard(silent, 1)
            monkeypatch.setattr(Transfer, "outcome", interrupts)
            outcomes = await asyncio.gather(waiting, transport.send(Outgoing(transport.parse(server.url()), (), b"{}", PATIENT)))
    for outcome in outcomes:
        assert isinstance(outcome, Unreachable)
        assert outcome.reason is Reason.INTERNAL
    assert not transport.is_alive()
    assert "GeneratorExit" in capfd.readouterr().err


async def test_more_requests_than_places_wait_and_are_all_sent(settings: Settings) -> None:
    transport = open_transport(settings.replace(slots=1))
    await transport.start()
    most = 0
    lock = threading.Lock()
    now = 0

    def behave(peer: Peer) -> None:
        nonlocal most, now
        while peer.request():
            with lock:
                now += 1
                most = max(most, now)
            peer.server.stopped.wait(0.01)
            with lock:
                now -= 1
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with hostile(behave) as server:
        target = transport.parse(server.url())
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*(transport.send(Outgoing(target, (), b"{}", PATIENT)) for _ in range(300)))
    await transport.close()
    assert all(isinstance(outcome, Answered) for outcome in outcomes)
    assert most <= 65


async def test_ten_thousand_requests_leave_neither_memory_nor_descriptors_behind(transport: Transport) -> None:
    with hostile(keeps_alive()) as server:
        target = transport.parse(server.url())

        async def worker(count: int) -> None:
            for _ in range(count):
                outcome = await transport.send(Outgoing(target, (("X-A", "b"),), b"x" * 430, PATIENT))
                assert isinstance(outcome, Answered)

        async def round_of(count: int) -> tuple[int, int]:
            await asyncio.gather(*(worker(count // 8) for _ in range(8)))
            server.requests.clear()
            gc.collect()
            return len(os.listdir("/proc/self/fd")), _resident()

        rounds = [await round_of(2000) for _ in range(5)]
    assert rounds[-1][0] <= rounds[0][0] + 2
    # What leaks grows with each round; what the allocator keeps of the tests before does not.
    assert min(after - before for (_, before), (_, after) in pairwise(rounds)) < 1_000_000


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_ca_file_that_is_none_is_refused_at_the_start(settings: Settings, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path):
        with pytest.raises(Misconfigured, match="GRIDHOOK_CA_FILE"):
            open_transport(settings.replace(ca_file=str(path)))
