"""Changing keys over HTTP while deliveries go on."""

from __future__ import annotations

import asyncio
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gridhook.rules.instants import rfc3339
from gridhook.testing import Receiver, Reply
from tests.web.world import LOW

HOOKS = "/v1/console/webhooks"
URL = "http://127.0.0.1:18009/h"
DAY_MS = 86_400_000


async def test_a_new_private_key_is_used_at_once_and_which_is_in_use_can_be_seen(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        issued = await world.signed("POST", f"{HOOKS}/{created['id']}/private-key")
        assert issued.status == 201
        assert issued.json().keys() == {"id", "private_key", "activates_at"}
        await world.publish(LOW)
        (delivery,) = await receiver.received(1)
    assert delivery.header("authorization") == f"Bearer {issued.json()['private_key']}" != f"Bearer {created['private_key']}"
    keys = (await world.signed("GET", f"{HOOKS}/{created['id']}/private-key")).json()["private_keys"]
    assert (keys[0]["id"], [key["in_use"] for key in keys].count(True), keys[0]["in_use"]) == (issued.json()["id"], 1, True)
    in_use = await world.signed("DELETE", f"{HOOKS}/{created['id']}/private-key/{keys[0]['id']}")
    assert (in_use.status, in_use.json()["type"]) == (409, "urn:gridhook:problem:conflict")


async def test_a_private_key_may_wait_for_its_time_and_be_taken_back(world):
    created = await world.create(URL)
    path = f"{HOOKS}/{created['id']}/private-key"
    now = world.gridhook.store.clock.now()
    later = json.dumps({"activates_at": rfc3339(now + DAY_MS)}).encode()
    issued = (await world.signed("POST", path, later)).json()
    assert issued["activates_at"] == rfc3339(now + DAY_MS)
    keys = (await world.signed("GET", path)).json()["private_keys"]
    assert [(key["id"] == issued["id"], key["in_use"]) for key in keys] == [(True, False), (False, True)]
    assert (await world.signed("POST", path)).status == 409
    assert (await world.signed("DELETE", f"{path}/{issued['id']}")).status == 204
    assert (await world.signed("DELETE", f"{path}/{issued['id']}")).status == 404
    assert (await world.signed("POST", path)).status == 201
    for wrong in ({"activates_at": "tomorrow"}, {"activates_at": 1}, {"activates_at": rfc3339(now + 8 * DAY_MS)}, {"active_at": None}):
        answer = await world.signed("POST", path, json.dumps(wrong).encode())
        assert (answer.status, answer.json()["field"]) == (422, next(iter(wrong))), wrong


async def test_deliveries_are_signed_with_both_keys_while_they_overlap_and_with_none_in_the_end(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        path = f"{HOOKS}/{created['id']}/signing-key"
        keys = [(await world.signed("POST", path, body)).json()["signing_key"] for body in (b"", b'{"overlap_seconds":3600}')]
        await world.publish(LOW)
        await receiver.received(1)
        shown = (await world.signed("GET", f"{HOOKS}/{created['id']}")).json()["signing_keys"]
        assert [key["expires_at"] is None for key in shown] == [True, False]
        for _ in range(2):
            assert (await world.signed("DELETE", path)).status == 204
        await world.publish(LOW)
        signed, unsigned = await receiver.received(2)
    for key in keys:
        assert Webhook(key).verify(signed.body, dict(signed.headers)) == signed.json()
    assert unsigned.header("webhook-signature") is None
    for body in (b'{"overlap_seconds":-1}', b'{"overlap_seconds":604801}', b'{"overlap_seconds":"1"}', b'{"overlap_seconds":1.5}'):
        answer = await world.signed("POST", path, body)
        assert (answer.status, answer.json()["field"]) == (422, "overlap_seconds"), body
    assert (await world.signed("GET", f"{HOOKS}/{created['id']}")).json()["signing_keys"] == []


async def test_a_leaked_signing_key_signs_nothing_more_once_it_is_replaced_without_an_overlap(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        path = f"{HOOKS}/{created['id']}/signing-key"
        bodies = (b"", b"", b'{"overlap_seconds":0}')
        keys = [(await world.signed("POST", path, body)).json()["signing_key"] for body in bodies]
        assert len((await world.signed("GET", f"{HOOKS}/{created['id']}")).json()["signing_keys"]) == 1
        await world.publish(LOW)
        (delivery,) = await receiver.received(1)
    Webhook(keys[-1]).verify(delivery.body, dict(delivery.headers))
    for leaked in keys[:-1]:
        with pytest.raises(WebhookVerificationError):
            Webhook(leaked).verify(delivery.body, dict(delivery.headers))


async def test_keys_that_are_rotated_without_end_do_not_make_requests_long(world):
    created = await world.create(URL)
    path = f"{HOOKS}/{created['id']}/signing-key"
    answers = await asyncio.gather(*(world.signed("POST", path) for _ in range(12)))
    assert [answer.status for answer in answers] == [201] * 12
    shown = (await world.signed("GET", f"{HOOKS}/{created['id']}")).json()["signing_keys"]
    assert len(shown) == 3
    assert shown[0]["id"] in {answer.json()["id"] for answer in answers}


async def test_a_private_key_cannot_come_into_use_in_the_past(world):
    created = await world.create(URL)
    past = json.dumps({"activates_at": "2020-01-01T00:00:00Z"}).encode()
    answer = await world.signed("POST", f"{HOOKS}/{created['id']}/private-key", past)
    assert (answer.status, answer.json()["field"]) == (422, "activates_at")


async def test_a_receiver_that_echoes_our_request_does_not_bring_the_key_into_the_log(world):
    secret = "tenant-header-value-1234"

    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        one = f"{HOOKS}/{created['id']}"
        await world.signed("PATCH", one, json.dumps({"headers": {"X-Tenant": secret}}).encode())
        bearer = f"Bearer {created['private_key']}"
        said = json.dumps({"Authorization": bearer, "X-Tenant": secret}).encode()
        receiver.reply = Reply(404, headers=(("X-Echo", bearer), ("Content-Length", str(len(said)))), body=said)
        await world.publish(LOW)
        tested = await world.signed("POST", f"{one}/test", b'{"type":"ag.hid_org.created"}')
        attempts = json.dumps(await world.attempts(created["id"], 3))
    for shown in (attempts, tested.body.decode()):
        assert shown.count("Bearer [secret]") >= 2
        assert created["private_key"] not in shown
        assert secret not in shown


async def test_a_key_of_another_webhook_cannot_be_taken_back_through_ones_own(world):
    ours, other = await world.create(URL), await world.create(URL)
    later = json.dumps({"activates_at": rfc3339(world.gridhook.store.clock.now() + DAY_MS)}).encode()
    issued = (await world.signed("POST", f"{HOOKS}/{other['id']}/private-key", later)).json()
    for key_id in (issued["id"], "cred_nope", "%00", "a" * 99):
        assert (await world.signed("DELETE", f"{HOOKS}/{ours['id']}/private-key/{key_id}")).status == 404
    keys = (await world.signed("GET", f"{HOOKS}/{other['id']}/private-key")).json()["private_keys"]
    assert issued["id"] in {key["id"] for key in keys}
