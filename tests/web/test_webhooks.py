"""The webhook routes: pages, refusals, one webhook, and its attempts."""

from __future__ import annotations

import asyncio
import json

import pytest

from gridhook.testing import Receiver, Reply
from tests.web.world import LOW, World, running

HOOKS = "/v1/console/webhooks"
URL = "http://127.0.0.1:18009/h"
WANTED = {"name": "Prod", "url": URL, "subscribed_events": ["ag.access_pass.issued"]}


async def test_an_empty_list_has_no_pages(world):
    answer = await world.signed("GET", HOOKS)
    assert answer.json() == {"webhooks": [], "pagination": {"current_page": 1, "per_page": 50, "total_pages": 0, "total_count": 0}}


@pytest.mark.parametrize(
    ("query", "page", "per_page"),
    [
        ("page=2&per_page=1", 2, 1),
        ("page=0&per_page=0", 1, 1),
        ("page=-3&per_page=-3", 1, 1),
        ("per_page=1000", 1, 100),
        ("page=two&per_page=%C2%B2", 1, 50),
        ("page=&per_page=", 1, 50),
        ("page=999999999999999999999999", 1, 50),
        ("page=999999999", 1_000_000, 50),
        ("page=%ff%00", 1, 50),
    ],
)
async def test_page_numbers_out_of_range_are_taken_as_the_nearest_and_nonsense_as_absent(world, query, page, per_page):
    for _ in range(2):
        await world.create(URL)
    pagination = (await world.signed("GET", HOOKS, query=query)).json()["pagination"]
    assert (pagination["current_page"], pagination["per_page"], pagination["total_count"]) == (page, per_page, 2)


WRONG = {
    "no name": ({**WANTED, "name": None}, "name"),
    "a blank name": ({**WANTED, "name": "  "}, "name"),
    "a name that is a number": ({**WANTED, "name": 7}, "name"),
    "a name without end": ({**WANTED, "name": "x" * 121}, "name"),
    "a name with a line break": ({**WANTED, "name": "a\nb"}, "name"),
    "no url": ({"name": "Prod", "subscribed_events": ["ag.access_pass.issued"]}, "url"),
    "a url that is an object": ({**WANTED, "url": {}}, "url"),
    "a url that is none": ({**WANTED, "url": "example"}, "url"),
    "a url to a private address": ({**WANTED, "url": "http://10.0.0.1/"}, "url"),
    "a url to the metadata service": ({**WANTED, "url": "http://169.254.169.254/latest"}, "url"),
    "no events": ({**WANTED, "subscribed_events": []}, "subscribed_events"),
    "events left out": ({"name": "Prod", "url": URL}, "subscribed_events"),
    "events as text": ({**WANTED, "subscribed_events": "ag.access_pass.issued"}, "subscribed_events"),
    "an event that is null": ({**WANTED, "subscribed_events": [None]}, "subscribed_events"),
    "an event that is a list": ({**WANTED, "subscribed_events": [["ag.access_pass.issued"]]}, "subscribed_events"),
    "an unknown event": ({**WANTED, "subscribed_events": ["ag.access_pass.installed"]}, "subscribed_events"),
    "another auth method": ({**WANTED, "auth_method": "basic"}, "auth_method"),
    "an auth method that is a list": ({**WANTED, "auth_method": ["mtls"]}, "auth_method"),
    "mtls without TLS": ({**WANTED, "auth_method": "mtls"}, "url"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_webhook_that_cannot_be_is_422_naming_the_field(world, case):
    wanted, where = WRONG[case]
    answer = await world.signed("POST", HOOKS, json.dumps(wanted).encode())
    assert (answer.status, answer.json()["field"]) == (422, where), answer
    assert (await world.signed("GET", HOOKS)).json()["webhooks"] == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b"null", b'{"name": "\\ud800"}', b'{"name":"a","name":"b"}', b"\xff\xfe", b"[" * 5000]
)
async def test_a_body_that_is_no_json_object_is_400(world, body):
    answer = await world.signed("POST", HOOKS, body)
    assert answer.status == 400, answer


async def test_a_webhook_that_presents_a_certificate_shows_it_once_and_always_when_it_runs_out(world):
    wanted = {**WANTED, "url": URL.replace("http:", "https:"), "auth_method": "mtls"}
    created = (await world.signed("POST", HOOKS, json.dumps(wanted).encode())).json()
    assert "private_key" not in created
    assert created["client_cert"].startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in created["client_cert"]
    await world.create(URL)
    bearer, mtls = (await world.signed("GET", HOOKS)).json()["webhooks"]
    shown = (await world.signed("GET", f"{HOOKS}/{created['id']}")).json()
    assert {row.get("cert_expires_at") for row in (created, mtls, shown)} == {created["cert_expires_at"]}
    assert ("cert_expires_at" in bearer, "client_cert" in mtls, "client_cert" in shown) == (False, False, False)
    assert (await world.signed("POST", f"{HOOKS}/{created['id']}/private-key")).status == 409


async def test_repeated_events_are_kept_once_and_in_order(world):
    events = ["ag.card_template.created", "ag.access_pass.issued", "ag.card_template.created"]
    answer = await world.signed("POST", HOOKS, json.dumps({**WANTED, "subscribed_events": events}).encode())
    assert answer.json()["subscribed_events"] == ["ag.card_template.created", "ag.access_pass.issued"]


async def test_a_body_over_the_limit_is_413_before_anything_is_hashed(world):
    answer = await world.send("POST", HOOKS, b" " * 65_537, X_ACCT_ID="nobody", X_PAYLOAD_SIG="0" * 64)
    assert answer.status == 413


async def test_asking_for_handshakes_too_fast_is_429_with_a_time_to_wait(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, verify_interval_seconds=60) as world:
        created = await world.create(URL)
        assert (await world.signed("POST", f"{HOOKS}/{created['id']}/verify")).status == 202
        answer = await world.signed("POST", f"{HOOKS}/{created['id']}/verify")
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 61


async def test_one_webhook_shows_what_waits_for_it(world):
    async with Receiver(handshake=lambda request: Reply(500)) as receiver:
        created = await world.create(receiver.url)
        await world.publish(LOW)
        shown = (await world.signed("GET", f"{HOOKS}/{created['id']}")).json()
    assert shown["status"] == "pending"
    assert (shown["deliveries"]["held"], shown["deliveries"]["queued"]) == (1, 0)
    assert shown["deliveries"]["oldest_expires_at"].endswith("Z")


async def attempts_of(world: World, webhook_id: str, count: int) -> list[dict[str, object]]:
    """Once so many are in the log."""
    async with asyncio.timeout(4):
        while True:
            answer = await world.signed("GET", f"{HOOKS}/{webhook_id}/attempts")
            attempts: list[dict[str, object]] = answer.json()["attempts"]
            if len(attempts) >= count:
                return attempts
            await asyncio.sleep(0.02)


async def test_the_attempts_of_a_webhook_tell_what_happened_and_what_to_do(world):
    answered = Reply(204, (("X-Which", "caf\xe9"), ("Content-Type", "text/plain")), b"")
    async with Receiver() as receiver:
        receiver.script(answered)
        created = await world.create(receiver.url + "?token=of-the-customer")
        await world.verified(created["id"])
        event = (await world.publish(LOW)).json()
        delivery, handshake = await attempts_of(world, created["id"], 2)
    assert (handshake["kind"], handshake["echo"], handshake["status"]) == ("verification", "matched", 200)
    assert (delivery["kind"], delivery["event_id"], delivery["event_type"]) == ("delivery", event["id"], LOW["type"])
    assert (delivery["number"], delivery["outcome"], delivery["status"], delivery["reason"]) == (1, "answered", 204, None)
    assert "only 200 and 201" in str(delivery["summary"])
    assert delivery["remedy"]
    assert delivery["url"] == f"{receiver.url}?***"
    assert delivery["next_attempt_at"]
    assert str(delivery["remote_address"]).startswith("127.0.0.1")
    timings, response = delivery["timings_ms"], delivery["response"]
    assert isinstance(timings, dict)
    assert timings["total"] > 0
    assert isinstance(response, dict)
    assert "x-which" in {name.lower() for name, _ in response["headers"]}
    assert (response["body"], response["encoding"], response["truncated"]) == ("", "text", False)


@pytest.mark.parametrize(
    ("body", "shown", "encoding"),
    [
        ("grüß dich\r\n\tok".encode(), "grüß dich\r\n\tok", "text"),
        (b"\xff\xfe", "//4=", "base64"),
        (b"nul \x00", "bnVsIAA=", "base64"),
        (b"\x1b[2J", "G1sySg==", "base64"),
        ("a\u202eb".encode(), "YeKArmI=", "base64"),
    ],
)
async def test_a_receivers_answer_is_shown_as_text_only_when_it_is_printable(world, body, shown, encoding):
    async with Receiver() as receiver:
        receiver.script(Reply(500, (("Content-Type", "text/plain"),), body))
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        await world.publish(LOW)
        delivery, _ = await attempts_of(world, created["id"], 2)
    response = delivery["response"]
    assert isinstance(response, dict)
    assert (response["body"], response["encoding"]) == (shown, encoding)


async def test_the_cursor_walks_the_log_once_through_and_a_forged_one_is_422(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        for _ in range(4):
            await world.publish(LOW)
        everything = [attempt["id"] for attempt in await attempts_of(world, created["id"], 5)]
    path = f"{HOOKS}/{created['id']}/attempts"
    walked, cursor = [], ""
    for _ in range(10):
        page = (await world.signed("GET", path, query=f"limit=2&cursor={cursor}")).json()
        walked += [attempt["id"] for attempt in page["attempts"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert walked == everything

    other = await world.create(URL)
    assert (await world.signed("GET", f"{HOOKS}/{other['id']}/attempts", query=f"cursor={cursor}")).status == 422
    for forged in ("x", "AAAA", cursor[:-1], cursor[:-4], cursor + "A", "%00", cursor.swapcase(), "=" * 9, "%C3%A9"):
        answer = await world.signed("GET", path, query=f"cursor={forged}")
        assert (answer.status, answer.json()["field"]) == (422, "cursor"), forged
