"""A running gridhook with its HTTP server on loopback, two accounts, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from gridhook.app import Gridhook, open_gridhook
from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.rules.api_signature import sign
from gridhook.telemetry import Log
from gridhook.web import Web, build_app
from gridhook.web.server import Server

HANG_GUARD_SECONDS = 30.0

BALANCE = {
    "account_id": "acct_5b1e",
    "organization_name": "Northwind Properties",
    "current_balance": 50.25,
    "threshold": 100.0,
    "amount_below_threshold": 49.75,
}
LOW = {"type": "ag.account_balance.low", "data": BALANCE}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes = b""  # whatever came behind, when the whole connection was read
    all_headers: tuple[tuple[str, str], ...] = ()  # in order, repeats kept

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["message"])


@dataclass
class Tenant:
    account_id: str
    secret: str
    publisher_key: str


@dataclass
class World:
    gridhook: Gridhook
    web: Web
    server: Server
    settings: Settings
    ours: Tenant
    theirs: Tenant

    @property
    def base_url(self) -> str:
        return "http://{}:{}".format(*self.server.address)

    async def raw(self, request: bytes, *, pieces: Sequence[bytes] = ()) -> Answer:
        """Send these bytes, then each piece in a segment of its own; read one answer."""
        reader, writer = await asyncio.open_connection(*self.server.address)
        try:
            writer.write(request)
            for piece in pieces:
                await writer.drain()
                await asyncio.sleep(0.02)  # so that it is a segment of its own; too short a pause only makes the test easier
                writer.write(piece)
            return await asyncio.wait_for(read_answer(reader, head_only=request.startswith(b"HEAD ")), HANG_GUARD_SECONDS)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """Keyword names are header names with `_` for `-`."""
        lines = [f"{method} {target} HTTP/1.1", "Host: gridhook.test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return await self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    async def publish(
        self, body: object, *, content_type: str = "application/json", tenant: Tenant | None = None, **headers: str
    ) -> Answer:
        tenant = tenant or self.ours
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Authorization": f"Bearer {tenant.publisher_key}", "Content_Type": content_type, **headers}
        return await self.send("POST", f"/v1/accounts/{tenant.account_id}/events", raw, **named)

    async def signed(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        payload: str = "{}",
        tenant: Tenant | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call of the webhook API; without a body the payload travels in the query. headers: as of `send`."""
        tenant = tenant or self.ours
        signature = sign(tenant.secret, body or payload.encode())
        arguments = [query] if query else []
        if not body:
            arguments.append(f"sig_payload={quote_plus(payload)}")
        target = f"{path}?{'&'.join(arguments)}" if arguments else path
        return await self.send(method, target, body or None, X_ACCT_ID=tenant.account_id, X_PAYLOAD_SIG=signature, **(headers or {}))

    async def create(self, url: str, *, name: str = "Prod", tenant: Tenant | None = None) -> dict[str, Any]:
        body = json.dumps({"name": name, "url": url, "subscribed_events": ["ag.account_balance.low"]}).encode()
        answer = await self.signed("POST", "/v1/console/webhooks", body, tenant=tenant)
        assert answer.status == 201, answer
        created: dict[str, Any] = answer.json()
        return created

    async def attempts(self, webhook_id: str, count: int) -> list[dict[str, Any]]:
        """Once so many are in the log."""
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while True:
                answer = await self.signed("GET", f"/v1/console/webhooks/{webhook_id}/attempts")
                attempts: list[dict[str, Any]] = answer.json()["attempts"]
                if len(attempts) >= count:
                    return attempts
                await asyncio.sleep(0.02)

    async def verified(self, webhook_id: str) -> None:
        """Until the webhook is."""
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while not (await self.gridhook.store.webhook(self.ours.account_id, webhook_id)).is_verified:
                await asyncio.sleep(0.01)


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.split("\r\n")[:-2]
    fields = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))
    headers = dict(fields)
    body = b"" if head_only else await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(status_line.split()[1]), headers, body, all_headers=fields)


@asynccontextmanager
async def running(
    data_dir: Path, log: Log, *, server: dict[str, Any] | None = None, clock: Clock | None = None, **changes: Any
) -> AsyncIterator[World]:
    given: dict[str, Any] = {
        "data_dir": str(data_dir),
        "listen": "127.0.0.1:0",
        "public_url": "https://hooks.example.com",
        "allow_networks": ("127.0.0.0/8",),
        "verify_interval_seconds": 0,
        "api_per_second": 0,  # one test is about the limit; the others call as fast as they can
        "checks_per_minute": 10_000,  # likewise
        **changes,
    }
    settings = Settings(**given)
    async with open_gridhook(settings, clock=clock, log=log) as gridhook:
        web = build_app(gridhook.service, settings)
        listening = Server(web, settings, **(server or {}))
        await listening.start()
        try:
            tenants = [await _tenant(gridhook, name) for name in ("Northwind", "Contoso")]
            yield World(gridhook, web, listening, settings, *tenants)
        finally:
            listening.stop_accepting()
            await listening.wait_closed(5)


async def _tenant(gridhook: Gridhook, name: str) -> Tenant:
    account, secret = await gridhook.service.create_account(name)
    key = await gridhook.service.create_publisher_key(name, account.id)
    return Tenant(account.id, secret.text, key.text)
