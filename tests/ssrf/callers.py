"""Who makes the requests in the universe: the transport told so directly, or a whole gridhook with its handshakes and deliveries."""

from __future__ import annotations

import asyncio
import io
import secrets
from pathlib import Path
from typing import Protocol

from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.errors import Invalid
from gridhook.model import Answered, Attempt, AttemptKind, AuthMethod, Outcome, Webhook
from gridhook.rules import contexts
from gridhook.rules.catalogue import event_type
from gridhook.rules.cloudevents import Draft
from gridhook.store.promises import Credential
from gridhook.telemetry import Log
from gridhook.transport import Limits, Outgoing, open_transport

LIMITS = Limits(connect_seconds=2.0, total_seconds=5.0)
HANG_GUARD_SECONDS = 30
ISSUED = "ag.access_pass.issued"


class Caller(Protocol):
    """Makes a URL's first request, the one that is a handshake where there are handshakes, and then more."""

    async def start(self) -> None: ...

    async def first(self, url: str) -> tuple[str, str, bool | None]:
        """Outcome (a status, a reason, or `invalid`), detail, and whether the webhook is verified by it (None: there is none)."""
        ...

    async def next(self) -> tuple[str, str, bool | None]: ...

    async def done(self) -> None:
        """No more requests to this URL."""
        ...

    async def close(self) -> None: ...


class BareTransport:
    """Parses and sends, as both the handshake and the delivery do."""

    def __init__(self, settings: Settings) -> None:
        self._transport = open_transport(settings)
        self._url = ""

    async def start(self) -> None:
        await self._transport.start()

    async def first(self, url: str) -> tuple[str, str, bool | None]:
        self._url = url
        return await self.next()

    async def next(self) -> tuple[str, str, bool | None]:
        try:
            target = self._transport.parse(self._url)
        except Invalid as refused:
            return "invalid", str(refused), None
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            outcome = await self._transport.send(Outgoing(target, (("Content-Type", "application/json"),), b"{}", LIMITS))
        return *_said(outcome), None

    async def done(self) -> None:
        return None

    async def close(self) -> None:
        await self._transport.close()


class WholeRoad:
    """A gridhook on SQLite. Its webhooks are written straight into the store, for the API would refuse them: what stands between a
    hostile URL and the network is then only what looks at every request, as on the day when a good name turns bad."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        settings = settings.replace(data_dir=str(directory), connect_seconds=2.0, attempt_seconds=5.0)
        self._gridhook = Gridhook(settings, log=Log(io.BytesIO()))
        self._account = ""
        self._webhook = ""

    async def start(self) -> None:
        await self._gridhook.start()
        account, _ = await self._gridhook.service.create_account("Universe")
        self._account = account.id

    async def first(self, url: str) -> tuple[str, str, bool | None]:
        """A new pending webhook, and its handshake."""
        gridhook = self._gridhook
        self._webhook = f"wh_{secrets.token_hex(8)}"
        webhook = Webhook(
            account_id=self._account,
            id=self._webhook,
            name="Hostile",
            url=url,
            url_version=1,
            auth_method=AuthMethod.BEARER_TOKEN,
            subscribed_events=(ISSUED,),
            created_at=gridhook.store.clock.now(),
        )
        sealed = gridhook.vault.seal("key_of_the_universe", contexts.private_key(self._account, self._webhook, "cred_1"))
        await gridhook.store.add_webhook(webhook, Credential("cred_1", sealed))
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            verified = await gridhook.engine.verifier.verify(self._account, self._webhook)
        (handshake,) = await self._log(AttemptKind.VERIFICATION)
        return *_said(handshake.outcome), verified

    async def next(self) -> tuple[str, str, bool | None]:
        """One event, delivered to the webhook whatever became of its handshake."""
        gridhook = self._gridhook
        if not (await gridhook.store.webhook(self._account, self._webhook)).is_verified:
            now = gridhook.store.clock.now()
            challenge = await gridhook.store.issue_challenge(self._account, self._webhook, "ch_forced", now=now)
            assert await gridhook.store.settle_challenge(challenge, None, matched=True, now=now)
        before = len(await self._log(AttemptKind.DELIVERY))
        (published,) = await gridhook.service.publish(self._account, [Draft(ISSUED, event_type(ISSUED).example)])
        assert getattr(published, "deliveries", 0) == 1, published
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while True:
                assert await gridhook.engine.dispatcher.wait_idle(HANG_GUARD_SECONDS)
                await gridhook.engine.dispatcher.recorder.drain()
                attempts = await self._log(AttemptKind.DELIVERY)
                if len(attempts) > before:
                    break
                await asyncio.sleep(0.01)  # it was not born leased: the dispatcher is about to claim it
        assert len(attempts) == before + 1
        return *_said(attempts[0].outcome), None

    async def done(self) -> None:
        """Deleted, so that none of its retries falls into another's turn."""
        await self._gridhook.store.delete_webhook(self._account, self._webhook, now=self._gridhook.store.clock.now())

    async def close(self) -> None:
        await self._gridhook.close()

    async def _log(self, kind: AttemptKind) -> list[Attempt]:
        page = await self._gridhook.store.attempts(self._account, self._webhook, before=None, limit=1000)
        return [attempt for attempt in page.attempts if attempt.kind is kind]


def _said(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Answered):
        return str(outcome.status), ""
    return outcome.reason.value, outcome.detail
