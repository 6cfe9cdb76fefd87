"""Warm connections: kept, bounded, and repeated exactly once when the receiver had dropped one."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path

import pycurl
import pytest
from msgspec.structs import replace

from gridhook.config import Settings
from gridhook.model import Answered, Reason, Unreachable
from gridhook.transport import Outgoing, loop, open_transport
from tests.transport.conftest import SHORT, Send
from tests.transport.hostile import OK, Peer, hostile, keeps_alive

GENEROUS = 10.0
PATIENT = replace(SHORT, connect_seconds=8.0, total_seconds=8.0)


async def test_one_connection_serves_request_after_request(send: Send) -> None:
    with hostile(keeps_alive()) as server:
        outcomes = [await send(server.url()) for _ in range(5)]
    assert all(isinstance(outcome, Answered) and outcome.exchange.reconnects == 0 for outcome in outcomes)
    assert [outcome.exchange.timings.connect_us is None for outcome in outcomes] == [False, True, True, True, True]
    assert server.connections == 1


async def test_a_connection_closed_while_idle_costs_nothing(send: Send) -> None:
    def once(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    with hostile(once) as server:
        for _ in range(3):
            outcome = await send(server.url())
            assert isinstance(outcome, Answered)
            assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
    assert server.connections == len(server.requests) == 3


async def test_a_request_that_meets_a_dying_connection_is_sent_once_more_over_a_new_one(send: Send) -> None:
    """The receiver processed the second request and closed instead of answering: at least once means that it may see it again."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        if peer.number == 1:
            peer.request()
            return  # closed without an answer
        keeps_alive()(peer)

    with hostile(behave) as server:
        first, second = await send(server.url()), await send(server.url(), body=b"second")
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (first.exchange.reconnects, second.exchange.reconnects) == (0, 1)
    assert sum(request.endswith(b"second") for request in server.requests) == 2
    assert server.connections == 2


@pytest.mark.parametrize("ending", [Peer.reset, lambda peer: None], ids=["reset", "closed"])
async def test_it_is_sent_twice_at_most_although_all_pooled_connections_are_dying(send: Send, ending: object) -> None:
    """Several warm connections, each of which takes one more request and ends: the repeat goes over a new connection and is the last."""
    warm = threading.Barrier(4)

    def behave(peer: Peer) -> None:
        peer.request()
        if peer.number <= 4:
            warm.wait(GENEROUS)  # four at once, thus four connections
            peer.send(OK)
            peer.request()
        ending(peer)  # type: ignore[operator]  # one of the two above

    with hostile(behave) as server:
        firsts = await asyncio.gather(*(send(server.url(), limits=PATIENT) for _ in range(4)))
        outcome = await send(server.url(), body=b"once more", limits=PATIENT)
    assert all(isinstance(first, Answered) for first in firsts)
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET
    assert outcome.exchange.reconnects == 1
    assert sum(request.endswith(b"once more") for request in server.requests) == 2
    assert server.connections == 5


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX-"], ids=["a byte", "half a line", "a line"])
async def test_a_request_is_not_repeated_once_any_byte_of_an_answer_came(send: Send, start: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.server.stopped.wait(0.05)  # as far away as a real receiver
        peer.send(start)

    with hostile(behave) as server:
        await send(server.url())
        outcome = await send(server.url(), body=b"second")
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is Reason.RESET
    assert outcome.exchange.reconnects == 0
    assert sum(request.endswith(b"second") for request in server.requests) == 1


async def test_a_connection_older_than_its_life_is_not_used_again(settings: Settings) -> None:
    transport = open_transport(settings.replace(connection_life_seconds=1, idle_connection_seconds=1))
    await transport.start()
    with hostile(keeps_alive()) as server:
        target = transport.parse(server.url())
        await transport.send(Outgoing(target, (), b"{}", SHORT))
        # libcurl counts whole seconds; the wait is what the promise is about.
        await asyncio.sleep(2.1)
        outcome = await transport.send(Outgoing(target, (), b"{}", SHORT))
    await transport.close()
    assert isinstance(outcome, Answered)
    assert server.connections == 2


async def test_what_was_kept_for_a_receiver_is_let_go_when_it_rested_as_long_as_a_connection_may(settings: Settings) -> None:
    def handles() -> int:
        gc.collect()
        return sum(isinstance(one, pycurl.Curl) for one in gc.get_objects())

    transport = open_transport(settings.replace(idle_connection_seconds=1))
    await transport.start()
    try:
        before = handles()
        with hostile(keeps_alive()) as server:
            for n in range(5):
                await transport.send(Outgoing(transport.parse(f"{server.url()}/{n}"), (), b"{}", SHORT))
            assert handles() == before + 5
            async with asyncio.timeout(GENEROUS):
                while handles() > before:
                    await asyncio.sleep(0.05)
            assert isinstance(await transport.send(Outgoing(transport.parse(server.url()), (), b"{}", SHORT)), Answered)
    finally:
        await transport.close()


async def test_connections_that_rested_too_long_are_closed_in_a_server_that_sends_nothing_more(settings: Settings) -> None:
    transport = open_transport(settings.replace(idle_connection_seconds=1))
    await transport.start()
    try:
        with hostile(keeps_alive()) as server:
            urls = [f"{server.url()}/{n}" for n in range(5)]
            await asyncio.gather(*(transport.send(Outgoing(transport.parse(url), (), b"{}", SHORT)) for url in urls))
            for _ in range(server.connections):
                assert await asyncio.to_thread(server.hung_up.acquire, timeout=GENEROUS)
            opened = server.connections
            assert isinstance(await transport.send(Outgoing(transport.parse(server.url()), (), b"{}", SHORT)), Answered)
            assert server.connections == opened + 1
    finally:
        await transport.close()


async def test_silent_receivers_are_let_go_while_a_busy_one_keeps_its_connection(settings: Settings) -> None:
    transport = open_transport(settings.replace(idle_connection_seconds=1))
    await transport.start()
    try:
        with hostile(keeps_alive()) as silent, hostile(keeps_alive()) as busy:
            await transport.send(Outgoing(transport.parse(silent.url()), (), b"{}", SHORT))
            async with asyncio.timeout(GENEROUS):
                while not silent.hung_up.acquire(blocking=False):
                    assert isinstance(await transport.send(Outgoing(transport.parse(busy.url()), (), b"{}", SHORT)), Answered)
                    await asyncio.sleep(0.05)
            assert busy.connections == 1
    finally:
        await transport.close()


def refused(_: int) -> pycurl.Curl:
    """A request that libcurl will not take: pycurl raises."""
    broom = pycurl.Curl()
    broom.close()
    return broom


def answered(_: int) -> pycurl.Curl:
    """A request that is answered."""
    broom = pycurl.Curl()
    broom.setopt(pycurl.URL, Path(__file__).as_uri())
    broom.setopt(pycurl.WRITEFUNCTION, len)
    return broom


@pytest.mark.parametrize("broom", [refused, answered])
async def test_whatever_becomes_of_the_request_that_goes_nowhere_no_delivery_hears_of_it(
    settings: Settings, broom: Callable[[int], pycurl.Curl], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "new_broom", broom)
    transport = open_transport(settings.replace(idle_connection_seconds=1))
    await transport.start()
    try:
        with hostile(keeps_alive()) as server:
            for _ in range(2):
                outcome = await transport.send(Outgoing(transport.parse(server.url()), (), b"{}", SHORT))
                assert isinstance(outcome, Answered), outcome
                await asyncio.sleep(0.1)  # the turns in which the other request begins and ends
        assert transport.is_alive()
    finally:
        await transport.close()
