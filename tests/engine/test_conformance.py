"""A receiver under trial: a good one passes, a sloppy one is told what each of its habits will cost."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gridhook.clock import SystemClock
from gridhook.config import Settings
from gridhook.engine.conformance import SLOW_SECONDS, Finding, Mark, examine
from gridhook.rules.catalogue import check_data
from gridhook.rules.signatures import new_key
from gridhook.testing import Answer, Received, Receiver, Reply, echo
from gridhook.transport import open_transport
from gridhook.transport.wire import Transport
from tests.transport.certificates import Authority

KEY = "the-receivers-own-key"
OK = Reply(200, (), b'{"received": true}')
DELIVERIES = {
    "delivery",
    "duplicate",
    "twice_at_once",
    "out_of_order",
    "unknown_type",
    "unknown_members",
    "test_event",
    "foreign_text",
    "large",
}

Tried = Callable[..., Awaitable[dict[str, Finding]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=str(tmp_path), allow_networks=("127.0.0.0/8",), dns_servers=("127.0.0.1#9",))


@pytest.fixture
async def transport(settings: Settings) -> AsyncIterator[Transport]:
    opened = open_transport(settings)
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def tried(transport: Transport, settings: Settings) -> Tried:
    async def tried(
        receiver: Receiver, signing_key: str | None = None, slow_seconds: float = SLOW_SECONDS, **changes: object
    ) -> dict[str, Finding]:
        target = transport.parse(receiver.url)
        running = examine(
            transport,
            target,
            private_key=KEY,
            signing_key=signing_key,
            settings=settings.replace(**changes),
            clock=SystemClock(),
            slow_seconds=slow_seconds,
        )
        return {finding.probe: finding async for finding in running}

    return tried


def checks_the_key(then: Answer = lambda request: OK) -> Answer:
    return lambda request: then(request) if request.header("authorization") == f"Bearer {KEY}" else Reply(401)


def marks(findings: dict[str, Finding], mark: Mark) -> set[str]:
    return {name for name, finding in findings.items() if finding.mark is mark}


async def test_a_good_receiver_passes_and_got_what_a_real_sender_sends(tried):
    async with Receiver(checks_the_key()) as receiver:
        found = await tried(receiver)
        assert marks(found, Mark.PASS) == found.keys() - {"connections", "encryption"}
        assert all(not finding.advice for finding in found.values())
        handshakes = {request.challenge for request in receiver.handshakes}
        assert len(handshakes) == len(receiver.handshakes) == 2
        assert all(request.header("authorization") is None for request in receiver.handshakes)
        taken = [request for request in receiver.deliveries if request.header("authorization") == f"Bearer {KEY}"]
        assert {request.header("content-type") for request in taken} == {"application/cloudevents+json"}
        assert {request.header("user-agent") for request in taken} == {"AccessGrid-Webhooks/1.0"}
        assert taken[0].body == taken[1].body
        assert len({request.event_id for request in taken}) == len(taken) - 2  # the repeat, and the one that is sent twice at once
        assert max(len(request.body) for request in taken) == 200 * 1024
        for request in taken:
            event = request.json()
            assert event["specversion"] == "1.0"
            if event["type"].startswith("ag.access_pass"):
                check_data(event["type"], event["data"])
        assert [event["source"] for event in map(Received.json, taken) if event.get("test") is True] == ["/accessgrid/test"]
        assert "\U0001f3ab".encode() in b"".join(request.body for request in taken)


async def test_a_receiver_that_takes_any_key_fails_for_it(tried):
    async with Receiver() as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"wrong_key", "no_key"}
    assert "anyone who knows the URL can post events" in found["no_key"].advice


async def test_an_answer_of_204_fails_every_delivery_and_says_so_once(tried):
    async with Receiver(checks_the_key(lambda request: Reply(204))) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == DELIVERIES
    assert "200 or 201" in found["delivery"].advice
    assert all(found[name].advice.startswith("As with the plain delivery") for name in DELIVERIES - {"delivery"})


async def test_a_repeat_that_is_called_a_conflict_fails_alone_and_at_once(tried):
    seen: set[str | None] = set()

    def conflicts(request: Received) -> Reply:
        known = request.event_id in seen
        seen.add(request.event_id)
        return Reply(409 if known else 201)

    async with Receiver(checks_the_key(conflicts)) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"duplicate", "twice_at_once"}
    assert "A repeat is no error" in found["duplicate"].advice
    assert "ON CONFLICT" in found["twice_at_once"].advice


async def test_a_strict_receiver_is_told_that_types_members_and_tests_will_come(tried):
    def strict(request: Received) -> Reply:
        event = request.json()
        known = event["type"].startswith("ag.access_pass.") and "added_later" not in event["data"] and "test" not in event
        return OK if known and request.body.isascii() and len(request.body) < 100_000 else Reply(422)

    async with Receiver(checks_the_key(strict)) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"unknown_type", "unknown_members", "test_event", "foreign_text", "large"}
    assert "Types are added" in found["unknown_type"].advice
    assert "utf8mb4" in found["foreign_text"].advice


@pytest.mark.parametrize(
    ("handshake", "failed", "advice"),
    [
        (lambda request: Reply(200, (), b"ok"), {"handshake", "another_handshake"}, "no complete JSON object"),
        (lambda request: Reply(401), {"handshake", "another_handshake"}, "before checking the key"),
        (lambda request: Reply(201, (), echo(request).body), {"handshake", "another_handshake"}, "exactly 200"),
    ],
)
async def test_a_handshake_that_a_sender_would_not_accept_fails(tried, handshake, failed, advice):
    async with Receiver(checks_the_key(), handshake=handshake) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == failed
    assert advice in found["handshake"].advice


async def test_an_echo_that_is_cached_passes_the_first_handshake_and_fails_the_second(tried):
    first: list[Reply] = []

    def cached(request: Received) -> Reply:
        first.append(echo(request))
        return first[0]

    async with Receiver(checks_the_key(), handshake=cached) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"another_handshake"}
    assert "caches" in found["another_handshake"].advice


async def test_a_receiver_that_repeats_what_it_is_sent_is_told_that_it_consents_to_everyone(tried):
    async with Receiver(lambda request: Reply(200, (), request.body)) as receiver:
        found = await tried(receiver)
    assert found["body_alone"].mark is Mark.NOTE
    assert "consents" in found["body_alone"].advice


async def test_a_refusal_other_than_401_is_a_warning(tried):
    async with Receiver(lambda request: OK if request.header("authorization") == f"Bearer {KEY}" else Reply(500)) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.WARN) == {"wrong_key", "no_key"}
    assert "answer 401" in found["wrong_key"].advice


async def test_a_slow_receiver_is_warned(tried):
    async with Receiver(checks_the_key()) as receiver:
        found = await tried(receiver, slow_seconds=0.0)
    assert marks(found, Mark.WARN) == {*DELIVERIES, "answer_time"}
    assert "work afterwards" in found["answer_time"].advice


async def test_a_receiver_that_never_answers_fails_at_the_limit_and_is_not_tried_on_and_on(tried):
    async with Receiver(checks_the_key(lambda request: Reply(hang=True))) as receiver:
        found = await tried(receiver, attempt_seconds=0.3, connect_seconds=0.3)
        assert receiver.count == 2  # the challenge in the body alone, and the delivery
    assert found["delivery"].mark is Mark.FAIL
    assert "timeout" in found["delivery"].came_back
    assert "got no answer" in found["duplicate"].advice
    assert marks(found, Mark.SKIPPED) == {*DELIVERIES - {"delivery"}, "wrong_key", "no_key", "answer_time"}


async def test_nobody_at_the_port_is_said_once(tried):
    async with Receiver() as receiver:
        pass
    found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"handshake"}
    assert "connect_refused" in found["handshake"].came_back


async def test_a_receiver_with_another_key_is_not_called_sloppy_for_it(tried):
    async with Receiver(lambda request: Reply(401)) as receiver:
        found = await tried(receiver)
    assert marks(found, Mark.FAIL) == {"delivery"}
    assert "the very key" in found["duplicate"].advice


async def test_the_key_is_not_in_the_report_even_if_the_receiver_repeats_it(tried):
    async with Receiver(lambda request: Reply(200, (), (request.header("authorization") or "").encode())) as receiver:
        found = await tried(receiver)
    assert "Bearer ***" in found["delivery"].came_back
    assert KEY not in json.dumps([finding.shown() for finding in found.values()])


async def test_what_a_receiver_answers_cannot_touch_a_terminal(tried):
    async with Receiver(lambda request: Reply(200, (), b"\x1b]0;owned\x07\xe2\x80\xae\n\r\x00")) as receiver:
        found = await tried(receiver)
    for finding in found.values():
        assert all(str(text).isprintable() and str(text).isascii() for text in finding.shown().values())


async def test_signatures_are_tried_with_a_receiver_that_has_a_signing_key(tried):
    signing_key = new_key(bytes(range(32)))

    def verifies(request: Received) -> Reply:
        id, at, given = (request.header(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
        if id is None or at is None or abs(SystemClock().now() // 1000 - int(at)) > 300:
            return Reply(401)
        secret = base64.b64decode(signing_key.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.digest(secret, f"{id}.{at}.".encode() + request.body, "sha256")).decode()
        return OK if given == f"v1,{signature}" else Reply(401)

    async with Receiver(checks_the_key(verifies)) as receiver:
        found = await tried(receiver, signing_key)
    assert {"no_signature", "foreign_signature", "old_signature", *DELIVERIES} <= marks(found, Mark.PASS)
    async with Receiver(checks_the_key()) as receiver:
        found = await tried(receiver, signing_key)
    assert marks(found, Mark.FAIL) == {"no_signature", "foreign_signature", "old_signature"}


async def test_over_https_a_certificate_of_no_known_issuer_is_the_only_failure_and_nothing_else_is_tried(settings, tmp_path):
    ours, other = Authority(tmp_path), Authority(tmp_path, "Other Root")
    async with Receiver(checks_the_key(), tls=ours.leaf("127.0.0.1").server()) as receiver:
        for known, failed, encryption in ((ours, set(), Mark.PASS), (other, {"handshake"}, Mark.SKIPPED)):
            transport = open_transport(settings.replace(ca_file=str(known.path)))
            await transport.start()
            running = examine(transport, transport.parse(receiver.url), private_key=KEY, settings=settings, clock=SystemClock())
            found = {finding.probe: finding async for finding in running}
            await transport.close()
            assert marks(found, Mark.FAIL) == failed
            assert found["encryption"].mark is encryption
    assert "public CA" in found["handshake"].advice
    assert found["delivery"].mark is Mark.SKIPPED


async def test_a_trusted_host_is_spared_the_handshake_as_by_the_sender(tried):
    async with Receiver(checks_the_key(), handshake=lambda request: Reply(500)) as receiver:
        found = await tried(receiver, trusted_hosts=("127.0.0.1",))
        assert receiver.handshakes == []
    assert marks(found, Mark.FAIL) == set()
    assert found["handshake"].mark is Mark.NOTE


async def test_a_key_that_no_header_may_carry_is_refused_before_anything_is_sent(transport, settings):
    async with Receiver() as receiver:
        running = examine(transport, transport.parse(receiver.url), private_key="a b\r\nX: y", settings=settings, clock=SystemClock())
        with pytest.raises(ValueError, match="no header may carry"):
            await anext(running)
        assert receiver.connections == 0
