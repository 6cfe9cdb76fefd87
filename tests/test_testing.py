"""The receiver that other tests trust: it keeps what it was sent and answers as told."""

from __future__ import annotations

import asyncio

import pytest

from gridhook.testing import FakeClock, Receiver, Reply


async def exchange(receiver: Receiver, *requests: bytes) -> bytes:
    """Everything the receiver says to these requests, sent on one connection that the last one closes."""
    reader, writer = await asyncio.open_connection(receiver.host, receiver.port)
    for request in requests:
        writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


def post(body: bytes, *headers: str, close: bool = True) -> bytes:
    lines = ["POST /hook?x=1 HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_receiver_keeps_method_path_headers_and_body_as_they_came():
    async with Receiver() as receiver:
        assert (await exchange(receiver, post(b'{"id":"e1"}', "X-One: 1", "x-one: 2"))).startswith(b"HTTP/1.1 200 OK\r\n")
        (request,) = await receiver.received(1)
    assert (request.method, request.path, request.body, request.event_id) == ("POST", "/hook?x=1", b'{"id":"e1"}', "e1")
    assert [value for name, value in request.headers if name == "x-one"] == ["1", "2"]


async def test_a_receiver_echoes_the_challenge_and_does_not_count_it_as_a_delivery():
    async with Receiver() as receiver:
        answer = await exchange(receiver, post(b"{}", "X-AccessGrid-Webhook-Challenge: 12ab"))
    assert answer.endswith(b'\r\n\r\n{"challenge": "12ab"}')
    assert receiver.count == 0
    assert [request.challenge for request in receiver.handshakes] == ["12ab"]


async def test_scripted_replies_come_in_order_and_in_the_order_of_the_requests():
    async with Receiver() as receiver:
        receiver.script(Reply(500, delay=0.05), Reply(204), Reply(201, body=b"kept"))
        answer = await exchange(receiver, post(b"1", close=False), post(b"2", close=False), post(b"3", close=False), post(b"4"))
    assert [int(line.split()[1]) for line in answer.split(b"\r\n") if b"HTTP/1.1" in line] == [500, 204, 201, 200]
    assert [request.body for request in receiver.deliveries] == [b"1", b"2", b"3", b"4"]
    assert {request.connection for request in receiver.deliveries} == {1}


async def test_a_receiver_can_reset_hang_and_answer_what_is_not_http():
    async with Receiver() as receiver:
        receiver.script(Reply(reset=True), Reply(raw=b"SSH-2.0-hello\r\n"), Reply(hang=True))
        with pytest.raises(ConnectionResetError):
            await exchange(receiver, post(b"1"))
        assert await exchange(receiver, post(b"2")) == b"SSH-2.0-hello\r\n"
        hanging = asyncio.ensure_future(exchange(receiver, post(b"3")))
        await receiver.received(3)
        assert not hanging.done()
        await receiver.close()  # drops the connection that hangs
        with pytest.raises(ConnectionResetError):
            await hanging


async def test_an_event_is_in_the_log_file_before_its_sender_is_answered(tmp_path):
    log = tmp_path / "received"
    # Whoever decides the answer can already read the line.
    async with Receiver(lambda _: Reply(body=log.read_bytes()), log_file=log) as receiver:
        answer = await exchange(receiver, post(b'{"id":"e1"}'))
    assert answer.endswith(b"\r\n\r\ne1\n")


async def test_waiting_for_more_than_arrives_says_how_many_did():
    async with Receiver(keep=False) as receiver:
        await exchange(receiver, post(b"1"))
        with pytest.raises(TimeoutError, match="1 of 2 deliveries"):
            await receiver.received(2, within=0.05)
        assert receiver.deliveries == []


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock(1000)
    assert (clock.now(), clock.advance(seconds=1.5, ms=3), clock.now()) == (1000, 2503, 2503)


async def test_who_stops_waiting_for_a_receiver_at_the_moment_that_something_arrives_has_stopped():
    def answer(_: object) -> Reply:
        asyncio.get_running_loop().call_soon(waiting.cancel)
        return Reply()

    async with Receiver(answer) as receiver:
        waiting = asyncio.ensure_future(receiver.received(1))
        await exchange(receiver, post(b"1"))
        await asyncio.wait({waiting}, timeout=10)
    assert waiting.cancelled()
