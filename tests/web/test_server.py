"""The server itself: what is not HTTP, too large, too slow or too much; and how it ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.web.world import HANG_GUARD_SECONDS, LOW, World, read_answer, running

PROBLEM = {"message", "type", "title", "status", "detail", "request_id"}


async def everything(world: World, *pieces: bytes) -> bytes:
    """What the server says until it closes the connection."""
    reader, writer = await asyncio.open_connection(*world.server.address)
    for piece in pieces:
        writer.write(piece)
    try:
        return await asyncio.wait_for(reader.read(), HANG_GUARD_SECONDS)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/console/webhooks/", 404),
        ("GET", "//v1/console/webhooks", 404),
        ("GET", "/v1/console/webhooks/a/b/c", 404),
        ("GET", "/%ff%00", 404),
        ("GET", "/schemas/webhooks/ag.nope/1.json", 404),
        ("GET", "http://gridhook.test/healthz", 200),
        ("PUT", "/v1/console/webhooks", 405),
        ("PUT", "/v1/console/webhooks/wh_1", 405),
        ("GET", "/v1/console/webhooks/wh_1/verify", 405),
        ("GET", "/v1/accounts/a/events", 405),
        ("PROPFIND", "/healthz", 405),
        ("TRACE", "/healthz", 405),
        ("OPTIONS", "/v1/console/webhooks", 204),
        ("OPTIONS", "/nowhere", 404),
        ("OPTIONS", "*", 404),
        ("CONNECT", "example.com:443", 404),
    ],
)
async def test_unknown_paths_and_methods_are_answered_in_json_with_a_request_id(world, method, target, status):
    answer = await world.send(method, target)
    assert answer.status == status, answer
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    if status in (405, 204):
        assert "OPTIONS" in answer.headers["allow"]
    if status >= 400:
        problem = answer.json()
        assert problem.keys() >= PROBLEM
        assert (problem["status"], problem["message"], problem["request_id"]) == (status, problem["detail"], answer.headers["x-request-id"])
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("given", "taken"), [("trace-1.a:B_c", True), ("", False), ("a b", False), ("x" * 129, False), ("caf\xe9", False)])
async def test_a_sane_request_id_is_kept_and_any_other_replaced(world, given, taken):
    answer = await world.send("GET", "/healthz", X_Request_ID=given)
    assert (answer.headers["x-request-id"] == given) is taken


@pytest.mark.parametrize(
    "target", ["/healthz", "/readyz", "/metrics", "/schemas/webhooks", "/schemas/webhooks/ag.access_pass.issued/1.json"]
)
async def test_head_is_get_without_the_body(world, target):
    head = await world.send("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET http://host HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_1_1_is_answered_400_and_closed(world, garbage):
    said = await everything(world, garbage)
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert b"connection: close" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["message"]


@pytest.mark.parametrize(
    "head",
    [
        "GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a",
        "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b",
        "POST /v1/accounts/a/events HTTP/1.1\r\nContent-Length: 0",
        "POST /v1/accounts/a/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked",
        "POST /v1/accounts/a/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "POST /v1/accounts/a/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity",
    ],
)
async def test_a_head_that_a_proxy_may_read_otherwise_than_we_do_is_answered_400_and_closed(world, head):
    answer = await everything(world, f"{head}\r\n\r\n".encode(), b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"one Host" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_simple_probe_in_http_1_0_needs_no_host(world):
    assert (await everything(world, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_head_of_more_than_64_kib_is_431_and_closed(world, pieces):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(80))
    step = len(head) // pieces + 1
    reader, writer = await asyncio.open_connection(*world.server.address)
    for at in range(0, len(head), step):
        writer.write(head[at : at + step])
    writer.write(b"\r\n")
    answer = await asyncio.wait_for(read_answer(reader), HANG_GUARD_SECONDS)
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    writer.close()


async def test_a_large_head_below_the_limit_is_served(world):
    fields = {f"X_{n}": "y" * 1000 for n in range(55)}
    assert (await world.send("GET", "/healthz", **fields)).status == 200


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /healthz HT",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /v1/console/webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
        b"POST /v1/console/webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{",
        b"POST /v1/console/webhooks HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 10\r\n\r\n{",
    ],
)
async def test_a_request_that_does_not_arrive_is_closed(tmp_path, quiet_log, beginning):
    limits = {"head_seconds": 0.2, "body_seconds": 0.2, "sweep_seconds": 0.05}
    async with running(tmp_path, quiet_log, server=limits) as world:
        assert (await everything(world, beginning)).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_drips_its_head_is_closed_however_busy_it_looks(tmp_path, quiet_log):
    limits = {"head_seconds": 0.3, "body_seconds": 0.3, "sweep_seconds": 0.05}
    async with running(tmp_path, quiet_log, server=limits) as world:
        reader, writer = await asyncio.open_connection(*world.server.address)
        writer.write(b"GET /healthz HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        answer = await asyncio.wait_for(read_answer(reader), HANG_GUARD_SECONDS)
        dripping.cancel()
        writer.close()
        assert answer.status == 408


async def test_a_connection_that_only_rests_between_requests_is_left_alone(tmp_path, quiet_log):
    limits = {"head_seconds": 0.1, "body_seconds": 0.1, "sweep_seconds": 0.02}
    async with running(tmp_path, quiet_log, server=limits) as world:
        reader, writer = await asyncio.open_connection(*world.server.address)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_answer(reader)).status == 200
            await asyncio.sleep(0.3)  # three limits long: a server that counted rest as slowness would close here
        writer.close()


async def test_a_connection_that_rests_for_too_long_is_closed_without_a_word(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, server={"idle_seconds": 0.1, "sweep_seconds": 0.02}) as world:
        said = await everything(world, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200")
        assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("event", "key", "status"),
    [({**LOW, "id": "evt-1"}, None, 202), ({**LOW, "type": "ag.nope"}, None, 422), ("nothing", None, 422), (LOW, "ghp_unknown", 401)],
)
async def test_a_publish_request_is_answered_alike_whichever_way_its_body_comes(world, event, key, status):
    """Announced by its length it takes a shorter way through the server than in chunks, or in a request that asks for more."""
    body = json.dumps(event).encode()
    head = (
        f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key or world.ours.publisher_key}\r\nX-Request-ID: r\r\n"
    ).encode()
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    closing = head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    cut = len(head) + 40
    answers = [
        await world.raw(whole),
        await world.raw(whole[:cut], pieces=[whole[cut:]]),
        await world.raw(chunked),
        await world.raw(closing),
    ]
    assert [answer.status for answer in answers] == [status] * 4
    assert answers[3].headers.pop("connection") == "close"
    told = [{**answer.headers, "content-length": "", "date": ""} for answer in answers]
    assert told == [told[0]] * 4
    first, *others = ({**answer.json(), "duplicate": None} for answer in answers)
    assert others == [first] * 3


async def test_a_publisher_that_goes_away_in_the_middle_of_its_event_leaves_nothing_behind(world):
    head = f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    _, writer = await asyncio.open_connection(*world.server.address)
    writer.write(head + b"{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await world.publish(LOW)).status == 202
    world.server.stop_accepting()
    await asyncio.wait_for(world.server.wait_closed(HANG_GUARD_SECONDS), HANG_GUARD_SECONDS)


async def test_connections_beyond_the_limit_are_told_to_come_back(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, server={"max_connections": 2}) as world:
        held = [await asyncio.open_connection(*world.server.address) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_answer(reader)).status == 200
        answer = await world.send("GET", "/healthz")
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert answer.json()["message"]
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while (await world.send("GET", "/healthz")).status != 200:
                await asyncio.sleep(0.01)


async def test_pipelined_requests_are_answered_in_order_and_rubbish_behind_them_changes_nothing(world):
    body = json.dumps({**LOW, "id": "evt-1"}).encode()
    publish = (
        f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {world.ours.publisher_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    said = await everything(world, publish + publish + b"\x00rubbish\r\n\r\n")
    assert said.count(b"HTTP/1.1 202") == 2, said
    assert said.index(b'"duplicate":false') < said.index(b'"duplicate":true')
    assert said.count(b"HTTP/1.1 ") == 2


async def test_an_upgrade_offer_behind_a_running_request_ends_the_connection_after_that_requests_answer(world):
    body = json.dumps(LOW).encode()
    publish = (
        f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {world.ours.publisher_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    offer = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    said = await everything(world, publish + offer)
    assert said.startswith(b"HTTP/1.1 202")
    assert b"connection: close" in said
    assert said.count(b"HTTP/1.1 ") == 1


async def test_at_the_end_running_requests_are_answered_idle_connections_closed_and_nobody_new_let_in(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log) as world:
        address = world.server.address
        idle_reader, idle = await asyncio.open_connection(*world.server.address)
        idle.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_answer(idle_reader)
        reader, writer = await asyncio.open_connection(*world.server.address)
        body = json.dumps(LOW).encode()
        writer.write(
            f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {world.ours.publisher_key}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        await reader.readuntil(b"100 Continue\r\n\r\n")  # it runs, and waits for its body
        world.server.stop_accepting()
        assert await asyncio.wait_for(idle_reader.read(), HANG_GUARD_SECONDS) == b""
        with pytest.raises(OSError):
            await asyncio.open_connection(*address)
        closing = asyncio.ensure_future(world.server.wait_closed(HANG_GUARD_SECONDS))
        writer.write(body)
        answer = await asyncio.wait_for(read_answer(reader), HANG_GUARD_SECONDS)
        assert (answer.status, answer.headers["connection"]) == (202, "close")
        await closing
        idle.close()
        writer.close()


async def test_a_request_that_never_ends_is_cut_at_the_deadline(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log) as world:
        reader, writer = await asyncio.open_connection(*world.server.address)
        writer.write(b"POST /v1/console/webhooks HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        world.server.stop_accepting()
        await asyncio.wait_for(world.server.wait_closed(0.1), HANG_GUARD_SECONDS)
        assert await asyncio.wait_for(reader.read(), HANG_GUARD_SECONDS) == b""
        writer.close()
