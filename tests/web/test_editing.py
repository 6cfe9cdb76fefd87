"""One webhook in whole, and its edits: who changes what, and what that does to deliveries."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gridhook.testing import Receiver, Reply
from tests.web.world import LOW, Answer, World, running

HOOKS = "/v1/console/webhooks"
URL = "http://127.0.0.1:18009/h"


async def patch(world: World, webhook_id: str, body: object, **headers: str) -> Answer:
    return await world.signed("PATCH", f"{HOOKS}/{webhook_id}", json.dumps(body).encode(), headers=headers)


async def shown(world: World, webhook_id: str) -> dict[str, Any]:
    answer = await world.signed("GET", f"{HOOKS}/{webhook_id}")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()
    return found


async def test_a_webhook_is_renamed_and_resubscribed_without_being_proven_again(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        answer = await patch(world, created["id"], {"name": " Staging ", "subscribed_events": ["ag.access_pass.issued"]})
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    changed = answer.json()
    assert (changed["name"], changed["subscribed_events"], changed["status"]) == ("Staging", ["ag.access_pass.issued"], "verified")
    assert (changed["revision"], changed["url"]) == (2, created["url"])
    assert changed == await shown(world, created["id"]) | {"lane": changed["lane"]}


async def test_limits_and_headers_are_set_one_by_one_and_taken_away_with_null(world):
    created = await world.create(URL)
    await patch(world, created["id"], {"max_in_flight": 4, "rate_per_second": 2.5, "headers": {"X-A": "1", "X-B": "2"}})
    changed = (await patch(world, created["id"], {"max_in_flight": None, "headers": {"X-A": None, "X-C": "3"}})).json()
    assert changed["limits"] == {"max_in_flight": None, "rate_per_second": 2.5}
    assert changed["headers"] == {"X-B": "***", "X-C": "***"}
    assert (await patch(world, created["id"], {"headers": None})).json()["headers"] == {}


async def test_limits_and_headers_can_be_given_when_a_webhook_is_made(world):
    body = {"name": "Prod", "url": URL, "subscribed_events": [LOW["type"]], "max_in_flight": 3, "headers": {"X-A": "1"}, "newer": True}
    created = (await world.signed("POST", HOOKS, json.dumps(body).encode())).json()
    found = await shown(world, created["id"])
    assert (found["limits"], found["headers"]) == ({"max_in_flight": 3, "rate_per_second": None}, {"X-A": "***"})


async def test_another_url_gets_nothing_before_it_is_proven(world):
    async with Receiver() as old, Receiver(handshake=lambda request: Reply(500)) as new:
        created = await world.create(old.url)
        await world.verified(created["id"])
        changed = (await patch(world, created["id"], {"url": new.url})).json()
        assert (changed["status"], changed["url"], changed["verified_at"]) == ("pending", new.url, None)
        await new.shaken(1)
        await world.publish(LOW)
        assert (await shown(world, created["id"]))["deliveries"]["held"] == 1
        new.handshake = None  # answered like a delivery: with 200, and no echo
        (listed,) = (await world.signed("GET", HOOKS)).json()["webhooks"]
        assert (listed["held"]["count"], listed["held"]["expires_at"] is None) == (1, False)
        assert (old.count, new.count) == (0, 0)
    async with Receiver(port=new.port):
        await world.signed("POST", f"{HOOKS}/{created['id']}/verify")
        await world.verified(created["id"])
        kinds = [attempt["kind"] for attempt in await world.attempts(created["id"], 4)]
    assert sorted(kinds) == ["delivery", "verification", "verification", "verification"]


async def test_of_two_people_who_edit_the_same_state_the_second_is_told_and_changes_nothing(world):
    created = await world.create(URL)
    seen = (await world.signed("GET", f"{HOOKS}/{created['id']}")).headers["etag"]
    assert (await patch(world, created["id"], {"name": "Anna's"}, If_Match=seen)).status == 200
    late = await patch(world, created["id"], {"name": "Ben's"}, If_Match=seen)
    assert (late.status, late.json()["type"]) == (412, "urn:gridhook:problem:stale")
    assert "read it again" in late.message
    assert (await shown(world, created["id"]))["name"] == "Anna's"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        (' "7" , "1",, ', 200),
        ('"2"', 412),
        ('W/"1"', 412),
        ('""', 412),
        ('"01"', 412),
        ('W/"1", "9"', 412),
        ("1", 422),
        ('"1', 422),
        ('"1" "2"', 422),
        ("", 422),
    ],
)
async def test_if_match_is_read_as_http_says_and_compared_strongly(world, condition, status):
    created = await world.create(URL)
    answer = await patch(world, created["id"], {"name": "New"}, If_Match=condition)
    assert answer.status == status, answer
    assert (await shown(world, created["id"]))["name"] == ("New" if status == 200 else "Prod")
    if status == 422:
        assert answer.json()["field"] == "If-Match"


async def test_twenty_edits_at_once_against_the_same_state_are_one_edit(world):
    created = await world.create(URL)
    answers = await asyncio.gather(*(patch(world, created["id"], {"name": f"No {n}"}, If_Match='"1"') for n in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 19
    assert (await shown(world, created["id"]))["revision"] == 2


WRONG = {
    "a member that is none": ({"nmae": "x"}, "nmae", "there are name, url"),
    "a member that cannot be changed": ({"id": "wh_1"}, "id", "is no member here"),
    "no name": ({"name": None}, "name", "must be a string, not null"),
    "a blank name": ({"name": " "}, "name", "is required"),
    "a url that is a number": ({"url": 1}, "url", "must be a string"),
    "a url to a private address": ({"url": "http://10.0.0.1/"}, "url", "10.0.0.1"),
    "events as text": ({"subscribed_events": "x"}, "subscribed_events", "must be an array, not a string"),
    "an event that is null": ({"subscribed_events": [None]}, "subscribed_events", "entry 0 must be a string"),
    "an unknown event": ({"subscribed_events": ["ag.nope"]}, "subscribed_events", "Invalid event name"),
    "half a request in flight": ({"max_in_flight": 0.5}, "max_in_flight", "must be a whole number or null"),
    "no request in flight": ({"max_in_flight": 0}, "max_in_flight", "pause the webhook"),
    "a rate that is true": ({"rate_per_second": True}, "rate_per_second", "must be a number or null"),
    "headers as a list": ({"headers": []}, "headers", "must be an object or null"),
    "a header that is a number": ({"headers": {"X-A": 1}}, "headers/X-A", "must be a string"),
    "a header that is not theirs": ({"headers": {"Authorization": "x"}}, "headers/Authorization", "Private Key"),
    "one good change and one bad": ({"name": "Good", "url": "nope"}, "url", ""),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_change_that_cannot_be_is_422_naming_the_field_and_the_remedy_and_changes_nothing(world, case):
    body, field, words = WRONG[case]
    created = await world.create(URL)
    before = await shown(world, created["id"])
    answer = await patch(world, created["id"], body)
    assert (answer.status, answer.json()["field"]) == (422, field), answer
    assert words in answer.message
    assert await shown(world, created["id"]) == before | {"health": before["health"], "lane": before["lane"]}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"name":"a","name":"b"}', b"\xff"])
async def test_a_change_that_is_no_json_object_is_400(world, body):
    created = await world.create(URL)
    assert (await world.signed("PATCH", f"{HOOKS}/{created['id']}", body)).status == 400


async def test_a_pause_holds_what_comes_and_resuming_lets_it_go(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        one = f"{HOOKS}/{created['id']}"
        for _ in range(2):
            paused = await world.signed("POST", f"{one}/pause")
            assert (paused.status, paused.json()["paused_at"] is None) == (200, False)
        for _ in range(3):
            await world.publish(LOW)
        waiting = (await shown(world, created["id"]))["deliveries"]
        assert (waiting["held"], waiting["queued"], waiting["held_expires_at"] is None) == (3, 0, False)
        (listed,) = (await world.signed("GET", HOOKS)).json()["webhooks"]
        assert (listed["paused_at"] is None, listed["held"]["count"]) == (False, 3)
        assert (await world.signed("POST", f"{one}/test", b'{"type":"ag.access_pass.issued"}')).status == 200
        assert receiver.count == 1
        resumed = (await world.signed("POST", f"{one}/resume")).json()
        assert (resumed["paused_at"], resumed["status"]) == (None, "verified")
        await receiver.received(4)
        await world.attempts(created["id"], 5)
    health = (await shown(world, created["id"]))["health"]
    assert (health["succeeded"], health["hour"]["success_rate"], health["failing_since"]) == (3, 1.0, None)
    assert health["hour"]["latency_ms"]["p95"] > 0


async def test_an_account_that_calls_too_fast_is_429_with_a_time_to_wait_and_its_neighbour_is_not(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, api_per_second=1) as world:
        answers = [await world.signed("GET", HOOKS) for _ in range(5)]
        assert (answers[0].status, answers[-1].status) == (200, 429)
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert answers[-1].json()["type"] == "urn:gridhook:problem:too-many"
        assert (await world.signed("GET", HOOKS, tenant=world.theirs)).status == 200
        # A stranger who only knows the account's id cannot use up its calls.
        strangers = [await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", X_ACCT_ID=world.theirs.account_id) for _ in range(5)]
        assert {answer.status for answer in strangers} == {401}
        assert (await world.signed("GET", HOOKS, tenant=world.theirs)).status == 200


async def test_a_caller_may_sign_the_last_segment_of_any_path_as_generic_clients_do(world):
    created = await world.create(URL)
    below = {
        "attempt_id": "1",
        "delivery_id": "1",
        "recovery_id": "rec_1",
        "key_id": "cred_1",
        "certificate_id": "crt_1",
        "event_id": "evt%2F1",
    }
    tried = 0
    for route in world.web.routes.api:
        if route.path.startswith("/v1/console/"):
            path = route.path.format(**below, webhook_id=created["id"])
            last = path.rsplit("/", 1)[1]
            for method in sorted(set(route.handlers) - {"DELETE"}):
                answer = await world.signed(method, path, payload=json.dumps({"id": last}))
                assert answer.status != 401, (method, path)
                refused = await world.signed(method, path, payload=json.dumps({"id": "wh_another"}))
                assert refused.status == 401, (method, path)
                tried += 1
    assert tried >= 20


async def test_a_webhook_is_not_deleted_when_somebody_changed_it_since_it_was_seen(world):
    created = await world.create(URL)
    one = f"{HOOKS}/{created['id']}"
    assert (await patch(world, created["id"], {"name": "Anna's"})).status == 200
    late = await world.signed("DELETE", one, headers={"If_Match": '"1"'})
    assert (late.status, late.json()["type"]) == (412, "urn:gridhook:problem:stale")
    assert (await world.signed("DELETE", one, headers={"If_Match": '"2"'})).status == 204
