"""The probes: what is done to the receiver, what a robust one does, and how its answer is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

from gridhook.engine.conformance.findings import Mark, Result
from gridhook.engine.conformance.play import PURPOSE, TYPE, Play, explained, explained_handshake, kind_of, took_ms
from gridhook.engine.verification import LIMITS as HANDSHAKE_LIMITS
from gridhook.model import Answered, Echo, Outcome, Phase, Unreachable
from gridhook.rules import challenge
from gridhook.rules.requests import CLOUDEVENT, USER_AGENT

LARGE_BYTES = 200 * 1024
FOREIGN = "Zo\u00eb Nguy\u1ec5n \u674e\u5c0f\u9f8d \u0645\u0631\u062d\u0628\u0627 \U0001f3ab"
UNKNOWN_TYPE = "ag.conformance.of_a_type_added_later"

Run = Callable[[Play], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Probe:
    """`title`: what is done. `expected`: what a robust receiver does.

    needs_answers: pointless with a receiver that takes no delivery. needs_signing: only for one that checks signatures.
    """

    name: str
    title: str
    expected: str
    run: Run
    needs_answers: bool = True
    needs_signing: bool = False


async def handshake(play: Play) -> Result:
    if challenge.is_trusted_host(play.target.host, play.settings.trusted_hosts):
        return Result(Mark.NOTE, "nothing", "", "This host is trusted: the sender verifies it without a challenge.")
    result, outcome = await _handshake(play)
    if isinstance(outcome, Unreachable) and outcome.phase in (Phase.DNS, Phase.CONNECT, Phase.TLS):
        play.hopeless = "No connection came about: settle that first."
    return result


async def another_handshake(play: Play) -> Result:
    if challenge.is_trusted_host(play.target.host, play.settings.trusted_hosts):
        return Result(Mark.NOTE, "nothing", "", "This host is trusted: the sender verifies it without a challenge.")
    return (await _handshake(play))[0]


async def _handshake(play: Play) -> tuple[Result, Outcome]:
    token = play.new_token()
    outcome = await play.handshake(token)
    sent = f"POST, a challenge in {challenge.HEADER} and in the body, no Authorization"
    matched = challenge.judge_echo(outcome, token) is Echo.MATCHED
    words = explained_handshake(outcome, token)
    advice = words.remedy if isinstance(outcome, Unreachable) else f"{words.summary}. {words.remedy}"
    return Result(Mark.PASS if matched else Mark.FAIL, sent, play.said(outcome), "" if matched else advice, took_ms(outcome)), outcome


async def body_alone(play: Play) -> Result:
    token = play.new_token()
    headers, body = challenge.request_parts(token)
    without = tuple((name, value) for name, value in headers if name != challenge.HEADER)
    outcome = await play.post(without, body, HANDSHAKE_LIMITS)
    sent = f"POST, a challenge in the body alone, without {challenge.HEADER}, no Authorization"
    if challenge.judge_echo(outcome, token) is Echo.MATCHED:
        advice = (
            f"It repeats what it is sent, so it consents to whoever asks. Echo only when {challenge.HEADER} is there, and from that header."
        )
        return Result(Mark.NOTE, sent, play.said(outcome), advice, took_ms(outcome))
    return Result(Mark.PASS, sent, play.said(outcome), "", took_ms(outcome))


async def delivery(play: Play) -> Result:
    play.delivered = play.payload()
    outcome = await play.deliver(play.delivered, play.private_key)
    if isinstance(outcome, Unreachable):
        play.hopeless = "The plain delivery got no answer: settle that first."
    elif outcome.status in (401, 403):
        play.hopeless = "The plain delivery was refused: give the very key that the receiver expects, or let it take ours."
    result = play.judged(_delivered(play.delivered), outcome)
    if result.mark is Mark.FAIL:
        play.failed_with = kind_of(outcome)
    return result


async def duplicate(play: Play) -> Result:
    outcome = await play.deliver(play.delivered, play.private_key)
    why = "A repeat is no error, it is a retry whose answer got lost: answer 200 for an id that you have, and do nothing else."
    return play.judged(f"{_delivered(play.delivered)}, the same bytes as before", outcome, why=why)


async def twice_at_once(play: Play) -> Result:
    payload = play.payload()
    outcomes = await asyncio.gather(*(play.deliver(payload, play.private_key) for _ in range(2)))
    why = "Let the database decide who is first (INSERT ... ON CONFLICT (id) DO NOTHING), and answer 200 to both."
    results = [play.judged(f"2 x {_delivered(payload)}, at the same moment", outcome, why=why) for outcome in outcomes]
    worst = max(results, key=lambda result: _GRAVITY[result.mark])
    came_back = "; ".join(result.came_back for result in results)
    return Result(worst.mark, worst.sent, came_back, worst.advice, max(map(took_ms, outcomes)))


async def out_of_order(play: Play) -> Result:
    age_ms = play.settings.retry_window_seconds * 1000 * 5 // 6
    payload = play.payload(time_at=play.clock.now() - age_ms)
    outcome = await play.deliver(payload, play.private_key)
    why = "Old events are real ones that were held or retried: take them, and compare `time` before an older one overwrites a newer one."
    return play.judged(f"{_delivered(payload)}, {age_ms // 60_000} minutes old, after newer ones of the same pass", outcome, why=why)


async def unknown_type(play: Play) -> Result:
    payload = play.altered(
        type=UNKNOWN_TYPE,
        dataschema=f"{play.settings.base_url}/schemas/webhooks/{UNKNOWN_TYPE}/1.json",
        data={"id": "0xadded", "metadata": {"purpose": PURPOSE}, "something": {"nested": [1, 2.5, None, True]}},
        addedlater="an attribute that did not exist when the receiver was written",
    )
    outcome = await play.deliver(payload, play.private_key)
    why = "Types are added: answer 200 for one that you do not handle, and ignore it. Anything else brings it back six times."
    return play.judged(f"{_delivered(payload, UNKNOWN_TYPE)} with an attribute that is new", outcome, why=why)


async def unknown_members(play: Play) -> Result:
    payload = play.payload(play.sample() | {"added_later": {"by": "a newer version", "list": [{"x": None}]}})
    outcome = await play.deliver(payload, play.private_key)
    why = "Members are added to `data` without a new version: ignore those that you do not know."
    return play.judged(f"{_delivered(payload)} with a member of data that is new", outcome, why=why)


async def test_event(play: Play) -> Result:
    payload = play.test_payload()
    outcome = await play.deliver(payload, play.private_key)
    why = "Send Test comes with source /accessgrid/test and test: true: answer 200, and keep it out of your real data."
    return play.judged(f"{_delivered(payload)}, source /accessgrid/test, test: true", outcome, why=why)


async def foreign_text(play: Play) -> Result:
    payload = play.payload(play.sample() | {"full_name": FOREIGN})
    outcome = await play.deliver(payload, play.private_key)
    why = "Read the body as UTF-8 and keep it in columns that hold all of Unicode (in MySQL: utf8mb4)."
    return play.judged(f"{_delivered(payload)}, with a name in four scripts and an emoji", outcome, why=why)


async def large(play: Play) -> Result:
    size = min(LARGE_BYTES, play.settings.max_event_bytes)
    empty = len(play.payload(play.sample() | {"metadata": {"purpose": PURPOSE, "padding": ""}}))
    payload = play.payload(play.sample() | {"metadata": {"purpose": PURPOSE, "padding": "x" * max(0, size - empty)}})
    outcome = await play.deliver(payload, play.private_key)
    why = (
        f"Raise the limit on request bodies, of the framework and of every proxy: events have up to {play.settings.max_event_bytes} bytes."
    )
    return play.judged(_delivered(payload), outcome, why=why)


async def wrong_key(play: Play) -> Result:
    payload = play.payload()
    outcome = await play.deliver(payload, play.new_key())
    return _refusal(play, f"{_described(payload)}, Authorization: Bearer <a made-up key>", outcome, _OPEN)


async def no_key(play: Play) -> Result:
    payload = play.payload()
    outcome = await play.deliver(payload, None)
    return _refusal(play, f"{_described(payload)}, no Authorization", outcome, _OPEN)


async def no_signature(play: Play) -> Result:
    payload = play.payload()
    outcome = await play.deliver(payload, play.private_key, ())
    return _refusal(play, f"{_delivered(payload)}, no signature", outcome, _UNSIGNED)


async def foreign_signature(play: Play) -> Result:
    payload = play.payload()
    changed = payload.replace(b'"data":{', b'"data":{"smuggled":true,', 1)
    outcome = await play.deliver(changed, play.private_key, play.signature(payload))
    return _refusal(play, f"{_delivered(changed)}, changed after it was signed", outcome, _UNSIGNED)


async def old_signature(play: Play) -> Result:
    payload = play.payload()
    outcome = await play.deliver(payload, play.private_key, play.signature(payload, age_ms=3_600_000))
    advice = "It was taken: whoever saw a request can send it again for ever. Refuse a webhook-timestamp more than 5 minutes off."
    return _refusal(play, f"{_delivered(payload)}, signed an hour ago", outcome, advice)


async def answer_time(play: Play) -> Result:
    took = play.accepted_ms
    if not took:
        return Result(Mark.SKIPPED, advice="No delivery was taken.")
    slowest = max(took)
    measured = f"of {len(took)} deliveries that were taken: median {median(took):.0f} ms, slowest {slowest:.0f} ms"
    slow = slowest > play.slow_seconds * 1000
    return Result(Mark.WARN if slow else Mark.PASS, "", measured, play.too_slow() if slow else "", slowest)


async def connections(play: Play) -> Result:
    answered = [outcome for outcome in play.outcomes if isinstance(outcome, Answered)]
    if not answered:
        return Result(Mark.SKIPPED, advice="Nothing was answered.")
    warm = sum(outcome.exchange.timings.connect_us is None for outcome in answered)
    found = f"{warm} of {len(answered)} answers came over a connection that was kept open"
    if warm or len(answered) < 2:
        return Result(Mark.NOTE, "", found)
    advice = "Keep connections open between requests (HTTP/1.1 keep-alive) for 15 s or more: a new one for each event costs both sides."
    return Result(Mark.NOTE, "", found, advice)


async def encryption(play: Play) -> Result:
    if play.target.scheme == "https":
        # A version is agreed on before the certificate is looked at: only an answer shows that it holds.
        answered = (outcome for outcome in play.outcomes if isinstance(outcome, Answered))
        versions = sorted({version for outcome in answered if (version := outcome.exchange.tls_version) is not None})
        if not versions:
            return Result(Mark.SKIPPED, advice="Nothing was answered over TLS.")
        return Result(Mark.PASS, "", f"{' and '.join(versions)}, with a certificate that holds for {play.target.host}")
    if play.target.host == "localhost" or (play.target.literal is not None and play.target.literal.is_loopback):
        return Result(Mark.NOTE, "", "plain http, on this machine")
    return Result(Mark.WARN, "", "plain http", "Use https: the key and people's data travel readable by everyone on the way.")


def _refusal(play: Play, sent: str, outcome: Outcome, advice: str) -> Result:
    """Of a delivery that must not be taken. `advice`: when it was."""
    took = took_ms(outcome)
    if isinstance(outcome, Unreachable):
        return Result(Mark.WARN, sent, play.said(outcome), f"{explained(outcome).summary}. {_NOT_401}", took)
    if outcome.status in (401, 403):
        return Result(Mark.PASS, sent, play.said(outcome), "", took)
    if outcome.status // 100 == 2:
        return Result(Mark.FAIL, sent, play.said(outcome), advice, took)
    return Result(Mark.WARN, sent, play.said(outcome), _NOT_401, took)


def _delivered(payload: bytes, type: str = TYPE) -> str:
    return f"{_described(payload, type)}, Authorization: Bearer <the key>"


def _described(payload: bytes, type: str = TYPE) -> str:
    return f"POST, {type} in {len(payload)} bytes"


_GRAVITY = {mark: gravity for gravity, mark in enumerate((Mark.SKIPPED, Mark.PASS, Mark.NOTE, Mark.WARN, Mark.FAIL))}
_OPEN = "It was taken: anyone who knows the URL can post events. Compare Authorization with the key, in constant time, else 401."
_UNSIGNED = "It was taken: whoever learns the key can post what they like. Check the signature over the body as it came, else 401."
_NOT_401 = "It was not taken, but answer 401, so that it is seen why."
_TAKEN = "Answers 200 or 201 at once."

PROBES = (
    Probe("handshake", "A handshake", "Answers 200 and the token as JSON, before any key is checked.", handshake, needs_answers=False),
    Probe(
        "another_handshake",
        "Another handshake",
        "Echoes the token of this very request: nothing in front of it is cached.",
        another_handshake,
    ),
    Probe("body_alone", "A challenge in the body alone", "Does not echo: without the header this is no handshake.", body_alone),
    Probe("delivery", "A delivery", f"{_TAKEN} The content type is {CLOUDEVENT}, the User-Agent {USER_AGENT}.", delivery),
    Probe("duplicate", "The same event again", "Answers 200 or 201 again, and does its work once.", duplicate),
    Probe("twice_at_once", "A new event twice at once", "Answers 200 or 201 to both, and does its work once.", twice_at_once),
    Probe("out_of_order", "An old event after newer ones", f"{_TAKEN} Compares `time`: order is not promised.", out_of_order),
    Probe("unknown_type", "An event of a type that does not exist yet", f"{_TAKEN} Ignores what it does not handle.", unknown_type),
    Probe("unknown_members", "An event with a member that does not exist yet", f"{_TAKEN} Ignores what it does not know.", unknown_members),
    Probe("test_event", "A test event", f"{_TAKEN} Keeps it out of real data.", test_event),
    Probe("foreign_text", "A name outside ASCII", f"{_TAKEN} Keeps it as it is.", foreign_text),
    Probe("large", "A large event", f"{_TAKEN} Takes bodies of 256 KiB.", large),
    Probe("wrong_key", "A delivery with another key", "Answers 401 and takes nothing.", wrong_key),
    Probe("no_key", "A delivery without a key", "Answers 401 and takes nothing.", no_key),
    Probe("no_signature", "A delivery without a signature", "Answers 401 and takes nothing.", no_signature, needs_signing=True),
    Probe("foreign_signature", "A delivery changed on its way", "Answers 401 and takes nothing.", foreign_signature, needs_signing=True),
    Probe("old_signature", "A delivery signed an hour ago", "Answers 401 and takes nothing.", old_signature, needs_signing=True),
    Probe("answer_time", "Time to answer", "Answers at once and works afterwards.", answer_time),
    Probe("connections", "Connections", "Keeps them open between requests.", connections, needs_answers=False),
    Probe(
        "encryption", "Encryption", "https, TLS 1.2 or 1.3, a certificate from a public CA for this name.", encryption, needs_answers=False
    ),
)
