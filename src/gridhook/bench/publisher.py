"""The bench's load: connections that each have one publish in flight, as fast as answered or at a steady rate.

`python -m gridhook.bench.publisher PLAN.json` writes what it sent, and when, to the plan's `result` file.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import httptools
import msgspec
import uvloop


class Plan(msgspec.Struct, kw_only=True):
    host: str
    port: int
    account: str
    key: str
    prefix: str  # of the ids
    data: msgspec.Raw  # the events' data
    type: str
    connections: int = 64
    batch: int = 1
    seconds: float = 10.0
    events: int = 0  # stop after so many; 0: only by time
    rate: float = 0.0  # events per second; 0: as fast as answered
    result: str


class Sent(msgspec.Struct):
    """ids accepted with 202 and when their request began (monotonic ns); how many were refused with which status."""

    ids: list[str]
    times: list[int]
    refused: dict[str, int]
    began_ns: int
    ended_ns: int


class Load:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.number = 0
        self.sent = Sent([], [], {}, time.monotonic_ns(), 0)
        self.deadline = time.monotonic() + plan.seconds
        self.done = asyncio.Event()
        self.open = plan.connections
        self.failure = ""
        self.idle: list[Connection] = []
        self.draining = False
        content = "application/json" if plan.batch == 1 else "application/cloudevents-batch+json"
        self.head = (
            f"POST /v1/accounts/{plan.account}/events HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
            f"Authorization: Bearer {plan.key}\r\nContent-Type: {content}\r\nContent-Length: "
        ).encode()
        data = bytes(plan.data)
        if plan.batch == 1:
            self.before, self.after = b'{"id":"', b'","type":"' + plan.type.encode() + b'","data":' + data + b"}"
        else:
            self.before = b'{"specversion":"1.0","source":"bench","id":"'
            self.after = b'","type":"' + plan.type.encode() + b'","data":' + data + b"}"

    def more(self) -> bool:
        return time.monotonic() < self.deadline and not (self.plan.events and self.number >= self.plan.events)

    def next(self) -> tuple[list[str], bytes]:
        ids = [f"{self.plan.prefix}{self.number + i}" for i in range(self.plan.batch)]
        self.number += self.plan.batch
        parts = [self.before + i.encode() + self.after for i in ids]
        body = parts[0] if self.plan.batch == 1 else b"[" + b",".join(parts) + b"]"
        return ids, self.head + str(len(body)).encode() + b"\r\n\r\n" + body

    def ended(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set()

    def failed(self, why: str) -> None:
        self.failure = why
        self.done.set()


class Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load
        self.sending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        if self.load.plan.rate:
            self.load.idle.append(self)
        else:
            self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.load.idle:  # a server may close what rests
            self.load.idle.remove(self)
            self.load.ended()
        elif self.sending:
            self.load.failed("the server closed a connection whose publish it had not answered")

    def go_on(self) -> None:
        """The next publish, if there is one: the last may have gone out while this connection was made, or waited after a 503."""
        if self.load.more():
            self.send()
        else:
            self.load.ended()

    def send(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.ids, request = self.load.next()
        self.began = time.monotonic_ns()
        self.sending = True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.sending = False
        status = self.parser.get_status_code()
        sent = self.load.sent
        if status == 202:
            sent.ids.extend(self.ids)
            sent.times.extend([self.began] * len(self.ids))
        else:
            sent.refused[str(status)] = sent.refused.get(str(status), 0) + len(self.ids)
        if self.load.plan.rate:
            self.load.idle.append(self)
            if self.load.draining and len(self.load.idle) == self.load.open:
                self.load.done.set()
        elif status == 503:  # told to come back later: do
            asyncio.get_running_loop().call_later(0.2, self.go_on)
        else:
            self.go_on()


async def steady(load: Load) -> None:
    """Open loop: the next event leaves when its time has come, whether earlier ones are answered or not."""
    began = time.monotonic()
    while load.more() and not load.failure:
        owed = int((time.monotonic() - began) * load.plan.rate) - load.number
        for _ in range(owed):
            if not load.idle:
                break
            load.idle.pop().send()
        await asyncio.sleep(0.0005)
    load.draining = True
    if len(load.idle) < load.open and not load.failure:
        await load.done.wait()


async def run(plan: Plan) -> Sent:
    load = Load(plan)
    loop = asyncio.get_running_loop()
    for _ in range(plan.connections):
        await loop.create_connection(lambda: Connection(load), plan.host, plan.port)
    if plan.rate:
        await steady(load)
    else:
        await load.done.wait()
    if load.failure:
        raise SystemExit(load.failure)
    load.sent.ended_ns = time.monotonic_ns()
    return load.sent


def main(path: Path) -> None:
    plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    Path(plan.result).write_bytes(msgspec.json.encode(uvloop.run(run(plan))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
