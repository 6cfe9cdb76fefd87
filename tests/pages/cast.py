"""Everybody who may stand before a page of the console, and one of each thing that a page can be about; by plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import apsw

from gridhook.model import AuthMethod, DeliveryFilter, LinkPurpose, Membership, Person, RecoveryState, Role, Webhook
from gridhook.store import DATABASE_FILE
from gridhook.telemetry import Log
from gridhook.testing import Receiver
from gridhook.web.pages.views import ROOT
from gridhook.web.routes import Route
from tests.web.world import LOW, Answer, World, running

FORM = "application/x-www-form-urlencoded"
PASSWORD = "seven green bicycles"
TYPE = "ag.account_balance.low"

Params: TypeAlias = dict[str, str]
Fields: TypeAlias = dict[str, str]


class Who(StrEnum):
    NOBODY = "nobody"
    SIGNED_OUT = "somebody whose session was ended"
    STRANGER = "an admin of another account"
    REMOVED = "somebody who was an admin here"
    VIEWER = "a viewer"
    BOTH = "a viewer here who is an admin elsewhere"
    ADMIN = "an admin"
    OPERATOR = "an operator"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's cookies, and what its forms carry."""

    cookie: str
    csrf: str


@dataclass
class Cast:
    world: World
    receiver: Receiver
    data_dir: Path
    door: Session
    people: dict[Who, Person] = field(default_factory=dict)
    count: int = 0

    @property
    def pages(self) -> list[Route]:
        return [route for route in self.world.web.routes.all if route.is_page]

    @property
    def account_id(self) -> str:
        return self.world.ours.account_id

    @property
    def service(self) -> Any:
        return self.world.gridhook.service

    async def session(self, who: Who) -> Session:
        """A new one. Nobody's browser has the cookie of the sign-in form, and so has everybody's."""
        if who is Who.NOBODY:
            return self.door
        person = self.people[Who.ADMIN if who is Who.SIGNED_OUT else who]
        token = await self.service.people.open(person.id, "test")
        visitor = await self.service.people.visitor(token)
        if who is Who.SIGNED_OUT:
            await self.service.people.sign_out(visitor)
        return Session(f"{self.door.cookie}; gridhook={token}", visitor.csrf)

    async def get(self, session: Session, target: str, method: str = "GET") -> Answer:
        return await self.world.send(method, target, Cookie=session.cookie)

    async def post(self, session: Session, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
        body = urlencode(fields).encode()
        return await self.world.send("POST", target, body, **{"Cookie": session.cookie, "Content-Type": FORM, **headers})

    def snapshot(self) -> dict[str, list[str]]:
        """All that the database holds."""
        found: dict[str, list[str]] = {}
        # The server's own SQLite: with another library's in one process, each undoes the other's locks.
        with closing(apsw.Connection(str(self.data_dir / DATABASE_FILE), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
                found[str(table)] = sorted(map(repr, connection.execute(f'SELECT * FROM "{table}"')))
        return found

    # --- things -------------------------------------------------------------------------------------------------

    async def webhook(self, *, is_verified: bool = True, method: AuthMethod = AuthMethod.BEARER_TOKEN) -> Webhook:
        self.count += 1
        # What is to stay pending has a receiver that knows no TLS.
        url = self.receiver.url if is_verified else self.receiver.url.replace("http:", "https:")
        made = await self.service.webhooks.create(
            self.account_id, name=f"Doors {self.count}", url=url, subscribed_events=[TYPE], auth_method=method
        )
        if is_verified:
            await self.world.verified(made.webhook.id)
        await self.world.attempts(made.webhook.id, 1)
        webhook: Webhook = await self.world.gridhook.store.webhook(self.account_id, made.webhook.id)
        return webhook

    async def delivered(self) -> Params:
        """A webhook with one delivery that arrived; for the others of the account, paused, there is nothing of it."""
        webhook = await self.webhook()
        self.count += 1
        event_id = f"event {self.count}/<b>"
        assert (await self.world.publish({**LOW, "id": event_id})).status == 202
        attempts = await self.world.attempts(webhook.id, 2)
        store = self.world.gridhook.store
        page = await store.deliveries(self.account_id, webhook.id, filter=DeliveryFilter(), limit=1, now=store.clock.now())
        await self.service.webhooks.pause(self.account_id, webhook.id)
        await self.service.webhooks.resume(self.account_id, webhook.id)
        return {
            "webhook_id": webhook.id,
            "event_id": quote(event_id, safe=""),
            "attempt_id": str(attempts[0]["id"]),
            "delivery_id": str(page.deliveries[0].id),
        }

    async def recovery(self, webhook_id: str) -> str:
        found = await self.service.redelivery.recover(self.account_id, webhook_id, DeliveryFilter())
        while (await self.world.gridhook.store.recoveries(self.account_id, webhook_id, limit=1))[0].state is RecoveryState.RUNNING:
            await asyncio.sleep(0.01)
        return str(found.id)

    async def proving(self) -> tuple[Webhook, str]:
        """A webhook that presents a certificate, and the certificate's id."""
        webhook = await self.webhook(is_verified=False, method=AuthMethod.MTLS)
        certificate = await self.service.certificates.presented(self.account_id, webhook.id)
        return webhook, str(certificate.id)

    async def link(self, purpose: LinkPurpose = LinkPurpose.SIGN_IN) -> str:
        self.count += 1
        person = await self.service.people.add(f"guest{self.count}@example.com", membership=Membership(self.account_id, Role.VIEWER))
        token: str = await self.service.people.new_link(person, purpose, seconds=600)
        return token


Prepare: TypeAlias = Callable[[Cast], Awaitable[tuple[Params, Fields]]]


def address(cast: Cast, path: str, params: Mapping[str, str]) -> str:
    """params: percent-encoded where they need to be."""
    return path.format_map({"account_id": cast.account_id, **params})


@asynccontextmanager
async def casting(data_dir: Path, log: Log, **changes: Any) -> AsyncIterator[Cast]:
    """A gridhook with single sign-on, so that its pages are there too; its provider is not."""
    given = {"public_url": "", "oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": "gridhook", "sign_ins_per_minute": 1000, **changes}
    async with running(data_dir, log, **given) as world, Receiver() as receiver:
        form = await world.send("GET", f"{ROOT}/sign-in")
        token = form.body.decode().partition('name="csrf" value="')[2].partition('"')[0]
        cast = Cast(world, receiver, data_dir, Session(form.headers["set-cookie"].partition(";")[0], token))
        people = cast.service.people
        here, there = world.ours.account_id, world.theirs.account_id
        for who, memberships in {
            Who.STRANGER: [Membership(there, Role.ADMIN)],
            Who.REMOVED: [Membership(there, Role.VIEWER), Membership(here, Role.ADMIN)],
            Who.VIEWER: [Membership(here, Role.VIEWER)],
            Who.BOTH: [Membership(there, Role.ADMIN), Membership(here, Role.VIEWER)],
            Who.ADMIN: [Membership(here, Role.ADMIN)],
        }.items():
            for membership in memberships:
                cast.people[who] = await people.add(f"{who.name.lower()}@example.com", membership=membership)
        await people.remove("removed@example.com", here)
        cast.people[Who.OPERATOR] = await people.add("operator@example.com", operator=True)
        yield cast
