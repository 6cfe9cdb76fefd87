"""The stream that tells open pages that something changed: when it speaks, what it never says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio

from gridhook.model import Membership, Role
from gridhook.telemetry import Log
from gridhook.testing import Receiver
from gridhook.web.pages import streams
from tests.web.world import HANG_GUARD_SECONDS, LOW, Tenant, World, running


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path, quiet_log: Log) -> AsyncIterator[World]:
    async with running(tmp_path, quiet_log, public_url="") as world:
        yield world


async def cookie(world: World, tenant: Tenant | None = None) -> str:
    people = world.gridhook.service.people
    person = await people.add("ada@example.com", membership=Membership((tenant or world.ours).account_id, Role.VIEWER))
    return "gridhook=" + await people.open(person.id, "test")


class Ear:
    """One stream that is listened to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head

    async def until(self, wanted: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(wanted), HANG_GUARD_SECONDS)

    async def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), HANG_GUARD_SECONDS)


@asynccontextmanager
async def listening(world: World, cookie: str, query: str = "", headers: str = "") -> AsyncIterator[Ear]:
    reader, writer = await asyncio.open_connection(*world.server.address)
    target = f"/console/a/{world.ours.account_id}/changes{query}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n{headers}\r\n".encode())
    try:
        yield Ear(reader, writer, await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HANG_GUARD_SECONDS))
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def count(world: World, wanted: int) -> None:
    """Until so many streams are open."""
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        while world.web._streams.count != wanted:
            await asyncio.sleep(0.01)


async def test_an_open_page_hears_that_something_changed_and_not_what(world: World) -> None:
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        async with listening(world, await cookie(world)) as ear:
            assert b"content-type: text/event-stream" in ear.head.lower()
            await ear.until(streams.OPENING)
            await world.publish(LOW)
            assert await ear.until(streams.CHANGE) == streams.CHANGE
    await count(world, 0)


async def test_a_page_of_one_webhook_hears_of_that_webhook_alone(world: World) -> None:
    async with Receiver() as receiver:
        ours, other = [(await world.create(receiver.url))["id"] for _ in range(2)]
        for one in (ours, other):
            await world.verified(one)
        at = f"/v1/console/webhooks/{other}/pause"
        me = await cookie(world)
        async with listening(world, me, f"?webhook={ours}") as ear, listening(world, me, f"?webhook={other}") as theirs:
            await ear.until(streams.OPENING)
            await theirs.until(streams.OPENING)
            await world.signed("POST", at, payload=f'{{"id": "{other}"}}')
            await theirs.until(streams.CHANGE)
            await world.signed("POST", f"/v1/console/webhooks/{ours}/pause", payload=f'{{"id": "{ours}"}}')
            assert await ear.until(streams.CHANGE) == streams.CHANGE


async def test_a_stream_is_for_members_only(world: World) -> None:
    for who in ("gridhook=nobody", await cookie(world, world.theirs)):
        async with listening(world, who) as ear:
            assert ear.head.split()[1] in (b"303", b"404")
    async with listening(world, await cookie(world), "?webhook=wh_none") as ear:
        assert ear.head.split()[1] == b"404"


async def test_a_client_that_goes_away_leaves_nothing_behind(world: World) -> None:
    me = await cookie(world)
    async with listening(world, me) as first, listening(world, me) as second:
        await first.until(streams.OPENING)
        await second.until(streams.OPENING)
        assert world.web._streams.count == 2
    await count(world, 0)
    assert world.web._streams._watches == {}
    assert world.web._streams._by_person == {}


async def test_a_head_request_opens_no_stream(world: World) -> None:
    reader, writer = await asyncio.open_connection(*world.server.address)
    writer.write(f"HEAD /console/a/{world.ours.account_id}/changes HTTP/1.1\r\nHost: x\r\nCookie: {await cookie(world)}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), HANG_GUARD_SECONDS)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")
    await count(world, 0)


async def test_of_more_streams_than_a_person_may_have_the_oldest_ends_whatever_browsers_they_are_in(world: World) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(listening(world, await cookie(world))) for _ in range(streams.MOST_OF_ONE + 1)]
        assert await ears[0].rest() == streams.OPENING
        await count(world, streams.MOST_OF_ONE)


async def test_many_streams_that_are_asked_for_at_once_are_no_more_than_one_may_have(world: World) -> None:
    token = await cookie(world)
    visitor = await world.gridhook.service.people.visitor(token.partition("=")[2])
    opened = [await world.web._streams.open(visitor, world.ours.account_id, None) for _ in range(3 * streams.MOST_OF_ONE)]
    started = [asyncio.ensure_future(drained(one)) for one in opened]
    await count(world, streams.MOST_OF_ONE)
    world.web.end_streams()
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        await asyncio.gather(*started)
    await count(world, 0)


async def drained(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


async def test_a_session_that_was_ended_hears_nothing_more(world: World) -> None:
    me = await cookie(world)
    async with listening(world, me) as ear:
        await ear.until(streams.OPENING)
        people = world.gridhook.service.people
        visitor = await people.visitor(me.partition("=")[2])
        await people.sign_out(visitor)
        created = await world.create("http://127.0.0.1:18009/h")
        assert created["id"]
        assert await ear.rest() == b""


async def test_a_server_that_stops_does_not_wait_for_open_pages(world: World) -> None:
    async with listening(world, await cookie(world)) as ear:
        await ear.until(streams.OPENING)
        world.server.stop_accepting()
        assert await ear.rest() == b""
        await asyncio.wait_for(world.server.wait_closed(HANG_GUARD_SECONDS), HANG_GUARD_SECONDS / 2)


async def test_a_client_that_offers_an_upgrade_is_told_too(world: World) -> None:
    async with listening(world, await cookie(world), headers="Connection: Upgrade\r\nUpgrade: h2c\r\n") as ear:
        assert b"chunked" in ear.head
        await ear.until(streams.OPENING)
        await world.create("http://127.0.0.1:18009/h")
        await ear.until(streams.CHANGE)
    await count(world, 0)


async def test_a_stream_without_a_session_ends_and_fetches_no_form_to_sign_in(world: World) -> None:
    answer = await world.send("GET", f"/console/a/{world.ours.account_id}/changes", Accept="text/event-stream", Cookie="gridhook=x")
    assert answer.status == 204
    assert "set-cookie" not in answer.headers
    assert "location" not in answer.headers
