"""The handshake: proves that a webhook's owner owns its URL, before anything else is ever sent there."""

from __future__ import annotations

import asyncio
import secrets as chance
from collections.abc import Callable
from typing import TypeAlias
from weakref import WeakValueDictionary

from msgspec.structs import replace

from gridhook.config import Settings
from gridhook.engine.delivery import Deliverer
from gridhook.errors import Invalid, NotFound, Unavailable
from gridhook.model import Attempt, AttemptKind, AuthMethod, Echo, Outcome, Phase, Reason, Sealed, Unreachable
from gridhook.rules import challenge as rules
from gridhook.rules import ids
from gridhook.store.promises import Challenge, Store, Work
from gridhook.telemetry import Log, Metrics
from gridhook.transport.wire import Limits, Outgoing, Transport

# "The verification request uses a 2-second connect timeout and a 3-second read timeout, and it does not follow redirects."
# AccessGrid webhook guide, "Tight timeouts". Two clocks: the second starts when the connection stands.
LIMITS = Limits(connect_seconds=2.0, read_seconds=3.0, total_seconds=5.0, body_kept_bytes=64 * 1024)

AT_ONCE = 64  # handshakes in flight; they have places of their own, so that deliveries can neither delay nor be delayed
AGAIN_SECONDS = (1.0, 5.0, 15.0, 60.0)  # before a handshake is made again whose beginning or end the database did not take
AT_ONCE_PER_ACCOUNT = 8  # of these, so that one account's many dead URLs do not keep another's from being proven

Verified: TypeAlias = Callable[[str, str, bool], None]
"""(account_id, webhook_id, deliveries were held): what is to happen once a webhook became verified."""


class Verifier:
    def __init__(
        self,
        *,
        store: Store,
        transport: Transport,
        deliverer: Deliverer,
        settings: Settings,
        log: Log,
        metrics: Metrics,
        resuming: Callable[[str], None],
        verified: Verified,
    ) -> None:
        """resuming: told of a webhook_id before the deliveries that were held for it become due."""
        self._store = store
        self._transport = transport
        self._deliverer = deliverer
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._resuming = resuming
        self._verified = verified
        self._running: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        # Kept only while handshakes of the account wait or run: each of their tasks holds a reference.
        self._accounts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def start(self, account_id: str, webhook_id: str, *, wait: Callable[[], float] | None = None) -> None:
        """Make a handshake, by itself; its result is in the log and in the webhook's status.

        wait: asked until it says 0; else the seconds until it is worth asking again. So a customer who registers webhooks without
            end cannot make us knock at a stranger's door without end.
        """
        task = asyncio.ensure_future(self._run(account_id, webhook_id, wait))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, account_id: str, webhook_id: str, wait: Callable[[], float] | None) -> None:
        while wait is not None:
            seconds = wait()
            if seconds <= 0:
                break
            await asyncio.sleep(seconds)
        for seconds in AGAIN_SECONDS:
            try:
                await self._in_turn(account_id, webhook_id)
                return
            except Unavailable as trouble:
                self._log.outage("a handshake waits for the database", webhook_id=webhook_id, error=str(trouble))
            await asyncio.sleep(seconds)
        try:
            await self._in_turn(account_id, webhook_id)
        except Unavailable as trouble:
            self._log.error("a handshake could not be recorded; ask for it again", webhook_id=webhook_id, error=str(trouble))

    async def _in_turn(self, account_id: str, webhook_id: str) -> None:
        """When there is a place for it. Raises `Unavailable`."""
        own = self._accounts.get(account_id)
        if own is None:
            own = self._accounts[account_id] = asyncio.Semaphore(AT_ONCE_PER_ACCOUNT)
        async with own, self._places:
            try:
                await self.verify(account_id, webhook_id)
            except NotFound:
                pass  # deleted meanwhile: nobody is waiting for this
            except Unavailable:
                raise
            except Exception as defect:
                self._log.error("a handshake failed by a defect of ours", webhook_id=webhook_id, error=repr(defect))

    async def verify(self, account_id: str, webhook_id: str) -> bool:
        """One handshake from issue to verdict. True when it verified the webhook."""
        now = self._store.clock.now()
        challenge = await self._store.issue_challenge(account_id, webhook_id, ids.challenge_id(chance.token_bytes(16)), now=now)
        token = rules.new_token(chance.token_bytes(rules.TOKEN_BYTES))
        started_at = self._store.clock.now()
        outcome, echo, proof, note = await self._exchange(challenge, token)
        attempt = Attempt(
            account_id=account_id,
            webhook_id=webhook_id,
            kind=AttemptKind.VERIFICATION,
            number=1,
            started_at=started_at,
            outcome=outcome,
            url=challenge.url,
            credential_id=proof,
            echo=echo,
            note=note,
        )
        matched = echo in (Echo.MATCHED, Echo.TRUSTED_HOST)
        held = matched and (await self._store.counts(account_id, webhook_id, most=1)).held > 0
        if held:
            self._resuming(webhook_id)
        verified = await self._store.settle_challenge(challenge, attempt, matched=matched, now=self._store.clock.now())
        self._log.verification(attempt, verified=verified, echo=Echo.SUPERSEDED if matched and not verified else None)
        self._metrics.verification(attempt)
        if verified:
            self._verified(account_id, webhook_id, held)
        return verified

    async def _exchange(self, challenge: Challenge, token: str) -> tuple[Outcome, Echo, str | None, str | None]:
        """What came back, what it is worth, the certificate that was presented, and what there is to say beside."""
        try:
            target = self._transport.parse(challenge.url)
        except Invalid as refusal:
            return Unreachable(Reason.URL_REFUSED, refusal.message, Phase.DNS), Echo.NO_ANSWER, None, None
        if rules.is_trusted_host(target.host, self._settings.trusted_hosts):
            refused = await self._transport.vet(target)
            if refused is not None:
                return refused, Echo.NO_ANSWER, None, None
            return Unreachable(Reason.NOT_SENT, "this host is trusted: no challenge was sent", Phase.DNS), Echo.TRUSTED_HOST, None, None
        headers, body = rules.request_parts(token)
        request = Outgoing(target=target, headers=headers, body=body, limits=LIMITS)
        work = await self._store.work(challenge.account_id, challenge.webhook_id, now=self._store.clock.now())
        if work.webhook.auth_method is not AuthMethod.MTLS:
            outcome = await self._transport.send(request)
            return outcome, rules.judge_echo(outcome, token), None, None
        # A receiver that asks for certificates could not be proven without one, and a certificate is no secret.
        outcome = await self._certified(request, work, work.credential_id, work.credential)
        instead = self._deliverer.fallback(work, outcome, self._store.clock.now())
        if instead is None:
            return outcome, rules.judge_echo(outcome, token), work.credential_id, None
        outcome = await self._certified(request, work, instead.credential_id, instead.credential)
        return outcome, rules.judge_echo(outcome, token), instead.credential_id, instead.note

    async def _certified(self, request: Outgoing, work: Work, certificate_id: str | None, sealed: Sealed | None) -> Outcome:
        webhook, now = work.webhook, self._store.clock.now()
        identity = self._deliverer.identities.of(webhook.account_id, webhook.id, certificate_id, sealed, now)
        if isinstance(identity, Unreachable):
            return identity
        return await self._transport.send(replace(request, identity=identity))

    async def close(self) -> None:
        """Ends what still runs; the webhooks stay pending, and the handshake can be asked for again."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
