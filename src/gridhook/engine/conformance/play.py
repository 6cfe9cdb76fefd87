"""The sender's part in a trial: builds the requests as the road does, sends them, puts into words what was sent and what came back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine.conformance.findings import Mark, Result
from gridhook.engine.terms import terms_from
from gridhook.engine.verification import LIMITS as HANDSHAKE_LIMITS
from gridhook.model import Answered, Attempt, AttemptKind, Instant, Outcome, Unreachable
from gridhook.rules import challenge, cloudevents, ids
from gridhook.rules.addresses import Target
from gridhook.rules.diagnosis import Diagnosis, diagnose
from gridhook.rules.header_fields import printable
from gridhook.rules.requests import delivery_headers
from gridhook.rules.samples import sample
from gridhook.rules.signatures import signature_headers
from gridhook.transport.wire import Limits, Outgoing, Transport

TYPE = "ag.access_pass.issued"
SHOWN_BYTES = 120  # of an answer's body
ACCOUNT = "conformance"  # goes into no request

PURPOSE = "conformance trial"  # in the metadata of the pass, by which the events of a trial can be found again
SEED = "conformance"  # one pass, one person, in all events of all trials
_ID = msgspec.json.Decoder(dict[str, Any])

Headers = tuple[tuple[str, str], ...]


class Play:
    """One trial of one receiver. `hopeless`: why the probes that need a receiver who takes deliveries are passed over; "" when not."""

    def __init__(
        self,
        transport: Transport,
        target: Target,
        *,
        private_key: str,
        signing_key: str | None,
        settings: Settings,
        clock: Clock,
        slow_seconds: float,
        entropy: Callable[[int], bytes],
    ) -> None:
        """Raises ValueError as `check_keys` does."""
        check_keys(private_key, signing_key)
        self.target = target
        self.private_key = private_key
        self.signing_key = signing_key
        self.settings = settings
        self.clock = clock
        self.slow_seconds = slow_seconds
        self.hopeless = ""
        self.delivered: bytes = b""  # the plain delivery, for its repeat
        self.failed_with = ""  # what the plain delivery failed with: a probe that fails alike says nothing of its own matter
        self.outcomes: list[Outcome] = []  # of all requests, in order
        self.accepted_ms: list[float] = []  # what each accepted delivery took
        self._entropy = entropy
        self._transport = transport
        self._limits = Limits(connect_seconds=settings.connect_seconds, total_seconds=settings.attempt_seconds)

    # --- what is sent -------------------------------------------------------------------------------------------

    def new_token(self) -> str:
        return challenge.new_token(self._entropy(challenge.TOKEN_BYTES))

    def new_key(self) -> str:
        """A key of the right kind that is not the receiver's."""
        return ids.secret_text(self._entropy(ids.SECRET_BYTES))

    def sample(self) -> dict[str, Any]:
        """Valid, invented data of TYPE."""
        # In ASCII, so that only the probe that is about other text fails for it.
        return sample(TYPE, seed=SEED, now=self.clock.now()) | {"full_name": "Dana Whitfield", "metadata": {"purpose": PURPOSE}}

    def payload(self, data: dict[str, Any] | None = None, *, time_at: Instant | None = None) -> bytes:
        """A new event of TYPE as every receiver of it would get it."""
        now = self.clock.now()
        accepted = cloudevents.accept(
            cloudevents.Draft(TYPE, self.sample() if data is None else data, None, time_at),
            ACCOUNT,
            self._new_id(now),
            now,
            terms_from(self.settings),
        )
        return accepted.payload

    def altered(self, **members: object) -> bytes:
        """A new event with other members in its envelope."""
        return msgspec.json.encode(msgspec.json.decode(self.payload()) | members)

    async def handshake(self, token: str) -> Outcome:
        headers, body = challenge.request_parts(token)
        return await self.post(headers, body, HANDSHAKE_LIMITS)

    def test_payload(self) -> bytes:
        """A new event as Send Test makes it."""
        now = self.clock.now()
        event = cloudevents.synthetic_event(
            TYPE, self.sample(), account_id=ACCOUNT, id=self._new_id(now), now=now, base_url=self.settings.base_url
        )
        return event.payload

    def signature(self, payload: bytes, *, age_ms: int = 0) -> Headers:
        """Of the payload, made now or that long ago; none without a signing key."""
        if self.signing_key is None:
            return ()
        return signature_headers((self.signing_key,), _ID.decode(payload)["id"], (self.clock.now() - age_ms) // 1000, payload)

    async def deliver(self, payload: bytes, key: str | None, signature: Headers | None = None) -> Outcome:
        """`signature` None: the one that belongs to the payload."""
        signed = self.signature(payload) if signature is None else signature
        return await self.post((*delivery_headers(key), *signed), payload, self._limits)

    def _new_id(self, now: Instant) -> str:
        return ids.uuid7(now, self._entropy(ids.UUID_BYTES))

    async def post(self, headers: Headers, body: bytes, limits: Limits) -> Outcome:
        outcome = await self._transport.send(Outgoing(target=self.target, headers=headers, body=body, limits=limits))
        self.outcomes.append(outcome)
        return outcome

    # --- in words -----------------------------------------------------------------------------------------------

    def said(self, outcome: Outcome) -> str:
        """What came back: status, time, the beginning of the body. Printable ASCII, without the key if the receiver repeats it."""
        took = f"{took_ms(outcome):.0f} ms"
        if outcome.exchange.reconnects:
            took += ", sent twice because the kept connection was closed without an answer"
        if isinstance(outcome, Unreachable):
            return printable(f"no answer after {took}: {outcome.reason} ({outcome.detail})".encode("utf-8", "replace"), 300)
        body = outcome.body.replace(self.private_key.encode(), b"***")
        return f"{outcome.status} in {took}" + (f": {printable(body, SHOWN_BYTES)}" if body else ", no body")

    def judged(self, sent: str, outcome: Outcome, *, why: str = "") -> Result:
        """Of a delivery that must be taken: 200 or 201, in good time. `why`: what to do when just this one was not."""
        remedy = explained(outcome).remedy
        took = took_ms(outcome)
        if not isinstance(outcome, Answered) or outcome.status not in (200, 201):
            advice = f"As with the plain delivery: {remedy}" if kind_of(outcome) == self.failed_with else f"{why} {remedy}".strip()
            return Result(Mark.FAIL, sent, self.said(outcome), advice, took)
        self.accepted_ms.append(took)
        if took > self.slow_seconds * 1000:
            return Result(Mark.WARN, sent, self.said(outcome), self.too_slow(), took)
        return Result(Mark.PASS, sent, self.said(outcome), "", took)

    def too_slow(self) -> str:
        limit = self.settings.attempt_seconds
        return f"Store the event, answer, work afterwards: an answer that takes longer than {limit:g} s is none, and the event comes again."


def check_keys(private_key: str, signing_key: str | None) -> None:
    """Raises ValueError, without a key in its text, for a Private Key that no header may carry or a signing key that is none of ours."""
    delivery_headers(private_key)
    if signing_key is not None:
        signature_headers((signing_key,), "id", 0, b"")


def explained(outcome: Outcome) -> Diagnosis:
    """As the attempts log would explain it."""
    return diagnose(_attempt(outcome))


def explained_handshake(outcome: Outcome, token: str) -> Diagnosis:
    return diagnose(msgspec.structs.replace(_attempt(outcome), kind=AttemptKind.VERIFICATION, echo=challenge.judge_echo(outcome, token)))


def kind_of(outcome: Outcome) -> str:
    """Its status, or the reason why there is none."""
    return str(outcome.status) if isinstance(outcome, Answered) else outcome.reason.value


def took_ms(outcome: Outcome) -> float:
    return outcome.exchange.timings.total_us / 1000


def _attempt(outcome: Outcome) -> Attempt:
    return Attempt(account_id=ACCOUNT, webhook_id=ACCOUNT, kind=AttemptKind.DELIVERY, number=1, started_at=0, outcome=outcome)
